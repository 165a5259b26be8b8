"""run_python and call_function: one conversation with one confined child."""

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from openk2.core.errors import UserError
from openk2.environments.sandbox import values
from openk2.environments.sandbox.contract import (
    DEFAULT_LEVEL,
    CallResult,
    Level,
    Limits,
    Outcome,
    SandboxResult,
)
from openk2.environments.sandbox.conversation import converse
from openk2.environments.sandbox.pool import WarmUp

__all__ = ["call_function", "run_python"]


def run_python(
    source: str,
    stdin: str = "",
    files: Mapping[str, str | bytes] | None = None,
    limits: Limits = Limits(),  # noqa: B008 (it is frozen)
    minimum_level: Level = DEFAULT_LEVEL,
) -> SandboxResult:
    """Run a script as __main__ in an empty directory that holds `files` (relative name: content).

    Raises SandboxUnavailable where the machine does not reach `minimum_level`, and UserError for a
    file name that leads out of the directory.
    """
    content = {name: _bytes_of(name, file).hex() for name, file in (files or {}).items()}
    request = {"source": source, "files": content}
    with converse(WarmUp(), minimum_level, limits, stdin.encode(errors="surrogatepass")) as talk:
        talk.send(json.dumps(request).encode())
        message = talk.receive()
        talk.end()
    status = talk.status
    if status == "error" and message == b"m":
        status = "memory"
    stdout, stderr = talk.printed()
    return SandboxResult(status, stdout, stderr, talk.wall_s, talk.level, talk.exit_code)


def call_function(
    source: str,
    function: str,
    cases: Sequence[Sequence[Any]],
    *,
    preload: Sequence[str] = (),
    warm_up: str = "",
    limits: Limits = Limits(),  # noqa: B008 (it is frozen)
    minimum_level: Level = DEFAULT_LEVEL,
) -> CallResult:
    """Run `source` once and call its `function(*arguments)` for each of the cases, in one process.

    preload   modules that are imported already when `source` begins; the first call with a set of
              them takes as long as importing them
    warm_up   trusted code that runs once, after these imports, before any call: it fills the caches
              that every call would have to fill again

    Each case is handed over only after the one before was answered. The number of outcomes is the
    number of cases, whatever the process did. Arguments must be made of the types that can travel
    (see values.py): UserError otherwise. Raises SandboxUnavailable as `run_python` does.
    """
    try:
        arguments = [values.encode(list(case)) for case in cases]
    except values.Unsendable as error:
        raise UserError(f"arguments of {function}: {error}; pass builtin types only") from None
    request = {"source": source, "function": function}
    outcomes: list[Outcome] = []
    with converse(WarmUp(tuple(preload), warm_up), minimum_level, limits) as talk:
        talk.send(json.dumps(request).encode())
        ready = talk.receive()
        if ready == b"v":
            for case in arguments:
                talk.send(case)
                message = talk.receive()
                if message is None:
                    break
                outcomes.append(_outcome(message))
        talk.send(b"")
        talk.end()
    status = talk.status
    told = ""
    if status in ("ok", "error") and len(outcomes) < len(arguments):
        status = "memory" if ready is not None and ready[:1] == b"m" else "error"
    if ready is not None and ready != b"v":
        told = ready[1:].decode(errors="replace")
    missing = Outcome("missing", error=told or status)
    outcomes += [missing] * (len(arguments) - len(outcomes))
    stdout, stderr = talk.printed()
    return CallResult(status, tuple(outcomes), stdout, stderr, talk.wall_s, talk.level)


def _bytes_of(name: str, content: str | bytes) -> bytes:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise UserError(f"sandbox file {name!r}: a relative name without '..' is needed")
    return content.encode(errors="surrogatepass") if isinstance(content, str) else content


def _outcome(message: bytes) -> Outcome:
    """What a child says about one case; nothing in it is believed but its being an answer."""
    kind, rest = message[:1], message[1:]
    if kind == b"v":
        try:
            return Outcome("ok", values.decode(rest))
        except ValueError:
            return Outcome("type", error="not a value")
    return Outcome("type" if kind == b"t" else "error", error=rest.decode(errors="replace"))
