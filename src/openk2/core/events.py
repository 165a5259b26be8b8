"""events.jsonl: the append-only truth of a run, which every page and tracker reads.

One JSON object a line: `kind`, `time` (Unix seconds) and the fields of that kind. Numbers that
JSON lacks (NaN, infinities) are written as null.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from openk2.core.errors import UserError

__all__ = ["EventLog", "finite", "read_events"]

Observer = Callable[[dict[str, Any]], None]


class EventLog:
    """Appends events to a file, one whole line at a time, and shows each to its observers."""

    def __init__(self, path: Path, observers: Sequence[Observer] = ()) -> None:
        self.path = path
        self.observers = list(observers)
        self._drop_torn_line()
        self._file = path.open("ab")

    def append(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Write one event and return it."""
        event = {"kind": kind, "time": time.time(), **{k: finite(v) for k, v in fields.items()}}
        self._file.write((json.dumps(event, ensure_ascii=False) + "\n").encode())
        self._file.flush()
        for observer in self.observers:
            observer(event)
        return event

    def sync(self) -> int:
        """Force what was written to the disk; returns the file's size in bytes.

        A checkpoint stores this size, so that a resumed run can cut the log back to the moment
        the checkpoint was taken and write each later event exactly once.
        """
        os.fsync(self._file.fileno())
        return self._file.tell()

    def cut_back(self, size: int) -> None:
        """Drop every event written after the file was `size` bytes long.

        Raises UserError, and drops nothing, if it is shorter: it is not the log that was synced.
        """
        there = self._file.seek(0, os.SEEK_END)
        if there < size:
            raise UserError(
                f"{self.path}: has {there} bytes and had {size} when the checkpoint was taken; "
                "put the run's own log back, or begin anew with another --out"
            )
        self._file.truncate(size)
        self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        self._file.close()

    def _drop_torn_line(self) -> None:
        """A killed process may leave half a line; whole lines are kept."""
        if self.path.exists():
            data = self.path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                os.truncate(self.path, whole)


def read_events(path: Path, kind: str | None = None) -> Iterator[dict[str, Any]]:
    """The events of a log in order, of one kind if given; a torn last line is not an event.

    Raises UserError for any other line that is not an event.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                event = None
            if not isinstance(event, dict) or not {"kind", "time"} <= event.keys():
                raise UserError(f"{path}:{number}: is not an event; the log is damaged")
            if kind is None or event["kind"] == kind:
                yield event


def finite(value: Any) -> Any:
    """`value` with None for every float in it that JSON lacks: NaN and the infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
