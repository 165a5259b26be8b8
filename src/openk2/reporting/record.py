"""What a run folder holds, read once for the page and for the summary."""

import fcntl
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openk2.core.errors import UserError
from openk2.core.events import read_events
from openk2.core.run_folder import RunFolder

__all__ = ["Event", "RunRecord", "largest", "read_run"]

Event = dict[str, Any]

# What the pages and figures cannot do without, of the fields in docs/events.md.
NEEDED = {
    "run": ("name", "steps"),
    "corpus": (
        *("source", "documents", "vocabulary", "bytes_per_token"),
        *("train_documents", "train_tokens", "train_bytes"),
        *("validation_documents", "validation_tokens", "validation_bytes"),
        *("replaced_bytes", "skipped", "skipped_count"),
    ),
    "plan": ("parameters",),
    "step": ("step", "loss", "bits_per_byte", "tokens", "tokens_per_second", "seconds"),
    "validation": ("step", "loss", "bits_per_byte"),
    "sample": ("step", "prompt", "text", "temperature"),
    "checkpoint": ("step", "path"),
    "resume": ("step",),
    "stop": ("step", "reason"),
    "finish": ("step", "training_seconds"),
}


@dataclass(frozen=True)
class RunRecord:
    """A run's configuration text and its events by kind; a kind that has not happened is empty."""

    folder: RunFolder
    config: str
    run: Event
    corpus: Event
    plan: list[Event]
    steps: list[Event]
    validations: list[Event]
    samples: list[Event]
    checkpoints: list[Event]
    resumes: list[Event]
    status: str  # running, finished, stopped or interrupted
    ending: Event  # the finish or stop event, else empty
    last_time: float | None  # Unix seconds of the last event

    @property
    def name(self) -> str:
        return str(self.run.get("name") or self.folder.path.resolve().name)

    @property
    def step(self) -> int:
        """The last step that was done; 0 before the first."""
        return int(self.steps[-1]["step"]) if self.steps else 0

    def points(self, key: str) -> list[tuple[float, float | None]]:
        """(step, value) of a number in the step events; None where it was not finite or absent."""
        return [(event["step"], event.get(key)) for event in self.steps]


def read_run(path: Path) -> RunRecord:
    """Read the run folder at `path`. Raises UserError when it is not one."""
    folder = RunFolder(path)
    if not folder.config.is_file():
        raise UserError(f"{path}: is not a run folder (no config.toml); give one that a run wrote")
    kinds: dict[str, list[Event]] = defaultdict(list)
    latest: Event = {}
    last_time = None
    events = read_events(folder.events) if folder.events.is_file() else ()
    for line, event in enumerate(events, 1):
        _check_fields(event, f"{folder.events}:{line}")
        kinds[event["kind"]].append(event)
        last_time = event["time"]
        if event["kind"] in ("step", "resume", "stop", "finish"):
            latest = event
    ended = {"finish": "finished", "stop": "stopped"}.get(latest.get("kind", ""))
    return RunRecord(
        folder=folder,
        config=folder.config.read_text(encoding="utf-8"),
        run=(kinds["run"] or [{}])[-1],
        corpus=(kinds["corpus"] or [{}])[-1],
        plan=kinds["plan"][-1]["parameters"] if kinds["plan"] else [],
        steps=kinds["step"],
        validations=kinds["validation"],
        samples=kinds["sample"],
        checkpoints=kinds["checkpoint"],
        resumes=kinds["resume"],
        status=ended or ("running" if _is_claimed(path / ".lock") else "interrupted"),
        ending=latest if ended else {},
        last_time=last_time,
    )


def _check_fields(event: Event, where: str) -> None:
    """UserError, naming the field, for an event that lacks what its kind needs."""
    for field in NEEDED.get(str(event["kind"]), ()):
        if field not in event:
            raise UserError(f"{where}: a {event['kind']} event without '{field}'; log is damaged")


def largest(table: list[list[float | None]] | None) -> float | None:
    """The largest number of a [rows][columns] table, or None where it has no numbers."""
    return max((v for row in table or () for v in row if v is not None), default=None)


def _is_claimed(lock: Path) -> bool:
    """Whether a process holds the run's lock: a killed run writes no event that says it ended."""
    if not lock.exists():
        return False
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
