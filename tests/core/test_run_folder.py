"""The run folder: claimed by one process, one configuration, and whole after any failure."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from openk2.core.errors import UserError
from openk2.core.run_folder import RunFolder, atomic_folder, write_atomically


@dataclass(frozen=True)
class Settings:
    rate: float = 0.1
    width: int = 8
    name: str = "a"
    text: str = ""
    depth: int = 1


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path below `folder`; a folder's value is None."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def refused(path: Path, settings: Settings) -> str:
    """The message with which `open` refuses, having changed nothing."""
    before = contents(path) if path.is_dir() else path.read_bytes()
    with pytest.raises(UserError) as caught:
        RunFolder(path).open(settings)
    assert (contents(path) if path.is_dir() else path.read_bytes()) == before
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@contextmanager
def claimed(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that works in the folder, with `Settings()`."""
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.core.test_run_folder import RunFolder, Settings\n"
        "folder = RunFolder(Path(sys.argv[1])); folder.open(Settings())\n"
        "print('claimed', flush=True); sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert other.stdout is not None
    assert other.stdin is not None
    try:
        assert other.stdout.readline() == "claimed\n"
        yield other
    finally:
        other.kill()
        other.stdin.close()
        other.stdout.close()
        other.wait()


def test_open_creates_the_folder_and_a_second_open_resumes(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run"
    assert RunFolder(path).open(Settings()) is False
    assert contents(path).keys() == {".lock", "config.toml"}
    assert RunFolder(path).open(Settings()) is True


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).open(Settings()) is False


def test_a_run_of_another_configuration_is_refused(tmp_path: Path) -> None:
    RunFolder(tmp_path).open(Settings())
    (tmp_path / "left.partial").touch()
    message = refused(tmp_path, Settings(rate=0.2, name="b"))
    assert "name: 'a' -> 'b'; rate: 0.1 -> 0.2" in message
    assert "choose another --out" in message
    assert "; ..." in refused(tmp_path, Settings(0.2, 9, "b", "c"))


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "is not empty and holds no run" in refused(tmp_path, Settings())


def test_a_folder_whose_config_is_not_of_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[server]\nport = 80\n")
    assert "unknown key 'server'" in refused(tmp_path, Settings())
    (tmp_path / "config.toml").write_text("rate = ")
    assert "not valid TOML" in refused(tmp_path, Settings())


def test_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    assert "is a file, not a folder" in refused(path, Settings())


def test_a_run_that_another_process_works_on_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with claimed(path) as other:
        (path / "being_written.partial").touch()
        assert "another process" in refused(path, Settings())
        # A lock ends with its process, however it ends.
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert RunFolder(path).open(Settings()) is True
    assert not (path / "being_written.partial").exists()


def test_leftovers_of_a_killed_process_are_swept(tmp_path: Path) -> None:
    RunFolder(tmp_path).open(Settings())
    (tmp_path / "checkpoints" / "step-00000002").mkdir(parents=True)
    (tmp_path / "checkpoints" / "step-00000002" / "model").write_text("whole")
    deep = tmp_path / "data.partial" / "shards.partial" / "train"
    deep.mkdir(parents=True)
    (deep / "tokens.bin").write_text("half")
    (tmp_path / "checkpoints" / "step-00000004.partial").mkdir()
    (tmp_path / "report.html.partial").write_text("<html")
    assert RunFolder(tmp_path).open(Settings()) is True
    assert contents(tmp_path).keys() == {
        ".lock",
        "config.toml",
        "checkpoints",
        "checkpoints/step-00000002",
        "checkpoints/step-00000002/model",
    }


def test_a_process_killed_while_it_wrote_the_first_file_is_resumed(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / "config.toml.partial").write_text("rate = 0")
    assert RunFolder(tmp_path).open(Settings()) is False
    assert contents(tmp_path).keys() == {".lock", "config.toml"}


def test_write_atomically_replaces_or_leaves(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert contents(tmp_path) == {"report.html": b"new"}
    with pytest.raises(TypeError):
        write_atomically(path, "text is not bytes")  # type: ignore[arg-type]
    assert contents(tmp_path) == {"report.html": b"new"}


def test_atomic_folder_appears_whole(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "made") as partial:
        (partial / "inner").mkdir()
        (partial / "inner" / "file").write_bytes(b"x")
        assert not (tmp_path / "made").exists()
    assert contents(tmp_path) == {"made": None, "made/inner": None, "made/inner/file": b"x"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, OSError])
def test_a_failure_inside_an_atomic_folder_leaves_nothing(
    error: type[BaseException], tmp_path: Path
) -> None:
    with pytest.raises(error), atomic_folder(tmp_path / "made") as partial:
        (partial / "file").write_bytes(b"x")
        raise error
    assert contents(tmp_path) == {}


def test_atomic_folder_begins_anew_over_a_leftover(tmp_path: Path) -> None:
    (tmp_path / "made.partial").mkdir()
    (tmp_path / "made.partial" / "stale").touch()
    with atomic_folder(tmp_path / "made") as partial:
        (partial / "fresh").touch()
    assert contents(tmp_path).keys() == {"made", "made/fresh"}


def test_atomic_folder_does_not_replace_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "precious").write_text("kept")
    with pytest.raises(OSError, match="made"), atomic_folder(tmp_path / "made") as partial:
        (partial / "file").touch()
    assert (tmp_path / "made" / "precious").read_text() == "kept"
    assert contents(tmp_path).keys() == {"made", "made/precious"}


class RustError(Exception):
    """As safetensors reports a full disk: its own type, the number in the text."""


def test_a_full_disk_is_an_os_error_whatever_a_library_makes_of_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught, atomic_folder(tmp_path / "made"):
        raise RustError("Error while serializing: No space left on device (os error 28)")
    assert caught.value.filename == str(tmp_path / "made")
    with pytest.raises(OSError, match="No space left") as caught, atomic_folder(tmp_path / "made"):
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise RuntimeError("unexpected pos 576 vs 534") from error
    assert caught.value.filename == str(tmp_path / "made")
    with pytest.raises(RustError), atomic_folder(tmp_path / "made"):
        raise RustError("header too large")
    assert contents(tmp_path) == {}
