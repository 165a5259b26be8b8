"""Numbers as generators draw and print them, shared by the makers of maths problems."""

import random
from collections.abc import Sequence
from fractions import Fraction

__all__ = ["fraction", "nonzero", "number_text", "polynomial_text", "root_text", "scaled"]


def scaled(difficulty: float, easy: int, hard: int) -> int:
    """A whole number that goes from `easy` to `hard` with the difficulty."""
    return round(easy + (hard - easy) * difficulty)


def nonzero(rng: random.Random, limit: int) -> int:
    """From -limit to limit, not 0."""
    return rng.randint(1, limit) * rng.choice((1, -1))


def fraction(rng: random.Random, limit: int) -> Fraction:
    """A proper or improper fraction, never an integer, numbers up to `limit` (at least 3)."""
    while True:
        drawn = Fraction(nonzero(rng, limit), rng.randint(2, limit))
        if drawn.denominator > 1:
            return drawn


def number_text(value: Fraction | int) -> str:
    """ "-3/4", "5" """
    return str(Fraction(value))


def polynomial_text(coefficients: Sequence[Fraction | int], name: str = "x") -> str:
    """The polynomial with these coefficients, the highest power first: "2x^2 - x + 3"."""
    text = ""
    for power, coefficient in zip(range(len(coefficients) - 1, -1, -1), coefficients, strict=True):
        if coefficient == 0:
            continue
        size = abs(Fraction(coefficient))
        factor = "" if size == 1 and power else str(size) if size.denominator == 1 else f"({size})"
        body = factor + ("" if power == 0 else name if power == 1 else f"{name}^{power}")
        sign = "-" if coefficient < 0 else "+"
        text += f" {sign} {body}" if text else ("-" if coefficient < 0 else "") + body
    return text or "0"


def root_text(whole: int, outside: int, inside: int, below: int) -> str:
    """(whole + outside sqrt(inside)) / below, all of it reduced; outside is not 0."""
    size = "" if abs(outside) == 1 else str(abs(outside))
    surd = f"{size}sqrt({inside})"
    sign = "-" if outside < 0 else "+"
    above = f"{whole} {sign} {surd}" if whole else (f"-{surd}" if outside < 0 else surd)
    if below == 1:
        return above
    return f"({above})/{below}" if whole else f"{above}/{below}"
