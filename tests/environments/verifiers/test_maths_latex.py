"""Any LaTeX gold: a guard, our own reader, and math-verify in the sandbox for the rest."""

import time

import pytest

from openk2.environments.base import GraderFailure
from openk2.environments.sandbox import Limits
from openk2.environments.verifiers.maths import latex
from openk2.environments.verifiers.maths.latex import grade_latex, restated


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("\\frac{1}{2}", "0.5"),
        ("2\\sqrt{2}", "\\sqrt{8}"),
        ("(x+1)^2", "x^2+2x+1"),
        ("56088", "56088"),
        ("\\text{blue}", "blue"),
        ("\\{1,2\\}", "\\{2,1\\}"),
        ("\\sin(x)", "\\sin x"),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}"),
    ],
)
def test_equal_answers_are_paid(gold: str, answer: str) -> None:
    assert grade_latex(gold, f"Answer: {answer}").reward == 1


@pytest.mark.parametrize(
    ("gold", "answer", "question"),
    [
        ("56088", "123 \\times 456", "What is $123 \\times 456$?"),
        ("56088", "123 \\cdot 456", ""),
        ("3628800", "10!", ""),
        ("1024", "2^{10}", ""),
        ("\\frac{1}{3}", "0.333333", ""),
        ("\\sqrt[3]{2}", "1.259921", ""),
        ("5", "9^{9^{9^9}}", ""),
        ("\\frac{3}{4}", "\\frac{6}{8}", ""),
        ("4", "\\sqrt{16}", ""),
        ("x^2+2x+1", "(x+1)^2", "Expand $(x+1)^2$."),
        ("\\text{read}", "dear", ""),
        ("(1,2)", "(2,1)", ""),
        ("\\sin(1)", "\\sin(2)", ""),
        ("6", "\\binom{4}{2}", ""),
        ("\\cos(1)", "9" * 390, ""),
        ("\\cos(1)", "\\cos(" * 60, ""),
        ("\\cos(1)", "\ud800", ""),
        ("\\cos(1)", "", ""),
    ],
)
def test_hacks_and_wrong_answers_are_not_paid(gold: str, answer: str, question: str) -> None:
    score = grade_latex(gold, f"Answer: {answer}", question)
    assert score.reward == 0 and score.reason


def test_every_wording_of_an_answer_must_be_right() -> None:
    for line, reward in (("1/2", 1), ("\\frac{2}{4}", 0), ("2", 0)):
        assert grade_latex("\\frac{1}{2}", f"\\boxed{{\\frac12}}\nAnswer: {line}").reward == reward


def test_what_hangs_math_verify_is_a_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard lets it pass: the gold has the same operations."""
    monkeypatch.setattr(latex, "LIMITS", Limits(wall_s=1.0, cpu_s=1.0))
    gold, answer = "\\sin(2^{3^{2}})", "\\sin(9^{9^{9}})"
    assert restated(gold, answer) == ""
    start = time.perf_counter()
    score = grade_latex(gold, f"Answer: {answer}")
    assert score.reward == 0 and time.perf_counter() - start < 10


@pytest.mark.parametrize("gold", ["", "\\frac{", "??"])
def test_a_gold_that_nobody_reads_is_a_failure_of_the_grader(gold: str) -> None:
    with pytest.raises(GraderFailure, match="gold"):
        grade_latex(gold, "Answer: (1, x]")
