"""What a call into the sandbox costs, beside starting Python without one; no model, no torch.

Each round runs each work once. Grades per second count whole calls of five cases, from several
threads of one process, as a trainer grades a batch.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks.table import Table, verdict
from benchmarks.timing import Timing, interleaved
from openk2.environments.sandbox import call_function, probe, run_python

__all__ = ["run"]

ROUNDS = 100
GRADES = 400
THREADS = (1, 4, 8)
TARGET_MS = 15.0
TARGET_GRADES = 200.0
FUNCTION = "def solve(values):\n    return sorted(values)\n"
CASES = [[[n, 3, 1, 2]] for n in range(5)]


def run(rounds: int) -> list[Table]:
    """Latency of one call, and calls per second from several threads."""
    return [_latency(max(rounds, ROUNDS)), _throughput(rounds)]


def _latency(rounds: int) -> Table:
    python = [sys.executable, "-I", "-S", "-c", "pass"]
    warm: dict[str, Callable[[], object]] = {
        "call_function, 5 cases": lambda: call_function(FUNCTION, "solve", CASES),
        "call_function, 5 cases, sympy preloaded": lambda: call_function(
            FUNCTION, "solve", CASES, preload=("sympy",)
        ),
        "run_python": lambda: run_python("print(input())", "1"),
    }
    works = warm | {"a cold python -I -S": lambda: subprocess.run(python, check=True)}
    if shutil.which("unshare"):
        apart = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", *python]
        works["a cold python -I -S under unshare"] = lambda: subprocess.run(apart, check=True)
    for work in works.values():
        work()
    timings = interleaved(works, rounds)
    rows = [
        [name, *timing.cells(),
         *((f"{TARGET_MS:.0f}", verdict(timing.median * 1e3, TARGET_MS, larger_is_better=False))
           if name in warm else ("-", ""))]
        for name, timing in timings.items()
    ]  # fmt: skip
    note = f"sandbox level {probe().level.name}"
    columns = ("one call", "n", "ms", "spread", "target ms", "result")
    return Table("Calls into the sandbox", columns, rows, (note,))


def _throughput(rounds: int) -> Table:
    rows = []
    for threads in THREADS:
        with ThreadPoolExecutor(threads) as pool:
            timing = Timing(tuple(_grade_all(pool) for _ in range(rounds)))
        rate = GRADES / timing.median
        met = verdict(rate, TARGET_GRADES) if threads == 4 else ""
        target = f"{TARGET_GRADES:.0f}" if threads == 4 else "-"
        rows.append(
            [str(threads), str(timing.n), f"{rate:.0f}", f"{timing.spread:.1%}", target, met]
        )
    columns = ("threads", "n", "grades/s", "spread", "target", "result")
    return Table("Grades per second, 5 cases each", columns, rows, (f"{GRADES} grades a round",))


def _grade_all(pool: ThreadPoolExecutor) -> float:
    """Seconds for all grades of a round; every one of them is checked."""
    started = time.perf_counter()
    for result in pool.map(lambda _: call_function(FUNCTION, "solve", CASES), range(GRADES)):
        for (values,), outcome in zip(CASES, result.outcomes, strict=True):
            assert outcome.value == sorted(values)
    return time.perf_counter() - started
