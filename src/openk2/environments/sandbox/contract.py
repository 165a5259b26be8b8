"""What callers of the sandbox see: limits, levels and results."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

__all__ = [
    "DEFAULT_LEVEL",
    "LAYERS",
    "NEEDED",
    "CallResult",
    "Level",
    "Limits",
    "Outcome",
    "Probe",
    "SandboxResult",
    "SandboxUnavailable",
    "Status",
]

MEBIBYTE = 1 << 20
Status = Literal["ok", "error", "timeout", "memory", "output", "killed"]


@dataclass(frozen=True)
class Limits:
    """What one call may use.

    wall_s         seconds from the moment the sandbox is ready to the end of the last process
    cpu_s          processor seconds of each process, rounded up to whole ones
    memory_bytes   memory that each process may map beyond what the warm interpreter has mapped
    file_bytes     bytes of all files in the scratch directory together, and of each of them
    output_bytes   bytes on stdout and stderr together; and, apart from them, of all values
    processes      processes and threads at one time, the first one included
    open_files     file descriptors of each process
    """

    wall_s: float = 5.0
    cpu_s: float = 5.0
    memory_bytes: int = 512 * MEBIBYTE
    file_bytes: int = 16 * MEBIBYTE
    output_bytes: int = MEBIBYTE
    processes: int = 16
    open_files: int = 64


class Level(IntEnum):
    """How much stands between untrusted code and the machine; each level includes those below.

    NONE       a process of its own with an empty environment and resource limits
    FILTERED   unprivileged, no new privileges, no capabilities, system calls filtered by seccomp
    CONFINED   FILTERED, and Landlock leaves nothing but the standard library and the scratch files
    ISOLATED   FILTERED inside namespaces of its own: a file system of its own, no other process
               to be seen, no network; Landlock may be missing
    FULL       every layer
    """

    NONE = 0
    FILTERED = 1
    CONFINED = 2
    ISOLATED = 3
    FULL = 4


DEFAULT_LEVEL = Level.ISOLATED

# In the order in which they are put on.
LAYERS = (
    "user namespace",
    "mount namespace",
    "pid namespace",
    "network namespace",
    "ipc namespace",
    "uts namespace",
    "unprivileged user",
    "no new privileges",
    "no capabilities",
    "resource limits",
    "landlock",
    "seccomp",
)
FILTERED = {"unprivileged user", "no new privileges", "no capabilities", "seccomp"}
ISOLATED = FILTERED | {f"{kind} namespace" for kind in ("mount", "pid", "network", "ipc", "uts")}
NEEDED: Mapping[Level, frozenset[str]] = {
    Level.NONE: frozenset(),
    Level.FILTERED: frozenset(FILTERED),
    Level.CONFINED: frozenset(FILTERED | {"landlock"}),
    Level.ISOLATED: frozenset(ISOLATED),
    Level.FULL: frozenset(LAYERS),
}


@dataclass(frozen=True)
class Probe:
    """The level this machine reaches, and for each layer "active" or why it is not."""

    level: Level
    layers: Mapping[str, str]

    @classmethod
    def of(cls, layers: Mapping[str, str]) -> "Probe":
        """The highest level all of whose layers are active."""
        active = {layer for layer, state in layers.items() if state == "active"}
        return cls(max(level for level, needed in NEEDED.items() if needed <= active), layers)


@dataclass(frozen=True)
class SandboxResult:
    """How a script ended.

    status      "ok"; "error" for an exception or an exit code other than 0; "timeout" for too much
                wall clock or processor time; "memory" for an uncaught MemoryError; "output" for too
                much of it; "killed" by a signal
    stdout      at most `Limits.output_bytes` together with stderr; bytes that are not UTF-8 are
                replaced
    wall_s      seconds, the warm-up of the interpreter not counted
    exit_code   the script's, or minus the signal's number

    All of it is what hostile code wanted it to be: a verdict compares stdout with what only the
    grader knows, and trusts nothing else.
    """

    status: Status
    stdout: str
    stderr: str
    wall_s: float
    level: Level
    exit_code: int


@dataclass(frozen=True)
class Outcome:
    """What one call of the function came to.

    status   "ok", with the returned `value`; "error" for an exception, told in `error`; "type" for
             a value that is not made of exact builtin types; "missing" where no answer came
    """

    status: Literal["ok", "error", "type", "missing"]
    value: Any = None
    error: str = ""


@dataclass(frozen=True)
class CallResult:
    """The outcomes of all cases, in order, and how the process ended (see SandboxResult).

    status is "error" where the source raised, did not define the function, or the process ended
    before every case was answered.
    """

    status: Status
    outcomes: tuple[Outcome, ...]
    stdout: str
    stderr: str
    wall_s: float
    level: Level


class SandboxUnavailable(Exception):
    """The machine cannot reach the level that was asked for, or cannot start the sandbox at all."""
