"""Servers installed by hash, each into a folder of its own: `FOLDER/NAME`.

A lock file beside this one holds the exact versions of a server and of all that it needs, with
their hashes, and no address: where packages come from is the user's own setting of pip and npm, and
what comes is checked. Python locks are made by `uv pip compile --universal --generate-hashes`, with
the hashes of Linux wheels kept; npm's by `npm install --package-lock-only
--omit-lockfile-registry-resolved`. No package runs a script while it is installed: Python's are
wheels, npm is given --ignore-scripts.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from openk2.core.errors import UserError
from openk2.core.terminal import printable
from openk2.environments.tool_world.mcp.catalogue import CATALOGUE, CatalogueEntry
from openk2.environments.tool_world.mcp.command import ServerCommand

__all__ = ["Installed", "command_of", "install", "is_installed", "servers_folder"]

LOCKS = Path(__file__).parent / "lock"
# Written last: what is installed, and for which interpreter.
STAMP = "installed.json"
STEP_S = 600.0


@dataclass(frozen=True)
class Installed:
    """What came of an install: state "installed", "already there" or (a dry run) "to install"."""

    name: str
    package: str
    folder: str
    state: str
    seconds: float


def servers_folder(folder: Path | None = None) -> Path:
    """Where servers live: `folder`, or OPENK2_MCP, or the user's cache."""
    if folder is not None:
        return folder.absolute()
    chosen = os.environ.get("OPENK2_MCP")
    if chosen:
        return Path(chosen).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "openk2", "mcp").absolute()


def is_installed(entry: CatalogueEntry, folder: Path) -> bool:
    """Whether the very packages of today's lock file are there, completely."""
    stamp = folder / entry.name / STAMP
    return stamp.is_file() and json.loads(stamp.read_text()) == _stamp(entry)


def command_of(name: str, folder: Path | None = None) -> ServerCommand:
    """How an installed server is run; UserError where it is not known or not installed."""
    entry = CATALOGUE.get(name)
    if entry is None:
        raise UserError(f"no MCP server {name!r}; there are {', '.join(CATALOGUE)}")
    root = servers_folder(folder)
    if not is_installed(entry, root):
        raise UserError(f"{root / name}: not installed; give k2 mcp install {name}")
    return entry.command(root / name)


def install(
    names: list[str],
    folder: Path | None = None,
    *,
    dry_run: bool = False,
    progress: Callable[[str], None] = print,
) -> list[Installed]:
    """Install these servers; those that are there already stay as they are.

    Each is built beside its place and moved there when it is complete, so one that is interrupted
    leaves nothing that looks installed. UserError where a package does not come or its hash is
    another.
    """
    unknown = [name for name in names if name not in CATALOGUE]
    if unknown:
        raise UserError(f"no MCP server {unknown[0]!r}; there are {', '.join(CATALOGUE)}")
    root = servers_folder(folder)
    results = []
    for number, name in enumerate(names, 1):
        entry, begun = CATALOGUE[name], time.monotonic()
        state = "already there" if is_installed(entry, root) else "installed"
        if state == "installed" and dry_run:
            state = "to install"
        elif state == "installed":
            progress(f"[{number}/{len(names)}] {name}: {entry.package} {entry.version} ...")
            _install(entry, root)
        seconds = time.monotonic() - begun
        progress(f"[{number}/{len(names)}] {name}: {state}, {seconds:.1f} s")
        package = f"{entry.package} {entry.version}"
        results.append(Installed(name, package, str(root / name), state, round(seconds, 1)))
    return results


def _install(entry: CatalogueEntry, root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=root))
    try:
        (_install_python if entry.kind == "python" else _install_node)(entry, partial)
        (partial / STAMP).write_text(json.dumps(_stamp(entry)))
        partial.chmod(0o755)
        place = root / entry.name
        if place.exists():  # of an older lock, or cut off while it was deleted
            outdated = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=root))
            place.rename(outdated / "old")
            shutil.rmtree(outdated)
        partial.rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _install_python(entry: CatalogueEntry, folder: Path) -> None:
    _step(entry, folder, sys.executable, "-m", "venv", str(folder / "venv"))
    # Its dependencies are all in the lock: none is looked for.
    flags = ("--require-hashes", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet")
    python = str(folder / "venv" / "bin" / "python")
    _step(entry, folder, python, "-m", "pip", "install", *flags, "-r", str(_lock(entry)))


def _install_node(entry: CatalogueEntry, folder: Path) -> None:
    if shutil.which("npm") is None:
        raise UserError(f"{entry.name}: npm is not on the PATH; install Node.js 20 or later")
    lock = json.loads(_lock(entry).read_text())
    wanted = {"private": True, "dependencies": lock["packages"][""]["dependencies"]}
    (folder / "package.json").write_text(json.dumps(wanted))
    shutil.copyfile(_lock(entry), folder / "package-lock.json")
    flags = ("--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--loglevel=error")
    _step(entry, folder, "npm", "ci", *flags)


def _step(entry: CatalogueEntry, folder: Path, *command: str) -> None:
    # Without the variables that would make one Python or Node look into another's packages.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "NODE_PATH", "NODE_OPTIONS"}
    }
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=STEP_S,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{entry.name}: {command[0]} took over {STEP_S:g} s; give the same command again"
        ) from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if "error" in line.lower()]
        reason = printable((errors or said or ["it said nothing"])[0].strip())[:300]
        raise UserError(f"{entry.name}: {Path(command[0]).name} failed: {reason}")


def _lock(entry: CatalogueEntry) -> Path:
    return LOCKS / f"{entry.name}.{'txt' if entry.kind == 'python' else 'json'}"


def _stamp(entry: CatalogueEntry) -> dict[str, str]:
    lock = hashlib.sha256(_lock(entry).read_bytes()).hexdigest()
    return {"lock": lock, "python": sys.base_prefix if entry.kind == "python" else ""}
