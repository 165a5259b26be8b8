"""The folder that one episode's server may write: fresh, never shared, deleted afterwards.

The agent and the call log know it as /state, wherever it lies, so an episode reads the same on
every machine and a log replays in another folder.
"""

import base64
import itertools
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from openk2.core.errors import UserError

__all__ = ["DEPTH", "SHOWN", "StateFolder"]

SHOWN = "/state"
DEPTH = 32  # of folders in one another
GONE_S = 10.0  # until the last process of a killed server has ended
# A text that is a path as a whole: what is written into a file stays as it was said.
SHOWN_PATH = re.compile(r"(file://)?/state(/[^\n]*)?")
# A folder of a snapshot, beside the files' contents.
FOLDER: None = None


class StateFolder:
    """A new folder with what `template` holds, and `texts` (by relative path; None: a folder)."""

    def __init__(
        self, template: Path | None = None, texts: Mapping[str, str | None] = MappingProxyType({})
    ) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="k2-mcp-")).resolve()
        if template is not None:
            shutil.copytree(template, self.path, dirs_exist_ok=True)
        encoded = {
            name: text if text is FOLDER else base64.b64encode(text.encode()).decode()
            for name, text in texts.items()
        }
        self.unpack(encoded)

    def inward(self, value: Any) -> Any:
        """JSON with its paths below /state replaced by the real ones."""
        if isinstance(value, str):
            path = SHOWN_PATH.fullmatch(value)
            return f"{path[1] or ''}{self.path}{path[2] or ''}" if path else value
        if isinstance(value, Mapping):
            return {key: self.inward(item) for key, item in value.items()}
        return [self.inward(item) for item in value] if isinstance(value, list) else value

    def outward(self, text: str) -> str:
        """A text with the real path replaced by /state."""
        return text.replace(str(self.path), SHOWN)

    def archive(self) -> dict[str, str | None]:
        """All files, base64 by relative path, and None for each folder; links are left out, and
        what is nested deeper than DEPTH.

        The server may be alive and hostile: nothing is followed out of the folder.
        """
        found: dict[str, str | None] = {}
        with suppress(OSError):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            _collect(descriptor, PurePosixPath(), found)
        return found

    def unpack(self, archive: Mapping[str, str | None]) -> None:
        """Write what an archive holds; UserError where it names a place outside the folder."""
        for name, content in sorted(archive.items()):
            place = PurePosixPath(name)
            if place.is_absolute() or ".." in place.parts:
                raise UserError(f"snapshot: {name[:200]!r} is not inside the state folder")
            target = self.path / place
            (target if content is FOLDER else target.parent).mkdir(parents=True, exist_ok=True)
            if content is not FOLDER:
                target.write_bytes(base64.b64decode(content))

    def remove(self) -> None:
        """Delete it, whatever the server left there; again does nothing.

        A server that was killed may write for the moment until the kernel is done with it.
        """
        if not self.path.exists():
            return
        waste = tempfile.mkdtemp(prefix="k2-mcp-", dir=self.path.parent)
        left, numbers = [str(self.path)], itertools.count()
        late = time.monotonic() + GONE_S
        while True:
            try:
                _empty(waste, left, numbers)
                return
            except OSError:
                if time.monotonic() > late:
                    raise
            time.sleep(0.05)
            left = [str(self.path)] if self.path.exists() else []
            left += [entry.path for entry in os.scandir(waste)]


def _empty(waste: str, left: list[str], numbers: Iterator[int]) -> None:
    """Delete these folders and `waste`, an empty folder beside them.

    Every folder is moved up before it is emptied: they may be nested too deep for any path.
    """
    flat = []
    while left:
        source, folder = left.pop(), f"{waste}/{next(numbers)}"
        os.chmod(source, 0o700)
        os.rename(source, folder)
        flat.append(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                else:
                    os.unlink(entry.path)
    for folder in flat:
        os.rmdir(folder)
    os.rmdir(waste)


def _collect(folder: int, place: PurePosixPath, found: dict[str, str | None]) -> None:
    """Add what a folder, a descriptor that is closed here, holds to `found`."""
    try:
        for name in sorted(os.listdir(folder)):
            relative = place / name
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                opened = os.open(name, flags, dir_fd=folder)
            except OSError:  # a link, a socket, or gone already
                continue
            mode = os.fstat(opened).st_mode
            if stat.S_ISDIR(mode) and len(relative.parts) <= DEPTH:
                found[str(relative)] = FOLDER
                _collect(opened, relative, found)
                continue
            with open(opened, "rb") as file:
                if stat.S_ISREG(mode):
                    found[str(relative)] = base64.b64encode(file.read()).decode()
    finally:
        os.close(folder)
