"""What this machine offers: cores that are really free, memory, number formats.

Threads are measured, not assumed. Where other programs keep some cores busy, a thread more than
there are free cores makes every parallel loop wait for the one that got no core: on four cores of
which one is busy, training with four threads took twice the time of three.
"""

import ctypes
import hashlib
import os
import platform
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Machine",
    "free_memory_bytes",
    "keep_freed_memory",
    "limit_spinning",
    "probe_machine",
]

PROBE_BYTES = 4 << 20  # hashed by each thread at a time: some 3 ms of pure computation
PROBE_ROUNDS = 15
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
EFFICIENCY = 0.7  # n threads are worth having if each still gets this share of a core


@dataclass(frozen=True)
class Machine:
    """What a run uses here, and why."""

    platform: str
    cpu: str
    cores: int
    memory_bytes: int
    python: str
    threads: int
    threads_reason: str
    dtype: str  # "bfloat16" or "float32", the compute dtype on the CPU
    dtype_reason: str


def probe_machine(threads: int | None = None, dtype: str = "auto") -> Machine:
    """Look at the machine; takes about a fifth of a second.

    `threads` and `dtype` are what the run's configuration asks for (None and "auto": choose). Where
    it leaves the threads open, the user's OMP_NUM_THREADS decides, and only then the probe.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    model, flags = _cpu()
    # OpenMP takes a list, one number a nesting level.
    variable = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if threads is not None:
        reason = "the configuration says so"
    elif variable.isascii() and variable.isdigit() and int(variable):
        threads, reason = int(variable), "OMP_NUM_THREADS says so"
    else:
        threads, reason = _free_cores(cores)
    if dtype != "auto":
        dtype_reason = "the configuration says so"
    elif found := flags & {"avx512_bf16", "amx_bf16", "bf16"}:
        dtype, dtype_reason = "bfloat16", f"the CPU has {' and '.join(sorted(found))}"
    else:
        dtype, dtype_reason = "float32", "the CPU has no bfloat16 arithmetic"
    return Machine(
        platform=platform.platform(),
        cpu=model,
        cores=cores,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        python=platform.python_version(),
        threads=threads,
        threads_reason=reason,
        dtype=dtype,
        dtype_reason=dtype_reason,
    )


def limit_spinning() -> None:
    """Let a thread that waits for others go to sleep soon; call before torch is first imported.

    GNU OpenMP lets it spin for milliseconds. That gains nothing measurable on an idle machine over
    this value and, as soon as another program wants a core, costs everything: a training step that
    takes 0.3 s alone did not end within a minute beside two busy processes, and takes 0.9 s so.
    A value that the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:  # which a spin count would overrule
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def keep_freed_memory() -> None:
    """Let malloc reuse large blocks rather than return them to the kernel.

    A returned block comes back page by page, each zeroed on first touch: for the tensors of a
    training step that takes several times as long as the arithmetic done on them.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "gnu_get_libc_version"):
            libc.mallopt(M_MMAP_MAX, 0)
            libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def free_memory_bytes() -> int:
    """Memory that can be taken without swapping."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _cpu() -> tuple[str, set[str]]:
    """The processor's name and feature flags."""
    info = Path("/proc/cpuinfo")
    name, flags = platform.processor() or platform.machine(), set[str]()
    if info.exists():
        for line in info.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = set(value.split())
                break
    return name, flags


def _free_cores(cores: int) -> tuple[int, str]:
    """The largest number of threads that run side by side without taking turns.

    Hashing a large block releases the interpreter lock and uses nothing but a core.
    """
    block = bytes(PROBE_BYTES)
    with ThreadPoolExecutor(cores) as pool:

        def seconds(threads: int) -> float:
            begin = time.perf_counter()
            list(pool.map(hashlib.sha256, [block] * threads))
            return time.perf_counter() - begin

        seconds(cores)  # starts the threads
        alone = min(seconds(1) for _ in range(PROBE_ROUNDS))
        for threads in range(cores, 1, -1):
            # The lower quartile: a moment's disturbance is no busy core, a busy one always shows.
            together = statistics.quantiles((seconds(threads) for _ in range(PROBE_ROUNDS)), n=4)[0]
            if alone / together >= EFFICIENCY:
                busy = cores - threads
                reason = (
                    f"all {cores} cores are free"
                    if not busy
                    else (f"{busy} of {cores} cores are busy with other programs")
                )
                return threads, reason
    return 1, "one core is there" if cores == 1 else f"the other {cores - 1} cores are busy"
