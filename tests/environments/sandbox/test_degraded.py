"""Machines that allow less: the level says so, and less than what was asked for is refused."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from openk2.environments.sandbox import Level
from openk2.environments.sandbox.seccomp import ARCHITECTURES, MACHINE, MOUNTS

SOURCE = Path(__file__).parents[3] / "src"
# Refuses system calls of the test's process and all below it, as a container's policy does.
PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
from openk2.environments import sandbox
from openk2.environments.sandbox import kernel, seccomp
if sys.argv[3] != "same":
    os.setgroups([])
    os.setresgid(*[int(sys.argv[3])] * 3)
    os.setresuid(*[int(sys.argv[3])] * 3)
kernel.forbid_new_privileges()
seccomp.install(bytes.fromhex(sys.argv[2]))
import json
found = sandbox.probe()
print(json.dumps([found.level, dict(found.layers)]))
try:
    print(json.dumps(sandbox.run_python("print('ran')").stdout))
except sandbox.SandboxUnavailable as error:
    print(json.dumps(f"unavailable: {error}"))
source = '''
import os
def tried(work):
    try: return repr(work())[:9]
    except OSError as error: return error.errno
print([
    tried(lambda: open("/etc/passwd").read()), tried(lambda: os.listdir("/")),
    tried(lambda: os.kill(os.getppid(), 0)), tried(lambda: os.kill(-1, 0)),
    tried(lambda: __import__("socket").socket()), tried(lambda: os.execv("/bin/true", ["true"])),
    tried(lambda: open("mine", "w").close()), tried(lambda: os.setsid()),
    tried(lambda: os.listdir("/proc/self/fd")),
])
if os.fork() == 0:
    while True: pass
'''
result = sandbox.run_python(source, minimum_level=found.level)
print(json.dumps([result.status, result.stdout, result.stderr]))
print(len([n for n in os.listdir("/tmp") if n.startswith("sandbox-") and
           os.stat("/tmp/" + n).st_uid in (os.getuid(), *range(0x70000000, 0x70010000))]))
"""
LANDLOCK = 444


def refusing(numbers: dict[int, int]) -> str:
    """A filter that answers these system calls with these errors."""
    program = [(0x20, 0, 0, 0)]
    for number, error in numbers.items():
        program += [(0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | error)]
    program.append((0x06, 0, 0, 0x7FFF0000))
    return b"".join(struct.pack("<HBBI", *line) for line in program).hex()


def interpreter(user: str) -> str:
    """A Python that users without rights may run: ours may lie in root's home."""
    if user == "same" and os.getuid() != 0:
        return sys.executable
    user = "65534" if user == "same" else user
    for python in (sys.executable, "/usr/bin/python3"):
        command = [python, "-c", "import sys; assert sys.version_info >= (3, 11)"]
        try:
            if subprocess.run(command, user=int(user), stderr=subprocess.DEVNULL).returncode == 0:
                return python
        except PermissionError:
            continue
    pytest.skip("no Python that another user may run")


def run(refused: dict[int, int], user: str) -> tuple[Level, dict[str, str], str, list[str], str]:
    if user != "same" and os.getuid() != 0:
        pytest.skip("only root can become another user")
    command = [interpreter(user), "-c", PROGRAM, str(SOURCE), refusing(refused), user]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr
    level, said, ran, left = result.stdout.splitlines()
    return (
        Level(json.loads(level)[0]),
        json.loads(level)[1],
        json.loads(said),
        json.loads(ran),
        left,
    )


def number(name: str) -> int:
    found = MOUNTS[name][ARCHITECTURES[MACHINE][0]]
    assert found is not None
    return found


@pytest.mark.parametrize("user", ["same", "54321"])
def test_a_machine_that_allows_everything(user: str) -> None:
    level, layers, said, ran, left = run({}, user)
    assert (level, said, left) == (Level.FULL, "ran\n", "0")
    assert set(layers.values()) == {"active"}
    assert ran[0] == "ok"
    assert "root:" not in ran[1]


@pytest.mark.parametrize("user", ["same", "54321"])
@pytest.mark.parametrize("call", ["unshare", "mount_setattr"])
def test_without_namespaces_landlock_is_left(user: str, call: str) -> None:
    level, layers, said, ran, left = run({number(call): 1}, user)
    assert level == Level.CONFINED
    assert "Operation not permitted" in layers["mount namespace"]
    assert said.startswith(
        "unavailable: this machine reaches the sandbox level CONFINED, not ISOLA"
    )
    assert "mount namespace" in said and "minimum_level=Level.CONFINED" in said
    assert "\n" not in said
    # Refused one and all, but for a file of one's own; the loop that was left behind is gone.
    assert ran[1].splitlines() == ["[13, 13, 1, 1, 97, 1, 'None', 1, 13]"], ran
    assert ran[0] == "ok"
    assert left == "0"


@pytest.mark.parametrize("user", ["same", "54321"])
def test_without_landlock_the_namespaces_are_left(user: str) -> None:
    level, layers, said, ran, left = run({LANDLOCK: 38}, user)
    assert (level, said, left) == (Level.ISOLATED, "ran\n", "0")
    assert "not implemented" in layers["landlock"]
    assert ran[0] == "ok"
    assert ran[1].startswith("[2, ")


@pytest.mark.parametrize("user", ["same", "54321"])
def test_with_neither_files_can_be_read_and_the_level_says_so(user: str) -> None:
    level, _, said, ran, left = run({LANDLOCK: 38, number("unshare"): 1}, user)
    assert level == Level.FILTERED
    assert said.startswith("unavailable")
    assert ran[1].startswith("[\"'root")
    assert "1, 1, 97, 1, 'None', 1" in ran[1]
    assert left == "0"
