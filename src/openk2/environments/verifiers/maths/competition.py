"""Number theory, counting, probability and geometry in the style of competitions, exact answers."""

import itertools
import math
import random
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import ClassVar

from openk2.environments.base import Problem
from openk2.environments.verifiers.maths.draws import nonzero, root_text, scaled
from openk2.environments.verifiers.maths.exact import square_free
from openk2.environments.verifiers.maths.grading import Maker, MathsEnvironment, problem

__all__ = ["Competition"]


def _asked(
    rng: random.Random, answer: object, identity: str, *wordings: str, form: str = "number"
) -> Problem:
    return problem(rng, wordings, {"kind": "number", "answer": str(answer)}, identity, form)


def _modular_power(rng: random.Random, difficulty: float) -> Problem:
    modulus = rng.randint(7, scaled(difficulty, 30, 1000))
    base, exponent = rng.randint(2, 99), rng.randint(20, scaled(difficulty, 99, 9999))
    return _asked(
        rng,
        pow(base, exponent, modulus),
        f"power {base} {exponent} {modulus}",
        f"What is the remainder when {base}^{exponent} is divided by {modulus}?",
        f"Find the remainder of {base}^{exponent} modulo {modulus}.",
    )


def _prime_powers(rng: random.Random, difficulty: float) -> list[tuple[int, int]]:
    primes = sorted(rng.sample((2, 3, 5, 7, 11, 13), scaled(difficulty, 2, 4)))
    return [(prime, rng.randint(1, 5 if prime < 7 else 2)) for prime in primes]


def _divisor_count(rng: random.Random, difficulty: float) -> Problem:
    powers = _prime_powers(rng, difficulty)
    n = math.prod(prime**times for prime, times in powers)
    multiple = math.prod(prime ** rng.randint(0, times) for prime, times in powers)
    kept = n // multiple
    count = math.prod(
        next(k for k in range(9) if kept % prime ** (k + 1)) + 1 for prime, _ in powers
    )
    return _asked(
        rng,
        count,
        f"divisors {n} {multiple}",
        f"How many positive divisors of {n} are multiples of {multiple}?",
        f"Determine the number of positive divisors of {n} that {multiple} divides.",
    )


def _trailing_zeros(rng: random.Random, difficulty: float) -> Problem:
    n, base = rng.randint(30, scaled(difficulty, 900, 30_000)), rng.choice((6, 10, 12, 14, 15, 35))
    zeros = math.inf
    for prime in (2, 3, 5, 7):
        times = next(k for k in range(9) if base % prime ** (k + 1))
        if times:
            inside = sum(n // prime**k for k in range(1, 20))
            zeros = min(zeros, inside // times)
    return _asked(
        rng,
        zeros,
        f"zeros {n} {base}",
        f"With how many zeros does {n}! end when it is written in base {base}?",
        f"Find the largest k such that {base}^k divides {n}!.",
    )


def _remainders(rng: random.Random, difficulty: float) -> Problem:
    moduli = sorted(rng.sample((5, 7, 8, 9, 11, 13, 17, 19, 23), scaled(difficulty, 2, 4)))
    number = rng.randrange(1, math.prod(moduli))
    told = ", ".join(f"{number % modulus} when divided by {modulus}" for modulus in moduli)
    return _asked(
        rng,
        number,
        f"remainders {number} {moduli}",
        f"Find the smallest positive integer that leaves the remainders {told}.",
        f"A positive integer leaves remainder {told}. What is the smallest it can be?",
    )


def _multiples(rng: random.Random, difficulty: float) -> Problem:
    limit = rng.randint(100, scaled(difficulty, 1000, 100_000))
    a, b, c = sorted(rng.sample(range(2, scaled(difficulty, 12, 40)), 3))
    without = (
        limit // math.lcm(a, c) + limit // math.lcm(b, c) - limit // math.lcm(math.lcm(a, b), c)
    )
    count = limit // a + limit // b - limit // math.lcm(a, b) - without
    return _asked(
        rng,
        count,
        f"multiples {limit} {a} {b} {c}",
        f"How many integers from 1 to {limit} are divisible by {a} or {b}, but not by {c}?",
        f"Count the positive integers up to {limit} that are multiples of {a} or of {b} and no "
        f"multiples of {c}.",
    )


def _lattice_paths(rng: random.Random, difficulty: float) -> Problem:
    width, height = (rng.randint(3, scaled(difficulty, 7, 12)) for _ in range(2))
    inner = [
        (x, y) for x in range(width + 1) for y in range(height + 1) if 0 < x + y < width + height
    ]
    blocked = sorted(rng.sample(inner, scaled(difficulty, 1, 4)))

    @lru_cache(None)
    def paths(x: int, y: int) -> int:
        if x < 0 or y < 0 or (x, y) in blocked:
            return 0
        return 1 if x == y == 0 else paths(x - 1, y) + paths(x, y - 1)

    points = ", ".join(f"({x}, {y})" for x, y in blocked)
    return _asked(
        rng,
        paths(width, height),
        f"paths {width} {height} {blocked}",
        f"A robot moves from (0, 0) to ({width}, {height}) by unit steps to the right or up and "
        f"must not visit {points}. How many paths are there?",
        f"Count the lattice paths from (0, 0) to ({width}, {height}), each step adding 1 to one "
        f"coordinate, that avoid {points}.",
    )


def _stars_and_bars(rng: random.Random, difficulty: float) -> Problem:
    count = scaled(difficulty, 3, 6)
    least = [rng.randint(-3, 5) for _ in range(count)]
    spare = rng.randint(4, scaled(difficulty, 15, 30))
    total = sum(least) + spare
    names = [f"x_{place + 1}" for place in range(count)]
    bounds = ", ".join(f"{name} >= {low}" for name, low in zip(names, least, strict=True))
    return _asked(
        rng,
        math.comb(spare + count - 1, count - 1),
        f"stars {total} {sorted(least)}",
        f"How many integer solutions has {' + '.join(names)} = {total} with {bounds}?",
        f"Count the tuples of integers with {' + '.join(names)} = {total} where {bounds}.",
    )


def _arrangements(rng: random.Random, difficulty: float) -> Problem:
    letters = rng.sample("ABCDEFGHKLMNRST", scaled(difficulty, 3, 5))
    counts = [rng.randint(1, 3) for _ in letters]
    # No two of the first letter side by side: place the others, then choose gaps.
    others = counts[1:]
    ways = math.factorial(sum(others)) // math.prod(map(math.factorial, others))
    ways *= math.comb(sum(others) + 1, counts[0])
    tiles = [letter for letter, times in zip(letters, counts, strict=True) for _ in range(times)]
    rng.shuffle(tiles)
    word = "".join(tiles)
    return _asked(
        rng,
        ways,
        f"arrangements {''.join(sorted(word))} {letters[0]}",
        f"In how many different ways can the letters of {word} be arranged so that no two letters "
        f"{letters[0]} are next to each other?",
        f"How many distinct rearrangements of the letters {word} have no two adjacent "
        f"{letters[0]}s?",
    )


def _urn(rng: random.Random, difficulty: float) -> Problem:
    red, blue = (rng.randint(4, scaled(difficulty, 14, 40)) for _ in range(2))
    drawn = scaled(difficulty, 2, 5) if difficulty < 1 else 5
    drawn = min(drawn, red, blue)
    wanted = rng.randint(1, drawn)
    ways = math.comb(red, wanted) * math.comb(blue, drawn - wanted)
    return _asked(
        rng,
        Fraction(ways, math.comb(red + blue, drawn)),
        f"urn {red} {blue} {drawn} {wanted}",
        f"An urn holds {red} red and {blue} blue balls. {drawn} are drawn without replacement. "
        f"What is the probability that exactly {wanted} of them are red?",
        f"From {red} red and {blue} blue balls {drawn} are chosen at random, all at once. Find the "
        f"probability of exactly {wanted} red.",
    )


def _vieta(rng: random.Random, difficulty: float) -> Problem:
    size, power = scaled(difficulty, 9, 15), scaled(difficulty, 2, 5)
    a, b, c = rng.randint(1, scaled(difficulty, 1, 5)), nonzero(rng, size), nonzero(rng, size)
    s, p = Fraction(-b, a), Fraction(c, a)
    before, value = Fraction(2), s  # power sums by Newton's identities
    for _ in range(power - 1):
        before, value = value, s * value - p * before
    equation = f"{a}x^2 {'+' if b > 0 else '-'} {abs(b)}x {'+' if c > 0 else '-'} {abs(c)} = 0"
    return _asked(
        rng,
        value,
        f"vieta {Fraction(b, a)} {Fraction(c, a)} {power}",
        f"Let r and s be the complex roots of {equation}. Find r^{power} + s^{power}.",
        f"The roots of {equation} are r and s. What is r^{power} + s^{power}?",
    )


def _polygon(rng: random.Random, difficulty: float) -> Problem:
    """The area of a polygon whose corners are sorted by angle around a point inside."""
    size = scaled(difficulty, 8, 25)
    while True:
        found = {(rng.randint(-size, size), rng.randint(-size, size)) for _ in range(3)}
        found |= {
            (rng.randint(-size, size), rng.randint(-size, size))
            for _ in range(scaled(difficulty, 0, 3))
        }
        corners = sorted(found, key=lambda corner: math.atan2(corner[1], corner[0]))
        angles = [math.atan2(y, x) for x, y in corners]
        turns = [b - a for a, b in itertools.pairwise(angles)]
        turns.append(angles[0] + 2 * math.pi - angles[-1])
        if (0, 0) not in found and len(corners) > 2 and all(0.05 < turn < 3 for turn in turns):
            break
    pairs = list(zip(corners, corners[1:] + corners[:1], strict=True))
    area = Fraction(sum(a[0] * b[1] - a[1] * b[0] for a, b in pairs), 2)
    points = ", ".join(f"({x}, {y})" for x, y in corners)
    return _asked(
        rng,
        area,
        f"polygon {corners}",
        f"Find the area of the polygon with vertices {points}, taken in this order.",
        f"What area does the closed path through {points} (in this order) enclose?",
    )


def _heron(rng: random.Random, difficulty: float) -> Problem:
    size = scaled(difficulty, 12, 30)
    while True:
        a, b, c = sorted(rng.randint(3, size) for _ in range(3))
        if a + b > c:
            break
    area16 = (a + b + c) * (-a + b + c) * (a - b + c) * (a + b - c)
    inradius = difficulty > 0.5 and rng.random() < 0.5
    value = Fraction(area16, 4 * (a + b + c) ** 2) if inradius else Fraction(area16, 16)
    outside, inside = square_free(value.numerator * value.denominator)
    share = Fraction(outside, value.denominator)
    answer = str(share) if inside == 1 else root_text(0, share.numerator, inside, share.denominator)
    what = "radius of the inscribed circle" if inradius else "area"
    return _asked(
        rng,
        answer,
        f"heron {a} {b} {c} {inradius}",
        f"A triangle has sides {a}, {b} and {c}. Find its {what}.",
        f"What is the {what} of a triangle whose sides are {a}, {b} and {c}?",
        form="surd",
    )


def _ring_sector(rng: random.Random, difficulty: float) -> Problem:
    inner = rng.randint(1, scaled(difficulty, 12, 60))
    outer, angle = inner + rng.randint(1, scaled(difficulty, 12, 40)), rng.randint(1, 71) * 5
    share = Fraction(angle * (outer**2 - inner**2), 360)
    size = "" if share.numerator == 1 else str(share.numerator)
    answer = f"{size}pi" if share.denominator == 1 else f"{size}pi/{share.denominator}"
    text = f"between two concentric circles of radius {inner} and {outer}"
    return _asked(
        rng,
        answer,
        f"sector {inner} {outer} {angle}",
        f"A region lies {text} and inside a central angle of {angle} degrees. Find its area in "
        "terms of pi.",
        f"What is the area, in terms of pi, of the part of the ring {text} that a central angle of "
        f"{angle} degrees cuts out?",
        form="surd",
    )


class Competition(MathsEnvironment):
    """Competition mathematics; larger cases and more conditions with the difficulty."""

    name = "maths.competition"
    makers: ClassVar[Sequence[Maker]] = (
        _modular_power,
        _divisor_count,
        _trailing_zeros,
        _remainders,
        _multiples,
        _lattice_paths,
        _stars_and_bars,
        _arrangements,
        _urn,
        _vieta,
        _polygon,
        _heron,
        _ring_sector,
    )
