"""What holds for the tasks of every maths environment."""

import re
from collections import Counter

import pytest

from openk2.environments.base import Problem, VerifiableEnvironment, seeded_random, split_of
from openk2.environments.registry import VerifiableEnvironments
from openk2.environments.verifiers.maths.grading import truth_text

NAMES = ("maths.arithmetic", "maths.algebra", "maths.word_problems", "maths.competition")


def _environment(name: str) -> VerifiableEnvironment:
    environment = VerifiableEnvironments()[name]
    assert isinstance(environment, VerifiableEnvironment)
    return environment


def _problems(name: str, count: int, difficulty: float) -> list[Problem]:
    generate = _environment(name).generate
    return [generate(seeded_random("tasks", name, index), difficulty) for index in range(count)]


@pytest.mark.parametrize("name", NAMES)
def test_tasks_are_pure_and_stay_in_their_split(name: str) -> None:
    environment = _environment(name)
    for split in ("train", "validation", "test"):
        for index in range(15):
            for difficulty in (0.0, 1.0, None):
                task = environment.task(index, split, difficulty)
                again = _environment(name).task(index, split, difficulty)
                assert task == again
                assert environment.verify(task, environment.solve(task)).reward == 1


@pytest.mark.parametrize("name", NAMES)
def test_problems_are_many_and_their_splits_fill(name: str) -> None:
    problems = _problems(name, 3000, difficulty=0.5)
    identities = {problem.identity for problem in problems}
    # Of N equally likely problems, 3000 draws leave 3000 - 3000^2 / 2N: 10,000 would leave 2570.
    assert len(identities) > 2600
    shares = Counter(split_of(name, identity) for identity in identities)
    assert min(shares.values()) > 200


@pytest.mark.parametrize("name", NAMES)
def test_no_answer_can_be_copied_from_the_question(name: str) -> None:
    for problem in _problems(name, 1500, difficulty=0.3):
        question = problem.prompt.rpartition("\n")[0]
        answer = str(problem.truth.get("answer", "")).lstrip("-")
        assert answer not in re.findall(r"[0-9]+(?:/[0-9]+)?", question), problem


@pytest.mark.parametrize("name", NAMES)
def test_one_identity_has_one_truth(name: str) -> None:
    seen: dict[str, str] = {}
    for problem in _problems(name, 1500, difficulty=0.0):
        text = truth_text(problem.truth)
        if problem.truth["kind"] in ("number", "interval", "tuple"):
            assert seen.setdefault(problem.identity, text) == text, problem


@pytest.mark.parametrize("name", NAMES)
def test_difficulty_is_visible(name: str) -> None:
    def size(difficulty: float) -> float:
        problems = _problems(name, 200, difficulty)
        return sum(sum(s.isdigit() for s in p.prompt + truth_text(p.truth)) for p in problems)

    assert size(1.0) > 1.2 * size(0.0)
