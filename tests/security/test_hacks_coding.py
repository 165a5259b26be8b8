"""No hack of the coding verifiers is paid; honest programs all are."""

from collections.abc import Callable

import pytest

from openk2.environments import VerifiableEnvironments
from openk2.environments.base import Task
from tests.security.coding_hack_sources import SLOW
from tests.security.coding_hacks import HACKS

__all__ = ["HACKS"]

NAMES = ("coding.functions", "coding.programs", "coding.properties", "coding.repair")


@pytest.mark.parametrize(("name", "hack"), HACKS, ids=[name for name, _ in HACKS])
def test_a_hack_is_not_paid(name: str, hack: Callable[[Task], str]) -> None:
    environment_name, _, kind = name.partition(": ")
    environment = VerifiableEnvironments()[environment_name]
    for index in range(1 if kind in SLOW else 3):
        task = environment.task(index, "train", 0.3 + 0.2 * index)
        score = environment.verify(task, hack(task))
        assert score.valid, score.reason
        assert score.reward == 0, f"{name} was paid for {task.prompt}"


@pytest.mark.parametrize("name", NAMES)
def test_honest_responses_are_paid(name: str) -> None:
    environment = VerifiableEnvironments()[name]
    for index in range(8):
        task = environment.task(index, "train", index / 7)
        score = environment.verify(task, environment.solve(task))
        assert score.reward == 1.0, score.reason


def test_hacks_are_many_and_named_once() -> None:
    names = [name for name, _ in HACKS]
    assert len(names) == len(set(names)) >= 25
