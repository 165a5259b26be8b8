"""Chemistry: molar masses, composition, equations, stoichiometry, solutions, pH and gases."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from openk2.core.records import Score
from openk2.environments.base import Problem, Task
from openk2.environments.verifiers.maths.grading import grade_answer, problem, truth_text
from openk2.environments.verifiers.stem.quantities import (
    Maker,
    QuantityEnvironment,
    number_text,
    quantity_problem,
)
from openk2.environments.verifiers.stem.substances import (
    ANIONS,
    ATOMIC_MASSES,
    CATIONS,
    MOLECULES,
    balanced,
    composition,
    molar_mass,
    organic,
    salt,
)

__all__ = ["Chemistry", "reaction"]

AVOGADRO = 6.02214076e23
GAS_CONSTANT = 8.314  # J/(mol K), as the prompts state it
HYDROGEN = ("H", "hydrogen", 1)
ACIDS = tuple(anion for anion in ANIONS if anion[0] not in ("O", "CO3"))
METALS = tuple(ion for ion in CATIONS if ion[0] in ("Li", "Na", "Mg", "Ca", "Zn", "Al", "Fe"))
ORES = tuple(ion for ion in CATIONS if ion[0] in ("Fe", "Cr", "Cu", "Pb", "Sn", "Ni", "Co", "Zn"))
MASSES_HINT = "Use standard atomic masses."


def _substance(rng: random.Random, difficulty: float) -> tuple[str, str]:
    """(formula, how the text calls it)"""
    draw = rng.random()
    if draw < 0.2:
        formula, name = rng.choice(MOLECULES)
        return formula, f"{name}, {formula}"
    if draw < 0.6:
        cation, anion = rng.choice(CATIONS), rng.choice(ANIONS)
        formula = salt(cation, anion)
        return formula, f"{cation[1]} {anion[1]}, {formula}"
    formula = organic(rng, 4 + round(16 * difficulty))
    return formula, f"the compound {formula}"


def _three(value: float) -> float:
    return float(f"{value:.3g}")


def _molar_mass(rng: random.Random, difficulty: float) -> Problem:
    formula, name = _substance(rng, difficulty)
    wordings = [
        f"What is the molar mass of {name}? {MASSES_HINT}",
        f"Compute the mass of one mole of {name}. {MASSES_HINT}",
    ]
    return quantity_problem(
        rng, wordings, f"molar {formula}", value=molar_mass(formula), unit="g/mol", tolerance=0.003
    )


def _amount(rng: random.Random, difficulty: float) -> Problem:
    """Between mass, amount and number of particles of a substance."""
    formula, name = _substance(rng, difficulty)
    mass = _three(10 ** rng.uniform(-1, 3.3))
    moles = mass / molar_mass(formula)
    element = rng.choice(sorted(composition(formula)))
    atoms = composition(formula)[element]
    asked = rng.choice(("amount", "mass", "atoms", "part"))
    if asked == "mass":
        shown = _three(moles)
        text, value, unit = (
            f"mass of {number_text(shown)} mol of {name}",
            shown * molar_mass(formula),
            "g",
        )
    elif asked == "amount":
        text, value, unit = f"amount of substance in {number_text(mass)} g of {name}", moles, "mol"
    elif asked == "atoms":
        text, value = (
            f"number of {element} atoms in {number_text(mass)} g of {name}",
            moles * atoms * AVOGADRO,
        )
        unit = ""
    else:
        text = f"mass of the element {element} in {number_text(mass)} g of {name}"
        value, unit = moles * atoms * ATOMIC_MASSES[element], "g"
    wordings = [
        f"Find the {text}. {MASSES_HINT}",
        f"What is the {text}? {MASSES_HINT}",
        f"Determine the {text}. {MASSES_HINT}",
    ]
    return quantity_problem(rng, wordings, f"amount {text}", value=value, unit=unit)


def _percentage(rng: random.Random, difficulty: float) -> Problem:
    while len(composition((drawn := _substance(rng, difficulty))[0])) < 2:
        pass
    formula, name = drawn
    element = rng.choice(sorted(composition(formula)))
    share = composition(formula)[element] * ATOMIC_MASSES[element] / molar_mass(formula)
    wordings = [
        f"What percentage of the mass of {name} is {element}? {MASSES_HINT}",
        f"Find the mass fraction of {element} in {name}, in percent. {MASSES_HINT}",
    ]
    identity = f"percentage {formula} {element}"
    return quantity_problem(rng, wordings, identity, value=100 * share, unit="%")


def reaction(
    rng: random.Random, difficulty: float
) -> tuple[tuple[str, ...], tuple[str, ...], list[int]]:
    """(reactants, products, coefficients) of a reaction that happens to balance in one way."""
    while True:
        cation, other = rng.sample(CATIONS, 2)
        anion, second = rng.sample(ANIONS, 2)
        acid, metal, ore = rng.choice(ACIDS), rng.choice(METALS), rng.choice(ORES)
        kinds: Sequence[tuple[tuple[str, ...], tuple[str, ...]]] = (
            ((organic(rng, 4 + round(14 * difficulty)), "O2"), ("CO2", "H2O")),
            ((salt(HYDROGEN, acid), salt(cation, ("OH", "", 1))), (salt(cation, acid), "H2O")),
            ((metal[0], salt(HYDROGEN, acid)), (salt(metal, acid), "H2")),
            (
                (salt(cation, ("CO3", "", 2)), salt(HYDROGEN, acid)),
                (salt(cation, acid), "CO2", "H2O"),
            ),
            (
                (salt(cation, anion), salt(other, second)),
                (salt(cation, second), salt(other, anion)),
            ),
            ((salt(ore, ("O", "", 2)), "Al"), ("Al2O3", ore[0])),
            ((salt(ore, ("O", "", 2)), "C"), (ore[0], "CO2")),
            ((salt(ore, ("S", "", 2)), "O2"), (salt(ore, ("O", "", 2)), "SO2")),
        )
        reactants, products = kinds[rng.randrange(len(kinds))]
        coefficients = balanced(reactants, products)
        if coefficients and max(coefficients) > 1 and not set(reactants) & set(products):
            return reactants, products, coefficients


def _shown(species: Sequence[str], coefficients: Sequence[int] | None = None) -> str:
    counts = coefficients or [1] * len(species)
    pairs = zip(species, counts, strict=True)
    return " + ".join(f"{count} {one}" if count > 1 else one for one, count in pairs)


def _balance(rng: random.Random, difficulty: float) -> Problem:
    reactants, products, coefficients = reaction(rng, difficulty)
    equation = f"{_shown(reactants)} -> {_shown(products)}"
    truth = {"kind": "tuple", "names": [], "answers": [str(one) for one in coefficients]}
    asked = (
        f"State its {len(coefficients)} smallest whole-number coefficients in the order in which "
        "the substances stand."
    )
    wordings = [
        f"Balance the equation {equation}. {asked}",
        f"The skeleton of a reaction is {equation}. Balance it. {asked}",
        f"Find the coefficients of {equation}. {asked}",
    ]
    return problem(rng, wordings, truth, f"balance {equation}")


def _stoichiometry(rng: random.Random, difficulty: float) -> Problem:
    """Mass of a product from the mass of one reactant, or of both, or with a yield below 100 %."""
    reactants, products, coefficients = reaction(rng, difficulty)
    equation = f"{_shown(reactants)} -> {_shown(products)}"
    if difficulty < 0.5:
        sides = coefficients[: len(reactants)], coefficients[len(reactants) :]
        equation = f"{_shown(reactants, sides[0])} -> {_shown(products, sides[1])}"
    target = rng.randrange(len(products))
    extents: list[float] = []
    told: list[str] = []
    both = difficulty > 0.3 and rng.random() < 0.6
    for place, name in enumerate(reactants[: 2 if both else 1]):
        extent = 10 ** rng.uniform(-1.5, 0) * (rng.uniform(0.5, 2) if extents else 1)
        mass = _three(extent * coefficients[place] * molar_mass(name))
        extents.append(mass / molar_mass(name) / coefficients[place])
        told.append(f"{number_text(mass)} g of {name}")
    rest = "" if both else f" and as much {reactants[1]} as is needed"
    share = rng.randint(8, 19) * 5 if difficulty > 0.6 else 100
    shared = f" The yield is {share} %." if share < 100 else ""
    product = products[target]
    moles = min(extents) * coefficients[len(reactants) + target] * share / 100
    text = f"{equation}{'' if difficulty < 0.5 else ' (not balanced yet)'}"
    wordings = [
        f"Consider the reaction {text}. What mass of {product} forms from {' and '.join(told)}"
        f"{rest}?{shared} {MASSES_HINT}",
        f"{' and '.join(told)}{rest} react: {text}.{shared} Find the mass of "
        f"{product} that is obtained. {MASSES_HINT}",
    ]
    identity = f"stoichiometry {reactants} {products} {told} {product} {share}"
    return quantity_problem(
        rng, wordings, identity, value=moles * molar_mass(product), unit="g", tolerance=0.01
    )


def _solution(rng: random.Random, difficulty: float) -> Problem:
    """Making a solution and diluting it once or twice."""
    formula, name = _substance(rng, difficulty)
    mass, volume = _three(rng.uniform(1, 90)), rng.randint(5, 200) * 10
    concentration = mass / molar_mass(formula) / (volume / 1000)
    text = f"{number_text(mass)} g of {name} is dissolved in water to give {volume} mL of solution."
    for _ in range(round(2 * difficulty)):
        taken = rng.randint(2, max(3, volume // 2))
        final = taken + rng.randint(10, 900)
        text += f" Of this, {taken} mL is taken and diluted with water to {final} mL."
        concentration, volume = concentration * taken / final, final
    wordings = [
        f"{text} What is the molar concentration of the last solution? {MASSES_HINT}",
        f"{text} Find the concentration of the final solution in moles per volume. {MASSES_HINT}",
    ]
    identity = f"solution {text}"
    return quantity_problem(rng, wordings, identity, value=concentration, unit="mol/L")


def _acidity(rng: random.Random, difficulty: float) -> Problem:
    """pH of a strong or a weak acid or base, or of a mixture of a strong acid and a base."""
    concentration = _three(10 ** rng.uniform(-2.5, 0))
    is_base = rng.random() < 0.5
    if difficulty < 0.35:
        what = "strong monobasic acid" if not is_base else "strong base with one OH group"
        strength, text = concentration, f"a {number_text(concentration)} mol/L solution of a {what}"
    elif difficulty < 0.7:
        constant = _three(10 ** rng.uniform(-6, -3.5))
        # x^2 = constant (concentration - x)
        strength = (-constant + math.sqrt(constant**2 + 4 * constant * concentration)) / 2
        what = (
            f"weak base with K_b = {number_text(constant)}"
            if is_base
            else f"weak acid with K_a = {number_text(constant)}"
        )
        text = f"a {number_text(concentration)} mol/L solution of a {what} (both in terms of mol/L)"
    else:
        acid, base = rng.randint(10, 400), rng.randint(10, 400)
        other = _three(10 ** rng.uniform(-2.5, 0))
        surplus = acid * concentration - base * other
        if abs(surplus) < 0.05 * max(acid * concentration, base * other):
            return _acidity(rng, difficulty)
        is_base, strength = surplus < 0, abs(surplus) / (acid + base)
        text = (
            f"a mixture of {acid} mL of {number_text(concentration)} mol/L HCl and {base} mL of "
            f"{number_text(other)} mol/L NaOH"
        )
    value = 14 + math.log10(strength) if is_base else -math.log10(strength)
    wordings = [
        f"What is the pH of {text} at 25 °C (pK_w = 14.00)?",
        f"Calculate the pH of {text}. Take pK_w = 14.00.",
    ]
    return quantity_problem(
        rng, wordings, f"acidity {text}", value=value, unit="", tolerance=0.02, absolute=True
    )


def _gas(rng: random.Random, difficulty: float) -> Problem:
    """pV = nRT for any of its quantities, with the amount given as a mass when it is hard."""
    name = rng.choice(("N2", "O2", "CO2", "CH4", "NH3", "SO2", "He", "Ar", "C2H6", "N2O", "H2S"))
    moles, kelvin = 10 ** rng.uniform(-1, 1), rng.randint(220, 600)
    litres = _three(10 ** rng.uniform(-0.3, 2))
    mass = _three(moles * molar_mass(name))
    moles = mass / molar_mass(name) if difficulty > 0.4 else _three(moles)
    pascal = moles * GAS_CONSTANT * kelvin / (litres / 1000)
    kilopascal = _three(pascal / 1000)
    amount = f"{number_text(mass)} g of {name}" if difficulty > 0.4 else f"{moles:g} mol of {name}"
    celsius = difficulty > 0.6
    warmth = f"{kelvin - 273.15:g} °C" if celsius else f"{kelvin} K"
    asked = rng.choice(("pressure", "volume", "temperature"))
    if asked == "pressure":
        text, value, unit = f"{amount} fills {litres:g} L at {warmth}", pascal / 1000, "kPa"
    elif asked == "volume":
        text = f"{amount} is kept at {warmth} and {kilopascal:g} kPa"
        value, unit = moles * GAS_CONSTANT * kelvin / kilopascal, "L"
    else:
        text = f"{amount} fills {litres:g} L at {kilopascal:g} kPa"
        value, unit = kilopascal * litres / (moles * GAS_CONSTANT), "K"
    hint = "Treat it as an ideal gas with R = 8.314 J/(mol K)."
    wordings = [
        f"{text}. Find its {asked}. {hint}",
        f"What is the {asked} of the gas when {text}? {hint}",
    ]
    return quantity_problem(rng, wordings, f"gas {asked} {text}", value=value, unit=unit)


class Chemistry(QuantityEnvironment):
    """General chemistry; the truth of a balancing problem is a "tuple" as in the maths grader."""

    name = "stem.chemistry"
    makers: ClassVar[Sequence[Maker]] = (
        _molar_mass,
        _amount,
        _percentage,
        _balance,
        _stoichiometry,
        _stoichiometry,
        _solution,
        _acidity,
        _gas,
    )

    def grade(self, truth: Mapping[str, Any], response: str) -> Score:
        if truth.get("kind") == "tuple":
            return grade_answer(truth, response)
        return super().grade(truth, response)

    def solve(self, task: Task) -> str:
        if task.truth.get("kind") == "tuple":
            return f"Answer: {truth_text(task.truth)}"
        return super().solve(task)
