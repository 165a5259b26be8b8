"""The truths of the science generators against textbook values and laws checked another way."""

import math
import random
import re
from collections import Counter
from fractions import Fraction

import pytest

from openk2.environments.base import Problem, VerifiableEnvironment, seeded_random, split_of
from openk2.environments.registry import VerifiableEnvironments
from openk2.environments.verifiers.stem import physics
from openk2.environments.verifiers.stem.chemistry import reaction
from openk2.environments.verifiers.stem.dimensions import QUANTITIES
from openk2.environments.verifiers.stem.laws import CONSTANTS, SCENES, solved, terms
from openk2.environments.verifiers.stem.substances import (
    ANIONS,
    CATIONS,
    balanced,
    composition,
    molar_mass,
    salt,
)
from openk2.environments.verifiers.stem.units import BASE, read_unit

NAMES = ("stem.units", "stem.dimensions", "stem.physics", "stem.chemistry")


def _environment(name: str) -> VerifiableEnvironment:
    environment = VerifiableEnvironments()[name]
    assert isinstance(environment, VerifiableEnvironment)
    return environment


def _problems(name: str, count: int, difficulty: float | None = None) -> list[Problem]:
    environment = _environment(name)
    found = []
    for index in range(count):
        rng = seeded_random("oracle", name, index)
        found.append(environment.generate(rng, rng.random() if difficulty is None else difficulty))
    return found


def _residual(law: str, values: dict[str, float]) -> float:
    """left / right - 1, the law's own text read as Python."""
    text = re.sub(r"(?<=\S) (?=[A-Za-z0-9])(?<![+=] )", " * ", law.replace("^", "**"))
    left, right = (eval(side, {}, values) for side in text.split(" = "))
    return left / right - 1


def test_there_are_many_laws_and_each_is_solved_for_each_of_its_symbols() -> None:
    laws = [(scene, law) for scene in SCENES for law in scene.laws]
    assert len(laws) >= 60
    rng = random.Random(5)
    for scene, law in laws:
        symbols = {symbol for _, powers in terms(law) for symbol in powers}
        assert symbols <= set(scene.variables) | set(CONSTANTS), law
        solvable = 0
        for unknown in sorted(symbols & set(scene.variables)):
            for _ in range(50):
                values = {name: value for name, (value, _, _) in CONSTANTS.items()}
                for name, one in scene.variables.items():
                    values[name] = math.exp(rng.uniform(math.log(one.low), math.log(one.high)))
                del values[unknown]
                found = solved(law, unknown, values)
                if found is not None:
                    assert abs(_residual(law, values | {unknown: found})) < 1e-6, (law, unknown)
                    solvable += 1
                    break
        assert solvable >= 2, law


def test_laws_are_dimensionally_right() -> None:
    """Every term of a law has the same unit; numbers have none."""
    for scene in SCENES:
        units = {symbol: variable.unit for symbol, variable in scene.variables.items()}
        units |= {symbol: unit for symbol, (_, unit, _) in CONSTANTS.items()}
        for law in scene.laws:
            found = set()
            for _, powers in terms(law):
                total = [0.0] * len(BASE)
                for symbol, power in powers.items():
                    if units[symbol]:
                        dimension = read_unit(units[symbol]).dimension
                        total = [a + power * b for a, b in zip(total, dimension, strict=True)]
                found.add(tuple(total))
            assert len(found) == 1, (law, found)


def test_all_laws_of_a_scene_hold_for_the_values_of_a_problem() -> None:
    """What is given does not contradict what is not asked."""
    rng, checked = random.Random(3), 0
    for _ in range(1500):
        scene = rng.choice(SCENES)
        drawn = physics._chain(rng, scene, rng.randint(1, min(3, len(scene.laws))))
        if drawn is None:
            continue
        givens, chain = drawn
        given = {symbol: physics._given(rng, scene, symbol, 0.5)[1] for symbol in givens}
        values = physics._values(scene, given, chain)
        if values is None:
            continue
        for law in scene.laws:
            if physics._symbols(law) <= set(values):
                assert abs(_residual(law, values)) < 1e-6, (law, values, givens, chain)
                checked += 1
    assert checked > 800


@pytest.mark.parametrize(
    ("law", "unknown", "values", "expected"),
    [
        ("v^2 = 2 g h", "v", {"g": 9.81, "h": 20}, 19.81),
        ("T = 6.283185307 l^0.5 g^-0.5", "l", {"g": 9.81, "T": 2}, 0.994),
        ("f^-1 = o^-1 + i^-1", "i", {"f": 0.1, "o": 0.3}, 0.15),
        ("R^-1 = A^-1 + B^-1", "R", {"A": 6, "B": 3}, 2),
        ("v^2 = G M r^-1", "v", {"G": 6.6743e-11, "M": 5.972e24, "r": 6.771e6}, 7672),
        ("p V = n R_gas T", "V", {"p": 101325, "n": 1, "R_gas": 8.314, "T": 273.15}, 0.022413),
        ("b_W = l T", "T", {"b_W": 2.898e-3, "l": 501.5e-9}, 5779),
    ],
)
def test_textbook_values(law: str, unknown: str, values: dict[str, float], expected: float) -> None:
    assert any(law in scene.laws for scene in SCENES)
    assert solved(law, unknown, values) == pytest.approx(expected, rel=2e-3)


def test_no_solution_is_none() -> None:
    assert solved("R^-1 = A^-1 + B^-1", "B", {"R": 5, "A": 4}) is None
    assert solved("s = u t + 0.5 a t^2", "t", {"s": 9, "u": 1, "a": 1}) is None


@pytest.mark.parametrize(
    ("formula", "mass"),
    [
        ("H2O", 18.015),
        ("H2SO4", 98.07),
        ("C6H12O6", 180.16),
        ("CaCO3", 100.09),
        ("NaCl", 58.44),
        ("KMnO4", 158.03),
        ("C8H10N4O2", 194.19),
        ("Ca3(PO4)2", 310.17),
        ("(NH4)2SO4", 132.13),
        ("CO(NH2)2", 60.06),
    ],
)
def test_molar_masses(formula: str, mass: float) -> None:
    assert molar_mass(formula) == pytest.approx(mass, abs=0.02)


@pytest.mark.parametrize(
    ("reactants", "products", "coefficients"),
    [
        (("C3H8", "O2"), ("CO2", "H2O"), [1, 5, 3, 4]),
        (("Fe2O3", "Al"), ("Al2O3", "Fe"), [1, 2, 1, 2]),
        (("H3PO4", "Ca(OH)2"), ("Ca3(PO4)2", "H2O"), [2, 3, 1, 6]),
        (("KMnO4", "HCl"), ("KCl", "MnCl2", "H2O", "Cl2"), [2, 16, 2, 2, 8, 5]),
        (("FeS2", "O2"), ("Fe2O3", "SO2"), [4, 11, 2, 8]),
    ],
)
def test_equations(
    reactants: tuple[str, ...], products: tuple[str, ...], coefficients: list[int]
) -> None:
    assert balanced(reactants, products) == coefficients


def test_what_cannot_be_balanced_in_one_way_is_none() -> None:
    assert balanced(("H2", "O2"), ("CO2",)) is None
    assert balanced(("C", "O2"), ("CO", "CO2")) is None


def test_reactions_conserve_every_element() -> None:
    rng = random.Random(1)
    for index in range(300):
        reactants, products, coefficients = reaction(rng, index / 300)
        total: Counter[str] = Counter()
        for place, formula in enumerate((*reactants, *products)):
            sign = 1 if place < len(reactants) else -1
            for element, times in composition(formula).items():
                total[element] += sign * times * coefficients[place]
        assert not any(total.values()), (reactants, products, coefficients)
        assert math.gcd(*coefficients) == 1


def test_salts_are_neutral() -> None:
    formulas = {salt(cation, anion) for cation in CATIONS for anion in ANIONS}
    assert {"NaCl", "Al2(SO4)3", "(NH4)3PO4", "Fe2O3", "FeO", "SnO2", "Ca(CH3COO)2"} <= formulas


def test_ph_of_known_solutions() -> None:
    for problem in _problems("stem.chemistry", 400):
        found = re.search(
            r"a ([0-9.e-]+) mol/L solution of a strong (monobasic|base)", problem.prompt
        )
        if found and problem.identity.startswith("acidity"):
            acid = -math.log10(float(found[1]))
            expected = acid if found[2] == "monobasic" else 14 - acid
            assert problem.truth["value"] == pytest.approx(expected)


def test_temperatures() -> None:
    """32 °F is 0 °C, 212 °F is 100 °C; the generator's truths lie on that line."""
    to_celsius = {
        "°C": lambda t: t,
        "°F": lambda t: (t - 32) / 1.8,
        "K": lambda t: t - 273.15,
    }
    checked = 0
    for problem in _problems("stem.units", 300):
        if problem.identity.startswith("temperature"):
            numbers, source, target = re.fullmatch(  # type: ignore[union-attr]
                r"temperature \[(.*)\] (\S+) (\S+)", problem.identity
            ).groups()
            values = [float(number) for number in numbers.split(", ")]
            mean = sum(values) / len(values)
            found = to_celsius[target](problem.truth["value"])
            assert found == pytest.approx(to_celsius[source](mean), abs=1e-6)
            checked += 1
    assert checked > 40


def test_conversions() -> None:
    """The quantities of the question and the truth have the same value in base units."""
    for problem in _problems("stem.units", 300):
        if not problem.identity.startswith("convert"):
            continue
        found = re.findall(r"'([0-9.]+) ([^']+)'", problem.identity)
        total = sum(Fraction(number) * read_unit(unit).factor for number, unit in found)
        truth = Fraction(problem.truth["value"]) * read_unit(problem.truth["unit"]).factor
        assert found and float(truth) == pytest.approx(float(total), rel=1e-9)


def test_exponents_of_laws_fit() -> None:
    checked = 0
    for problem in _problems("stem.dimensions", 200, difficulty=1.0):
        if not problem.identity.startswith("law"):
            continue
        target, names = re.fullmatch(r"law (.*) \[(.*)\]", problem.identity).groups()  # type: ignore[union-attr]
        total = [Fraction(0)] * len(BASE)
        for name, power in zip(re.findall("'(.*?)'", names), problem.truth["answers"], strict=True):
            dimension = read_unit(QUANTITIES[name]).dimension
            total = [a + Fraction(power) * b for a, b in zip(total, dimension, strict=True)]
        assert tuple(total) == read_unit(QUANTITIES[target]).dimension
        checked += 1
    assert checked > 60


@pytest.mark.parametrize("name", NAMES)
def test_tasks_are_pure_and_stay_in_their_split(name: str) -> None:
    environment = _environment(name)
    for split in ("train", "validation", "test"):
        for index in range(10):
            for difficulty in (0.0, 1.0, None):
                task = environment.task(index, split, difficulty)
                assert task == _environment(name).task(index, split, difficulty)
                assert environment.verify(task, environment.solve(task)).reward == 1


@pytest.mark.parametrize("name", NAMES)
def test_problems_are_many_and_their_splits_fill(name: str) -> None:
    problems = _problems(name, 2000, difficulty=0.5)
    identities = {problem.identity for problem in problems}
    # Of N equally likely problems, 2000 draws leave 2000 - 2000^2 / 2N: 10,000 would leave 1812.
    assert len(identities) > 1820
    shares = Counter(split_of(name, identity) for identity in identities)
    assert min(shares.values()) > 130


@pytest.mark.parametrize("name", NAMES)
def test_difficulty_is_visible(name: str) -> None:
    def size(difficulty: float) -> int:
        return sum(len(p.prompt.splitlines()[0]) for p in _problems(name, 300, difficulty))

    assert size(1.0) > 1.1 * size(0.0)
