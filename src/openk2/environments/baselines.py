"""What an environment pays the honest, and what it pays those who do not try.

A score means nothing without the rows beside it: the honest solver must be paid every time; the
empty answer, the echo of the question, another task's answer, the agent that only talks and the one
that calls at random must not be. `measure` plays them all over the same tasks.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from openk2.core.statistics import wilson_interval
from openk2.environments.base import Environment, Task, VerifiableEnvironment
from openk2.environments.registry import VerifiableEnvironments
from openk2.environments.tool_world.environment import ToolWorld
from openk2.environments.tool_world.players import (
    Agent,
    Oracle,
    RandomCaller,
    null_agent,
    play,
    talker,
)

__all__ = ["HONEST", "LUCK", "Paid", "measure", "players"]

HONEST = "honest"
LUCK = 0.05  # the share of tasks in which a player who does not try may be right


@dataclass(frozen=True)
class Paid:
    """How often one player was paid in full: `paid` of `n` verdicts; `invalid` had none."""

    player: str
    n: int
    paid: int
    invalid: int

    @property
    def rate(self) -> float:
        """The share that was paid."""
        return self.paid / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the rate."""
        return wilson_interval(self.paid, self.n)

    @property
    def fair(self) -> bool:
        """Whether the honest were paid every time, or others not more often than by luck."""
        if self.player == HONEST:
            return self.paid == self.n and not self.invalid
        return self.interval[0] <= LUCK


def players(environment: Environment) -> tuple[str, ...]:
    """The players that an environment can be measured with; the honest one first."""
    if isinstance(environment, ToolWorld):
        return (HONEST, *_AGENTS)
    return (HONEST, *_RESPONSES)


def measure(
    name: str, count: int, split: str = "train", done: Callable[[], None] = lambda: None
) -> Iterator[Paid]:
    """One row a player over tasks 0 to `count` - 1; `done` is called after each episode.

    Raises UserError for an unknown environment or split.
    """
    environment = VerifiableEnvironments()[name]
    tasks = [environment.task(index, split) for index in range(count + 1)]  # one more: a neighbour
    rewards: dict[str, list[float | None]] = {player: [] for player in players(environment)}
    for number, task in enumerate(tasks[:count]):
        for player, earned in rewards.items():
            if isinstance(environment, ToolWorld):
                earned.append(_played(environment, task, player, number))
            else:
                assert isinstance(environment, VerifiableEnvironment)
                response = _response(environment, tasks, number, player)
                earned.append(environment.verify(task, response).reward)
            done()
    for player, earned in rewards.items():
        verdicts = [reward for reward in earned if reward is not None]
        yield Paid(player, len(verdicts), verdicts.count(1.0), len(earned) - len(verdicts))


_AGENTS: Mapping[str, Callable[[int], Agent]] = {
    "null": lambda seed: null_agent,
    "talk only": lambda seed: talker,
    "random calls": RandomCaller,
}


def _played(world: ToolWorld, task: Task, player: str, seed: int) -> float | None:
    world.reset(task, seed)
    agent = Oracle(world) if player == HONEST else _AGENTS[player](seed)
    return play(world, agent).reward


_RESPONSES: Mapping[str, Callable[[Task], str]] = {
    "empty": lambda task: "",
    "echo": lambda task: task.prompt,
    "no idea": lambda task: "I do not know.\nAnswer: unknown",
    "neighbour": lambda task: "",
}


def _response(
    environment: VerifiableEnvironment, tasks: list[Task], number: int, player: str
) -> str:
    task = tasks[number]
    if player == HONEST:
        return environment.solve(task)
    if player == "neighbour":  # an honest answer, to another task
        return environment.solve(tasks[number + 1])
    return _RESPONSES[player](task)
