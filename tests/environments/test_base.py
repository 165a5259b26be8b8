"""Tasks are a pure function of their coordinates; no problem belongs to two splits."""

import random
from collections.abc import Mapping
from typing import Any

import pytest

from openk2.core.errors import UserError
from openk2.core.records import Message, Score
from openk2.environments import VerifiableEnvironments
from openk2.environments.base import (
    SPLITS,
    GraderFailure,
    Problem,
    Task,
    VerifiableEnvironment,
    spoken,
)


class Doubling(VerifiableEnvironment):
    name = "test.doubling"

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        number = rng.randrange(50 + int(1000 * difficulty))
        return Problem(f"Twice {number}?", {"twice": 2 * number}, str(number))

    def grade(self, truth: Mapping[str, Any], response: str) -> Score:
        if response == "break":
            raise GraderFailure("the machine is out of order")
        return Score(float(response == str(truth["twice"])))

    def solve(self, task: Task) -> str:
        return str(task.truth["twice"])


def test_a_task_is_a_pure_function_of_its_coordinates() -> None:
    tasks = [Doubling().task(index, "test", 0.5) for index in range(20)]
    assert tasks == [Doubling().task(index, "test", 0.5) for index in range(20)]
    assert len({task.prompt for task in tasks}) > 10
    for index in range(20):
        task = Doubling().task(index)
        assert Doubling().task(index, task.split, task.difficulty) == task


def test_splits_share_no_problem() -> None:
    prompts = {
        split: {Doubling().task(index, split).prompt for index in range(300)} for split in SPLITS
    }
    assert not prompts["train"] & prompts["test"]
    assert not prompts["validation"] & (prompts["train"] | prompts["test"])
    assert all(len(found) > 30 for found in prompts.values())


def test_twins_put_a_problem_into_the_same_split() -> None:
    class Twin(Doubling):
        name = "test.twin"
        twin = Doubling.name

    train = {Doubling().task(index, "train").truth["twice"] for index in range(300)}
    test = {Twin().task(index, "test").truth["twice"] for index in range(100)}
    assert len(test) > 30 and not train & test


def test_the_index_spreads_the_difficulty() -> None:
    levels = [Doubling().task(index).difficulty for index in range(200)]
    assert min(levels) < 0.1 and max(levels) > 0.9


def test_a_failed_grader_is_not_a_wrong_answer() -> None:
    world, task = Doubling(), Doubling().task(3)
    assert world.verify(task, world.solve(task)) == Score(1.0)
    assert world.verify(task, "-1") == Score(0.0)
    broken = world.verify(task, "break")
    assert broken.reward is None and not broken.valid and "out of order" in broken.reason


def test_there_is_one_answer() -> None:
    world = Doubling()
    world.reset(world.task(3))
    world.step(Message("assistant", "wrong"))
    with pytest.raises(AssertionError, match="after the end"):
        world.step(Message("assistant", world.solve(world.task(3))))


def test_the_registry_is_a_mapping() -> None:
    names = VerifiableEnvironments()
    assert names.get("maths.alchemy") is None and "maths.alchemy" not in names
    with pytest.raises(UserError, match="maths has: maths"):
        names["maths.alchemy"]


def test_an_episode_goes_on_from_its_snapshot() -> None:
    world, task = Doubling(), Doubling().task(3)
    assert world.reset(task).messages == (Message("user", task.prompt),)
    assert world.score().reward == 0.0
    other = Doubling()
    other.restore(world.snapshot())
    assert other.step(Message("assistant", world.solve(task)))[1]
    assert other.score().reward == 1.0
    world.restore(other.snapshot())
    assert world.score().reward == 1.0


@pytest.mark.parametrize(
    ("index", "split", "difficulty"), [(-1, "train", None), (0, "dev", None), (0, "train", 1.5)]
)
def test_coordinates_that_do_not_exist_are_named(
    index: int, split: str, difficulty: float | None
) -> None:
    with pytest.raises(UserError, match="doubling"):
        Doubling().task(index, split, difficulty)


def test_thinking_says_nothing() -> None:
    assert spoken("<think>Answer: 1</think>Answer: 2") == "Answer: 2"
    assert spoken("<think>Answer: 1") == ""
    assert spoken("plain") == "plain"
