"""The caller's side: one zygote for each set of preloaded modules, started when first needed."""

import functools
import json
import os
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from openk2.environments.sandbox.contract import (
    LAYERS,
    NEEDED,
    Level,
    Limits,
    Probe,
    SandboxUnavailable,
)
from openk2.environments.sandbox.layers import SCRATCH

__all__ = ["START", "WarmUp", "Zygote", "probe", "zygote_of"]

PLANS = ("user", "root", "none")
START_S = 60.0
MESSAGE_BYTES = 1 << 16
START = str(Path(__file__).with_name("start.py"))
# Hashes, and with them the order of sets, are the same in every call. One thread in each child:
# more would count against its processes. Some packages fill a cache when they are imported.
ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONUTF8": "1",
    "HOME": SCRATCH,
    "TMPDIR": SCRATCH,
}


@dataclass(frozen=True)
class WarmUp:
    """What a zygote does before its first call: import modules, then run trusted code."""

    modules: tuple[str, ...] = ()
    code: str = ""


@dataclass(frozen=True)
class Zygote:
    """A warm interpreter that runs; `fork` may be called from several threads at once."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    plan: str
    probe: Probe

    def fork(self, descriptors: Sequence[int], limits: Limits) -> None:
        """Start a call; OSError where the zygote is gone.

        descriptors   stdin, stdout, stderr, requests, results, and the hold on the call
        """
        socket.send_fds(self.control, [json.dumps(asdict(limits)).encode()], [*descriptors])

    def close(self) -> None:
        """End the zygote and every call of it."""
        self.control.close()
        self.process.kill()
        self.process.wait()


class _Pool:
    """All zygotes of one process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.zygotes: dict[WarmUp, Zygote] = {}
        # Which plan works, and why those before it do not.
        self.plan: str | None = None
        self.refusals: dict[str, str] = {}

    def get(self, warm_up: WarmUp) -> Zygote:
        """The zygote that is warm in this way, started unless it runs."""
        with self.lock:
            zygote = self.zygotes.get(warm_up)
            if zygote is not None and zygote.process.poll() is not None:
                zygote.close()
                zygote = None
            if zygote is None:
                zygote = self.zygotes[warm_up] = self._start(warm_up)
            return zygote

    def _start(self, warm_up: WarmUp) -> Zygote:
        plans = PLANS if self.plan is None else (self.plan,)
        for plan in plans:
            if plan == "root" and os.geteuid() != 0:
                continue
            answer, zygote = _launch(plan, warm_up)
            if "failure" in answer:
                raise SandboxUnavailable(
                    f"the sandbox cannot preload {', '.join(warm_up.modules)}: {answer['failure']}"
                )
            if zygote is not None:
                self.plan = plan
                return _with_reasons(zygote, self.refusals)
            self.refusals[plan] = answer["refused"]
        raise SandboxUnavailable(f"the sandbox does not start: {self.refusals[plans[-1]]}")


_pool = _Pool()


def _launch(plan: str, warm_up: WarmUp) -> tuple[dict[str, Any], Zygote | None]:
    """Start a zygote; its first message, and the zygote where that says that it runs."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    owner = os.pidfd_open(os.getpid())
    settings = json.dumps({**asdict(warm_up), "path": _search_path(warm_up.modules)})
    arguments = ["zygote", str(theirs.fileno()), str(owner), plan, settings]
    # As isolated as -I makes it, but that the few variables of ENVIRONMENT count.
    process = subprocess.Popen(
        [sys.executable, "-s", "-S", "-P", START, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(theirs.fileno(), owner),
        env=ENVIRONMENT,
        cwd="/",
    )
    theirs.close()
    os.close(owner)
    ours.settimeout(START_S)
    try:
        message = ours.recv(MESSAGE_BYTES)
    except TimeoutError:
        message = b""
    ours.settimeout(None)
    answer: dict[str, Any] = {"refused": "its interpreter died at the start"}
    if message:
        answer = json.loads(message)
    if "layers" in answer:
        return answer, Zygote(process, ours, plan, Probe.of(answer["layers"]))
    ours.close()
    process.kill()
    process.wait()
    return answer, None


def _search_path(modules: Sequence[str]) -> tuple[str, ...]:
    """Where the modules are installed; nothing where the standard library has all of them."""
    if all(name.partition(".")[0] in sys.stdlib_module_names for name in modules):
        return ()
    installed = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    other = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    return tuple(dict.fromkeys((*installed, *other)))


def _with_reasons(zygote: Zygote, refusals: dict[str, str]) -> Zygote:
    """The zygote's probe, telling why the kernel refused the better plans."""
    layers = dict(zygote.probe.layers)
    for layer, state in layers.items():
        if layer.endswith("namespace") and state != "active":
            layers[layer] = refusals["user" if layer == "user namespace" else [*refusals][-1]]
    return replace(zygote, probe=Probe.of(layers))


@functools.cache
def _forget_after_fork() -> None:
    """A fork of this process starts zygotes of its own: those there are belong to its parent."""

    def forget() -> None:
        global _pool
        _pool = _Pool()

    os.register_at_fork(after_in_child=forget)


def _zygote(warm_up: WarmUp) -> Zygote:
    _forget_after_fork()
    return _pool.get(warm_up)


def probe() -> Probe:
    """What this machine allows; the first call starts the sandbox, which takes about 0.1 s."""
    try:
        return _zygote(WarmUp()).probe
    except SandboxUnavailable as error:
        return Probe(Level.NONE, dict.fromkeys(LAYERS, str(error)))


def zygote_of(warm_up: WarmUp, minimum_level: Level) -> Zygote:
    """A zygote that reaches the level; SandboxUnavailable says what is missing."""
    zygote = _zygote(warm_up)
    found = zygote.probe
    if found.level < minimum_level:
        layer = next(
            layer
            for layer in found.layers
            if layer in NEEDED[minimum_level] and found.layers[layer] != "active"
        )
        raise SandboxUnavailable(
            f"this machine reaches the sandbox level {found.level.name}, not {minimum_level.name}: "
            f"no {layer} ({found.layers[layer]}); allow it (for namespaces: unprivileged user "
            f"namespaces by sysctl, or root with CAP_SYS_ADMIN), or accept less with "
            f"minimum_level=Level.{found.level.name}"
        )
    return zygote
