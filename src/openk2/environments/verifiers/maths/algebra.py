"""Algebra: equations, inequalities, systems, polynomials, sequences and modular arithmetic."""

import math
import random
from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar

from openk2.environments.base import Problem
from openk2.environments.verifiers.maths.draws import (
    fraction,
    nonzero,
    number_text,
    polynomial_text,
    root_text,
    scaled,
)
from openk2.environments.verifiers.maths.exact import square_free
from openk2.environments.verifiers.maths.grading import Maker, MathsEnvironment, problem

__all__ = ["Algebra"]


def _linear(rng: random.Random, difficulty: float) -> Problem:
    """a x + q = d with an integer root, or a x + p (x + q) = c x + d."""
    size = scaled(difficulty, 12, 60)
    if difficulty < 0.3:
        root, a, q = Fraction(nonzero(rng, size)), nonzero(rng, size), nonzero(rng, size)
        left, right = polynomial_text((a, q)), number_text(a * root + q)
    else:
        p, q, d = nonzero(rng, 12), nonzero(rng, size), rng.randint(-size, size)
        a, c = nonzero(rng, size), nonzero(rng, size)
        if c == a + p:
            c = -c if a + p + c else 2 * c
        root = Fraction(d - p * q, a + p - c)
        inner = f"({polynomial_text((1, q))})"
        sign, times = "+" if p > 0 else "-", "" if abs(p) == 1 else str(abs(p))
        left = f"{polynomial_text((a, 0))} {sign} {times}{inner}"
        right = polynomial_text((c, d))
    truth = {"kind": "number", "answer": number_text(root), "name": "x"}
    equation = f"{left} = {right}"
    wordings = [
        f"Solve for x: {equation}",
        f"Find x if {equation}.",
        f"For which x does {equation} hold?",
    ]
    return problem(rng, wordings, truth, f"linear {equation}")


def _quadratic_roots(a: int, b: int, c: int) -> list[str]:
    """The real roots of a x^2 + b x + c (discriminant above 0) in simplest form."""
    outside, inside = square_free(b * b - 4 * a * c)
    if inside == 1:
        return [number_text(Fraction(-b + sign * outside, 2 * a)) for sign in (1, -1)]
    shared = math.gcd(b, outside, 2 * a) * (1 if a > 0 else -1)
    whole, outside, below = -b // shared, outside // shared, 2 * a // shared
    return [root_text(whole, sign * outside, inside, below) for sign in (1, -1)]


def _quadratic(rng: random.Random, difficulty: float) -> Problem:
    size = scaled(difficulty, 10, 40)
    while True:
        if difficulty < 0.35:
            r, s = nonzero(rng, size), nonzero(rng, size)
            a, b, c = 1, -(r + s), r * s
        else:
            a, b, c = (
                rng.randint(1, scaled(difficulty, 2, 9)),
                nonzero(rng, size),
                nonzero(rng, size),
            )
        if b * b - 4 * a * c > 0 and math.gcd(a, b, c) == 1:
            break
    moved = rng.randint(-size, size) if difficulty > 0.6 else 0
    equation = f"{polynomial_text((a, b, c + moved))} = {moved}"
    truth = {"kind": "set", "answers": _quadratic_roots(a, b, c), "name": "x"}
    wordings = [
        f"Find all real solutions of {equation}.",
        f"Solve the equation {equation} over the real numbers.",
        f"Which real numbers x satisfy {equation}?",
    ]
    return problem(rng, wordings, truth, f"quadratic {a} {b} {c}")


def _determinant(rows: Sequence[Sequence[int]]) -> int:
    if len(rows) == 1:
        return rows[0][0]
    minors = ([[*row[:j], *row[j + 1 :]] for row in rows[1:]] for j in range(len(rows)))
    return sum((-1) ** j * rows[0][j] * _determinant(minor) for j, minor in enumerate(minors))


def _system(rng: random.Random, difficulty: float) -> Problem:
    count = 2 if difficulty < 0.6 else 3
    size = scaled(difficulty, 5, 12)
    values = [rng.randint(-2 * size, 2 * size) for _ in range(count)]
    while True:
        rows = [[rng.randint(-size, size) for _ in range(count)] for _ in range(count)]
        if _determinant(rows) and all(sum(map(bool, row)) > 1 for row in rows):
            break
    names = "xyz"[:count]
    lines, canonical = [], []
    for row in rows:
        total = sum(a * value for a, value in zip(row, values, strict=True))
        terms = [polynomial_text((a, 0), name) for a, name in zip(row, names, strict=True) if a]
        lines.append(" + ".join(terms).replace("+ -", "- ") + f" = {total}")
        canonical.append((*row, total))
    truth = {"kind": "tuple", "answers": list(map(str, values)), "names": list(names)}
    text = "\n".join(lines)
    form = ", ".join(f"{name} = ..." for name in names)
    wordings = [
        f"Solve the system of equations\n{text}\nState it as `{form}`.",
        f"Find {', '.join(names)} such that\n{text}\nWrite the answer as `{form}`.",
        f"These equations hold at the same time:\n{text}\nGive the solution as `{form}`.",
    ]
    return problem(rng, wordings, truth, f"system {sorted(canonical)}")


def _inequality(rng: random.Random, difficulty: float) -> Problem:
    size = scaled(difficulty, 12, 60)
    a, bound = nonzero(rng, scaled(difficulty, 6, 20)), Fraction(nonzero(rng, size))
    if difficulty > 0.4:
        bound = Fraction(nonzero(rng, size), abs(a))
    b, c = rng.randint(-size, size), nonzero(rng, size)
    c = 0 if c == a or difficulty < 0.4 else c
    if ((a - c) * bound).denominator > 1:
        c = 0
    d = (a - c) * bound + b
    sign = rng.choice(("<", "<=", ">", ">="))
    below = (sign[0] == "<") == (a - c > 0)
    closing = "=" in sign
    answer = (
        f"(-infinity, {bound}{']' if closing else ')'}"
        if below
        else f"{'[' if closing else '('}{bound}, infinity)"
    )
    text = f"{polynomial_text((a, b))} {sign} {polynomial_text((c, d))}"
    wordings = [
        f"Solve the inequality {text} over the real numbers.",
        f"For which real x is {text}?",
        f"Find the solution set of {text} (x real).",
    ]
    return problem(rng, wordings, {"kind": "interval", "answer": answer}, f"inequality {text}")


def _multiplied(*factors: Sequence[int]) -> list[int]:
    result = [1]
    for factor in factors:
        product = [0] * (len(result) + len(factor) - 1)
        for i, a in enumerate(result):
            for j, b in enumerate(factor):
                product[i + j] += a * b
        result = product
    return result


def _expand(rng: random.Random, difficulty: float) -> Problem:
    size = scaled(difficulty, 9, 15)
    count = scaled(difficulty, 2, 4)
    factors: list[tuple[int, ...]] = [
        (rng.randint(1, scaled(difficulty, 2, 6)), nonzero(rng, size)) for _ in range(count)
    ]
    if difficulty > 0.5:
        factors[0] = (*factors[0], nonzero(rng, size))
    shown = "".join(f"({polynomial_text(factor)})" for factor in factors)
    truth = {"kind": "polynomial", "answer": polynomial_text(_multiplied(*factors))}
    wordings = [
        f"Expand {shown}.",
        f"Multiply out {shown} and simplify.",
        f"Write {shown} as a polynomial in x.",
    ]
    return problem(rng, wordings, truth, f"expand {sorted(factors)}")


def _factor(rng: random.Random, difficulty: float) -> Problem:
    size = scaled(difficulty, 15, 12)
    factors: list[tuple[int, ...]] = []
    while len(factors) < scaled(difficulty, 2, 4):
        one = (rng.randint(1, scaled(difficulty, 1, 5)), nonzero(rng, size))
        if math.gcd(*one) == 1:
            factors.append(one)
    if difficulty > 0.5 and rng.random() < 0.5:
        factors[-1] = (1, 0, rng.randint(1, size))  # x^2 + c has no real root
    constant = rng.randint(2, 5) if difficulty > 0.4 and rng.random() < 0.5 else 1
    factors.sort()
    product = "".join(f"({polynomial_text(factor)})" for factor in factors)
    answer = product if constant == 1 else f"{constant}{product}"
    shown = polynomial_text([constant * c for c in _multiplied(*factors)])
    wordings = [
        f"Factor {shown} completely over the integers.",
        f"Write {shown} as a product of irreducible factors with integer coefficients.",
        f"Factorise completely: {shown}",
    ]
    return problem(rng, wordings, {"kind": "factors", "answer": answer}, f"factor {shown}")


def _sequence(rng: random.Random, difficulty: float) -> Problem:
    """A term of a recurrence of one or two steps, or of a sequence that a polynomial gives."""
    size = scaled(difficulty, 9, 15)
    first, second = nonzero(rng, size), nonzero(rng, size)
    shift = rng.randint(-size, size)
    if difficulty < 0.4:
        factor, n = rng.randint(2, 4), rng.randint(4, 8)
        rule = f"a_1 = {first} and a_(n+1) = {polynomial_text((factor, shift), 'a_n')}"
        value = first
        for _ in range(n - 1):
            value = factor * value + shift
        identity = f"recurrence {first} {factor} {shift} {n}"
    else:
        p, q, n = nonzero(rng, 4), nonzero(rng, 4), rng.randint(6, scaled(difficulty, 8, 14))
        tail = polynomial_text((q, shift), "a_n")
        tail = f"- {tail[1:]}" if tail.startswith("-") else f"+ {tail}"
        rule = (
            f"a_1 = {first}, a_2 = {second} and a_(n+2) = "
            f"{polynomial_text((p, 0), 'a_(n+1)')} {tail}"
        )
        before, value = first, second
        for _ in range(n - 2):
            before, value = value, p * value + q * before + shift
        identity = f"recurrence {first} {second} {p} {q} {shift} {n}"
    wordings = [
        f"A sequence is given by {rule}. Find a_{n}.",
        f"Let {rule}. What is a_{n}?",
        f"The terms of a sequence satisfy {rule}. Determine a_{n}.",
    ]
    return problem(rng, wordings, {"kind": "number", "answer": str(value)}, identity)


def _series(rng: random.Random, difficulty: float) -> Problem:
    """The sum of an arithmetic or of an infinite geometric series."""
    size = scaled(difficulty, 20, 90)
    if rng.random() < 0.5:
        first, step, n = nonzero(rng, size), nonzero(rng, 15), rng.randint(8, 2 * size)
        value = Fraction(n * (2 * first + (n - 1) * step), 2)
        text = f"the first {n} terms of the arithmetic sequence that starts {first}, {first + step}"
    else:
        first, n = nonzero(rng, size), 0
        while abs(ratio := fraction(rng, scaled(difficulty, 6, 20))) >= 1:
            pass
        value = first / (1 - ratio)
        text = f"the infinite geometric series with first term {first} and ratio {ratio}"
    wordings = [
        f"Find the sum of {text}.",
        f"What is the sum of {text}?",
        f"Add up {text}. What is the total?",
    ]
    return problem(rng, wordings, {"kind": "number", "answer": str(value)}, f"series {text}")


def _congruence(rng: random.Random, difficulty: float) -> Problem:
    limit = scaled(difficulty, 60, 900)
    while True:
        modulus, a = rng.randint(11, limit), rng.randint(2, limit)
        if math.gcd(a, modulus) == 1:
            break
    b = rng.randrange(modulus)
    value = b * pow(a, -1, modulus) % modulus
    text = f"{a}x ≡ {b} (mod {modulus})"
    wordings = [
        f"Find the smallest non-negative integer x with {text}.",
        f"Solve {text} for x with 0 <= x < {modulus}.",
        f"Which x from 0 to {modulus - 1} satisfies {text}?",
    ]
    truth = {"kind": "number", "answer": str(value), "name": "x"}
    return problem(rng, wordings, truth, f"congruence {text}")


def _divisors(rng: random.Random, difficulty: float) -> Problem:
    """A greatest common divisor or a least common multiple of two or three numbers."""
    shared = rng.randint(2, scaled(difficulty, 12, 120))
    count = 2 if difficulty < 0.5 else 3
    limit = scaled(difficulty, 60, 90)
    numbers = sorted(shared * n for n in rng.sample(range(2, limit), count))
    greatest = rng.random() < 0.5
    value = math.gcd(*numbers) if greatest else math.lcm(*numbers)
    what = "greatest common divisor" if greatest else "least common multiple"
    rng.shuffle(shown := list(map(str, numbers)))
    text = f"the {what} of {', '.join(shown[:-1])} and {shown[-1]}"
    wordings = [f"Find {text}.", f"What is {text}?", f"Compute {text}."]
    truth = {"kind": "number", "answer": str(value)}
    return problem(rng, wordings, truth, f"{what} {numbers}")


class Algebra(MathsEnvironment):
    """School algebra with exact answers, surds included."""

    name = "maths.algebra"
    makers: ClassVar[Sequence[Maker]] = (
        _linear,
        _quadratic,
        _system,
        _inequality,
        _expand,
        _factor,
        _sequence,
        _series,
        _congruence,
        _divisors,
    )
