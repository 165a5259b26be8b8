"""Processes as /proc shows them."""

import os
import time
from collections.abc import Collection
from pathlib import Path

__all__ = ["descendants", "processes_with", "wait_until_gone"]


def _status(pid: int) -> tuple[str, int]:
    """State and parent; ("X", 0) for a process that is no more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "X", 0
    return fields[0], int(fields[1])


def descendants(root: int | None = None) -> set[int]:
    """A process, this one unless said, and all processes below it."""
    parents = {int(n.name): _status(int(n.name))[1] for n in Path("/proc").glob("[0-9]*")}
    found = {os.getpid() if root is None else root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def processes_with(mark: str) -> list[int]:
    """The processes with `mark` in their command lines, but for this one."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in place.read_bytes() and int(place.parent.name) != os.getpid():
                found.append(int(place.parent.name))
        except OSError:
            continue
    return found


def wait_until_gone(pids: Collection[int], seconds: float = 20) -> None:
    """AssertionError if one still runs; one that only waits to be reaped does not."""
    deadline = time.monotonic() + seconds
    while left := [pid for pid in pids if _status(pid)[0] not in "XZ"]:
        assert time.monotonic() < deadline, left
        time.sleep(0.01)
