"""Grades answers against exact truths, and the base of the maths environments.

A truth is JSON: `kind`, and what that kind needs, the answers being texts that `expressions` reads.

    number      answer; name: the variable that may stand before it ("x = 3"), any one where there
                is none; units: words that may stand after it
    decimal     answer, places: the answer rounded half away from zero to that many places
    set         answers; name: "x = 1 or x = 2", "1, 2", "{1, 2}", in any order, each once
    tuple       answers, names (may be empty): "x = 1, y = 2" in any order, "(1, 2)" in this order
    interval    answer: "(-infinity, 3]"
    polynomial  answer, multiplied out
    factors     answer, a product of as many factors as the truth has
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from openk2.core.records import Score
from openk2.environments.base import Problem, Task, VerifiableEnvironment
from openk2.environments.verifiers.answers import ANSWER_FORMAT, final_answer
from openk2.environments.verifiers.maths.exact import Exact, NotExact
from openk2.environments.verifiers.maths.expressions import (
    MAX_TEXT,
    NotRead,
    evaluate,
    plain_text,
    read,
)
from openk2.environments.verifiers.maths.simplest import factor_list, unfinished

__all__ = ["Maker", "MathsEnvironment", "grade_answer", "problem", "truth_text"]

Maker = Callable[[random.Random, float], Problem]  # (rng, difficulty) -> a problem

DECIMAL = re.compile(r"([-+]?)[ ]?([0-9]{1,40}(?:\.[0-9]{1,40})?|\.[0-9]{1,40})")
THOUSANDS = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:(?:,|\{,\})[0-9]{3})+(?![0-9,])")
SPACED_THOUSANDS = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:\\,[0-9]{3})+(?![0-9])")
# `x =`, `x_2 =`, `a_{10} =`, and `x \\in` before a set or an interval
LABEL = re.compile(
    r"[ ]*([a-zA-Z])(?:_(?:[0-9a-z]{1,6}|\{[0-9a-z]{1,6}\})|[₀-₉]{1,4})?[ ]*(?:=|\\in(?![a-zA-Z]))"
)
STATED = re.compile(r"[0-9]+(?:/[0-9]+)?")
OR = re.compile(r"\\lor(?![a-zA-Z])|\\vee(?![a-zA-Z])|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])")
FORMATS: Mapping[str, str] = {
    "number": "Give one exact number: an integer, a terminating decimal or a fraction in lowest "
    "terms.",
    "surd": "Give one exact number in simplest form: square roots simplified and not below a "
    "fraction line, pi kept as pi, fractions in lowest terms.",
    "decimal": "Give the answer as a decimal rounded to {places} decimal places.",
    "set": "Give all solutions, exact and in simplest form, separated by commas.",
    "tuple": "Give the values, exact and in simplest form, separated by commas.",
    "interval": "Give the solution set as one interval, for example `(-infinity, 5/2]`.",
    "polynomial": "Give a sum of terms with like terms collected.",
    "factors": "Give a product of factors with integer coefficients that cannot be factored "
    "further over the integers, for example `3(x - 2)(x^2 + 1)`.",
}


class _Wrong(ValueError):
    """The answer has not the form that was asked for; the message says how."""


class MathsEnvironment(VerifiableEnvironment):
    """Draws one of `makers` for every problem; grades by `grade_answer`."""

    makers: ClassVar[Sequence[Maker]]

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        """No answer is a number that its question states: it could be copied."""
        while True:
            drawn = rng.choice(self.makers)(rng, difficulty)
            question = drawn.prompt.rpartition("\n")[0]
            if drawn.truth.get("answer", "").lstrip("-") not in STATED.findall(question):
                return drawn

    def grade(self, truth: Mapping[str, Any], response: str) -> Score:
        return grade_answer(truth, response)

    def solve(self, task: Task) -> str:
        return f"Answer: {truth_text(task.truth)}"


def problem(
    rng: random.Random,
    wordings: Sequence[str],
    truth: Mapping[str, Any],
    identity: str,
    form: str = "",
) -> Problem:
    """The problem in one of its wordings, with the form of the answer stated after it.

    form   a key of FORMATS; that of the truth's kind where it is empty
    """
    told = FORMATS[form or truth["kind"]].format(**truth)
    return Problem(f"{rng.choice(wordings)}\n{told} {ANSWER_FORMAT}", truth, identity)


def truth_text(truth: Mapping[str, Any]) -> str:
    """An answer that states a truth."""
    if truth["kind"] == "set":
        return ", ".join(truth["answers"])
    if truth["kind"] == "tuple" and truth["names"]:
        named = zip(truth["names"], truth["answers"], strict=True)
        return ", ".join(f"{name} = {answer}" for name, answer in named)
    if truth["kind"] == "tuple":
        return ", ".join(truth["answers"])
    return str(truth["answer"])


def grade_answer(truth: Mapping[str, Any], response: str) -> Score:
    """1 for the one right answer in simplest form, 0 for everything else.

    Where it is stated in several wordings, each of them must be right.

    parts: `answered` (one final answer), `form` (it is of the kind that was asked for, and
    nothing in it is left to compute), `correct`.
    """
    answer = final_answer(response)
    if not answer.wordings:
        return _score(0, answer.problem)
    return _score(*min(_passed(truth, text.rstrip(" .")) for text in answer.wordings))


def _passed(truth: Mapping[str, Any], text: str) -> tuple[int, str]:
    """How many parts of the verdict one wording of the answer passes, and why no more."""
    if len(text) > MAX_TEXT:
        return 1, f"the final answer has {len(text)} characters"
    try:
        right = GRADERS[truth["kind"]](truth, text)
    except (NotRead, NotExact, _Wrong) as wrong:
        return 1, f"not an answer of the form that was asked for: {wrong}"
    return (3, "correct") if right else (2, "another value")


def _score(passed: int, reason: str) -> Score:
    names = ("answered", "form", "correct")
    parts = {name: float(place < passed) for place, name in enumerate(names)}
    return Score(float(passed == len(names)), parts, reason)


def _value(text: str) -> Exact:
    """The value of an expression that is in simplest form."""
    node = read(text)
    if left := unfinished(node):
        raise _Wrong(left)
    return evaluate(node)


def _number(truth: Mapping[str, Any], text: str) -> bool:
    text = plain_text(_ungrouped(text).replace("\\%", "%"))
    text = _unnamed(text, truth.get("name"))
    for unit in truth.get("units", ()):
        if text.endswith(unit):
            text = text.removesuffix(unit)
            break
        if text.startswith(unit):  # $5
            text = text.removeprefix(unit)
            break
    return _value(text) == _value(truth["answer"])


def _ungrouped(text: str) -> str:
    """Without the separators of thousands."""
    text = THOUSANDS.sub(lambda found: re.sub("[{},]", "", found[0]), text)
    return SPACED_THOUSANDS.sub(lambda found: found[0].replace("\\,", ""), text)


def _decimal(truth: Mapping[str, Any], text: str) -> bool:
    text = _unnamed(plain_text(_ungrouped(text)), truth.get("name"))
    if not DECIMAL.fullmatch(text):
        raise _Wrong("a decimal number was asked for")
    return Decimal(text.replace(" ", "")) == Decimal(truth["answer"])


def _set(truth: Mapping[str, Any], text: str) -> bool:
    text = OR.sub(",", plain_text(text))
    bare = _unwrapped(_unnamed(text, truth.get("name")), "{", "}")
    found = []
    for part in _split(bare):
        part = _unnamed(part, truth.get("name"))
        signs = ("+", "-") if part.count("\\pm") == 1 else ("",)
        found += [_value(part.replace("\\pm", sign).lstrip("+ ")) for sign in signs]
    answers = [_value(answer) for answer in truth["answers"]]
    return len(found) == len(answers) and all(answer in found for answer in answers)


def _tuple(truth: Mapping[str, Any], text: str) -> bool:
    names, answers = truth["names"], [_value(answer) for answer in truth["answers"]]
    text = OR.sub(",", plain_text(text)) if names else plain_text(text)
    head, equals, body = text.partition("=")
    if equals and _unwrapped(head, "(", ")").replace(" ", "") == ",".join(names):
        text = body.strip()  # (x, y) = (1, 2)
    if "=" not in text:
        return [_value(part) for part in _split(_unwrapped(text, "(", ")"))] == answers
    found: dict[str, Exact] = {}
    for part in _split(text):
        name, _, value = part.partition("=")
        name = name.strip()
        if name not in names or name in found:
            raise _Wrong(f"{name[:20]!r} is no variable of the question, or it is given twice")
        found[name] = _value(value)
    return found == dict(zip(names, answers, strict=True))


def _interval(truth: Mapping[str, Any], text: str) -> bool:
    return _ends(text) == _ends(truth["answer"])


def _ends(text: str) -> tuple[str, Exact, Exact, str]:
    """(opening bracket, lower end, upper end, closing bracket)"""
    text = _unnamed(plain_text(text), None)
    parts = _split(text[1:-1])
    if len(parts) != 2 or text[0] not in "([" or text[-1] not in ")]":
        raise _Wrong("one interval was asked for")
    return text[0], _value(_infinite(parts[0])), _value(_infinite(parts[1])), text[-1]


def _infinite(text: str) -> str:
    return re.sub(r"(?<![a-z\\])(?:inf|infty|infinity|oo)(?![a-z])", r"\\infty", text, flags=re.I)


def _polynomial(truth: Mapping[str, Any], text: str) -> bool:
    return _value(plain_text(_ungrouped(text))) == _value(truth["answer"])


def _factors(truth: Mapping[str, Any], text: str) -> bool:
    found, wanted = factor_list(read(plain_text(text))), factor_list(read(truth["answer"]))
    assert wanted is not None, truth
    if found is None:
        raise _Wrong("a product of factors, each multiplied out, was asked for")
    (constant, factors), (wanted_constant, wanted_factors) = found, wanted
    return (
        constant == wanted_constant
        and len(factors) == len(wanted_factors)
        and all(factors.count(one) == wanted_factors.count(one) for one in wanted_factors)
    )


def _unnamed(text: str, name: str | None) -> str:
    """What stands after the label of an answer, after that of any variable where name is None."""
    found = LABEL.match(text)
    return (text[found.end() :] if found and name in (None, found[1]) else text).strip()


def _unwrapped(text: str, opening: str, closing: str) -> str:
    """Without the brackets around all of it; LaTeX's \\{ \\} are { }."""
    text = text.replace("\\{", "{").replace("\\}", "}").strip()
    is_pair = text.startswith(opening) and text.endswith(closing)
    return text[1:-1] if is_pair and _closes_last(text, opening, closing) else text


def _closes_last(text: str, opening: str, closing: str) -> bool:
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == opening) - (sign == closing)
        if depth == 0:
            return place == len(text) - 1
    return False


def _split(text: str) -> list[str]:
    """At the commas and semicolons that are in no brackets."""
    parts, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if sign in ",;" and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]


GRADERS: Mapping[str, Callable[[Mapping[str, Any], str], bool]] = {
    "number": _number,
    "decimal": _decimal,
    "set": _set,
    "tuple": _tuple,
    "interval": _interval,
    "polynomial": _polynomial,
    "factors": _factors,
}
