"""Runs untrusted code and reports over descriptor 4 what came of it.

From the first line of that code on, everything in this process is in hostile hands: it can be read,
replaced and made to lie. That gains no more than returning the lie would: the caller takes one
bounded frame for each case, decodes it by itself, and knows the expected values, which never come
here. Arguments come one case at a time, each after the answer to the one before, so that no answer
can depend on a later case.

Frames to the caller: first whether the source is ready, then one for each case. The first byte says
what the rest is: v a value, e an error, t a type that cannot travel, m too little memory.
"""

import atexit
import gc
import json
import linecache
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from openk2.environments.sandbox import values
from openk2.environments.sandbox.frames import read_frame, write_frame

__all__ = ["REQUEST", "RESULT", "serve"]

REQUEST, RESULT = 3, 4
ERROR_CHARACTERS = 2000


def serve() -> int:
    """Read what to run, run it; the exit code."""
    message = read_frame(REQUEST)
    if message is None:
        return 1
    request = json.loads(message)
    _become_fresh()
    if "function" in request:
        return _answer(request["source"], request["function"])
    return _run_script(request["source"], request["files"])


def _become_fresh() -> None:
    """The interpreter as a new one would be."""
    os.environ.clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "openk2"]:
        del sys.modules[name]
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stdout = open(  # noqa: SIM115
        1, "w", encoding="utf-8", errors="surrogateescape", closefd=False
    )
    sys.stderr = open(  # noqa: SIM115
        2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
    gc.enable()


def _write(name: str, content: bytes) -> None:
    folder = os.path.dirname(name)
    if folder:
        os.makedirs(folder, exist_ok=True)
    with open(name, "wb") as file:
        file.write(content)


def _load(source: str, name: str, namespace: Mapping[str, Any]) -> ModuleType:
    """Execute `source` as the module `name`."""
    file = f"{name.strip('_')}.py"
    module = ModuleType(name)
    module.__dict__.update(namespace, __file__=file)
    sys.modules[name] = module
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    exec(compile(source, file, "exec"), module.__dict__)
    return module


def _run_script(source: str, files: Mapping[str, str]) -> int:
    sys.argv = ["main.py"]
    sys.path.insert(0, os.getcwd())
    code = 0
    try:
        for name, content in files.items():
            _write(name, bytes.fromhex(content))
        _load(source, "__main__", {})
    except BaseException as error:
        code = _report(error)
    return _finish(code)


def _report(error: BaseException) -> int:
    """What the interpreter does with an exception that nobody caught; the exit code."""
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        print(error.code, file=sys.stderr)
        return 1
    if isinstance(error, MemoryError):
        write_frame(RESULT, b"m")
    trace = error.__traceback__
    # From the frame of the untrusted source on; a SyntaxError has none.
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)
    return 1


def _finish(code: int) -> int:
    """Wait for threads, run what was registered, write what is buffered."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    return _flush(code)


def _flush(code: int) -> int:
    """Write what is buffered; the exit code, which a stream that does not let itself be written
    changes."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        return code or 1
    return code


def _answer(source: str, name: str) -> int:
    """Define the function, then answer one case after the other."""
    try:
        function = _load(source, "solution", {}).__dict__.get(name)
    except MemoryError as error:
        write_frame(RESULT, b"m" + _told(error))
        return 1
    except BaseException as error:
        write_frame(RESULT, b"e" + _told(error))
        return _flush(1)
    if not callable(function):
        write_frame(RESULT, b"e" + f"no function {name!r} in the source".encode())
        return _flush(1)
    write_frame(RESULT, b"v")
    while case := read_frame(REQUEST):
        write_frame(RESULT, _outcome(function, case))
        # What was printed so far is known even if the next case never ends.
        _flush(0)
    return _flush(0)


def _outcome(function: Any, case: bytes) -> bytes:
    try:
        value = function(*values.decode(case))
    except BaseException as error:
        return b"e" + _told(error)
    try:
        return b"v" + values.encode(value)
    except values.Unsendable as error:
        return b"t" + str(error).encode()
    except BaseException as error:
        return b"e" + _told(error)


def _told(error: BaseException) -> bytes:
    """Type and message, whatever the exception's own methods do."""
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException:
        text = "an exception that cannot be printed"
    return text[:ERROR_CHARACTERS].encode(errors="replace")
