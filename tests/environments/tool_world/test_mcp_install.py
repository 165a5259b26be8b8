"""Locks that name no host, installs that are checked, complete or not there at all."""

import hashlib
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from openk2.core.errors import UserError
from openk2.environments.tool_world.mcp import commands
from openk2.environments.tool_world.mcp import install as module
from openk2.environments.tool_world.mcp.catalogue import CATALOGUE, CatalogueEntry
from openk2.environments.tool_world.mcp.install import (
    command_of,
    install,
    is_installed,
    servers_folder,
)


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_every_lock_pins_by_version_and_hash_and_names_no_host(entry: CatalogueEntry) -> None:
    text = (
        module.LOCKS / f"{entry.name}.{'txt' if entry.kind == 'python' else 'json'}"
    ).read_text()
    assert "://" not in text and "resolved" not in text
    if entry.kind == "python":
        requirements = re.sub(r" \\\n\s*", " ", text).splitlines()
        assert any(line.startswith(f"{entry.package}=={entry.version} ") for line in requirements)
        for line in requirements:
            assert re.fullmatch(r"[\w.-]+==[\w.]+( ; [^#]+?)?( --hash=sha256:[0-9a-f]{64})+", line)
    else:
        packages = json.loads(text)["packages"]
        root = packages.pop("")
        assert root["dependencies"] == {entry.package: entry.version}
        assert packages[f"node_modules/{entry.package}"]["version"] == entry.version
        for package in packages.values():
            assert package["version"] and package["integrity"].startswith("sha512-")


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    lines: list[str] = []
    done = install(["time", "git"], tmp_path / "new", dry_run=True, progress=lines.append)
    assert [result.state for result in done] == ["to install", "to install"]
    assert len(lines) == 2 and not (tmp_path / "new").exists()


def test_unknown_and_missing_servers_are_the_users_errors(tmp_path: Path) -> None:
    for attempt in (
        lambda: install(["time", "tyme"], tmp_path),
        lambda: command_of("tyme", tmp_path),
        lambda: commands.check_servers(["tyme"], tmp_path, True),
    ):
        with pytest.raises(UserError, match="no MCP server 'tyme'; there are time, "):
            attempt()
    with pytest.raises(UserError, match="k2 mcp install time"):
        commands.call_tool("time", "get_current_time", "{}", tmp_path, True)
    with pytest.raises(UserError, match="k2 mcp install --all"):
        commands.check_servers([], tmp_path, True)
    for names, everything in (([], False), (["time"], True)):
        with pytest.raises(UserError, match="--all"):
            commands.install_servers(names, everything, tmp_path, True, True)


def test_where_servers_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENK2_MCP", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert servers_folder() == tmp_path / "openk2" / "mcp"
    monkeypatch.setenv("OPENK2_MCP", str(tmp_path / "chosen"))
    assert servers_folder() == tmp_path / "chosen"
    assert servers_folder(tmp_path / "given") == tmp_path / "given"


def test_the_list_says_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.list_servers(tmp_path, as_json=True) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in listed["servers"]} == set(CATALOGUE)
    assert not any(row["installed"] for row in listed["servers"])
    assert commands.list_servers(tmp_path, as_json=False) == 0
    assert f"0 installed in {tmp_path}" in capsys.readouterr().out


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The commands that an install would run; the first of them fails while `broken` is there."""
    made: list[Sequence[str]] = []

    def step(entry: CatalogueEntry, folder: Path, *command: str) -> None:
        made.append(command)
        (folder / "content").write_text(entry.name)
        if (tmp_path / "broken").exists():
            raise UserError("the network went away")

    monkeypatch.setattr(module, "_step", step)
    return made


def test_an_interrupted_install_leaves_nothing_and_resumes(
    tmp_path: Path, steps: list[Sequence[str]]
) -> None:
    root = tmp_path / "servers"
    (tmp_path / "broken").touch()
    with pytest.raises(UserError, match="went away"):
        install(["time"], root, progress=lambda line: None)
    assert not list(root.iterdir()) and not is_installed(CATALOGUE["time"], root)
    (tmp_path / "broken").unlink()
    states = [install(["time"], root, progress=lambda line: None)[0].state for _ in range(2)]
    assert states == ["installed", "already there"]
    assert command_of("time", root).argv[0] == f"{root}/time/venv/bin/python"
    flags = " ".join(steps[-1])
    for needed in ("--require-hashes", "--no-deps", "--only-binary=:all:"):
        assert needed in flags


def test_another_lock_is_another_install(
    tmp_path: Path, steps: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(["calculator"], tmp_path, progress=lambda line: None)
    locks = tmp_path / "locks"
    locks.mkdir()
    lock = locks / "calculator.txt"
    lock.write_text((module.LOCKS / "calculator.txt").read_text() + "\n")
    monkeypatch.setattr(module, "LOCKS", locks)
    with pytest.raises(UserError, match="not installed"):
        command_of("calculator", tmp_path)
    (done,) = install(["calculator"], tmp_path, progress=lambda line: None)
    assert done.state == "installed" and is_installed(CATALOGUE["calculator"], tmp_path)
    assert {place.name for place in tmp_path.iterdir()} == {"calculator", "locks"}


def wheel(folder: Path) -> Path:
    """A package of one module, as small as a wheel can be."""
    path = folder / "k2_trial-1.0-py3-none-any.whl"
    info = "k2_trial-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("k2_trial.py", "VALUE = 42\n")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: k2-trial\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(
            f"{info}/RECORD", f"k2_trial.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )
    return path


@pytest.mark.slow
def test_pip_takes_the_hash_that_is_locked_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(wheel(tmp_path).read_bytes()).hexdigest()
    entry = replace(CATALOGUE["time"], name="trial", package="k2-trial", version="1.0")
    monkeypatch.setattr(module, "CATALOGUE", {"trial": entry})
    monkeypatch.setattr(module, "LOCKS", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    root = tmp_path / "servers"
    for digits in ("0" * 64, digest):
        (tmp_path / "trial.txt").write_text(f"k2-trial==1.0 \\\n    --hash=sha256:{digits}\n")
        if digits != digest:
            with pytest.raises(UserError, match="trial: python failed: ERROR"):
                install(["trial"], root, progress=lambda line: None)
            assert not list(root.iterdir())
    (done,) = install(["trial"], root, progress=lambda line: None)
    assert done.state == "installed" and is_installed(entry, root)
