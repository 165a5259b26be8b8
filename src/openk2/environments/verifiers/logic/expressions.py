"""Sums that a person writes: read with bounds, computed exactly, never evaluated as code."""

import itertools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["Expression", "ExpressionError", "random_expression", "read_expression", "ways_to_reach"]

MAX_LENGTH = 300  # characters
MAX_DEPTH = 20  # brackets inside brackets
MAX_DIGITS = 9
MAX_NUMBERS = 20
OTHER_SIGNS = {
    "\\times": "*", "\\cdot": "*", "\\div": "/", "\\left": "", "\\right": "", "×": "*", "·": "*",
    "⋅": "*", "÷": "/", "−": "-", "–": "-", "[": "(", "]": ")",
}  # fmt: skip
TOKEN = re.compile(r"[0-9]+|[-+*/()]")


class ExpressionError(ValueError):
    """The text is not an expression of whole numbers, + - * / and brackets."""


@dataclass(frozen=True)
class Expression:
    """`value` is exact; `numbers` are the numbers as written, from left to right."""

    value: Fraction
    numbers: tuple[int, ...]


def read_expression(text: str) -> Expression:
    """What the text comes to. ExpressionError with one line for anything else.

    There is no sign before a number, no power, no decimal point, no missing multiplication sign.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the expression has {len(text)} characters")
    for sign, meaning in OTHER_SIGNS.items():
        text = text.replace(sign, meaning)
    tokens = TOKEN.findall(text)
    if "".join(tokens) != "".join(text.split()):
        raise ExpressionError("the expression holds more than numbers, + - * / and brackets")
    if len(tokens) != sum(len(TOKEN.findall(part)) for part in text.split()):
        raise ExpressionError("a number is broken by a space")
    return _Reader(tokens).expression()


def random_expression(rng: random.Random, numbers: Sequence[int]) -> tuple[str, int] | None:
    """An expression over all of `numbers` and its value; None where this draw led nowhere.

    Every step is a whole number from 0 to a million.
    """
    parts = [(Fraction(number), str(number)) for number in numbers]
    while len(parts) > 1:
        (left, left_text), (right, right_text) = (
            parts.pop(rng.randrange(len(parts))) for _ in range(2)
        )
        operator = rng.choice("+-*/")
        if operator in "-/" and left < right:
            left, left_text, right, right_text = right, right_text, left, left_text
        if operator == "/" and right == 0:
            return None
        value = _apply(operator, left, right)
        if value > 1_000_000 or value.denominator > 1:
            return None
        parts.append((value, f"({left_text} {operator} {right_text})"))
    value, text = parts[0]
    return (text[1:-1] if text.startswith("(") else text), int(value)


def ways_to_reach(target: int, numbers: Sequence[int], limit: int) -> list[str]:
    """Expressions over all of `numbers` that come to `target`: up to `limit` and some more.

    The same sum in another order of its steps counts as another way. Fractions may occur on the
    way; the search is in floating point, and what it finds is read again exactly.
    """
    parts = [(float(number), str(number)) for number in numbers]
    found = (text[1:-1] for text in _ways(float(target), parts, limit))
    return [text for text in found if read_expression(text).value == target]


def _ways(target: float, parts: list[tuple[float, str]], limit: int) -> list[str]:
    found: list[str] = []
    for i, j in itertools.combinations(range(len(parts)), 2):
        (a, a_text), (b, b_text) = parts[i], parts[j]
        steps = [("+", a + b, False), ("*", a * b, False), ("-", a - b, False), ("-", b - a, True)]
        steps += [("/", a / b, False)] if b else []
        steps += [("/", b / a, True)] if a else []
        rest = [part for place, part in enumerate(parts) if place not in (i, j)]
        for operator, value, swapped in steps:
            if rest or abs(value - target) < 1e-9:
                left, right = (b_text, a_text) if swapped else (a_text, b_text)
                text = f"({left} {operator} {right})"
                found += _ways(target, [*rest, (value, text)], limit) if rest else [text]
                if len(found) > limit:
                    return found
    return found


def _apply(operator: str, left: Fraction, right: Fraction) -> Fraction:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    return left * right if operator == "*" else left / right


class _Reader:
    """Recursive descent over the tokens: sums of products of atoms."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.place, self.depth = tokens, 0, 0
        self.numbers: list[int] = []

    def expression(self) -> Expression:
        value = self._sum()
        if self.place < len(self.tokens):
            raise ExpressionError(f"{self.tokens[self.place]!r} stands where an operator is due")
        return Expression(value, tuple(self.numbers))

    def _next(self, expected: str) -> str:
        """The next token where it is one of `expected`, else nothing."""
        if self.place < len(self.tokens) and self.tokens[self.place] in expected:
            self.place += 1
            return self.tokens[self.place - 1]
        return ""

    def _sum(self) -> Fraction:
        value = self._product()
        while operator := self._next("+-"):
            value = _apply(operator, value, self._product())
        return value

    def _product(self) -> Fraction:
        value = self._atom()
        while operator := self._next("*/"):
            factor = self._atom()
            if operator == "/" and factor == 0:
                raise ExpressionError("the expression divides by zero")
            value = _apply(operator, value, factor)
        return value

    def _atom(self) -> Fraction:
        if self._next("("):
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise ExpressionError("the brackets are nested too deeply")
            value = self._sum()
            if not self._next(")"):
                raise ExpressionError("a bracket is not closed")
            self.depth -= 1
            return value
        if self.place == len(self.tokens) or not self.tokens[self.place].isdigit():
            raise ExpressionError("a number is missing")
        digits = self.tokens[self.place]
        self.place += 1
        if len(digits) > MAX_DIGITS or len(self.numbers) == MAX_NUMBERS:
            raise ExpressionError("the expression's numbers are too long or too many")
        self.numbers.append(int(digits))
        return Fraction(self.numbers[-1])
