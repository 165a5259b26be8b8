"""Arithmetic: nested expressions over integers, fractions and decimals, rounding, percentages."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import ClassVar

from openk2.environments.base import Problem
from openk2.environments.verifiers.maths.draws import fraction, nonzero, number_text, scaled
from openk2.environments.verifiers.maths.grading import Maker, MathsEnvironment, problem

__all__ = ["Arithmetic"]

ASKED: Sequence[str] = (
    "Compute {}.",
    "What is {}?",
    "Evaluate the expression {}.",
    "Work out the exact value of {}.",
    "Find the value of {}, minding the order of operations.",
)
LEVEL = {"+": 1, "-": 1, "×": 2, "÷": 2}


@dataclass(frozen=True)
class _Expression:
    """A number (sign "") or two expressions under a sign."""

    value: Fraction
    sign: str = ""
    parts: tuple["_Expression", ...] = ()
    text: str = ""  # of a number, where it is not the plain one

    def shown(self) -> str:
        if not self.sign:
            if self.text:
                return self.text
            text = number_text(self.value)
            return f"({text})" if self.value < 0 or self.value.denominator > 1 else text
        left, right = self.parts
        left_text, right_text = left.shown(), right.shown()
        if left.sign and LEVEL[left.sign] < LEVEL[self.sign]:
            left_text = f"({left_text})"
        if right.sign and LEVEL[right.sign] <= LEVEL[self.sign]:
            right_text = f"({right_text})"
        return f"{left_text} {self.sign} {right_text}"

    def canonical(self) -> str:
        """The same for expressions that differ in the order of a sum's or a product's parts."""
        if not self.sign:
            return number_text(self.value)
        if self.sign in "+×":
            return f"({self.sign.join(sorted(part.canonical() for part in self._chain()))})"
        return f"({self.sign.join(part.canonical() for part in self.parts)})"

    def _chain(self) -> list["_Expression"]:
        chain: list[_Expression] = []
        for part in self.parts:
            chain.extend(part._chain() if part.sign == self.sign else [part])
        return chain


def _combined(sign: str, left: _Expression, right: _Expression) -> _Expression:
    a, b = left.value, right.value
    value = a + b if sign == "+" else a - b if sign == "-" else a * b if sign == "×" else a / b
    return _Expression(value, sign, (left, right))


def _tree(
    rng: random.Random, leaves: Sequence[_Expression], signs: str, limit: int
) -> _Expression | None:
    """The leaves joined in a random shape; None where a value leaves the limit or divides by 0."""
    forest = list(leaves)
    while len(forest) > 1:
        place = rng.randrange(len(forest) - 1)
        left, right = forest[place], forest.pop(place + 1)
        sign = rng.choice(signs)
        if sign == "÷" and right.value == 0:
            return None
        forest[place] = _combined(sign, left, right)
        value = forest[place].value
        if max(abs(value.numerator), value.denominator) > limit:
            return None
    return forest[0]


def _drawn(rng: random.Random, kind: str, difficulty: float) -> _Expression:
    operations = scaled(difficulty, 1, 8) + rng.randint(0, 1)
    while True:
        if kind == "integers":
            size = scaled(difficulty, 30, 120)
            leaves = [_Expression(Fraction(nonzero(rng, size))) for _ in range(operations + 1)]
            tree = _tree(rng, leaves, "++--××", 10**9)
        elif kind == "fractions":
            size = scaled(difficulty, 8, 16)
            leaves = [_Expression(fraction(rng, size)) for _ in range(operations // 2 + 2)]
            tree = _tree(rng, leaves, "+-×÷", 10**6)
        else:
            digits = scaled(difficulty, 1, 3)
            leaves = []
            for _ in range(operations // 2 + 2):
                value = Fraction(rng.randint(11, 60 * 10**digits), 10**digits)
                leaves.append(_Expression(value, text=f"{float(value):.{digits}f}"))
            tree = _tree(rng, leaves, "++-×", 10**12)
        if tree is not None:
            return tree


def _expression(kind: str) -> Maker:
    def make(rng: random.Random, difficulty: float) -> Problem:
        tree = _drawn(rng, kind, difficulty)
        truth = {"kind": "number", "answer": number_text(tree.value)}
        wordings = [wording.format(tree.shown()) for wording in ASKED]
        return problem(rng, wordings, truth, tree.canonical())

    return make


def _long_product(rng: random.Random, difficulty: float) -> Problem:
    digits = scaled(difficulty, 2, 5)
    a, b = sorted(rng.randint(10 ** (digits - 1), 10**digits - 1) for _ in range(2))
    c = rng.randint(10**digits, 10 ** (digits + 1))
    first, second = rng.sample((a, b), 2)
    truth = {"kind": "number", "answer": number_text(a * b - c)}
    wordings = [wording.format(f"{first} × {second} - {c}") for wording in ASKED]
    return problem(rng, wordings, truth, f"long product {a} {b} {c}")


def _rounded(rng: random.Random, difficulty: float) -> Problem:
    size = scaled(difficulty, 60, 5000)
    places = scaled(difficulty, 1, 5)
    while True:
        value = Fraction(rng.randint(size, 20 * size), rng.randint(7, size))
        if (value * 10**places * 2).denominator > 1:  # no tie
            break
    decimal = Decimal(value.numerator) / Decimal(value.denominator)
    answer = decimal.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    truth = {"kind": "decimal", "answer": str(answer), "places": places}
    text = f"{value.numerator} ÷ {value.denominator}"
    wordings = [f"Divide: {text}.", f"What is {text} as a decimal?", f"Compute {text}."]
    return problem(rng, wordings, truth, f"rounded {value} {places}")


def _percentage(rng: random.Random, difficulty: float) -> Problem:
    steps = scaled(difficulty, 1, 4)
    base = rng.randint(2, scaled(difficulty, 80, 900)) * 10
    changes = [rng.choice((-1, 1)) * rng.randint(1, 18) * 5 for _ in range(steps)]
    value = Fraction(base)
    told = []
    for change in changes:
        value *= 1 + Fraction(change, 100)
        told.append(f"{'increased' if change > 0 else 'decreased'} by {abs(change)}%")
    told_text = ", then ".join(told)
    truth = {"kind": "number", "answer": number_text(value)}
    wordings = [
        f"The number {base} is {told_text}. What is the result?",
        f"Start with {base}. It is {told_text}. Give the number that remains.",
        f"What does one get when {base} is {told_text}?",
    ]
    return problem(rng, wordings, truth, f"percentage {base} {sorted(changes)}")


class Arithmetic(MathsEnvironment):
    """Exact arithmetic; more operations and longer numbers with the difficulty."""

    name = "maths.arithmetic"
    makers: ClassVar[Sequence[Maker]] = (
        _expression("integers"),
        _expression("fractions"),
        _expression("decimals"),
        _long_product,
        _rounded,
        _percentage,
    )
