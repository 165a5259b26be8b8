"""Programs in a jail: a server over standard input and output, and one that tries to get out."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openk2.environments.sandbox import Limits, jail_command
from openk2.environments.sandbox.jail import JAIL_LIMITS
from tests.environments.sandbox.processes import descendants, processes_with, wait_until_gone

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
# Where the folder outside lies in /tmp, this may go to the jail's own /tmp.
tried(lambda: open(os.path.dirname(outside) + "/new", "w"))
print({
    "passwd": tried(lambda: open("/etc/passwd")),
    "read": tried(lambda: open(outside)),
    "install": tried(lambda: open(os.path.dirname(os.__file__) + "/new.py", "w")),
    "signal": tried(lambda: os.kill(int(os.environ["PARENT"]), 0)),
    "connect": tried(lambda: socket.create_connection(("127.0.0.1", int(os.environ["PORT"])), 1)),
    "inherited": any(tried(lambda n=n: os.fstat(n)) for n in range(3, 600)),
    "first": tried(lambda: open("/proc/1/environ")),
    "end_first": tried(lambda: os.kill(1, signal.SIGKILL)),
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
    assert "True" not in refused and refused.count("False") == 10, result.stdout
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


CLINGS = {
    "a_child": "os.fork()",
    "no_signal_at_the_end_of_the_parent": "ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)",
    "another_program_from_a_thread": (
        "again = [sys.executable, '-I', '-c', 'import time; print(1, flush=True); time.sleep(9)']\n"
        "threading.Thread(target=os.execv, args=(sys.executable, again)).start()\n"
        "time.sleep(60)"
    ),
    "ignores_signals_in_a_new_session": (
        "if os.fork(): time.sleep(60)\n"
        "os.setsid(); [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 13, 15)]"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["SIGTERM", "SIGKILL", "starter"])
@pytest.mark.parametrize("clings", CLINGS)
def test_no_program_outlives_the_process_outside(folder: Path, clings: str, kind: str) -> None:
    """Nor him who started that; in a namespace of its own, what it ignores does not help it."""
    program = f"import ctypes, os, signal, sys, threading, time\n{CLINGS[clings]}\n"
    program += "print(1, flush=True); time.sleep(60)"
    command = jail_command([sys.executable, "-I", "-c", program], readable=INSTALLED)
    starter = "import json, subprocess, sys; subprocess.run(json.loads(sys.argv[1]))"
    if kind == "starter":
        command = [sys.executable, "-I", "-c", starter, json.dumps(command)]
    before = descendants()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as outside:
        assert outside.stdout is not None
        assert outside.stdout.readline() == b"1\n"
        inside = descendants() - before
        assert len(inside) >= 3
        outside.send_signal(signal.SIGTERM if kind == "SIGTERM" else signal.SIGKILL)
    wait_until_gone(inside)


def test_none_is_left_where_the_process_outside_ends_at_any_moment(folder: Path) -> None:
    mark = f"jailed-by-{os.getpid()}"
    sleep = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)", mark]
    command = jail_command(sleep, readable=INSTALLED)
    for number in range(30):
        with subprocess.Popen(command, stdin=-3, stdout=-1, stderr=-3) as outside:
            time.sleep(0.03 + 0.002 * number)
            outside.kill()
    wait_until_gone(processes_with(mark))


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

    assert ended("import time; time.sleep(60)", Limits(wall_s=0.5))[0] == 128 + signal.SIGALRM
    assert ended("while True: pass", Limits(wall_s=30, cpu_s=1))[0] == 128 + signal.SIGKILL
    assert "MemoryError" in ended("bytearray(1 << 30)", Limits())[1]
    assert "File too large" in ended("open('a', 'wb').write(bytes(1 << 25))", Limits())[1]
    assert ended("bytearray(1 << 30)", JAIL_LIMITS) == (0, "")


def test_a_program_that_is_not_there(folder: Path) -> None:
    result = subprocess.run(jail_command(["/no/such"]), capture_output=True, text=True, timeout=60)
    assert result.returncode == 127
    assert result.stderr.startswith("jail: /no/such: ")
