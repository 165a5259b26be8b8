"""Interleaved timing.

Two programs timed one after the other are timed on two machines: clock, caches and neighbours
drift over seconds. So every round runs each work once (ours, peer, ours, peer, ...): drift hits all
alike, and medians leave out the round in which something else woke up.

Programs that share a process also share what its libraries keep: a cache that one of them floods is
empty for all. `started` gives each a process of its own, and `interleaved_workers` the turns.
"""

import gc
import multiprocessing
import statistics
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from openk2.core.device import limit_spinning

__all__ = [
    "DEFAULT_ROUNDS",
    "LEAST_ROUNDS",
    "Build",
    "Prepare",
    "Timing",
    "Worker",
    "interleaved",
    "interleaved_workers",
    "started",
]

# A round's number -> its work. What it takes to make the work is not timed.
Prepare = Callable[[int], Callable[[], object]]
Build = Callable[[], Prepare]  # called once, in the process that will run the rounds

DEFAULT_ROUNDS = 7
LEAST_ROUNDS = 5  # fewer have no interquartile range worth the name


@dataclass(frozen=True)
class Timing:
    """The wall-clock seconds of one work, a value a round."""

    seconds: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.seconds)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Interquartile range over median; 0 for a single round."""
        if self.n < 2:
            return 0.0
        lower, _, upper = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (upper - lower) / self.median

    def cells(self) -> tuple[str, str, str]:
        """n, median in milliseconds and spread, as a table shows them."""
        return str(self.n), f"{self.median * 1e3:.1f}", f"{self.spread:.1%}"


def interleaved(
    works: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1
) -> dict[str, Timing]:
    """Run every work once a round, in the given order, and time each call.

    The first `warm_up` rounds are not counted: they fill caches and the allocator's pools. Python's
    collector is off while the clock runs, as in timeit, and collects between rounds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    enabled = gc.isenabled()
    gc.disable()
    try:
        for number in range(warm_up + rounds):
            gc.collect()
            for name, work in works.items():
                begin = time.perf_counter()
                work()
                taken = time.perf_counter() - begin
                if number >= warm_up:
                    seconds[name].append(taken)
    finally:
        if enabled:
            gc.enable()
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


class Worker:
    """A program in a process of its own, which runs a round when told to and times it there."""

    def __init__(self, name: str, build: Build) -> None:
        """Start the process; `build` is pickled, so it is a function of a module, or a partial."""
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, build), daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process ends the connection

    def wait(self) -> None:
        """Until the program is built; raises RuntimeError with its error if that fails."""
        self._answer()

    def run(self, number: int) -> float:
        """Run round `number`; its seconds. Raises RuntimeError with the error of the program."""
        with suppress(OSError):  # a process that has ended may have left its error: reading tells
            self._connection.send(number)
        return self._answer()

    def end(self) -> None:
        """End the process, whatever it is doing; calling it again does nothing."""
        self._process.terminate()
        self._process.join()
        self._connection.close()

    def _answer(self) -> float:
        try:
            answer: float | str = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            code = self._process.exitcode
            raise RuntimeError(f"{self.name}: its process ended with code {code}") from error
        if isinstance(answer, str):
            raise RuntimeError(f"{self.name} failed in its process:\n{answer}")
        return answer


@contextmanager
def started(builds: Mapping[str, Build]) -> Iterator[dict[str, Worker]]:
    """A worker for each program, all built; they are ended on the way out, also by an error."""
    limit_spinning()  # inherited, and read when a worker first imports torch
    workers: dict[str, Worker] = {}
    try:
        for name, build in builds.items():
            workers[name] = Worker(name, build)
        for worker in workers.values():
            worker.wait()
        yield workers
    finally:
        for worker in workers.values():
            worker.end()


def interleaved_workers(workers: Mapping[str, Worker], numbers: Iterable[int]) -> dict[str, Timing]:
    """Run the rounds with these numbers, each by every worker in the given order, one at a time."""
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for number in numbers:
        for name, worker in workers.items():
            seconds[name].append(worker.run(number))
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def _serve(connection: Connection, build: Build) -> None:
    """What a worker's process does: build, then answer each number with seconds, until the end."""
    gc.disable()  # collects between rounds, as in `interleaved`
    try:
        prepare = build()
        connection.send(0.0)
        while True:
            try:
                number = connection.recv()
            except EOFError:  # the parent is gone
                return
            work = prepare(number)
            gc.collect()
            begin = time.perf_counter()
            work()
            connection.send(time.perf_counter() - begin)
    except Exception:
        connection.send(traceback.format_exc())
