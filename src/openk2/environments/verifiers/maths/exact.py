"""Exact numbers and polynomials in one normal form, so that equality is equality of the form.

An `Exact` is a sum of terms q * sqrt(d) * x^i * y^j ... with q rational, d square-free and the
exponents integers; pi and e are names like x. Square roots of different square-free numbers are
linearly independent over the rationals and pi is transcendental, so two numbers of this kind are
equal exactly when their terms are.

Everything is bounded, as hostile text builds these: what would grow beyond the bounds raises
`NotExact`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

__all__ = ["MAX_EXPONENT", "MAX_RADICAND", "Exact", "NotExact", "square_free"]

MAX_BITS = 2048
MAX_TERMS = 64
MAX_EXPONENT = 64
MAX_RADICAND = 10**6  # before it is taken apart by trial division

Names = tuple[tuple[str, int], ...]  # sorted, no exponent is 0
Monomial = tuple[int, Names]  # square-free radicand, names


class NotExact(ValueError):
    """The value leaves the normal form or its bounds; the message says how."""


@dataclass(frozen=True)
class Exact:
    """terms: (radicand, names) -> coefficient, none of them 0."""

    terms: Mapping[Monomial, Fraction]

    @staticmethod
    def rational(value: Fraction | int) -> "Exact":
        return _checked({(1, ()): Fraction(value)})

    @staticmethod
    def name(name: str) -> "Exact":
        return Exact({(1, ((name, 1),)): Fraction(1)})

    @staticmethod
    def root(value: Fraction) -> "Exact":
        """The square root of a rational that is not negative."""
        if value < 0 or value.numerator * value.denominator > MAX_RADICAND:
            raise NotExact("a square root of a negative or a very large number")
        outside, inside = square_free(value.numerator * value.denominator)
        return _checked({(inside, ()): Fraction(outside, value.denominator)})

    def __add__(self, other: "Exact") -> "Exact":
        terms = dict(self.terms)
        for monomial, coefficient in other.terms.items():
            terms[monomial] = terms.get(monomial, Fraction(0)) + coefficient
        return _checked(terms)

    def __neg__(self) -> "Exact":
        return Exact({monomial: -coefficient for monomial, coefficient in self.terms.items()})

    def __sub__(self, other: "Exact") -> "Exact":
        return self + -other

    def __mul__(self, other: "Exact") -> "Exact":
        terms: dict[Monomial, Fraction] = {}
        for (root, names), coefficient in self.terms.items():
            for (other_root, other_names), other_coefficient in other.terms.items():
                shared = math.gcd(root, other_root)
                monomial = (root // shared * (other_root // shared), _joined(names, other_names))
                product = coefficient * other_coefficient * shared
                terms[monomial] = terms.get(monomial, Fraction(0)) + product
        return _checked(terms)

    def inverse(self) -> "Exact":
        """1 / self for one term, or for two that are numbers: a + b sqrt(d) has a conjugate."""
        if len(self.terms) == 1:
            (((root, names), coefficient),) = self.terms.items()
            turned = tuple((name, -exponent) for name, exponent in names)
            return _checked({(root, turned): 1 / (coefficient * root)})
        if len(self.terms) == 2 and not any(names for _, names in self.terms):
            (first, a), (second, b) = self.terms.items()
            norm = a * a * first[0] - b * b * second[0]
            return Exact({first: a, second: -b}) * Exact.rational(1 / norm)
        raise NotExact("a division by a sum" if self.terms else "a division by zero")

    def power(self, exponent: int) -> "Exact":
        if abs(exponent) > MAX_EXPONENT:
            raise NotExact("a very large exponent")
        base = self.inverse() if exponent < 0 else self
        result = Exact.rational(1)
        for bit in f"{abs(exponent):b}":
            result = result * result
            result = result * base if bit == "1" else result
        return result

    def as_rational(self) -> Fraction | None:
        """The value where it is rational, None where it is not."""
        if not self.terms:
            return Fraction(0)
        return self.terms.get((1, ())) if len(self.terms) == 1 else None


@lru_cache(4096)
def square_free(number: int) -> tuple[int, int]:
    """(a, b) with number = a^2 b, b square-free; 0 is (0, 1). At most MAX_RADICAND."""
    if number == 0:
        return 0, 1
    outside, inside, divisor = 1, 1, 2
    while divisor * divisor <= number:
        count = 0
        while number % divisor == 0:
            number //= divisor
            count += 1
        outside *= divisor ** (count // 2)
        inside *= divisor ** (count % 2)
        divisor += 1
    return outside, inside * number


def _joined(names: Names, others: Names) -> Names:
    if not names or not others:
        return names or others
    total = dict(names)
    for name, exponent in others:
        total[name] = total.get(name, 0) + exponent
    return tuple(sorted((name, exponent) for name, exponent in total.items() if exponent))


def _checked(terms: Mapping[Monomial, Fraction]) -> Exact:
    kept = {monomial: coefficient for monomial, coefficient in terms.items() if coefficient}
    if len(kept) > MAX_TERMS:
        raise NotExact(f"more than {MAX_TERMS} terms")
    for (root, names), coefficient in kept.items():
        size = coefficient.numerator.bit_length() + coefficient.denominator.bit_length()
        if size + root.bit_length() > MAX_BITS:
            raise NotExact("a very large number")
        if any(abs(exponent) > MAX_EXPONENT for _, exponent in names):
            raise NotExact("a very large exponent")
    return Exact(kept)
