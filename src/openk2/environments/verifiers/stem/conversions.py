"""Conversion of quantities between units, compound ones and temperature scales too."""

import random
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import ClassVar

from openk2.environments.base import Problem
from openk2.environments.verifiers.stem.quantities import (
    Maker,
    QuantityEnvironment,
    quantity_problem,
)
from openk2.environments.verifiers.stem.units import read_unit

__all__ = ["Units"]

# What can stand in each place of a compound unit.
SLOTS: Mapping[str, Sequence[str]] = {
    "length": ("mm", "cm", "m", "km", "in", "ft", "mi"),
    "short": ("µm", "mm", "cm", "m", "in", "ft"),
    "time": ("ms", "s", "min", "h"),
    "mass": ("mg", "g", "kg", "t", "lb"),
    "volume": ("mL", "L", "m^3", "cm^3"),
    "force": ("N", "kN", "mN"),
    "energy": ("J", "kJ", "MJ", "cal", "kcal", "kW h"),
    "power": ("mW", "W", "kW", "MW"),
    "pressure": ("Pa", "hPa", "kPa", "bar", "atm"),
    "charge": ("C", "mC", "A h", "µC"),
    "amount": ("mmol", "mol", "kmol"),
    "temperature": ("K",),
    "current": ("µA", "mA", "A"),
    "voltage": ("mV", "V", "kV"),
}
EASY: Sequence[tuple[str, str]] = tuple(
    (slot, f"{{{slot}}}") for slot in SLOTS if slot != "temperature"
)
COMPOUND: Sequence[tuple[str, str]] = (
    ("a speed", "{length}/{time}"),
    ("an acceleration", "{length}/{time}^2"),
    ("an area", "{length}^2"),
    ("a volume", "{short}^3"),
    ("a density", "{mass}/{short}^3"),
    ("a flow rate", "{volume}/{time}"),
    ("a mass flow", "{mass}/{time}"),
    ("a concentration", "{amount}/{volume}"),
    ("a mass concentration", "{mass}/{volume}"),
    ("a momentum", "{mass} {length}/{time}"),
    ("a surface tension", "{force}/{short}"),
    ("an electric field", "{voltage}/{short}"),
)
HARD: Sequence[tuple[str, str]] = (
    ("a specific heat capacity", "{energy}/({mass} {temperature})"),
    ("a heat flux", "{power}/{length}^2"),
    ("a thermal conductivity", "{power}/({short} {temperature})"),
    ("a dynamic viscosity", "{pressure} {time}"),
    ("a moment of inertia", "{mass} {short}^2"),
    ("a current density", "{current}/{short}^2"),
    ("a mass flux", "{mass}/({short}^2 {time})"),
    ("a molar energy", "{energy}/{amount}"),
    ("a spectral density of power", "{power} {time}/{length}^2"),
    ("an energy density", "{energy}/{short}^3"),
)
SCALES = ("°C", "°F", "K")


def _unit(rng: random.Random, pattern: str) -> str:
    return pattern.format(
        **{
            slot: f"({unit})" if ("^" in unit or " " in unit) and pattern[1:-1] != slot else unit
            for slot, units in SLOTS.items()
            for unit in (rng.choice(units),)
        }
    )


def _number(rng: random.Random) -> str:
    return f"{rng.randint(100, 999) / 10 ** rng.randint(0, 3):g}"


def _conversion(rng: random.Random, difficulty: float) -> Problem:
    """One quantity, or a sum of two or three in different units, in another unit."""
    patterns = EASY if difficulty < 0.25 else COMPOUND if difficulty < 0.6 else HARD
    what, pattern = rng.choice(patterns)
    count = 1 if difficulty < 0.75 else rng.randint(2, 3)
    while True:
        units = [_unit(rng, pattern) for _ in range(count + 1)]
        read = [read_unit(unit) for unit in units]
        ratios = [float(unit.factor / read[-1].factor) for unit in read[:-1]]
        if read[-1] not in read[:-1] and all(1e-6 < ratio < 1e6 for ratio in ratios):
            break
    numbers = [_number(rng) for _ in range(count)]
    pairs = zip(numbers, read[:-1], strict=True)
    total = sum((Fraction(number) * unit.factor for number, unit in pairs), Fraction(0))
    pairs_text = [f"{number} {unit}" for number, unit in zip(numbers, units[:-1], strict=True)]
    given, target = " + ".join(pairs_text), units[-1]
    wordings = [
        f"Convert {given} to {target}.",
        f"Express {given} in {target}.",
        f"A table lists {what} of {given}. How much is that in {target}?"
        if patterns is not EASY
        else f"How much is {given} in {target}?",
    ]
    return quantity_problem(
        rng,
        wordings,
        f"convert {sorted(pairs_text)} {target}",
        value=float(total / read[-1].factor),
        unit=target,
        tolerance=0.005,
        in_unit=True,
    )


def _temperature(rng: random.Random, difficulty: float) -> Problem:
    """A temperature, or the mean of several, on another scale; far from 0, where 1 % is nothing."""
    count = 1 + round(3 * difficulty)
    while True:
        source, target = rng.sample(SCALES, 2)
        low, high = {"°C": (-90, 400), "°F": (-100, 700), "K": (150, 700)}[source]
        decimals = 0 if difficulty < 0.3 else 1
        numbers = [round(rng.uniform(low, high), decimals) for _ in range(count)]
        old, new = read_unit(source), read_unit(target)
        mean = Fraction(sum(Fraction(str(number)) for number in numbers), count)
        value = (mean * old.factor + old.offset - new.offset) / new.factor
        if abs(value) > 5 and abs(value - mean) > 0.03 * abs(value):
            break
    given = ", ".join(f"{number:g} {source}" for number in numbers)
    wordings = [
        f"Convert the temperature {given} to {target}.",
        f"How warm is {given} in {target}?",
    ]
    if count > 1:
        wordings = [
            f"Sensors read {given}. What is their mean temperature in {target}?",
            f"Give the mean of the temperatures {given} in {target}.",
        ]
    return quantity_problem(
        rng,
        wordings,
        f"temperature {sorted(numbers)} {source} {target}",
        value=float(value),
        unit=target,
        tolerance=0.005,
        in_unit=True,
    )


class Units(QuantityEnvironment):
    """Unit conversion: plain, compound and sums of quantities in different units."""

    name = "stem.units"
    makers: ClassVar[Sequence[Maker]] = (_conversion, _conversion, _conversion, _temperature)
