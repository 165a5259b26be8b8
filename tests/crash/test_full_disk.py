"""A full disk: one line, what was saved stays, and the same command ends once there is room."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from openk2.core.events import read_events

from ..k2_process import TINY, k2, sources
from .outcome import assert_same_outcome, logged

RUN = ["run", "nano", "--data", "text", *TINY, "--out"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; `resize` sets how much it holds."""
    path = tmp_path / "work" / "disk"
    path.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(path)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small file system")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def resize(disk: Path, kibibytes: int) -> None:
    option = f"remount,size={kibibytes}k"
    subprocess.run(["mount", "-o", option, "tmpfs", str(disk)], check=True)


def fill(disk: Path, spare: int) -> None:
    """Leave `spare` KiB free."""
    usage = shutil.disk_usage(disk)
    resize(disk, usage.used // 1024 + spare)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that had room."""
    work = tmp_path_factory.mktemp("roomy") / "work"
    sources(work / "text")
    assert k2(*RUN, "run", cwd=work).code == 0
    return work / "run"


def saved(run: Path) -> dict[str, bytes]:
    """The configuration and every checkpoint."""
    files = [run / "config.toml", *sorted((run / "checkpoints").rglob("*"))]
    return {str(path): path.read_bytes() for path in files if path.is_file()}


# KiB. The corpus takes some 100 and each checkpoint 300: so the disk is full before the
# configuration is written, in the corpus, in the first, the second and the third checkpoint.
@pytest.mark.parametrize("size", [4, 60, 300, 600, 1000])
def test_full_disk(size: int, disk: Path, undisturbed: Path) -> None:
    work = disk.parent
    sources(work / "text")
    resize(disk, size)
    message = k2(*RUN, "disk/run", cwd=work).error()
    assert "disk/run" in message
    assert "No space left on device; free some space and give the same command again" in message
    run = disk / "run"
    assert not list(run.rglob("*.partial"))
    before = saved(run) if run.exists() else {}
    # Again while it is still full: still one line, and nothing that was saved is lost.
    assert "No space left" in k2(*RUN, "disk/run", cwd=work).error()
    after = saved(run) if run.exists() else {}
    assert {path: after.get(path) for path in before} == before
    resize(disk, 65536)
    finished = k2(*RUN, "disk/run", cwd=work)
    assert finished.code == 0, finished
    assert_same_outcome(run, undisturbed)
    print(f"{size} KiB: resumed from {[event['step'] for event in logged(run, 'resume')]}")


def test_export_onto_a_full_disk(disk: Path, undisturbed: Path) -> None:
    fill(disk, 40)
    command = ["export", str(undisturbed), "--out", "disk/model", "--dtype", "float32"]
    message = k2(*command, cwd=disk.parent).error()
    assert "disk/model: No space left on device" in message
    assert list(disk.iterdir()) == []
    resize(disk, 65536)
    assert k2(*command, cwd=disk.parent).code == 0


def test_show_on_a_full_disk_keeps_the_report_that_is_there(disk: Path, undisturbed: Path) -> None:
    run = shutil.copytree(undisturbed, disk / "run")
    report = (run / "report.html").read_bytes()
    fill(disk, 8)
    assert "No space left" in k2("show", "disk/run", cwd=disk.parent).error()
    assert (run / "report.html").read_bytes() == report
    assert [path.name for path in run.iterdir() if path.suffix == ".partial"] == []


def test_a_disk_that_can_only_be_read(disk: Path, undisturbed: Path) -> None:
    run = shutil.copytree(undisturbed, disk / "run")
    events = list(read_events(run / "events.jsonl"))
    subprocess.run(["mount", "-o", "remount,ro", "tmpfs", str(disk)], check=True)
    shown = k2("show", "disk/run", cwd=disk.parent)
    assert shown.code == 0 and "Read-only file system" in shown.stderr, shown
    for command in ([*RUN, "disk/new"], ["export", "disk/run", "--out"]):
        arguments = [*command, "disk/model"] if command[-1] == "--out" else command
        (disk.parent / "text").mkdir(exist_ok=True)
        assert "Read-only file system" in k2(*arguments, cwd=disk.parent).error()
    assert list(read_events(run / "events.jsonl")) == events
