"""Programs in a jail: a server over standard input and output, and one that tries to get out."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from openk2.environments.sandbox import Limits, jail_command
from openk2.environments.sandbox.jail import JAIL_LIMITS
from tests.environments.sandbox.processes import descendants, wait_until_gone

INSTALLED = [sys.prefix, sys.base_prefix]
ECHO = """
import os, sys
print(sorted(os.environ), os.getcwd(), flush=True)
for line in sys.stdin:
    open("log", "a").write(line)
    print("echo", line, end="", flush=True)
"""
ESCAPE = """
import os, signal, socket
def tried(work):
    try:
        work()
        return True
    except OSError:
        return False
outside = os.environ["OUTSIDE"]
print({
    "passwd": tried(lambda: open("/etc/passwd")),
    "read": tried(lambda: open(outside)),
    "write": tried(lambda: open(os.path.dirname(outside) + "/new", "w")),
    "install": tried(lambda: open(os.path.dirname(os.__file__) + "/new.py", "w")),
    "signal": tried(lambda: os.kill(int(os.environ["PARENT"]), 0)),
    "connect": tried(lambda: socket.create_connection(("127.0.0.1", int(os.environ["PORT"])), 1)),
    "inherited": any(tried(lambda n=n: os.fstat(n)) for n in range(3, 600)),
    "root": tried(lambda: os.setuid(0)),
    "mounts": tried(lambda: os.chroot(".")),
}, {
    "own": tried(lambda: open("own", "w").write("x")),
    "tmp": tried(lambda: open("/tmp/a", "w").write("x")),
    "null": tried(lambda: open("/dev/null", "w").write("x")),
    "program": os.system("true") == 0,
    "processes": os.listdir("/proc/self") != [],
})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_a_python_server(folder: Path) -> None:
    command = jail_command(
        [sys.executable, "-I", "-c", ECHO],
        readable=INSTALLED,
        writable=[folder],
        environment={"LANG": "C.UTF-8", "A": "b"},
    )
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as server:
        assert server.stdin is not None and server.stdout is not None
        assert server.stdout.readline() == f"['A', 'LANG'] {folder}\n"
        for number in range(3):
            server.stdin.write(f"{number}\n")
            server.stdin.flush()
            assert server.stdout.readline() == f"echo {number}\n"
        server.stdin.close()
        assert server.wait(20) == 0
    assert (folder / "log").read_text() == "0\n1\n2\n"


def test_a_node_server(folder: Path, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node")
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "echo.js").write_text(
        "require('fs').writeFileSync('log', 'x');"
        "process.stdin.on('data', text => process.stdout.write('echo ' + text));"
    )
    command = jail_command(
        [node, str(tmp_path / "server" / "echo.js")],
        readable=[tmp_path / "server"],
        writable=[folder],
    )
    result = subprocess.run(command, input="1\n", capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.stderr, result.returncode) == ("echo 1\n", "", 0)
    assert (folder / "log").read_text() == "x"


def test_a_program_that_tries_to_get_out(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    variables = {"OUTSIDE": str(tmp_path / "secret"), "PARENT": str(os.getpid())}
    with socket.create_server(("127.0.0.1", 0)) as listener, open(tmp_path / "secret") as secret:
        variables["PORT"] = str(listener.getsockname()[1])
        command = jail_command(
            [sys.executable, "-I", "-c", ESCAPE],
            readable=INSTALLED,
            writable=[folder],
            environment=variables,
        )
        os.dup2(secret.fileno(), 500)
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=60, close_fds=False
        )
    os.close(500)
    assert result.returncode == 0, result.stderr
    refused, allowed = result.stdout.strip()[1:-1].split("} {")
    assert "True" not in refused and refused.count("False") == 9, result.stdout
    assert "False" not in allowed and allowed.count("True") == 5, result.stdout
    assert sorted(os.listdir(tmp_path)) == ["secret", "work"]


def test_the_network_can_be_left_to_it(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        program = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5); print(1)"
        command = jail_command(
            [sys.executable, "-I", "-c", program],
            readable=INSTALLED,
            writable=[folder],
            network=True,
        )
        assert subprocess.run(command, capture_output=True, timeout=60).stdout == b"1\n"


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGKILL])
def test_the_program_goes_with_the_process_outside(folder: Path, kind: signal.Signals) -> None:
    program = "import os, time; os.fork(); print(1, flush=True); time.sleep(60)"
    command = jail_command([sys.executable, "-I", "-c", program], readable=INSTALLED)
    before = descendants()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as outside:
        assert outside.stdout is not None
        assert outside.stdout.readline() == b"1\n"
        inside = descendants() - before
        assert len(inside) >= 3
        outside.send_signal(kind)
    wait_until_gone(inside)


def test_its_limits(folder: Path) -> None:
    def ended(program: str, limits: Limits) -> tuple[int, str]:
        command = jail_command(
            [sys.executable, "-I", "-c", program],
            readable=INSTALLED,
            writable=[folder],
            limits=limits,
        )
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return result.returncode, result.stderr

    assert ended("import time; time.sleep(60)", Limits(wall_s=0.5))[0] == -signal.SIGALRM
    assert ended("while True: pass", Limits(wall_s=30, cpu_s=1))[0] == 128 + signal.SIGKILL
    assert "MemoryError" in ended("bytearray(1 << 30)", Limits())[1]
    assert "File too large" in ended("open('a', 'wb').write(bytes(1 << 25))", Limits())[1]
    assert ended("bytearray(1 << 30)", JAIL_LIMITS) == (0, "")


def test_a_program_that_is_not_there(folder: Path) -> None:
    result = subprocess.run(jail_command(["/no/such"]), capture_output=True, text=True, timeout=60)
    assert result.returncode == 127
    assert result.stderr.startswith("jail: /no/such: ")
