"""Attacks on the sandbox: none reaches anything, and all do without it."""

import json
import os
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from openk2.environments.sandbox import Level, probe, run_python
from tests.environments.sandbox.processes import descendants
from tests.security.sandbox_attacks import ATTACKS, Attack

RUN = """
import json, sys
host = json.loads(sys.stdin.read())
try:
    reached = attack(host)
except BaseException as error:
    reached = None
    print(type(error).__name__, error, file=sys.stderr)
print("REACHED" if reached else "CONTAINED", flush=True)
"""
ROOT = os.getuid() == 0
MARK = f"sandbox-attack-{os.getpid()}"


@pytest.fixture(scope="module")
def listeners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """What a program without a sandbox can talk to."""
    path = str(tmp_path_factory.mktemp("sockets") / "unix")
    with (
        socket.create_server(("127.0.0.1", 0), backlog=50) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram,
    ):
        unix.bind(path)
        abstract.bind(f"\0{MARK}")
        datagram.bind(f"\0d{MARK}")
        unix.listen(50)
        abstract.listen(50)
        yield {"port": tcp.getsockname()[1], "unix": path}


@pytest.fixture
def host(tmp_path: Path, listeners: dict[str, object]) -> Iterator[dict[str, object]]:
    """What an attacker might know of the machine; checks afterwards that it is as it was."""
    (tmp_path / "secret").write_text("the secret")
    (tmp_path / "victim").write_text("the victim")
    (tmp_path / "work").mkdir()
    yield {
        **listeners,
        "pid": os.getpid(),
        "mark": MARK,
        "folder": str(tmp_path),
        "secret": str(tmp_path / "secret"),
        "victim": str(tmp_path / "victim"),
        "tmp": str(tmp_path.parent),
        "home": str(Path.home()),
        "in_home": sorted(path.name for path in Path.home().iterdir()),
        "repository": str(Path(__file__).parents[2]),
        "site_packages": sysconfig.get_path("purelib"),
        "python": sys.executable,
    }
    for place in (tmp_path.parent, Path("/dev/shm")):
        (place / MARK).unlink(missing_ok=True)


def state(host: dict[str, object]) -> tuple[object, ...]:
    """What an attack must leave as it was."""
    folder = Path(str(host["folder"]))
    files = sorted((path.name, path.stat().st_mode) for path in folder.iterdir())
    victim = folder / "victim"
    left = [place for place in (folder.parent, Path("/dev/shm")) if (place / MARK).exists()]
    mounts = Path("/proc/self/mounts").read_text()
    return files, victim.read_text(), victim.stat().st_mtime, left, mounts, descendants()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_reaches_nothing(
    attack: Attack, host: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "the secret")
    probe()
    with open(str(host["secret"]), "rb") as secret:
        os.set_inheritable(secret.fileno(), True)
        before = state(host)
        result = run_python(attack.source + RUN, json.dumps(host))
        assert "REACHED" not in result.stdout, result
        assert "CONTAINED" in result.stdout or result.status in ("killed", "memory"), result
        assert state(host) == before


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_without_the_sandbox_it_reaches_something(attack: Attack, host: dict[str, object]) -> None:
    if attack.root and not ROOT:
        pytest.skip("only root can do this without the sandbox")
    with open(str(host["secret"]), "rb") as secret:
        result = subprocess.run(
            [sys.executable, "-I", "-c", attack.source + RUN],
            input=json.dumps(host),
            cwd=str(host["folder"]) + "/work",
            env={"SECRET": "the secret"},
            pass_fds=[secret.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert "REACHED" in result.stdout, result.stderr


def test_these_are_at_the_full_level() -> None:
    """On a machine with less, the attacks above show what they show at that level only."""
    assert probe().level >= Level.ISOLATED


def test_there_are_enough_of_them() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 60
