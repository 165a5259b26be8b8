"""A run writes one folder and nothing else; the same command again resumes it.

config.toml     the resolved configuration
events.jsonl    everything that happened
data/           tokenizer and token shards that the run made
checkpoints/    step-00000100/, ...: whole or absent
report.html     the page
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from openk2.core.config import differences, load_toml, to_toml
from openk2.core.errors import UserError

__all__ = [
    "FULL_DISK",
    "RunFolder",
    "atomic_folder",
    "latest_checkpoint",
    "write_atomically",
]

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


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
        self._created = False

    def open(self, config: Any) -> bool:
        """Claim the folder for `config`; True if it holds an earlier part of the same run.

        Raises UserError when the folder holds something else, a run of another configuration, or
        a run that another process is working on. Nothing is changed in those cases.
        """
        self._resumes(config)
        self._created = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        self._claim()
        # Asked again, because another process may have begun a run here in between.
        resumed = self._resumes(config)
        self._sweep()
        if not resumed:
            write_atomically(self.config, to_toml(config).encode())
        return resumed

    def abandon(self) -> None:
        """Undo `open` of a new run that cannot begin, so that a corrected command finds no run."""
        shutil.rmtree(self.data, ignore_errors=True)
        for file in (self.events, self.config, self.path / ".lock"):
            file.unlink(missing_ok=True)
        if self._created:
            self.path.rmdir()

    def _resumes(self, config: Any) -> bool:
        """Whether a run of `config` is here; UserError if something else is."""
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path}: is a file, not a folder; choose another --out")
        if self.config.exists():
            changed = differences(load_toml(type(config), self.config), config)
            if changed:
                raise UserError(
                    f"{self.path}: holds a run of another configuration ({'; '.join(changed[:3])}"
                    f"{'; ...' if len(changed) > 3 else ''}); choose another --out"
                )
            return True
        # What `open` itself leaves when it is killed.
        begun = {".lock", self.config.name + ".partial"}
        if self.path.exists() and any(path.name not in begun for path in self.path.iterdir()):
            raise UserError(f"{self.path}: is not empty and holds no run; choose another --out")
        return False

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


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint in a folder of them; None if there is none."""
    return max(folder.glob("step-????????"), default=None)


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
    _sync(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder to fill that appears at `path`, whole and synced, when the block ends well.

    Raises OSError naming `path` when the disk is full, also where a library that wrote into the
    folder reports that by an exception of its own, and when something is at `path` already.
    """
    partial = path.with_name(path.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
        for inner in sorted(partial.rglob("*")):
            _sync(inner)
        _sync(partial)
        partial.rename(path)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        number = _full_disk(error)
        if number is not None:
            raise OSError(number, os.strerror(number), str(path)) from error
        raise
    _sync(path.parent)


def _full_disk(error: BaseException) -> int | None:
    """The errno if a full disk is behind `error`, else None."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UserError):
        # The first is how Rust prints an error of the operating system.
        for number in FULL_DISK:
            if f"(os error {number})" in str(cause) or getattr(cause, "errno", None) == number:
                return number
        cause = cause.__cause__ or cause.__context__
    return None


def _sync(path: Path) -> None:
    """Force a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
