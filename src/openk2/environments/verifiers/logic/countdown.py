"""Reach a target with given numbers: countdown and the game of 24 (paper section 3.1, logic).

An answer is checked by what it is, an expression over the given numbers, not against a solution.
"""

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from openk2.environments.base import Problem
from openk2.environments.verifiers.answers import ANSWER_FORMAT
from openk2.environments.verifiers.logic.expressions import (
    ExpressionError,
    random_expression,
    read_expression,
    ways_to_reach,
)
from openk2.environments.verifiers.logic.puzzle import Puzzle, between

__all__ = ["Countdown", "TwentyFour"]

FORM = (
    "Write the answer as one expression of these numbers, + - * / and brackets, such as "
    "`Answer: (1 + 2) * 3`. "
) + ANSWER_FORMAT


def _signs_suffice(numbers: Sequence[int], target: int, exactly: bool) -> bool:
    """Whether + and - alone reach the target: a blind guess at signs would be right too often."""
    reached = {0}
    for number in numbers:
        unused = set() if exactly else reached
        reached = unused | {s + number for s in reached} | {s - number for s in reached}
    return target in reached


class _Target(Puzzle):
    """Truth: numbers, target, exactly (every number once) or else at most once, solution."""

    def fault(self, truth: Mapping[str, Any], answer: str) -> str:
        expression, equals, result = answer.rstrip(" .").partition("=")
        if equals and result.strip() != str(truth["target"]):
            return "the answer says that its expression comes to something else"
        try:
            found = read_expression(expression)
        except ExpressionError as error:
            return str(error)
        used, given = Counter(found.numbers), Counter(truth["numbers"])
        if used - given:
            return f"the expression uses {min(used - given)} more often than it was given"
        if truth["exactly"] and given - used:
            return f"the expression leaves out {min(given - used)}"
        if found.value != truth["target"]:
            return "the expression does not come to the target"
        return ""


class Countdown(_Target):
    """Three to seven numbers; every one exactly once, or some of them once each."""

    name: ClassVar[str] = "logic.countdown"

    TEMPLATES = (
        "Combine the numbers {numbers} to reach {target}. {rule} {form}",
        "You are given the numbers {numbers}. {rule} Find an expression that equals {target}. "
        "{form}",
        "Countdown: the target is {target}, the tiles are {numbers}. {rule} {form}",
        "Using addition, subtraction, multiplication and division, make {target} out of {numbers}. "
        "{rule} {form}",
    )

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        count, top = between(3, 7, difficulty), between(20, 100, difficulty)
        exactly = rng.random() < 0.5
        while True:
            numbers = [rng.randint(1, top) for _ in range(count)]
            used = rng.sample(numbers, count if exactly else rng.randint(3, count))
            drawn = random_expression(rng, used)
            if drawn is None or not 10 <= drawn[1] <= between(200, 4000, difficulty):
                continue
            text, target = drawn
            factors = text.count("*") + text.count("/")
            if factors >= min(2, len(used) - 2) and not _signs_suffice(numbers, target, exactly):
                break
        rng.shuffle(numbers)
        rule = (
            "Use every number exactly once." if exactly else "Each number may be used at most once."
        )
        prompt = rng.choice(self.TEMPLATES).format(
            numbers=", ".join(map(str, numbers)), target=target, rule=rule, form=FORM
        )
        truth = {
            "numbers": numbers,
            "target": target,
            "exactly": exactly,
            "solution": text,
        }
        return Problem(prompt, truth, json.dumps([sorted(numbers), target, exactly]))


class TwentyFour(_Target):
    """Four numbers, each exactly once, make 24; harder with larger numbers and fewer ways."""

    name: ClassVar[str] = "logic.twenty_four"

    TEMPLATES = (
        "Make 24 from the four numbers {numbers}, using each exactly once. {form}",
        "Play the game of 24 with {numbers}: every number is used once and only once. {form}",
        "Four cards show {numbers}. Use all four, each once, to get 24. {form}",
    )

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        top = between(10, 50, difficulty)
        most = between(30, 4, difficulty)
        while True:
            numbers = [rng.randint(1, top) for _ in range(4)]
            ways = ways_to_reach(24, numbers, most)
            if 0 < len(ways) <= most and not _signs_suffice(numbers, 24, exactly=True):
                break
        rng.shuffle(numbers)
        prompt = rng.choice(self.TEMPLATES).format(numbers=", ".join(map(str, numbers)), form=FORM)
        truth = {"numbers": numbers, "target": 24, "exactly": True, "solution": rng.choice(ways)}
        return Problem(prompt, truth, json.dumps(sorted(numbers)))
