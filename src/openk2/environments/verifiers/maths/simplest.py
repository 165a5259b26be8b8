"""Whether an answer is finished: a value written out, not a computation left to its reader.

`123 * 456`, `10!`, `sqrt(16)` and `6/8` equal the right answers of the questions that state them;
paying for them pays for restating the question.
"""

import math
from fractions import Fraction

from openk2.environments.verifiers.maths.exact import MAX_RADICAND, Exact, square_free
from openk2.environments.verifiers.maths.expressions import (
    Literal,
    Name,
    Node,
    Operation,
    evaluate,
)

__all__ = ["factor_list", "operations", "unfinished"]


def unfinished(node: Node) -> str:
    """What is left to do in an expression, "" where it is in simplest form.

    Simplest: a number, a fraction in lowest terms, or a sum of different terms, each of them a
    coefficient times at most one square root of a square-free number and powers of names; the whole
    may stand over one integer that shares no factor with it.
    """
    node = _unsigned(node)
    above, below = _over(node)
    if below is None:
        return "more than one division, or one by something that is not an integer"
    if isinstance(above, Operation) and above.kind == "sum":
        terms = above.arguments
        if below == 1:
            problem = next(filter(None, map(_unfinished_term, terms)), "")
        else:
            problem = next(filter(None, map(_unfinished_integer_term, terms)), "")
    else:
        terms = (node,)
        return _unfinished_term(node)
    if problem:
        return problem
    values = [evaluate(term) for term in terms]
    if len({monomial for value in values for monomial in value.terms}) != len(values):
        return "terms that belong together were not added, or one is 0"
    coefficients = [next(iter(value.terms.values())) for value in values]
    if below > 1 and math.gcd(below, *(int(coefficient) for coefficient in coefficients)) > 1:
        return "a fraction that is not in lowest terms"
    return ""


def factor_list(node: Node) -> tuple[Fraction, list[Exact]] | None:
    """The constant and the factors of a product, each as often as it occurs; None where it is none.

    A factor is in simplest form, its integer coefficients share no factor and its leading one is
    positive, the sign being moved into the constant; one factor at most is a number.
    """
    constant, has_constant = Fraction(-1 if _is_negative(node) else 1), False
    node = _unsigned(node)
    is_product = isinstance(node, Operation) and node.kind == "product"
    factors: list[Exact] = []
    for factor in node.arguments if is_product and isinstance(node, Operation) else (node,):
        base, times = _base_and_times(factor)
        if times < 1 or unfinished(base):
            return None
        value = evaluate(base)
        rational = value.as_rational()
        if rational is not None:
            if has_constant or times > 1:
                return None
            constant, has_constant = constant * rational, True
            continue
        coefficients = list(value.terms.values())
        if any(c.denominator > 1 for c in coefficients) or math.gcd(*map(int, coefficients)) > 1:
            return None
        if value.terms[max(value.terms, key=lambda monomial: monomial[1])] < 0:
            value, constant = -value, constant * (-1) ** times
        factors.extend([value] * times)
    return constant, factors


def operations(node: Node) -> int:
    """How many operations an expression leaves to its reader; signs and names are free."""
    if not isinstance(node, Operation):
        return 0
    inside = sum(map(operations, node.arguments))
    match node.kind:
        case "sum" | "product":
            return inside + len(node.arguments) - 1
        case "negative" | "inverse":
            return inside
    return inside + 1


def _base_and_times(factor: Node) -> tuple[Node, int]:
    if isinstance(factor, Operation) and factor.kind == "power":
        base, exponent = factor.arguments
        if isinstance(exponent, Literal) and exponent.is_integer and exponent.value <= 12:
            return base, int(exponent.value)
        return base, 0
    return factor, 1


def _is_negative(node: Node) -> bool:
    return isinstance(node, Operation) and node.kind == "negative"


def _unsigned(node: Node) -> Node:
    if isinstance(node, Operation) and node.kind == "negative":
        return node.arguments[0]
    return node


def _factors(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Operation) and node.kind == "product":
        return node.arguments
    return (node,)


def _over(node: Node) -> tuple[Node, int | None]:
    """(what stands above, the integer below); None where what is below is no integer above 1."""
    above: list[Node] = []
    below: list[Node] = []
    for factor in _factors(node):
        inverse = isinstance(factor, Operation) and factor.kind == "inverse"
        (below if inverse else above).append(factor)
    top: Node = above[0] if len(above) == 1 else Operation("product", tuple(above))
    if not below:
        return top, 1
    divisor = below[0].arguments[0] if isinstance(below[0], Operation) else below[0]
    if len(below) > 1 or not isinstance(divisor, Literal) or not divisor.is_integer:
        return top, None
    return top, int(divisor.value) if divisor.value > 1 else None


def _unfinished_integer_term(term: Node) -> str:
    """As `_unfinished_term`, and the coefficient is an integer."""
    above, below = _over(_unsigned(term))
    fractions = [f for f in _factors(above) if isinstance(f, Literal) and not f.is_integer]
    return "a fraction in a fraction" if below != 1 or fractions else _unfinished_term(term)


def _unfinished_term(term: Node) -> str:
    above, below = _over(_unsigned(term))
    if below is None:
        return "more than one division, or one by something that is not an integer"
    literals, roots, names = [], 0, set()
    for factor in _factors(_unsigned(above) if below > 1 else above):
        if isinstance(factor, Literal):
            literals.append(factor)
            continue
        if isinstance(factor, Operation) and factor.kind == "root":
            inside = factor.arguments[0]
            roots += 1
            if not (isinstance(inside, Literal) and inside.is_integer and inside.value > 1):
                return "a square root of something that is not an integer above 1"
            if inside.value > MAX_RADICAND or square_free(int(inside.value))[0] > 1:
                return "a square root with a square factor"
            continue
        base, times = _base_and_times(factor)
        if not isinstance(base, Name) or times < 1 or base.name in names:
            return "an operation that was not carried out"
        names.add(base.name)
    if len(literals) > 1 or roots > 1:
        return "a product that was not multiplied out"
    coefficient = literals[0] if literals else Literal(Fraction(1), True)
    if below > 1 and (not coefficient.is_integer or math.gcd(int(coefficient.value), below) > 1):
        return "a fraction that is not in lowest terms"
    return ""
