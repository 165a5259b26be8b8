"""The line above the figures: what they were taken on, and whether anything else was running."""

import os
from importlib.metadata import version

from openk2.core.device import Machine, probe_machine

__all__ = ["busy_warning", "load_average", "machine_line"]

IDLE_LOAD = 0.5  # one-minute load average below which nothing else is running


def machine_line(machine: Machine) -> str:
    """CPU, threads and the versions that a timing depends on."""
    return (
        f"{machine.cpu}, {machine.threads} of {machine.cores} threads; "
        f"torch {version('torch')}, transformers {version('transformers')}, "
        f"Python {machine.python}"
    )


def load_average() -> str:
    """The load averages over 1, 5 and 15 minutes."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def busy_warning(load_counts: bool) -> str | None:
    """One line if other processes are using the cores; None if they are free.

    The cores are probed (`openk2.core.device`). Where OMP_NUM_THREADS keeps the probe from looking,
    the load average has to do, if it counts: after a benchmark it holds the benchmark's own load.
    """
    if os.environ.get("OMP_NUM_THREADS"):
        load = os.getloadavg()[0]
        if load_counts and load > IDLE_LOAD:
            return (
                f"warning: the load average is {load:.2f}; the figures are not of an idle machine"
            )
        return None
    probe = probe_machine()
    if probe.threads < probe.cores:
        return f"warning: {probe.threads_reason}; the figures are not of an idle machine"
    return None
