"""System calls that Python does not offer, on x86_64 and aarch64.

Every function raises OSError, named after the call, where the kernel refuses.
"""

import ctypes
import os
import struct

__all__ = [
    "CLONE_NEWIPC",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUSER",
    "CLONE_NEWUTS",
    "MACHINE",
    "close_all_from",
    "detach_mounts",
    "die_with_parent",
    "drop_capabilities",
    "forbid_new_privileges",
    "freeze_mount",
    "hide_from_debuggers",
    "mount_proc",
    "mount_tmpfs",
    "open_tree",
    "place_tree",
    "prctl",
    "restrict_tree",
    "setns",
    "swap_root",
    "syscall",
    "unshare",
]

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_FDCWD = -100
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4
MS_NOSUID, MS_NODEV, MS_REC, MS_PRIVATE = 2, 4, 1 << 14, 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
CAPABILITIES = 64  # numbers to try; the kernel has 41 of them today
CAPABILITY_VERSION_3 = 0x20080522

# Numbers that differ between the machines; the newer calls have the same everywhere.
MACHINE = os.uname().machine
PIVOT_ROOT, CAPSET = {"x86_64": (155, 126), "aarch64": (41, 91)}.get(MACHINE, (-1, -1))
OPEN_TREE, MOVE_MOUNT, CLOSE_RANGE, MOUNT_SETATTR = 428, 429, 436, 442

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def _checked(name: str, result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def syscall(name: str, number: int, *arguments: int | bytes | None) -> int:
    """The raw system call `number`."""
    typed = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _checked(name, libc.syscall(ctypes.c_long(number), *typed))


def prctl(name: str, option: int, *arguments: int) -> int:
    values = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    return _checked(name, libc.prctl(ctypes.c_int(option), *values))


def unshare(flags: int) -> None:
    """Leave the namespaces in `flags` for new ones (unshare(2))."""
    _checked("unshare", libc.unshare(flags))


def setns(descriptor: int, kind: int) -> None:
    """Enter the namespace behind a descriptor (setns(2))."""
    _checked("setns", libc.setns(descriptor, kind))


def close_all_from(first: int) -> None:
    """Close every descriptor from `first` up."""
    syscall("close_range", CLOSE_RANGE, first, 0x7FFFFFFF, 0)


def detach_mounts() -> None:
    """Mounts made from here on stay in this mount namespace."""
    _checked("mount", libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None))


def mount_tmpfs(path: str, size: int, inodes: int, owner: int | None = None) -> None:
    """An empty file system in memory at `path`, of at most `size` bytes, for `owner` alone."""
    access = "mode=755" if owner is None else f"mode=700,uid={owner}"
    options = f"size={size},nr_inodes={inodes},{access}".encode()
    flags = ctypes.c_ulong(MS_NOSUID | MS_NODEV)
    _checked("mount tmpfs", libc.mount(b"tmpfs", path.encode(), b"tmpfs", flags, options))


def open_tree(path: str) -> int:
    """A copy of the mount tree at `path`, placed nowhere yet."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE
    return syscall("open_tree", OPEN_TREE, AT_FDCWD, os.fsencode(path), flags)


def restrict_tree(tree: int, *, writable: bool, devices: bool = False) -> None:
    """A tree and all mounts below it: no set-uid files; no writes and no devices unless said."""
    attributes = MOUNT_ATTR_NOSUID
    attributes |= 0 if writable else MOUNT_ATTR_RDONLY
    attributes |= 0 if devices else MOUNT_ATTR_NODEV
    change = struct.pack("QQQQ", attributes, 0, 0, 0)
    flags = AT_EMPTY_PATH | AT_RECURSIVE
    syscall("mount_setattr", MOUNT_SETATTR, tree, b"", flags, change, len(change))


def freeze_mount(path: str) -> None:
    """The mount at `path` read-only, those below it as they are."""
    change = struct.pack("QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
    place = os.fsencode(path)
    syscall("mount_setattr", MOUNT_SETATTR, AT_FDCWD, place, 0, change, len(change))


def place_tree(tree: int, path: str) -> None:
    """Mount a tree of `open_tree` at `path`."""
    place = os.fsencode(path)
    syscall("move_mount", MOVE_MOUNT, tree, b"", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH)


def swap_root(path: str) -> None:
    """`path`, a mount, becomes the root; the old one is gone (pivot_root(2), its last example)."""
    os.chdir(path)
    syscall("pivot_root", PIVOT_ROOT, b".", b".")
    _checked("umount", libc.umount2(b".", MNT_DETACH))
    os.chdir("/")


def mount_proc(path: str) -> None:
    """The processes of this pid namespace at `path`."""
    flags = ctypes.c_ulong(MS_NOSUID | MS_NODEV)
    _checked("mount proc", libc.mount(b"proc", path.encode(), b"proc", flags, None))


def die_with_parent() -> None:
    """SIGKILL for this process when its parent ends."""
    prctl("prctl", PR_SET_PDEATHSIG, 9)


def hide_from_debuggers(hidden: bool = True) -> None:
    """Whether processes of this user can neither trace this one nor open its entries in /proc."""
    prctl("prctl", PR_SET_DUMPABLE, 0 if hidden else 1)


def forbid_new_privileges() -> None:
    """No program that this process starts gains anything by its set-uid bit."""
    prctl("no_new_privs", PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Every capability, in the bounding set too where the process is allowed to drop it there."""
    for capability in range(CAPABILITIES):
        if libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break
    header = struct.pack("Ii", CAPABILITY_VERSION_3, 0)
    syscall("capset", CAPSET, header, bytes(24))
