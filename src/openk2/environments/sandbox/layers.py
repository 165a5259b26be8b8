"""The layers, as the process that is to be confined puts them on itself, from the outside in.

A process first enters namespaces of its own (`enter_namespaces`), then gives itself a file system
that holds nothing but what is needed (`private_root`), and at last gives up every right it still
has (`confine`). Each function raises OSError where the kernel refuses; nothing is skipped.
"""

import contextlib
import math
import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openk2.environments.sandbox import kernel, landlock, seccomp
from openk2.environments.sandbox.contract import Limits

__all__ = [
    "DEVICES",
    "INODES",
    "SCRATCH",
    "Confinement",
    "confine",
    "enter_namespaces",
    "private_root",
    "unprivileged_ids",
]

SCRATCH = "/scratch"
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
INODES = 4096
NAMESPACES = (
    kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
)
# User ids that no distribution and no systemd gives to anyone.
UNUSED_IDS = range(0x70000000, 0x70010000)
NOBODY = 65534


def _id_ranges() -> list[tuple[int, int]]:
    """First id and length of each range of user ids that exist in this user namespace."""
    lines = Path("/proc/self/uid_map").read_text().splitlines()
    return [(int(first), int(length)) for first, _, length in (line.split() for line in lines)]


def unprivileged_ids() -> range:
    """User ids that own nothing; enough for one for each call, or one where ids are few."""
    for start, size in _id_ranges():
        if start <= UNUSED_IDS[0] and UNUSED_IDS[-1] < start + size:
            return UNUSED_IDS
    return range(NOBODY, NOBODY + 1)


def enter_namespaces(*, user: bool, network: bool = False) -> None:
    """New namespaces of every kind; the pid namespace begins with the next child.

    user      a user namespace around them, which lets an ordinary user do this
    network   stay in the network that there is
    """
    flags = NAMESPACES & ~(kernel.CLONE_NEWNET if network else 0)
    if not user:
        kernel.unshare(flags)
    elif os.getuid() == 0:
        _enter_as_root(flags)
    else:
        user_id, group_id = os.getuid(), os.getgid()
        kernel.unshare(flags | kernel.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user_id} {user_id} 1")
        Path("/proc/self/gid_map").write_text(f"{group_id} {group_id} 1")
    kernel.detach_mounts()


def _enter_as_root(flags: int) -> None:
    """Ids beyond one's own are mapped by somebody who is outside of the new user namespace."""
    target = os.getpid()
    ready_read, ready_write = os.pipe()
    helper = os.fork()
    if helper == 0:
        code = 1
        try:
            os.close(ready_write)
            os.read(ready_read, 1)
            ranges = "".join(f"{first} {first} {size}\n" for first, size in _id_ranges())
            Path(f"/proc/{target}/uid_map").write_text(ranges)
            Path(f"/proc/{target}/gid_map").write_text(ranges)
            code = 0
        finally:
            os._exit(code)
    os.close(ready_read)
    try:
        kernel.unshare(flags | kernel.CLONE_NEWUSER)
    finally:
        os.close(ready_write)
        status = os.waitpid(helper, 0)[1]
    if status:
        raise PermissionError(1, "cannot map the user ids of the new user namespace")


def private_root(
    readable: Sequence[str],
    writable: Sequence[str] = (),
    *,
    empty: str,
    size: int,
    owner: int,
    processes: bool = False,
) -> None:
    """A file system that holds `readable` (read-only), `writable`, and five devices.

    Every path keeps its name. A path that does not exist is left out; a symbolic link stays one.

    empty       where a directory in memory is, of `size` bytes at most, that `owner` may fill
    processes   show the processes of the pid namespace in /proc, where the kernel allows it
    """
    links = {path: os.readlink(path) for path in readable if os.path.islink(path)}
    trees: list[tuple[str, int, bool]] = []
    for paths, may_write in ((readable, False), (DEVICES, True), (writable, True)):
        for path in paths:
            if path in links or not os.path.exists(path):
                continue
            tree = kernel.open_tree(path)
            kernel.restrict_tree(tree, writable=may_write, devices=paths is DEVICES)
            trees.append((path, tree, os.path.isdir(path)))
    base = "/tmp"
    kernel.mount_tmpfs(base, 1 << 20, INODES)
    os.mkdir(base + empty)
    kernel.mount_tmpfs(base + empty, size, INODES, owner)
    for path, tree, is_folder in sorted(trees):
        place = base + os.path.abspath(path)
        if not os.path.exists(place):
            os.makedirs(place if is_folder else os.path.dirname(place), exist_ok=True)
            if not is_folder:
                os.close(os.open(place, os.O_CREAT | os.O_WRONLY))
        kernel.place_tree(tree, place)
        os.close(tree)
    for path, target in links.items():
        os.makedirs(os.path.dirname(base + path), exist_ok=True)
        os.symlink(target, base + path)
    if processes:
        os.mkdir(base + "/proc")
        # Refused in a container that hides parts of its own /proc: then there is none here either.
        with contextlib.suppress(OSError):
            kernel.mount_proc(base + "/proc")
    kernel.swap_root(base)
    kernel.freeze_mount("/")


@dataclass(frozen=True)
class Confinement:
    """The rights that a process gives up for good.

    user             the id to become; None to stay who one is
    user_namespace   enter one more, where no id exists and the processes are counted afresh
    landlock         readable and writable paths, or None for no Landlock
    filter           the program of seccomp, or None for no filter
    programs         programs may be started: a jail
    network          TCP may be used
    baseline         bytes that the process has mapped before
    """

    user: int | None
    user_namespace: bool
    landlock: tuple[Sequence[str], Sequence[str]] | None
    filter: bytes | None
    programs: bool = False
    network: bool = False
    baseline: int = 0


def confine(confinement: Confinement, limits: Limits) -> None:
    """Give up everything; the last thing is the right to make the calls that did it."""
    if confinement.user is not None:
        os.setgroups([])
        os.setresgid(confinement.user, confinement.user, confinement.user)
        os.setresuid(confinement.user, confinement.user, confinement.user)
    if confinement.user_namespace:
        kernel.unshare(kernel.CLONE_NEWUSER)
    kernel.die_with_parent()
    kernel.hide_from_debuggers()
    kernel.forbid_new_privileges()
    kernel.drop_capabilities()
    _limit_resources(confinement, limits)
    if confinement.landlock is not None:
        readable, writable = confinement.landlock
        landlock.restrict(
            readable, writable, programs=confinement.programs, network=confinement.network
        )
    if confinement.filter is not None:
        seccomp.install(confinement.filter)


def _limit_resources(confinement: Confinement, limits: Limits) -> None:
    # A program of its own may reserve address space that it never uses (V8 does).
    memory = resource.RLIMIT_DATA if confinement.programs else resource.RLIMIT_AS
    for kind, most in (
        (memory, limits.memory_bytes + confinement.baseline),
        (resource.RLIMIT_CPU, math.ceil(limits.cpu_s)),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        most = min(most, resource.getrlimit(kind)[1] % (1 << 64))
        resource.setrlimit(kind, (most, most))
