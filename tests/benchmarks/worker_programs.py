"""Programs for the processes of benchmarks.timing; without torch, so that they start at once."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

Prepare = Callable[[int], Callable[[], object]]


def writes(name: str, file: Path) -> Prepare:
    """Every round appends the program's name, the round's number and the process."""
    return lambda number: partial(_append, file, f"{name} {number} {os.getpid()}\n")


def fails_while_built() -> Prepare:
    raise ValueError("no such weights")


def fails_in_round_1() -> Prepare:
    return lambda number: partial(divmod, 1, 1 - number)


def dies() -> Prepare:
    return lambda number: partial(os._exit, 7)


def sleeps() -> Prepare:
    return lambda number: partial(time.sleep, 0.2)


def _append(file: Path, line: str) -> None:
    with file.open("a", encoding="utf-8") as out:
        out.write(line)
