"""The folder that one episode's server may write: fresh, never shared, deleted afterwards.

The agent and the call log know it as /state, wherever it lies, so an episode reads the same on
every machine and a log replays in another folder.
"""

import base64
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from openk2.core.errors import UserError

__all__ = ["SHOWN", "StateFolder"]

SHOWN = "/state"
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
        """All files, base64 by relative path, and None for each folder; links are left out.

        The server may be alive and hostile: nothing is followed out of the folder.
        """
        found: dict[str, str | None] = {}
        for folder, folders, names, descriptor in os.fwalk(self.path, follow_symlinks=False):
            folders.sort()
            relative = PurePosixPath(folder).relative_to(self.path)
            if relative.parts:
                found[str(relative)] = FOLDER
            for name in sorted(names):
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                try:
                    opened = os.open(name, flags, dir_fd=descriptor)
                except OSError:  # a link, a socket, or gone already
                    continue
                with open(opened, "rb") as file:
                    if stat.S_ISREG(os.fstat(opened).st_mode):
                        found[str(relative / name)] = base64.b64encode(file.read()).decode()
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
        """Delete it, whatever permissions the server, which is gone, left there."""
        for folder, folders, _ in os.walk(self.path):
            for name in folders:
                place = os.path.join(folder, name)
                if not os.path.islink(place):
                    os.chmod(place, 0o700)
        shutil.rmtree(self.path, ignore_errors=True)
