"""Exact numbers, the reader of expressions and the guard of simplest form, against sympy."""

import math
import time
from fractions import Fraction

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.environments.verifiers.maths.exact import Exact, NotExact, square_free
from openk2.environments.verifiers.maths.expressions import NotRead, evaluate, plain_text, read
from openk2.environments.verifiers.maths.simplest import factor_list, operations, unfinished

LEAVES = st.one_of(
    st.integers(0, 40).map(str),
    st.sampled_from(("x", "y", "sqrt(2)", "sqrt(12)", "pi", "1/3", "0.5", "\\frac{3}{4}")),
)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from((" + ", " - ", "*", " \\cdot ")), inner).map(
            lambda three: f"({three[0]}){three[1]}({three[2]})"
        ),
        inner.map(lambda one: f"-({one})"),
        inner.map(lambda one: f"({one})^2"),
    ),
    max_leaves=5,
)


def _sympy(text: str) -> sympy.Expr:
    """The same text as sympy reads it; only ever the test's own expressions."""
    text = text.replace("\\frac{3}{4}", "(3/4)").replace("\\cdot", "*").replace("^", "**")
    return sympy.sympify(text, rational=True)


def _as_sympy(value: Exact) -> sympy.Expr:
    total = sympy.Integer(0)
    for (root, names), coefficient in value.terms.items():
        product = sympy.Rational(coefficient.numerator, coefficient.denominator) * sympy.sqrt(root)
        for name, power in names:
            product *= (sympy.pi if name == "pi" else sympy.Symbol(name)) ** power
        total += product
    return total


@settings(max_examples=150, deadline=None)
@given(EXPRESSIONS)
def test_values_are_sympys(text: str) -> None:
    found = _as_sympy(evaluate(read(plain_text(text))))
    assert sympy.expand(found - _sympy(text)) == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(-30, 30), st.integers(-30, 30), st.sampled_from((2, 3, 5, 6)))
def test_inverses_multiply_to_one(a: int, b: int, root: int) -> None:
    value = Exact.rational(a) + Exact.rational(b) * Exact.root(Fraction(root))
    if a or b:
        assert value * value.inverse() == Exact.rational(1)
    else:
        with pytest.raises(NotExact, match="zero"):
            value.inverse()


@given(st.integers(1, 10**6))
def test_square_free_part(number: int) -> None:
    outside, inside = square_free(number)
    assert outside**2 * inside == number
    assert all(power == 1 for power in sympy.factorint(inside).values())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("\\frac12", Fraction(1, 2)),
        ("-\\dfrac{3}{4}", Fraction(-3, 4)),
        ("2\\frac{1}{3}", Fraction(7, 3)),
        ("2 1/3", Fraction(7, 3)),
        ("2.50", Fraction(5, 2)),
        ("\\left(1+2\\right)\\times 3", Fraction(9)),
        ("2^{10}", Fraction(1024)),
        ("2^-2", Fraction(1, 4)),
        ("3 * -2", Fraction(-6)),
        ("1/2/2", Fraction(1, 4)),
        ("−5", Fraction(-5)),
        ("√{4}", Fraction(2)),
        ("\\text{7}", Fraction(7)),
    ],
)
def test_notations(text: str, value: Fraction) -> None:
    assert evaluate(read(plain_text(text))).as_rational() == value


@pytest.mark.parametrize(
    "text",
    [
        *("", "1 2", "x2", "10!", "2^3^4", "1e5", "(1", "1)", "--1", "5 =", "1,2", "²", "٣", "f("),
        *("\\foo{1}", "(" * 500 + "1" + ")" * 500, "9" * 101, "1+" * 600 + "1"),
    ],
)
def test_what_is_not_read(text: str) -> None:
    with pytest.raises(NotRead):
        evaluate(read(plain_text(text)))


@pytest.mark.parametrize("text", ["1/0", "x^65", "9^64^1", "2^(1/2)", "sqrt(x)", "sqrt(-1)"])
def test_what_has_no_exact_value(text: str) -> None:
    with pytest.raises((NotExact, NotRead)):
        evaluate(read(plain_text(text)))


@pytest.mark.parametrize(
    "text",
    [
        "5", "-5", "0", "0.75", "3/4", "-\\frac{3}{4}", "2 1/3", "\\sqrt{2}", "3\\sqrt{2}",
        "\\frac{\\sqrt{3}}{2}", "1 + \\sqrt{5}", "\\frac{1+\\sqrt{5}}{2}",
        "\\frac12+\\frac{\\sqrt5}{2}",
        "2\\pi", "\\frac{3\\pi}{4}", "x^2 - 3x + 2", "\\frac{2}{3}x",
    ],
)  # fmt: skip
def test_finished(text: str) -> None:
    assert unfinished(read(plain_text(text))) == ""


@pytest.mark.parametrize(
    "text",
    [
        "2 + 3", "2 * 3", "2^3", "6/8", "4/2", "3/1", "1/2/2", "\\sqrt{4}", "\\sqrt{12}",
        "\\sqrt{2}\\sqrt{3}",
        "\\frac{2+2\\sqrt{5}}{4}", "1/\\sqrt{2}", "x + x", "2(x+1)", "x*x", "0 + \\sqrt{2}",
        "2 \\cdot 3x",
        "(x+1)^2", "1.5/2", "\\frac{\\frac12+\\sqrt2}{3}", "(1+2)",
    ],
)  # fmt: skip
def test_unfinished(text: str) -> None:
    assert unfinished(read(plain_text(text)))


def test_factor_lists() -> None:
    one = factor_list(read("-2(x - 1)(3 - x)^2"))
    other = factor_list(read("-2(x - 3)^2(x - 1)"))
    assert one is not None and other is not None and one[0] == other[0]
    assert len(one[1]) == 3 and all(factor in other[1] for factor in one[1])
    assert factor_list(read("(2x + 2)(x - 1)")) is None


def test_operations_are_counted() -> None:
    assert [operations(read(text)) for text in ("5", "-x", "1+2*3", "sqrt(2)", "2^3")] == [
        0, 0, 2, 1, 1,
    ]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789+-*/^(){}\\xy. sqrtfacpi", max_size=200))
def test_any_text_is_read_or_refused_at_once(text: str) -> None:
    start = time.perf_counter()
    try:
        node = read(plain_text(text))
        unfinished(node)
        value = evaluate(node)
        assert all(math.isfinite(c.numerator.bit_length()) for c in value.terms.values())
    except (NotRead, NotExact):
        pass
    assert time.perf_counter() - start < 1
