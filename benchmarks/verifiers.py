"""Tasks made and answers graded per second, for every family of verifiable environments.

In each round every environment of a family makes some tasks and grades for each an honest answer
and a wrong one. What starts once in a process (imports, the sandbox's warm interpreters) happens
before the first round. A family's figure is over all its environments, one after the other, on one
core; sandboxed graders run their child processes on whatever cores there are.
"""

import time
from collections.abc import Sequence

from benchmarks.table import Table
from benchmarks.timing import Timing
from openk2.environments.base import Task, VerifiableEnvironment
from openk2.environments.registry import FAMILIES, VerifiableEnvironments

__all__ = ["run"]

TASKS = 3  # of each environment in a round
WRONG = "I do not know.\nAnswer: unknown\n<answer>unknown</answer>"


def run(rounds: int, families: Sequence[str] = tuple(FAMILIES)) -> list[Table]:
    """One table, a row a family; tool worlds have a benchmark of their own."""
    rows = []
    for family in families:
        names = [name for name in VerifiableEnvironments() if name.startswith(f"{family}.")]
        worlds = [VerifiableEnvironments()[name] for name in names]
        single = [world for world in worlds if isinstance(world, VerifiableEnvironment)]
        if single:
            rows.append(_row(family, single, rounds))
    columns = ("family", "environments", "n", "tasks/s", "spread", "honest grades/s", "spread",
               "wrong grades/s", "spread")  # fmt: skip
    return [Table("Verifiers: tasks and grades per second, one core", columns, rows)]


def _row(family: str, worlds: Sequence[VerifiableEnvironment], rounds: int) -> list[str]:
    _round(worlds, 0)
    seconds = [_round(worlds, number) for number in range(1, rounds + 1)]
    cells = []
    for kind in range(3):
        timing = Timing(tuple(one[kind] for one in seconds))
        cells += [f"{TASKS * len(worlds) / timing.median:,.0f}", f"{timing.spread:.1%}"]
    return [family, str(len(worlds)), str(rounds), *cells]


def _round(worlds: Sequence[VerifiableEnvironment], number: int) -> tuple[float, float, float]:
    """Seconds for the tasks, their honest answers and wrong answers; the honest must be paid."""
    began = time.perf_counter()
    tasks: list[tuple[VerifiableEnvironment, Task]] = [
        (world, world.task(number * TASKS + place)) for world in worlds for place in range(TASKS)
    ]
    made = time.perf_counter()
    answers = [world.solve(task) for world, task in tasks]
    solved = time.perf_counter()
    for (world, task), answer in zip(tasks, answers, strict=True):
        assert world.verify(task, answer).reward == 1.0, (task.environment, task.index)
    honest = time.perf_counter()
    for world, task in tasks:
        assert world.verify(task, WRONG).reward != 1.0, (task.environment, task.index)
    return made - began, honest - solved, time.perf_counter() - honest
