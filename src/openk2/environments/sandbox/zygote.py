"""A warm interpreter that forks one confined child for each call.

It is started by the pool as a program of its own (start.py), so that nothing of the caller's memory
is in it, and enters its namespaces and its private file system before it imports what the children
will need. It never reads what it is asked to run: that goes from the caller to the child directly.

The caller holds one socket for each call. The zygote ends a call when that socket is shut down, and
ends itself, with all calls, when its caller does.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from openk2.environments.sandbox import child, frames, kernel, landlock, layers, seccomp
from openk2.environments.sandbox.contract import LAYERS, Limits
from openk2.environments.sandbox.layers import DEVICES, SCRATCH, Confinement

__all__ = ["LIBRARIES", "main"]

# What the standard library's extension modules load.
LIBRARIES = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    f"{sys.base_prefix}/lib",
    os.path.dirname(os.__file__),
)
WARM_UP_BYTES = 16 << 20
MESSAGE_BYTES = 1 << 16
DESCRIPTORS = 6  # stdin, stdout, stderr, requests, results, and the caller's hold on the call
PAGE = os.sysconf("SC_PAGE_SIZE")


def main(arguments: list[str]) -> NoReturn:
    """start.py zygote CONTROL PARENT PLAN SETTINGS.

    CONTROL    descriptor of a socket to the pool
    PARENT     descriptor (pidfd) of the process whose end is the zygote's
    PLAN       "user": namespaces in a user namespace; "root": without one; "none": no namespaces
    SETTINGS   JSON: modules and code of the warm-up, path (directories to import from)
    """
    control = socket.socket(fileno=int(arguments[0]))
    parent, plan, settings = int(arguments[1]), arguments[2], json.loads(arguments[3])
    code = 1
    try:
        if plan != "none":
            layers.enter_namespaces(user=plan == "user")
        pid = os.fork()
        if pid == 0:
            kernel.die_with_parent()
            _run(control, parent, plan, settings)
        control.close()
        os.waitpid(pid, 0)
        code = 0
    except OSError as error:
        control.send(json.dumps({"refused": str(error)}).encode())
    finally:
        os._exit(code)


def _run(control: socket.socket, parent: int, plan: str, settings: Mapping[str, Any]) -> None:
    """The zygote proper; its first message says which layers there are, or what failed."""
    try:
        zygote = Zygote(control, parent, plan, settings)
        zygote.try_out()
    except OSError as error:
        control.send(json.dumps({"refused": str(error)}).encode())
        os._exit(1)
    try:
        zygote.warm_up(settings["modules"], settings["code"])
    except Exception as error:
        control.send(json.dumps({"failure": f"{type(error).__name__}: {error}"}).encode())
        os._exit(1)
    control.send(json.dumps({"layers": zygote.layers}).encode())
    zygote.serve()


@dataclass
class Call:
    """A child that runs: its id, its pidfd, the caller's hold on it, a directory to remove."""

    pid: int
    process: int
    hold: int
    scratch: str | None


class Zygote:
    """The loop that forks, kills and reports."""

    def __init__(
        self, control: socket.socket, parent: int, plan: str, settings: Mapping[str, Any]
    ) -> None:
        self.control = control
        self.parent = parent
        self.path = settings["path"]
        self.namespaces = plan != "none"
        self.layers = _layers(plan)
        self.calls: dict[int, Call] = {}  # by the descriptors of the process and of the hold
        self.started = 0
        self.poll = select.poll()
        # All of /proc that is needed, opened while it is there.
        self.proc = os.open("/proc", os.O_RDONLY | os.O_CLOEXEC)
        self.memory = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self.own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.ids = layers.unprivileged_ids() if os.getuid() == 0 else None
        self.readable = [*dict.fromkeys((*LIBRARIES, *self.path))]
        self.filter = None
        if self.layers["seccomp"] == "active":
            self.filter = seccomp.filter_program(pid_namespace=self.namespaces)
        if self.namespaces:
            # The scratch directory of each child will cover this one, which is for warming up.
            layers.private_root(self.readable, empty=SCRATCH, size=WARM_UP_BYTES, owner=os.getuid())
            self.readable = ["/"]

    def warm_up(self, modules: Sequence[str], code: str) -> None:
        """Import and run what every child would have to, once for all of them."""
        sys.path.extend(self.path)
        for module in modules:
            importlib.import_module(module)
        exec(code, {"__name__": "warm_up"})
        kernel.hide_from_debuggers()
        gc.collect()
        gc.freeze()
        gc.disable()

    def try_out(self) -> None:
        """A call of nothing; OSError unless all layers go on."""
        null = os.open(os.devnull, os.O_RDWR)
        requests, unused = os.pipe()
        answers, results = os.pipe()
        ours, hold = socket.socketpair()
        os.close(unused)
        given = [null, os.dup(null), os.dup(null), requests, results, hold.detach()]
        self.start(asdict(Limits()), given)
        answer = frames.read_frame(answers)
        os.close(answers)
        ours.close()
        self.finish(next(iter(self.calls.values())))
        failure = json.loads(answer)["failure"] if answer else "the first child died"
        if failure:
            raise OSError(failure)

    def serve(self) -> NoReturn:
        """Until the caller has ended or closed its socket."""
        for descriptor in (self.control.fileno(), self.parent):
            self.poll.register(descriptor, select.POLLIN)
        while True:
            events = [descriptor for descriptor, _ in self.poll.poll()]
            # A new call last: its descriptors may have the numbers of those that end here.
            for descriptor in sorted(events, key=lambda number: number == self.control.fileno()):
                if descriptor == self.parent:
                    self.stop()
                elif descriptor == self.control.fileno():
                    message, received, _, _ = socket.recv_fds(
                        self.control, MESSAGE_BYTES, DESCRIPTORS
                    )
                    if not message:
                        self.stop()
                    self.start(json.loads(message), received)
                elif descriptor in self.calls:
                    call = self.calls[descriptor]
                    if descriptor == call.hold:
                        self.poll.unregister(call.hold)
                        self.kill(call)
                    else:
                        self.finish(call)

    def start(self, limits: Mapping[str, Any], received: list[int]) -> None:
        """Fork a child with these limits; the last descriptor is the hold on it."""
        *given, hold = received
        self.started += 1
        call = Call(0, -1, hold, None if self.namespaces else tempfile.mkdtemp(prefix="sandbox-"))
        try:
            if self.namespaces:
                kernel.unshare(kernel.CLONE_NEWPID)
            try:
                call.pid = os.fork()
                if call.pid == 0:
                    child.run(
                        given, self.proc, self.confinement(call), Limits(**limits), call.scratch
                    )
            finally:
                if self.namespaces and call.pid:
                    kernel.setns(self.own_pids, kernel.CLONE_NEWPID)
        except OSError as error:
            _tell(hold, {"failure": f"cannot start a process: {error}"})
            os.close(hold)
        else:
            call.process = os.pidfd_open(call.pid)
            for descriptor in (call.process, hold):
                self.calls[descriptor] = call
                self.poll.register(descriptor, select.POLLIN)
        for descriptor in given:
            os.close(descriptor)

    def confinement(self, call: Call) -> Confinement:
        """What the child of this call gives up."""
        user = None if self.ids is None else self.ids[self.started % len(self.ids)]
        if call.scratch is not None and user is not None:
            os.chown(call.scratch, user, user)
        rules = None
        if self.layers["landlock"] == "active":
            rules = (self.readable, [call.scratch or SCRATCH, *DEVICES])
        return Confinement(
            user=user,
            user_namespace=self.layers["user namespace"] == "active",
            landlock=rules,
            filter=self.filter,
            baseline=int(os.pread(self.memory, 100, 0).split()[0]) * PAGE,
        )

    def kill(self, call: Call) -> None:
        """End a call: with the first process of a pid namespace go all others."""
        os.kill(call.pid, signal.SIGKILL)

    def finish(self, call: Call) -> None:
        """The first process has ended: so do the others, and the caller is told how."""
        status, usage = os.wait4(call.pid, 0)[1:]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(call.pid, signal.SIGKILL)
        if call.scratch is not None:
            shutil.rmtree(call.scratch, ignore_errors=True)
        code = os.waitstatus_to_exitcode(status)
        _tell(call.hold, {"code": code, "cpu_s": usage.ru_utime + usage.ru_stime})
        for descriptor in (call.process, call.hold):
            del self.calls[descriptor]
            with contextlib.suppress(KeyError):
                self.poll.unregister(descriptor)
            os.close(descriptor)

    def stop(self) -> NoReturn:
        """End with everything that was started."""
        for call in {call.pid: call for call in self.calls.values()}.values():
            self.kill(call)
            self.finish(call)
        os._exit(0)


def _layers(plan: str) -> dict[str, str]:
    """Which layers the children will wear, and why not the others."""
    found = dict.fromkeys(LAYERS, "active")
    if plan == "none":
        found |= {name: "refused by the kernel" for name in LAYERS if name.endswith("namespace")}
    elif plan == "root":
        found["user namespace"] = "refused by the kernel"
    reason = seccomp.unavailable()
    if reason is not None:
        found["seccomp"] = reason
    try:
        landlock.abi()
    except OSError as error:
        found["landlock"] = str(error)
    return found


def _tell(hold: int, message: Mapping[str, Any]) -> None:
    """The last word on a call, to a caller that may be gone."""
    with contextlib.suppress(OSError):
        os.write(hold, json.dumps(message).encode())
