"""Grades an answer against any gold answer in LaTeX, for problems that people wrote.

First the guard: an answer may not be the question's own expression, nor hold more operations than
the gold, nor factorials, long numbers, decimals or words that the gold has not. Then our own exact
reader decides what it understands, and math-verify the rest, in the sandbox, as its parser and
sympy run on hostile text: at most WALL_S seconds, and what hangs or breaks them is a wrong answer.
"""

import re

from openk2.core.records import Score
from openk2.environments.base import GraderFailure
from openk2.environments.sandbox import Limits, SandboxUnavailable, call_function
from openk2.environments.verifiers.answers import final_answer
from openk2.environments.verifiers.maths.exact import Exact, NotExact
from openk2.environments.verifiers.maths.expressions import NotRead, evaluate, plain_text, read
from openk2.environments.verifiers.maths.simplest import operations, unfinished

__all__ = ["grade_latex", "restated"]

WALL_S = 5.0
MAX_TEXT = 400
MAX_DIGITS = 30
LIMITS = Limits(wall_s=WALL_S, cpu_s=WALL_S)
LEAST_RESTATED = 5  # characters; shorter expressions occur in questions by chance

# Fills sympy's caches once, before any answer is there.
WARM_UP = r"""
from math_verify import parse, verify
texts = (r"$\frac{1}{2}$", r"$\sqrt{x^2} + \sin 1$")
verify(*[parse(text, parsing_timeout=None) for text in texts], timeout_seconds=None)
"""
# Runs in the sandbox. The first case compares the gold with itself: a gold that math-verify cannot
# read is the data's fault, and no answer's.
HARNESS = """
from math_verify import parse, verify

def same(gold, answer):
    quiet = {"parsing_timeout": None, "raise_on_error": False}
    read = [parse("$" + text + "$", **quiet) for text in (gold, answer)]
    if not all(read) or any(isinstance(one[0], str) for one in read):  # it falls back to text
        return False
    return bool(verify(*read, float_rounding=12, timeout_seconds=None))
"""
WORK = re.compile(
    r"[-+*/^!±]|\\(?:cdot|times|div|frac|dfrac|tfrac|binom|sum|prod|int|lim|log|ln|sin|cos|tan|exp"
    r"|bmod|pmod|gcd|det|max|min)(?![a-zA-Z])"
)
HEAVY = re.compile(r"!|\\(?:binom|sum|prod|int|lim|det)(?![a-zA-Z])")
DECIMAL = re.compile(r"[0-9]\.[0-9]")
WORD = re.compile(r"(?<![a-zA-Z\\])[a-zA-Z]{3,}")
ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[a-z]*\}")
LONG_NUMBER = re.compile(rf"[0-9]{{{MAX_DIGITS},}}")


def grade_latex(gold: str, response: str, question: str = "") -> Score:
    """1 where the final answer of a response equals the gold and is as finished as it, else 0.

    parts: `answered`, `form` (the guard let it pass), `correct`. Raises GraderFailure where the
    sandbox is not to be had or math-verify cannot read the gold.
    """
    answer = final_answer(response)
    if not answer.wordings:
        return _score(0, answer.problem)
    return _score(*min(_passed(gold, text.rstrip(" ."), question) for text in answer.wordings))


def _passed(gold: str, text: str, question: str) -> tuple[int, str]:
    """How many parts of the verdict one wording of the answer passes, and why no more."""
    if _bare(text) == _bare(gold):
        return 3, "the gold answer, literally"
    if len(text) > MAX_TEXT:
        return 1, f"the final answer has {len(text)} characters"
    if any(WORD.search(ENVIRONMENT.sub("", _bare(one))) for one in (gold, text)):
        return 2, "other words than the gold answer's"
    own_gold = _exact(gold)
    if problem := restated(gold, text, question):
        return 1, problem
    own = _exact(text)
    if own is not None and own_gold is not None:
        right = own == own_gold
    else:
        right = _math_verify(gold, text)
    return (3, "correct") if right else (2, "another value")


def restated(gold: str, answer: str, question: str = "") -> str:
    """Why an answer is less finished than the gold, "" where it is as finished."""
    bare, bare_gold, bare_question = _bare(answer), _bare(gold), _bare(question)
    if len(bare) >= LEAST_RESTATED and WORK.search(bare) and bare in bare_question:
        return "the answer restates the question"
    if LONG_NUMBER.search(bare) and not LONG_NUMBER.search(bare_gold):
        return f"a number of {MAX_DIGITS} digits or more"
    if HEAVY.search(bare) and not HEAVY.search(bare_gold):
        return "an operation that was not carried out"
    if DECIMAL.search(bare) and not DECIMAL.search(bare_gold) and _exact(answer) is None:
        return "a decimal where an exact answer is wanted"
    try:
        node = read(plain_text(answer))
        if not unfinished(node):
            return ""
        if operations(node) > operations(read(plain_text(gold))):
            return "an operation that was not carried out"
        if evaluate(node).as_rational() is not None and not unfinished(read(plain_text(gold))):
            return "an operation that was not carried out"
    except (NotRead, NotExact):
        if len(WORK.findall(bare)) > len(WORK.findall(bare_gold)):
            return "an operation that was not carried out"
    return ""


def _bare(text: str) -> str:
    return re.sub(r"\s+|\\left|\\right|\\[,;:! ]|\$", "", plain_text(text))


def _exact(text: str) -> Exact | None:
    try:
        return evaluate(read(plain_text(text)))
    except (NotRead, NotExact):
        return None


def _math_verify(gold: str, answer: str) -> bool:
    try:
        result = call_function(
            HARNESS,
            "same",
            [(gold, gold), (gold, answer)],
            preload=("math_verify",),
            warm_up=WARM_UP,
            limits=LIMITS,
        )
    except SandboxUnavailable as failure:
        raise GraderFailure(f"math-verify needs the sandbox: {failure}") from failure
    own, other = result.outcomes
    if own.status != "ok" or own.value is not True:
        raise GraderFailure(f"math-verify cannot read the gold answer {gold[:60]!r}")
    return other.status == "ok" and other.value is True


def _score(passed: int, reason: str) -> Score:
    names = ("answered", "form", "correct")
    parts = {name: float(place < passed) for place, name in enumerate(names)}
    return Score(float(passed == len(names)), parts, reason)
