"""A run writes one folder and nothing else; the same command again resumes it.

config.toml     the resolved configuration
events.jsonl    everything that happened
data/           tokenizer and token shards that the run made
checkpoints/    step-00000100/, ...: whole or absent
report.html     the page
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from openk2.core.config import differences, load_toml, to_toml
from openk2.core.errors import UserError

__all__ = ["RunFolder", "atomic_folder", "write_atomically"]


class RunFolder:
    """The paths of a run, and the lock that keeps a second process out of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.events = path / "events.jsonl"
        self.data = path / "data"
        self.checkpoints = path / "checkpoints"
        self.report = path / "report.html"
        self._lock: TextIO | None = None

    def open(self, config: Any) -> bool:
        """Claim the folder for `config`; True if it holds an earlier part of the same run.

        Raises UserError when the folder holds something else, a run of another configuration, or
        a run that another process is working on. Nothing is changed in those cases.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path}: is a file, not a folder; choose another --out")
        resumed = self.config.exists()
        if resumed:
            changed = differences(load_toml(type(config), self.config), config)
            if changed:
                raise UserError(
                    f"{self.path}: holds a run of another configuration ({'; '.join(changed[:3])}"
                    f"{'; ...' if len(changed) > 3 else ''}); choose another --out"
                )
        elif self.path.exists() and any(p.name != ".lock" for p in self.path.iterdir()):
            raise UserError(f"{self.path}: is not empty and holds no run; choose another --out")
        self.path.mkdir(parents=True, exist_ok=True)
        self._claim()
        if not resumed:
            write_atomically(self.config, to_toml(config).encode())
        self._sweep()
        return resumed

    def _claim(self) -> None:
        self._lock = (self.path / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{self.path}: another process is working on this run") from None

    def _sweep(self) -> None:
        """Remove what a killed process left half-written."""
        for leftover in self.path.rglob("*.partial"):
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` at `path` so that a reader, or a crash, sees the old file or the new one whole."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    partial.replace(path)
    _sync_folder(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder to fill that appears at `path`, whole and synced, when the block ends well."""
    partial = path.with_name(path.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
        for file in sorted(partial.rglob("*")):
            if file.is_file():
                descriptor = os.open(file, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)
        _sync_folder(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(path)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
