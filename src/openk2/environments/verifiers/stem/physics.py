"""Physics problems: one to three laws of a scene chained, solved for any of their variables."""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from openk2.environments.base import Problem
from openk2.environments.verifiers.stem.laws import (
    ALTERNATIVES,
    CONSTANTS,
    SCENES,
    Scene,
    solved,
    terms,
)
from openk2.environments.verifiers.stem.quantities import (
    Maker,
    QuantityEnvironment,
    number_text,
    quantity_problem,
)
from openk2.environments.verifiers.stem.units import read_unit

__all__ = ["Physics"]


def _symbols(law: str) -> set[str]:
    return {symbol for _, powers in terms(law) for symbol in powers}


def _derivable(scene: Scene, known: Iterable[str]) -> set[str]:
    """What the laws determine, one after the other, from what is known."""
    found = set(known) | set(CONSTANTS)
    while True:
        more = {
            symbol for law in scene.laws for symbol in _symbols(law) - found
            if len(_symbols(law) - found) == 1
        }  # fmt: skip
        if not more:
            return found
        found |= more


def _chain(
    rng: random.Random, scene: Scene, steps: int
) -> tuple[list[str], list[tuple[str, str]]] | None:
    """(givens, [(law, unknown), ...]): every law uses the unknown before it and finds a new one.

    No given follows from the others, so that their values can be drawn freely. None where the
    drawn path leads nowhere.
    """
    givens: list[str] = []
    found: list[tuple[str, str]] = []
    for _ in range(steps):
        used = {law for law, _ in found}
        link = found[-1][1] if found else None
        known = set(givens) | {symbol for _, symbol in found}
        laws = [law for law in scene.laws if law not in used]
        laws = [law for law in laws if link is None or link in _symbols(law)]
        if not laws:
            return None
        law = rng.choice(laws)
        new = sorted(_symbols(law) - known - set(CONSTANTS))
        if not new:
            return None
        unknown = rng.choice(new)
        for symbol in new:
            if symbol != unknown:
                if symbol in _derivable(scene, givens):
                    return None
                givens.append(symbol)
        found.append((law, unknown))
    return givens, found


def _given(rng: random.Random, scene: Scene, symbol: str, difficulty: float) -> tuple[str, float]:
    """A value of three digits as text, and the same in the variable's own unit."""
    variable = scene.variables[symbol]
    size = math.exp(rng.uniform(math.log(variable.low), math.log(variable.high)))
    unit, factor = variable.unit, 1.0
    if rng.random() < difficulty and unit in ALTERNATIVES:
        other = rng.choice(ALTERNATIVES[unit])
        share = float(read_unit(other).factor / read_unit(unit).factor)
        if 0.1 <= size / share < 10_000:
            unit, factor = other, share
    shown = float(f"{size / factor:.3g}")
    return f"{number_text(shown)} {unit}".strip(), shown * factor


def _values(
    scene: Scene, given: Mapping[str, float], chain: Sequence[tuple[str, str]]
) -> dict[str, float] | None:
    """Everything that follows from the givens, first along the chain; None where a value is not
    what it can be, or far from what it usually is."""
    values = {symbol: value for symbol, (value, _, _) in CONSTANTS.items()} | dict(given)
    pending = list(chain)
    while pending:
        for law, unknown in pending:
            value = solved(law, unknown, values)
            variable = scene.variables[unknown]
            if value is None or not variable.low / 10 <= value <= variable.high * 10:
                return None
            values[unknown] = value
        pending = []
        for law in scene.laws:
            missing = _symbols(law) - set(values)
            once = sum(missing <= set(powers) for _, powers in terms(law)) == 1
            if len(missing) == 1 and once:
                pending = [(law, missing.pop())]
                break
    return values


def _make(rng: random.Random, difficulty: float) -> Problem:
    steps = min(3, 1 + int(3 * difficulty))
    while True:
        scene = rng.choice(SCENES)
        drawn = _chain(rng, scene, min(steps, len(scene.laws)))
        if drawn is None:
            continue
        givens, chain = drawn
        texts = {symbol: _given(rng, scene, symbol, difficulty) for symbol in givens}
        values = _values(scene, {symbol: value for symbol, (_, value) in texts.items()}, chain)
        if values is not None:
            break
    target = scene.variables[chain[-1][1]]
    told = [f"the {scene.variables[symbol].phrase} is {texts[symbol][0]}" for symbol in givens]
    rng.shuffle(told)
    told_text = ", ".join(told[:-1]) + (" and " if len(told) > 1 else "") + told[-1]
    needed = sorted({symbol for law, _ in chain for symbol in _symbols(law)} & set(CONSTANTS))
    constants = "; ".join(
        f"{phrase} {number_text(value)} {unit}"
        for value, unit, phrase in map(CONSTANTS.__getitem__, needed)
    )
    hint = f" Constants: {constants}." if constants else ""
    opening = rng.choice(scene.openings)
    wordings = [
        f"{opening} Given that {told_text}, find the {target.phrase}.{hint}",
        f"{opening} Here {told_text}. What is the {target.phrase}?{hint}",
        f"{opening} Calculate the {target.phrase} if {told_text}.{hint}",
    ]
    inputs = sorted((scene.variables[symbol].phrase, text) for symbol, (text, _) in texts.items())
    return quantity_problem(
        rng,
        wordings,
        f"{SCENES.index(scene)} {inputs} {target.phrase}",
        value=values[chain[-1][1]],
        unit=target.unit,
        in_unit=target.unit == "K",  # a rise of 5 K is one of 5 °C, but 5 °C is no rise
    )


class Physics(QuantityEnvironment):
    """One law at low difficulty, chains of three and mixed units at high difficulty."""

    name = "stem.physics"
    makers: ClassVar[Sequence[Maker]] = (_make,)
