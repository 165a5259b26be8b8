"""Landlock: which files a process may still open, and no TCP (landlock(7), Linux 5.13 on)."""

import os
import stat
import struct
from collections.abc import Iterable

from openk2.environments.sandbox.kernel import syscall

__all__ = ["abi", "restrict"]

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION_FLAG = 1
RULE_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
FIRST_RIGHTS = (1 << 13) - 1
# Files alone have these; the rest are rights to what a directory holds.
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
NETWORK_RIGHTS = 3  # bind and connect TCP
SCOPES = 3  # abstract sockets and signals of processes outside
NO_DEVICES = (1 << 6) | (1 << 11)  # making device nodes


def abi() -> int:
    """The version that the kernel speaks; OSError where it has none or it is switched off."""
    return syscall("landlock", CREATE_RULESET, None, 0, VERSION_FLAG)


def _handled(version: int) -> int:
    rights = FIRST_RIGHTS
    for since, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        rights |= right if version >= since else 0
    return rights


def restrict(
    readable: Iterable[str],
    writable: Iterable[str],
    *,
    programs: bool = False,
    network: bool = False,
) -> None:
    """From here on this process opens only these files and what lies beneath these directories.

    programs   what is readable may also be executed
    network    TCP stays as it is
    """
    version = abi()
    handled = _handled(version)
    fields = [handled]
    if version >= 4:
        fields.append(0 if network else NETWORK_RIGHTS)
    if version >= 6:
        fields.append(SCOPES)
    attributes = struct.pack(f"{len(fields)}Q", *fields)
    ruleset = syscall("landlock ruleset", CREATE_RULESET, attributes, len(attributes), 0)
    execute = EXECUTE if programs else 0
    read = READ_FILE | READ_DIR | execute
    everything = handled & ~(EXECUTE | NO_DEVICES) | execute
    rules = [(path, read) for path in readable] + [(path, everything) for path in writable]
    for path, rights in rules:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= FILE_RIGHTS
        rule = struct.pack("<Qi", rights, descriptor)
        syscall("landlock rule", ADD_RULE, ruleset, RULE_PATH_BENEATH, rule, 0)
        os.close(descriptor)
    syscall("landlock", RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
