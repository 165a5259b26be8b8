"""What every tool call gives back, and what may stand behind it.

A `ToolSpec` (core.records) has three executors behind one call: procedural (code over the episode's
state), simulated (a Generator plays the tool against that state) and MCP (a real server). Whatever
an agent sends, it gets a typed result: a call never raises for bad arguments.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from openk2.core.records import ToolSpec
from openk2.environments.tool_world.schemas import compiled_schema

__all__ = [
    "MAX_ARGUMENT_BYTES",
    "MAX_ARGUMENT_DEPTH",
    "ArgumentChecker",
    "ToolExecutor",
    "ToolResult",
    "ToolStatus",
]

MAX_ARGUMENT_BYTES = 1 << 20
MAX_ARGUMENT_DEPTH = 32
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

# ok; unknown_tool and invalid_arguments: the agent's mistake, nothing ran; refused: a precondition
# or a policy said no; fault: injected or real trouble of the tool (timeout, rate limit, ...);
# quarantined: a server that broke its contract and is not called again.
ToolStatus = Literal["ok", "unknown_tool", "invalid_arguments", "refused", "fault", "quarantined"]


@dataclass(frozen=True)
class ToolResult:
    """What came of one call.

    content     what the agent reads, data and never instructions
    status      see ToolStatus
    error       for a status other than ok: a short code, e.g. "order_not_pending", "timeout"
    fault       the label of a fault that was injected or happened; the agent does not see it
    tainted     the content was written by somebody outside this program
    """

    content: str
    status: ToolStatus = "ok"
    error: str | None = None
    fault: str | None = None
    tainted: bool = False

    @property
    def ok(self) -> bool:
        """Whether the call did what it says."""
        return self.status == "ok"


class ToolExecutor(Protocol):
    """Whatever can run tool calls."""

    @property
    def tools(self) -> Mapping[str, ToolSpec]:
        """The tools by name."""

    def call(self, name: str, arguments: Mapping[str, Any] | str) -> ToolResult:
        """One call, `arguments` as JSON text or as an object; raises nothing an agent can cause."""


class ArgumentChecker:
    """Checks the arguments of a fixed set of tools against their schemas.

    formats   whether "format" in a schema is checked, too: no 30 February

    Raises ValueError, naming the tool, for a schema that is not one.
    """

    def __init__(self, tools: Mapping[str, ToolSpec], *, formats: bool = False) -> None:
        self._validators = {}
        for name, spec in tools.items():
            try:
                self._validators[name] = compiled_schema(spec.parameters, formats=formats)
            except ValueError as error:
                raise ValueError(f"tool {name}: of its parameters, {error}") from None

    def check(self, name: str, arguments: Mapping[str, Any] | str) -> dict[str, Any] | ToolResult:
        """The arguments as an object, or the result that tells the agent its mistake."""
        validator = self._validators.get(name)
        if validator is None:
            known = ", ".join(sorted(self._validators)[:40])
            return _mistake("unknown_tool", f"there is no tool {name[:100]!r}; tools: {known}")
        try:
            found = _parsed(arguments) if isinstance(arguments, str) else arguments
            if not isinstance(found, Mapping):
                return _mistake("invalid_arguments", "the arguments are not a JSON object")
            _check_plain(found, 0, [0])
            error = next(iter(validator.iter_errors(dict(found))), None)
        except (ValueError, TypeError, RecursionError) as problem:
            return _mistake(
                "invalid_arguments", str(problem) or "the arguments are nested too deeply"
            )
        if error is not None:
            place = "/".join(str(step) for step in error.instance_path)[:300]
            return _mistake("invalid_arguments", f"{place or 'arguments'}: {error.message[:300]}")
        return dict(found)


def _parsed(text: str) -> Any:
    if len(text) > MAX_ARGUMENT_BYTES:
        raise ValueError(
            f"the arguments have {len(text)} characters; {MAX_ARGUMENT_BYTES} are allowed"
        )

    def no_constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=no_constant)


def _check_plain(value: Any, depth: int, size: list[int]) -> None:
    """ValueError unless `value` is plain JSON of bounded depth and size; a cycle is too deep."""
    kind = type(value)
    size[0] += len(value) + 2 if kind is str else 8
    if size[0] > MAX_ARGUMENT_BYTES:
        raise ValueError(f"the arguments are longer than {MAX_ARGUMENT_BYTES} bytes")
    if kind is str:
        if CONTROL.search(value):
            raise ValueError("a text holds control characters")
        value.encode()  # a lone surrogate is no text: UnicodeEncodeError is a ValueError
    elif kind is bool or value is None:
        return
    elif kind is int:
        if abs(value) >= 1 << 63:
            raise ValueError("a number does not fit 64 bits")
    elif kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{value} is not JSON")
    elif depth > MAX_ARGUMENT_DEPTH:
        raise ValueError(f"the arguments are nested deeper than {MAX_ARGUMENT_DEPTH} levels")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if type(key) is not str:
                raise ValueError(f"a key is a {type(key).__name__}, not a text")
            _check_plain(key, depth + 1, size)
            _check_plain(item, depth + 1, size)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_plain(item, depth + 1, size)
    else:
        raise ValueError(f"a {kind.__name__} is not JSON")


def _mistake(status: ToolStatus, message: str) -> ToolResult:
    return ToolResult(json.dumps({"error": status, "message": message}), status, status)
