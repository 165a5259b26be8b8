"""Dimensional analysis: base units of a combination of quantities, and exponents of a law."""

import random
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from openk2.core.records import Score
from openk2.environments.base import Problem, Task, VerifiableEnvironment
from openk2.environments.verifiers.answers import ANSWER_FORMAT, final_answer
from openk2.environments.verifiers.maths.grading import grade_answer, problem, truth_text
from openk2.environments.verifiers.stem.units import (
    BASE,
    NotUnit,
    read_base_unit,
    read_unit,
)

__all__ = ["Dimensions"]

QUANTITIES: Mapping[str, str] = {
    "length": "m",
    "area": "m^2",
    "volume": "m^3",
    "time": "s",
    "mass": "kg",
    "speed": "m/s",
    "acceleration": "m/s^2",
    "frequency": "Hz",
    "force": "N",
    "energy": "J",
    "power": "W",
    "pressure": "Pa",
    "density": "kg/m^3",
    "momentum": "kg m/s",
    "angular momentum": "J s",
    "moment of inertia": "kg m^2",
    "dynamic viscosity": "Pa s",
    "kinematic viscosity": "m^2/s",
    "surface tension": "N/m",
    "volume flow rate": "m^3/s",
    "spring constant": "N/m",
    "gravitational constant": "N m^2/kg^2",
    "temperature": "K",
    "specific heat capacity": "J/(kg K)",
    "heat capacity": "J/K",
    "thermal conductivity": "W/(m K)",
    "gas constant": "J/(mol K)",
    "amount of substance": "mol",
    "molar mass": "kg/mol",
    "concentration": "mol/m^3",
    "electric current": "A",
    "electric charge": "C",
    "voltage": "V",
    "resistance": "Ω",
    "capacitance": "F",
    "inductance": "H",
    "electric field strength": "V/m",
    "magnetic flux density": "T",
    "magnetic flux": "Wb",
    "luminous intensity": "cd",
}
MECHANICAL = tuple(
    name for name, unit in QUANTITIES.items() if not any(read_unit(unit).dimension[3:])
)


class Dimensions(VerifiableEnvironment):
    """More quantities and higher powers with the difficulty; above the middle also laws.

    A truth has the kind "base_units" (dimension: exponents of m, kg, s, A, K, mol, cd) or is a
    "tuple" as in the maths grader.
    """

    name = "stem.dimensions"

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        return _law(rng) if rng.random() < 0.6 * difficulty else _combination(rng, difficulty)

    def grade(self, truth: Mapping[str, Any], response: str) -> Score:
        if truth["kind"] == "tuple":
            return grade_answer(truth, response)
        answer = final_answer(response)
        if not answer.wordings:
            return _score(0, answer.problem)
        return _score(*min(_passed(truth, text.strip("$ .")) for text in answer.wordings))

    def solve(self, task: Task) -> str:
        truth = task.truth
        if truth["kind"] == "tuple":
            return f"Answer: {truth_text(truth)}"
        pairs = zip(BASE, truth["dimension"], strict=True)
        return "Answer: " + " ".join(f"{unit}^{power}" for unit, power in pairs if power)


def _passed(truth: Mapping[str, Any], text: str) -> tuple[int, str]:
    """How many parts of the verdict one wording of the answer passes, and why no more."""
    try:
        found = read_base_unit(text)
    except NotUnit as wrong:
        return 1, str(wrong)
    if list(found) != truth["dimension"]:
        return 2, "another combination of base units"
    return 3, "correct"


def _score(passed: int, reason: str) -> Score:
    names = ("answered", "form", "correct")
    parts = {name: float(place < passed) for place, name in enumerate(names)}
    return Score(float(passed == len(names)), parts, reason)


def _combination(rng: random.Random, difficulty: float) -> Problem:
    count = 2 + round(3 * difficulty)
    while True:
        names = sorted(rng.sample(sorted(QUANTITIES), count))
        powers = [rng.choice((1, 1, 1, -1, -1, 2, -2, 3)) for _ in names]
        dimension = [0] * len(BASE)
        for name, power in zip(names, powers, strict=True):
            for place, exponent in enumerate(read_unit(QUANTITIES[name]).dimension):
                dimension[place] += power * exponent
        # An answer must be sayable, and more than the unit of one of the quantities.
        if sum(map(bool, dimension)) > 1 and max(map(abs, dimension)) <= 9:
            break
    above = " × ".join(_raised(n, p) for n, p in zip(names, powers, strict=True) if p > 0) or "1"
    below = " × ".join(_raised(n, -p) for n, p in zip(names, powers, strict=True) if p < 0)
    text = f"({above}) / ({below})" if below else above
    wordings = (
        f"Write the SI unit of {text} as a product of powers of base units.",
        f"Which combination of SI base units has the quantity {text}?",
        f"A quantity is defined as {text}. State its unit in SI base units.",
    )
    form = (
        "Use only m, kg, s, A, K, mol, cd, each at most once, with integer exponents, for example "
        "`kg m^2 s^-3`."
    )
    prompt = f"{rng.choice(wordings)}\n{form} {ANSWER_FORMAT}"
    identity = f"combination {list(zip(names, powers, strict=True))}"
    return Problem(prompt, {"kind": "base_units", "dimension": dimension}, identity)


def _raised(name: str, power: int) -> str:
    return name if power == 1 else f"{name}^{power}" if " " not in name else f"({name})^{power}"


def _law(rng: random.Random) -> Problem:
    """The exponents that make the product of three mechanical quantities a fourth one."""
    while True:
        names = rng.sample(MECHANICAL, 4)
        target, *basis = names
        exponents = _exponents(target, basis)
        if exponents and all(exponents) and all(abs(e.denominator) <= 4 for e in exponents):
            break
    order = sorted(zip(basis, exponents, strict=True))
    product = " × ".join(
        f"({name})^{letter}" for (name, _), letter in zip(order, "abc", strict=True)
    )
    answers = [str(exponent) for _, exponent in order]
    truth = {"kind": "tuple", "names": ["a", "b", "c"], "answers": answers}
    wordings = (
        f"A law of mechanics has the form {target} = constant × {product}, the constant being a "
        "pure number. Find a, b and c by dimensional analysis.",
        f"For which exponents is {product} of the same dimension as {target}?",
        f"Dimensional analysis: determine a, b, c so that {target} and {product} have equal units.",
    )
    asked = [f"{wording} State them as `a = ..., b = ..., c = ...`." for wording in wordings]
    return problem(rng, asked, truth, f"law {target} {[name for name, _ in order]}")


def _exponents(target: str, basis: Sequence[str]) -> list[Fraction]:
    """Cramer's rule on the exponents of m, kg, s; [] where the basis is not independent."""
    columns = [read_unit(QUANTITIES[name]).dimension[:3] for name in basis]
    wanted = read_unit(QUANTITIES[target]).dimension[:3]
    whole = _determinant(columns)
    if whole == 0:
        return []
    return [
        Fraction(_determinant([*columns[:j], wanted, *columns[j + 1 :]]), whole) for j in range(3)
    ]


def _determinant(rows: Sequence[Sequence[int]]) -> int:
    (a, b, c), (d, e, f), (g, h, i) = rows
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
