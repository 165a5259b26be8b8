"""From the fork to the moment when untrusted code begins: the layers go on.

The first frame to the caller says whether they did. Only then does the caller send what to run, so
nothing hostile can have written that frame.
"""

import fcntl
import json
import os
from typing import NoReturn

from openk2.environments.sandbox import frames, harness, kernel
from openk2.environments.sandbox.contract import Limits
from openk2.environments.sandbox.layers import INODES, SCRATCH, Confinement, confine

__all__ = ["run"]

ABOVE = 64  # descriptors are moved out of the way of 0 to 4 first


def run(
    descriptors: list[int],
    proc: int,
    confinement: Confinement,
    limits: Limits,
    scratch: str | None,
) -> NoReturn:
    """A whole call; never returns.

    descriptors   stdin, stdout, stderr, requests, results
    proc          the directory /proc, where it is hidden
    scratch       the directory to work in; None to mount one
    """
    code = 1
    try:
        os.setsid()
        _only_descriptors([*descriptors, proc])
        try:
            _be_first_to_go(len(descriptors))
            _enter_scratch(confinement, limits, scratch)
            confine(confinement, limits)
        except OSError as error:
            frames.write_frame(harness.RESULT, json.dumps({"failure": str(error)}).encode())
            os._exit(1)
        frames.write_frame(harness.RESULT, json.dumps({"failure": None}).encode())
        code = harness.serve()
    finally:
        os._exit(code)


def _be_first_to_go(proc: int) -> None:
    """Where the machine runs out of memory, the kernel is to end this process before any other."""
    kernel.hide_from_debuggers(False)  # who is hidden has no access to its own entry either
    descriptor = os.open("self/oom_score_adj", os.O_WRONLY, dir_fd=proc)
    os.write(descriptor, b"1000")
    os.close(descriptor)
    os.close(proc)


def _only_descriptors(descriptors: list[int]) -> None:
    """These become 0, 1, 2, ...; every other one is closed."""
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, ABOVE) for descriptor in descriptors]
    for place, descriptor in enumerate(moved):
        os.dup2(descriptor, place)
    kernel.close_all_from(len(moved))


def _enter_scratch(confinement: Confinement, limits: Limits, scratch: str | None) -> None:
    if scratch is None:
        kernel.unshare(kernel.CLONE_NEWNS)
        owner = os.getuid() if confinement.user is None else confinement.user
        kernel.mount_tmpfs(SCRATCH, limits.file_bytes, INODES, owner)
    os.chdir(scratch or SCRATCH)
