"""What the maths grader pays for, and that it is total."""

import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openk2.environments.verifiers.maths.grading import grade_answer

NUMBER = {"kind": "number", "answer": "3/4"}
ROOTS = {"kind": "set", "answers": ["1 + sqrt(2)", "1 - sqrt(2)"], "name": "x"}
PAIR = {"kind": "tuple", "answers": ["1", "-2"], "names": ["x", "y"]}
COEFFICIENTS = {"kind": "tuple", "answers": ["2", "1", "2"], "names": []}
HALF_LINE = {"kind": "interval", "answer": "(-infinity, 5/2]"}
POLYNOMIAL = {"kind": "polynomial", "answer": "x^2 + 3x + 2"}
FACTORS = {"kind": "factors", "answer": "2(x + 1)(x - 2)"}
DECIMAL = {"kind": "decimal", "answer": "0.30", "places": 2}
TRUTHS = (NUMBER, ROOTS, PAIR, COEFFICIENTS, HALF_LINE, POLYNOMIAL, FACTORS, DECIMAL)
RIGHT = [
    (NUMBER, ("3/4", "0.75", "\\frac{3}{4}", "$\\frac34$", "0.750", "+3/4", "3 / 4.")),
    (NUMBER, ("\\(\\frac{3}{4}\\)", "\\[3/4\\].", "`3/4`", "a_{10} = 3/4", "P = 3/4")),
    (NUMBER | {"name": "x"}, ("x = 3/4", "3/4")),
    ({"kind": "number", "answer": "56088"}, ("56088", "56,088", "56{,}088", "56\\,088", "56088.0")),
    ({"kind": "number", "answer": "5", "units": ["apples"]}, ("5 apples", "5\\text{ apples}", "5")),
    ({"kind": "number", "answer": "12", "units": ["%", "percent"]}, ("12%", "12\\%", "12 percent")),
    (
        ROOTS,
        (
            "x = 1 + sqrt(2), x = 1 - sqrt(2)",
            "1 - \\sqrt{2}, 1 + \\sqrt{2}",
            "x = 1 \\pm \\sqrt{2}",
            "\\{1+\\sqrt2, 1-\\sqrt2\\}",
            "x = 1+√2 or x = 1-√2",
            "x_1 = 1 + sqrt(2), x_2 = 1 - sqrt(2)",
            "x₁ = 1 + √2, x₂ = 1 - √2",
            "x \\in \\{1 - √2, 1 + √2\\}",
            "\\(x = 1 \\pm \\sqrt{2}\\)",
        ),
    ),
    ({"kind": "number", "answer": "3sqrt(455)/4"}, ("3√455/4", "(3√455)/4", "0.75 √455")),
    (PAIR, ("(x, y) = (1, -2)", "\\(x = 1\\), \\(y = -2\\)")),
    (PAIR, ("x = 1, y = -2", "y=-2,x=1", "(1, -2)", "1, -2", "x = 1 and y = -2")),
    (COEFFICIENTS, ("2, 1, 2", "(2,1,2)", "2; 1; 2")),
    (HALF_LINE, ("(-infinity, 5/2]", "(-\\infty, \\frac{5}{2}]", "(-∞, 2.5]", "(-inf,5/2]")),
    (HALF_LINE, ("x \\in (-\\infty, 5/2]", "x ∈ (-Infinity, 5/2]", "(-infty, 5/2]")),
    ({"kind": "polynomial", "answer": "x^2 - 1578"}, ("x^2 - 1,578", "x^2 - 1{,}578")),
    (POLYNOMIAL, ("x^2 + 3x + 2", "2+3x+x²", "x^{2} + 3 x + 2", "x**2 + 3*x + 2")),
    (FACTORS, ("2(x+1)(x-2)", "2(x - 2)(1 + x)", "-2(x+1)(2-x)", "2 \\cdot (x+1) \\cdot (x-2)")),
    (DECIMAL, ("0.30", "0.3", ".30", "q = 0.30")),
    ({"kind": "decimal", "answer": "1234.50", "places": 2}, ("1,234.50", "1{,}234.5")),
]
WRONG = [
    (NUMBER, ("6/8", "0.7500001", "75%", "3/4 or 1", "3/4, 1", "4/3", "3:4", "-3/4", "1 = 3/4")),
    (NUMBER | {"name": "x"}, ("y = 3/4", "2x = 3/4", "x = 3/4 = 1")),
    (ROOTS, ("1 + sqrt(2)", "1 \\pm \\sqrt{2}, 3", "1 \\pm \\sqrt{3}", "1 + sqrt(2), 1 + sqrt(2)")),
    (ROOTS, ("2.414, -0.414", "\\pm 1 \\pm \\sqrt{2}", "y = 1 \\pm \\sqrt{2}")),
    (PAIR, ("x = -2, y = 1", "(-2, 1)", "x = 1", "x = 1, y = -2, z = 0", "x = 1, x = 1, y = -2")),
    (COEFFICIENTS, ("4, 2, 4", "2, 2, 1", "2 1 2", "212")),
    (
        HALF_LINE,
        ("(-infinity, 5/2)", "[-infinity, 5/2]", "x <= 5/2", "5/2", "(5/2, infinity)", "[", ""),
    ),
    (POLYNOMIAL, ("(x+1)(x+2)", "x^2 + x + 2x + 2", "x^2 + 3x", "y^2 + 3y + 2")),
    (FACTORS, ("2(x+1)(x-2)*1", "4(x+1)(x-2)/2", "2(x+1)(x-2)(1)", "1*2(x+1)(x-2)")),
    (FACTORS, ("2x^2 - 2x - 4", "(2x+2)(x-2)", "2(x+1)(x+2)", "(x+1)(x-2)", "2(x^2-x-2)")),
    (DECIMAL, ("3/10", "0.304", "30%", "3e-1", "0.3 or 0.4")),
]


@pytest.mark.parametrize(
    ("truth", "answer"), [(truth, answer) for truth, answers in RIGHT for answer in answers]
)
def test_right_answers_are_paid(truth: dict[str, Any], answer: str) -> None:
    score = grade_answer(truth, f"Answer: {answer}")
    assert score.reward == 1 and set(score.parts.values()) == {1.0}, score


@pytest.mark.parametrize(
    ("truth", "answer"), [(truth, answer) for truth, answers in WRONG for answer in answers]
)
def test_wrong_answers_are_not_paid(truth: dict[str, Any], answer: str) -> None:
    score = grade_answer(truth, f"Answer: {answer}")
    assert score.reward == 0 and score.parts["correct"] == 0 and score.reason


@pytest.mark.parametrize(
    ("truth", "response", "reward"),
    [
        (NUMBER, "\\boxed{\\frac{3}{4}}\nAnswer: 3/4", 1),
        (NUMBER, "\\boxed{\\frac{3}{4}}, that is \\boxed{0.75}\n**Answer:** 3/4.", 1),
        (NUMBER, "\\boxed{\\frac{3}{4}}\nAnswer: 4/3", 0),
        (NUMBER, "\\boxed{\\frac{6}{8}}\nAnswer: 3/4", 0),
        (NUMBER, "\\boxed{3/4} \\boxed{0.75} \\boxed{\\frac34} \\boxed{.75}", 0),
        (PAIR, "\\boxed{(1, -2)}\nAnswer: x = 1, y = -2", 1),
        (PAIR, "\\boxed{(1, -2)}\nAnswer: x = -2, y = 1", 0),
    ],
)
def test_every_wording_of_an_answer_must_be_right(
    truth: dict[str, Any], response: str, reward: float
) -> None:
    assert grade_answer(truth, response).reward == reward


def test_parts_tell_how_far_an_answer_came() -> None:
    parts = [grade_answer(NUMBER, text).parts for text in ("?", "Answer: 6/8", "Answer: 1")]
    assert [tuple(part.values()) for part in parts] == [(0, 0, 0), (1, 0, 0), (1, 1, 0)]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(TRUTHS), st.text(max_size=300), st.booleans())
@example(NUMBER, "(1+x)^31*" * 100, True)
@example(NUMBER, "(1+sqrt(2))^64*" * 60 + "1", True)
@example(NUMBER, "(" * 10**6, True)
@example(ROOTS, "\\pm" * 3000, True)
@example(ROOTS, "sqrt(999983)," * 70, True)
@example(ROOTS, "or," * 400, True)
@example(PAIR, "x=" * 5000, True)
@example(COEFFICIENTS, "(" * 400 + "," * 500, True)
@example(HALF_LINE, "\ud800", True)
@example(FACTORS, "(x+1)^12" * 100, True)
@example(FACTORS, "(x^12+x+1)^12" * 60, True)
@example(POLYNOMIAL, "x^2+" * 240, True)
@example(NUMBER, "\\frac{" * 150 + "}" * 150, True)
@example(NUMBER, "1,000" * 200, True)
@example(NUMBER, "\\text{" * 160, True)
@example(DECIMAL, "0" * 900, True)
@example(NUMBER, "a" + " " * 10**6 + "b", True)
@example(NUMBER, "√" * 900, True)
@example(PAIR, "\\(" * 500, True)
@example(NUMBER, "0" * 10**6, False)
def test_every_text_gets_a_verdict_at_once(truth: dict[str, Any], text: str, marked: bool) -> None:
    start = time.perf_counter()
    score = grade_answer(truth, f"Answer: {text}" if marked else text)
    assert score.valid and score.reward in (0, 1)
    assert time.perf_counter() - start < 2
