"""Interleaved timing.

Two programs timed one after the other are timed on two machines: clock, caches and neighbours
drift over seconds. So every round runs each work once (ours, peer, ours, peer, ...): drift hits all
alike, and medians leave out the round in which something else woke up.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["DEFAULT_ROUNDS", "LEAST_ROUNDS", "Timing", "interleaved"]

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
