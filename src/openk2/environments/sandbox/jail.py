"""A program of any kind inside the sandbox's layers, its standard streams passed through.

For servers that speak over stdin and stdout. The command line that `jail_command` returns may be
given to anything that starts programs: the process it starts stays outside, ends with the program
or with whoever started it, and takes the program and all of its descendants with it, whatever ends
it. (Without a pid namespace, descendants are left behind.)
"""

import json
import os
import select
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from openk2.environments.sandbox import kernel, layers, pool, seccomp
from openk2.environments.sandbox.contract import DEFAULT_LEVEL, MEBIBYTE, Level, Limits

__all__ = ["JAIL_LIMITS", "jail_command", "main"]

JAIL_LIMITS = Limits(
    wall_s=3600.0,
    cpu_s=600.0,
    memory_bytes=2048 * MEBIBYTE,
    file_bytes=64 * MEBIBYTE,
    processes=64,
    open_files=256,
)
# What programs of the distribution are made of, beside the interpreter that runs this.
PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
TEMPORARY = "/tmp"
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
TIMED_OUT = 128 + signal.SIGALRM


def jail_command(
    command: Sequence[str],
    *,
    readable: Sequence[str | Path] = (),
    writable: Sequence[str | Path] = (),
    environment: Mapping[str, str] | None = None,
    network: bool = False,
    limits: Limits = JAIL_LIMITS,
    minimum_level: Level = DEFAULT_LEVEL,
) -> list[str]:
    """The command line that runs `command` in a jail.

    readable      what the program is installed in, and what else it reads; /usr is there always
    writable      existing directories; the first is the working directory. Where root calls, they
                  are given to the user that the program runs as
    environment   all of the program's environment
    network       leave it in the network of this machine (it still reads none of its other files)
    limits        wall_s for the whole life of the program; file_bytes for each file, and for /tmp
                  as a whole; output_bytes is the reader's to keep

    Raises SandboxUnavailable where the machine does not reach `minimum_level`.
    """
    zygote = pool.zygote_of(pool.WarmUp(), minimum_level)
    settings = {
        "command": list(command),
        "readable": [os.path.abspath(path) for path in readable],
        "writable": [os.path.abspath(path) for path in writable],
        "environment": dict(environment or {}),
        "network": network,
        "limits": asdict(limits),
        "plan": zygote.plan,
        "active": [layer for layer, state in zygote.probe.layers.items() if state == "active"],
    }
    return [sys.executable, "-I", "-S", pool.START, "jail", json.dumps(settings)]


def main(arguments: list[str]) -> NoReturn:
    """start.py jail SETTINGS: the process outside, which waits for the one inside."""
    settings = json.loads(arguments[0])
    starter = os.getppid()
    try:
        ends = [os.pidfd_open(starter)] if starter else []  # 0: it is not to be seen from here
        user = _owner(settings["writable"]) if os.getuid() == 0 else None
        if settings["plan"] != "none":
            layers.enter_namespaces(user=settings["plan"] == "user", network=settings["network"])
        outside, held = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(held)
            _first(settings, user, outside)
        ends.append(os.pidfd_open(pid))
    except OSError as error:
        sys.exit(f"jail: {error}")
    os.closerange(0, 2)  # standard input and output are the program's alone
    poll = select.poll()
    for descriptor in ends:
        poll.register(descriptor, select.POLLIN)
    over = [descriptor for descriptor, _ in poll.poll(settings["limits"]["wall_s"] * 1000)]
    if ends[-1] in over:
        _end_as(pid)
    os._exit(1 if over else TIMED_OUT)


def _first(settings: Mapping[str, Any], user: int | None, outside: int) -> NoReturn:
    """The first process inside, with which a pid namespace ends.

    outside   a pipe that ends with the process outside

    It is never the program itself: that would get rid of the signal at the end of its parent (by
    prctl, or by starting another program from a second thread) and outlive it.
    """
    os.setsid()
    # Where the machine runs out of memory, the kernel is to end what is in here before all else.
    Path("/proc/self/oom_score_adj").write_text("1000")
    kernel.die_with_parent()
    # Whoever had ended before this was said sends no signal.
    if select.select([outside], [], [], 0)[0]:
        os._exit(1)
    if settings["plan"] != "none":
        kernel.hide_from_debuggers()
        pid = os.fork()
        if pid:
            os.closerange(0, 2)  # standard input and output are the program's alone
            _end_as(pid)
    _inside(settings, user, Limits(**settings["limits"]))


def _end_as(pid: int) -> NoReturn:
    """Wait for a child and end as it did."""
    while (ended := os.wait())[0] != pid:
        pass
    code = os.waitstatus_to_exitcode(ended[1])
    os._exit(code if code >= 0 else 128 - code)


def _owner(folders: Sequence[str]) -> int:
    """A user id for the program, which now owns these directories and all that is in them."""
    ids = layers.unprivileged_ids()
    user = ids[os.getpid() % len(ids)]
    for folder in folders:
        for path, _, files, handle in os.fwalk(folder, follow_symlinks=False):
            os.chown(path, user, user, follow_symlinks=False)
            for name in files:
                os.chown(name, user, user, dir_fd=handle, follow_symlinks=False)
    return user


def _inside(settings: Mapping[str, Any], user: int | None, limits: Limits) -> NoReturn:
    """This process becomes the program."""
    try:
        confinement = _enter(settings, user, limits)
        os.chdir(settings["writable"][0] if settings["writable"] else "/")
        layers.confine(confinement, limits)
        kernel.close_all_from(3)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvpe(settings["command"][0], settings["command"], settings["environment"])
    except OSError as error:
        os.write(2, f"jail: {settings['command'][0]}: {error}\n".encode())
    finally:
        os._exit(127)


def _enter(settings: Mapping[str, Any], user: int | None, limits: Limits) -> layers.Confinement:
    """The jail's own file system; what is still to be given up afterwards."""
    readable = [*dict.fromkeys((*PROGRAMS, sys.base_prefix, *settings["readable"]))]
    writable = settings["writable"]
    namespaces = settings["plan"] != "none"
    if namespaces:
        layers.private_root(
            readable,
            writable,
            empty=TEMPORARY,
            size=limits.file_bytes,
            owner=os.getuid() if user is None else user,
            processes=True,
        )
        readable, writable = ["/"], [*writable, TEMPORARY]
    families = (AF_UNIX, AF_INET, AF_INET6, AF_NETLINK) if settings["network"] else (AF_UNIX,)
    active = settings["active"]
    program = seccomp.filter_program(pid_namespace=namespaces, programs=True, families=families)
    return layers.Confinement(
        user=user,
        user_namespace="user namespace" in active,
        landlock=(readable, [*writable, *layers.DEVICES]) if "landlock" in active else None,
        filter=program if "seccomp" in active else None,
        programs=True,
        network=settings["network"],
    )
