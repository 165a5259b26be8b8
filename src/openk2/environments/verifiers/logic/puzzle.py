"""A puzzle: one question, one final answer, paid in full or not at all."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from openk2.core.records import Score
from openk2.environments.base import Task, VerifiableEnvironment
from openk2.environments.verifiers.answers import final_answer

__all__ = ["Puzzle", "between"]


def between(low: int, high: int, difficulty: float) -> int:
    """The whole number that lies as far from `low` to `high` as `difficulty` from 0 to 1."""
    return low + round((high - low) * difficulty)


class Puzzle(VerifiableEnvironment):
    """A subclass gives `fault` and a `generate` whose truth holds a right answer as "solution"."""

    @abstractmethod
    def fault(self, truth: Mapping[str, Any], answer: str) -> str:
        """What is wrong with an answer, one line; empty where it is right.

        `answer` is hostile text of at most `answers.MAX_ANSWER` characters on one line.
        """

    def grade(self, truth: Mapping[str, Any], response: str) -> Score:
        answer = final_answer(response)
        if answer.text is None:
            return Score(0.0, {"answered": 0.0, "correct": 0.0}, answer.problem)
        fault = self.fault(truth, answer.text)
        return Score(float(not fault), {"answered": 1.0, "correct": float(not fault)}, fault)

    def solve(self, task: Task) -> str:
        return f"Answer: {task.truth['solution']}"
