"""Answers that are a number and a unit, graded within a stated tolerance; base of the environments.

A truth is JSON:

    value      float, in `unit`
    unit       text that `units` reads; "" for a plain number, "%" for one that % may stand after
    tolerance  the largest error that is paid, relative to the value, or absolute where `absolute`
    in_unit    whether the answer must be in exactly this unit, and not in another of its dimension
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar

from openk2.core.records import Score
from openk2.environments.base import Problem, Task, VerifiableEnvironment
from openk2.environments.verifiers.answers import ANSWER_FORMAT, final_answer
from openk2.environments.verifiers.stem.units import NotUnit, read_unit

__all__ = [
    "Maker",
    "QuantityEnvironment",
    "grade_quantity",
    "number_text",
    "quantity_problem",
    "quantity_text",
]

Maker = Callable[[random.Random, float], Problem]

MAX_TEXT = 200
# digits, with thousands separators or not; then e-5, or a power of ten in one of its spellings
QUANTITY = re.compile(
    r"([-+]?(?:[0-9]{1,3}(?:,[0-9]{3}){1,5}|[0-9]{1,30})?(?:\.[0-9]{1,30})?)"
    r"(?:[eE]([-+]?[0-9]{1,2})(?![0-9])"
    r"|[ ]?\*[ ]?10[ ]?\^[ ]?[{(]?[ ]?([-+]?[0-9]{1,2})[ ]?[})]?(?![0-9]))?"
    r"[ ]?(.*)"
)
RAISED = re.compile("10([⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,2})")
TIMES = re.compile(r"×|·|⋅|\\times|\\cdot|\*(?!\*)|(?<=[0-9 ])[xX](?=[ ]?10[ ]?\^)")
# `v =`, `pH =` and `≈` before the number; all numbers here are rounded.
LABEL = re.compile(r"(?:[a-zA-Z]{1,2}(?:_[a-zA-Z0-9]{1,6})?[ ]?)?(?:=|≈|\\approx)[ ]?")
PERCENT = ("%", "\\%", "percent")
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


class QuantityEnvironment(VerifiableEnvironment):
    """Draws one of `makers` for every problem; grades by `grade_quantity`."""

    makers: ClassVar[Sequence[Maker]]

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        return rng.choice(self.makers)(rng, difficulty)

    def grade(self, truth: Mapping[str, Any], response: str) -> Score:
        return grade_quantity(truth, response)

    def solve(self, task: Task) -> str:
        return f"Answer: {quantity_text(task.truth['value'], task.truth['unit'])}"


def quantity_problem(
    rng: random.Random,
    wordings: Sequence[str],
    identity: str,
    *,
    value: float,
    unit: str,
    tolerance: float = 0.01,
    absolute: bool = False,
    in_unit: bool = False,
) -> Problem:
    """The problem in one of its wordings; the tolerance and the answer's form stand after it."""
    allowed = f"within {tolerance:g}" if absolute else f"within {100 * tolerance:g} %"
    form = "a number without a unit"
    if unit == "%":
        form = "a number of percent, for example `12.5 %`"
    elif unit:
        where = f"in {unit}" if in_unit else "in any suitable unit"
        form = f"one decimal number with its unit, {where}, for example `1.25e3 {unit}`"
    truth = {
        "value": value,
        "unit": unit,
        "tolerance": tolerance,
        "absolute": absolute,
        "in_unit": in_unit,
    }
    text = f"{rng.choice(wordings)}\nGive {form}; it must be right {allowed}. {ANSWER_FORMAT}"
    return Problem(text, truth, identity)


def quantity_text(value: float, unit: str) -> str:
    """Six significant digits and the unit."""
    return f"{number_text(value)} {unit}".strip()


def number_text(value: float) -> str:
    """Six significant digits, as people write them: 1.5e-9, not 1.5e-09."""
    return re.sub(r"e\+?(-?)0*", r"e\1", f"{value:.6g}")


def grade_quantity(truth: Mapping[str, Any], response: str) -> Score:
    """1 for one number within the tolerance with a right unit, 0 for everything else.

    parts: `answered` (one final answer), `form` (one literal number, and a unit), `unit`, `correct`
    """
    answer = final_answer(response)
    if not answer.wordings:
        return _score(0, answer.problem)
    return _score(*min(_passed(truth, text) for text in answer.wordings))


def _passed(truth: Mapping[str, Any], text: str) -> tuple[int, str]:
    """How many parts of the verdict one wording of the answer passes, and why no more."""
    try:
        value, unit_text = _number_and_unit(text)
        is_percent = truth["unit"] == "%" and unit_text in PERCENT
        unit = read_unit(unit_text) if unit_text and not is_percent else None
    except NotUnit as wrong:
        return 1, str(wrong)
    if truth["unit"] in ("", "%"):
        if unit is not None:
            return 2, "a plain number was asked for"
        return _compared(truth, value, Fraction(truth["value"]))
    wanted = read_unit(truth["unit"])
    if unit is None:
        return 2, "the unit is missing"
    if unit.dimension != wanted.dimension or (truth["in_unit"] and unit != wanted):
        return 2, "another unit was asked for"
    # Back in the unit of the truth, as the tolerance is relative to the value there.
    in_wanted = (value * unit.factor + unit.offset - wanted.offset) / wanted.factor
    return _compared(truth, in_wanted, Fraction(truth["value"]))


def _compared(truth: Mapping[str, Any], value: Fraction, wanted: Fraction) -> tuple[int, str]:
    allowed = Fraction(truth["tolerance"]) * (1 if truth["absolute"] else abs(wanted))
    return (4, "correct") if abs(value - wanted) <= allowed else (3, "another value")


def _score(passed: int, reason: str) -> Score:
    names = ("answered", "form", "unit", "correct")
    parts = {name: float(place < passed) for place, name in enumerate(names)}
    return Score(float(passed == len(names)), parts, reason)


def _number_and_unit(text: str) -> tuple[Fraction, str]:
    """A literal number, exactly, and the text after it."""
    if len(text) > MAX_TEXT:
        raise NotUnit(f"the final answer has {len(text)} characters")
    text = text.replace("−", "-").replace("\u00a0", " ").replace("\\,", " ").replace("\\ ", " ")
    text = RAISED.sub(lambda found: f"10^{found[1].translate(SUPERSCRIPTS)}", text.strip("$ ."))
    text = TIMES.sub("*", " ".join(text.replace("10**", "10^").split()))
    label = LABEL.match(text)
    found = QUANTITY.fullmatch(text[label.end() :] if label else text)
    if found is None or not any("0" <= sign <= "9" for sign in found[1]):
        raise NotUnit("the answer does not begin with a number")
    exponent = int(found[2] or found[3] or 0)
    value = Fraction(found[1].replace(",", "")) * Fraction(10) ** exponent
    return value, found[4].strip("$ ")
