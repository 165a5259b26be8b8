"""The filter of system calls: numbers against the kernel's headers, its program by running it."""

import re
import struct
from pathlib import Path

import pytest

from openk2.environments.sandbox import run_python, seccomp

TABLES = (
    seccomp.INSPECTION,
    seccomp.MOUNTS,
    seccomp.KERNEL,
    seccomp.ABSENT,
    seccomp.HIDDEN_MEMORY,
    seccomp.PROGRAMS,
    seccomp.SOCKETS,
    seccomp.SIGNALS,
    {"clone": seccomp.CLONE, "socket": seccomp.SOCKET, "socketpair": seccomp.SOCKETPAIR},
    {"fcntl": seccomp.FCNTL, "ioctl": seccomp.IOCTL, "prlimit64": seccomp.PRLIMIT},
)
HEADERS = {
    "x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
    "aarch64": "/usr/include/asm-generic/unistd.h",
}
ALLOW, KILL, EPERM, ENOSYS, FAMILY = (
    seccomp.ALLOW,
    seccomp.KILL,
    seccomp.REFUSE | 1,
    seccomp.REFUSE | 38,
    seccomp.REFUSE | 97,
)


@pytest.mark.parametrize("machine", HEADERS)
def test_the_numbers_are_the_kernel_s(machine: str) -> None:
    header = Path(HEADERS[machine])
    if not header.exists():
        pytest.skip(f"no {header}")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
    numbers = {name: int(number) for name, number in found}
    column = seccomp.ARCHITECTURES[machine][0]
    checked = 0
    for table in TABLES:
        for name, pair in table.items():
            if name in numbers:  # the newest calls are not in older headers
                assert numbers[name] == pair[column], name
                checked += 1
            elif pair[column] is not None:
                assert pair[column] >= 440, name
    assert checked > 60


def judged(program: bytes, machine: str, number: int, *arguments: int) -> int:
    """What a classic BPF machine makes of one system call."""
    architecture = seccomp.ARCHITECTURES.get(machine, (0, 3))[1]
    data = struct.pack("<iIQ6Q", number, architecture, 0, *(*arguments, *[0] * 6)[:6])
    instructions = list(struct.iter_unpack("<HBBI", program))
    at, value = 0, 0
    while True:
        code, if_true, if_false, constant = instructions[at]
        at += 1
        if code == seccomp.RETURN:
            return int(constant)
        if code == seccomp.LOAD:
            (value,) = struct.unpack_from("<I", data, constant)
        elif code == seccomp.AND:
            value &= constant
        else:
            true = {
                seccomp.EQUAL: value == constant,
                seccomp.AT_LEAST: value >= constant,
                seccomp.ANY_BIT: bool(value & constant),
            }[code]
            at += if_true if true else if_false


@pytest.mark.parametrize("machine", HEADERS)
def test_what_the_filter_refuses(machine: str) -> None:
    column = seccomp.ARCHITECTURES[machine][0]
    python = seccomp.filter_program(pid_namespace=True, machine=machine)
    alone = seccomp.filter_program(pid_namespace=False, machine=machine)
    jail = seccomp.filter_program(
        pid_namespace=True, programs=True, families=(1, 2), machine=machine
    )

    def verdicts(pair: tuple[int, int], *arguments: int) -> list[int]:
        return [judged(p, machine, pair[column], *arguments) for p in (python, alone, jail)]

    for table in (seccomp.INSPECTION, seccomp.MOUNTS, seccomp.KERNEL):
        for pair in table.values():
            if pair[column] is not None:
                assert verdicts(pair) == [EPERM] * 3
    for pair in seccomp.ABSENT.values():
        assert verdicts(pair) == [ENOSYS] * 3
    for table in (seccomp.PROGRAMS, seccomp.SOCKETS, seccomp.HIDDEN_MEMORY):
        for pair in table.values():
            assert verdicts(pair) == [EPERM, EPERM, ALLOW]
    for pair in seccomp.SIGNALS.values():
        assert verdicts(pair) == [ALLOW, EPERM, ALLOW]
    assert verdicts((0, 63)) == [ALLOW] * 3  # read
    assert verdicts(seccomp.CLONE, 17) == [ALLOW] * 3
    for kind in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert verdicts(seccomp.CLONE, kind | 17) == [EPERM] * 3
    assert verdicts(seccomp.SOCKET, 1) == [FAMILY, FAMILY, ALLOW]
    assert verdicts(seccomp.SOCKET, 2) == [FAMILY, FAMILY, ALLOW]
    assert verdicts(seccomp.SOCKET, 16) == [FAMILY] * 3
    assert verdicts(seccomp.SOCKETPAIR, 1, 1 | 0o2000000) == [ALLOW] * 3  # a stream, close-on-exec
    assert verdicts(seccomp.SOCKETPAIR, 1, 2) == [FAMILY, FAMILY, ALLOW]
    assert verdicts(seccomp.SOCKETPAIR, 2, 1) == [FAMILY] * 3
    assert verdicts(seccomp.FCNTL, 5, 4) == [ALLOW] * 3
    assert verdicts(seccomp.FCNTL, 5, 8) == verdicts(seccomp.FCNTL, 5, 15) == [EPERM] * 3
    assert verdicts(seccomp.IOCTL, 0, 0x5401) == [ALLOW] * 3
    assert verdicts(seccomp.IOCTL, 0, 0x5412) == [EPERM] * 3
    assert verdicts(seccomp.PRLIMIT, 0) == [ALLOW] * 3
    assert verdicts(seccomp.PRLIMIT, 7) == [EPERM] * 3
    assert judged(python, "i386", 0) == KILL
    assert judged(python, machine, 0x40000000 | 101) == KILL


def test_the_kernel_refuses_them_too() -> None:
    """Every call of the deny list, with arguments that would be wrong if it were let through."""
    column = seccomp.ARCHITECTURES[seccomp.MACHINE][0]
    tables = (*TABLES[:3], *TABLES[4:7])
    numbers = {n: v[column] for t in tables for n, v in t.items() if v[column] is not None}
    source = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for name, number in {numbers}.items():
    ctypes.set_errno(0)
    if libc.syscall(number, -1, -1, -1, -1, -1, -1) != -1 or ctypes.get_errno() != 1:
        print(name, ctypes.get_errno())
"""
    result = run_python(source)
    assert (result.status, result.stdout) == ("ok", "")
