"""The filter of system calls: a deny list, as classic BPF (Linux, seccomp(2)).

Refused are: looking into other processes, mounts, new namespaces, kernel keys, modules, bpf, perf,
io_uring and userfaultfd, clocks and host names, sockets but for pairs of streams, memory that no
limit counts (System V, message queues, memfd), other programs (`execve`), leaving the process
group, and signals where no pid namespace keeps them in. A call of a foreign architecture ends the
process.
"""

import ctypes
import struct

from openk2.environments.sandbox.kernel import MACHINE, prctl

__all__ = ["filter_program", "install", "unavailable"]

# name: (x86_64, aarch64); a call that an architecture lacks is None there.
INSPECTION = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "perf_event_open": (298, 241),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "lookup_dcookie": (212, 18),
}
MOUNTS = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "open_tree_attr": (467, 467),
    "unshare": (272, 97),
    "setns": (308, 268),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
}
KERNEL = {
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "syslog": (103, 116),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "personality": (135, 92),
    "vhangup": (153, 58),
    "nfsservctl": (180, 42),
}
# Their callers go on without them where the kernel is too old to have them.
ABSENT = {
    "clone3": (435, 435),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "memfd_secret": (447, 447),
}
# Not for programs in a jail, which may need them and have namespaces for all of it.
HIDDEN_MEMORY = {
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
}
PROGRAMS = {
    "execve": (59, 221),
    "execveat": (322, 281),
    "setsid": (112, 157),
    "setpgid": (109, 154),
}
SOCKETS = {
    "bind": (49, 200),
    "connect": (42, 203),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
}
SIGNALS = {
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
}
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
CLONE, SOCKET, SOCKETPAIR = (56, 220), (41, 198), (53, 199)
FCNTL, IOCTL, PRLIMIT = (72, 25), (16, 29), (302, 261)

LOAD, EQUAL, AT_LEAST, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, EAFNOSUPPORT, ENOSYS = 1, 97, 38
X32_BIT = 0x40000000
NEW_NAMESPACES = 0x7E020000
AF_UNIX, SOCK_STREAM, SOCK_TYPE_MASK = 1, 1, 0xF
F_SETOWN, F_SETOWN_EX = 8, 15
# Typing into a terminal, and signals by way of a descriptor's owner.
FORBIDDEN_IOCTLS = (0x5412, 0x541C, 0x8901, 0x8902)
PR_SET_SECCOMP, PR_GET_SECCOMP, MODE_FILTER = 22, 21, 2
Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def _refuse(number: int | None, error: int = EPERM) -> list[Instruction]:
    if number is None:
        return []
    return [(EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE | error)]


def _argument(position: int) -> Instruction:
    """Load the low half of an argument; the two architectures are little-endian."""
    return (LOAD, 0, 0, 16 + 8 * position)


def _when(number: int, body: list[Instruction]) -> list[Instruction]:
    """`body`, then allow, for one system call."""
    return [(EQUAL, 0, len(body) + 1, number), *body, (RETURN, 0, 0, ALLOW)]


def _refuse_if_equal(position: int, values: tuple[int, ...]) -> list[Instruction]:
    checks = [(EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
    return [_argument(position), *checks, (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE | EPERM)]


def _only_families(families: tuple[int, ...]) -> list[Instruction]:
    """Refuse unless the first argument is one of `families`; what follows allows."""
    checks = [(EQUAL, len(families) - at, 0, family) for at, family in enumerate(families)]
    return [_argument(0), *checks, (RETURN, 0, 0, REFUSE | EAFNOSUPPORT)]


def _sockets(column: int, families: tuple[int, ...], datagrams: bool) -> list[Instruction]:
    """Sockets of `families`, and pairs; a pair of datagram sockets could be connected anew."""
    pairs = _only_families((AF_UNIX,))
    if not datagrams:
        stream = [_argument(1), (AND, 0, 0, SOCK_TYPE_MASK), (EQUAL, 1, 0, SOCK_STREAM)]
        pairs += [*stream, (RETURN, 0, 0, REFUSE | EAFNOSUPPORT)]
    return _when(SOCKET[column], _only_families(families)) + _when(SOCKETPAIR[column], pairs)


def filter_program(
    *,
    pid_namespace: bool,
    programs: bool = False,
    families: tuple[int, ...] = (),
    machine: str = MACHINE,
) -> bytes:
    """The filter for a machine, this one unless said.

    programs   other programs may be started (a jail), and the calls those need
    families   of sockets that may be opened
    """
    column, architecture = ARCHITECTURES[machine]
    refused = INSPECTION | MOUNTS | KERNEL
    if not programs:
        refused |= HIDDEN_MEMORY | PROGRAMS
    if not families:
        refused |= SOCKETS
    if not pid_namespace:
        refused |= SIGNALS
    program: list[Instruction] = [
        (LOAD, 0, 0, 4),
        (EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, 0),
        (AT_LEAST, 0, 1, X32_BIT),
        (RETURN, 0, 0, KILL),
    ]
    for numbers in refused.values():
        program += _refuse(numbers[column])
    for numbers in ABSENT.values():
        program += _refuse(numbers[column], ENOSYS)
    new_namespace = [_argument(0), (ANY_BIT, 0, 1, NEW_NAMESPACES), (RETURN, 0, 0, REFUSE | EPERM)]
    program += _when(CLONE[column], new_namespace)
    program += _sockets(column, families, datagrams=programs)
    program += _when(FCNTL[column], _refuse_if_equal(1, (F_SETOWN, F_SETOWN_EX)))
    program += _when(IOCTL[column], _refuse_if_equal(1, FORBIDDEN_IOCTLS))
    other = [_argument(0), (EQUAL, 1, 0, 0), (RETURN, 0, 0, REFUSE | EPERM)]
    program += _when(PRLIMIT[column], other)
    program.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def unavailable() -> str | None:
    """Why this machine cannot filter system calls, or None."""
    if MACHINE not in ARCHITECTURES:
        return f"no table of system calls for {MACHINE}"
    try:
        prctl("seccomp", PR_GET_SECCOMP)
    except OSError as error:
        return str(error)
    return None


def install(program: bytes) -> None:
    """Put the filter on this process and all that it starts; nothing takes it off again."""
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
    address = ctypes.create_string_buffer(header, len(header))
    prctl("seccomp", PR_SET_SECCOMP, MODE_FILTER, ctypes.addressof(address))
