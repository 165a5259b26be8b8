"""Reads a mathematical expression, plain or LaTeX, into a tree, without ever executing anything.

Known: integers, decimals, mixed numbers, + - * / ^, \\frac, \\sqrt, \\cdot, \\times, \\pi, names of
one letter, parentheses and products without a sign (2x, 3\\sqrt{2}). Everything else, a factorial
say, is a `NotRead`. Digits are ASCII digits, the text is at most MAX_TEXT long and nested at most
MAX_DEPTH deep, so that reading takes linear time and little of it.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from openk2.environments.verifiers.maths.exact import Exact, NotExact

__all__ = ["Literal", "Name", "Node", "NotRead", "Operation", "evaluate", "plain_text", "read"]

MAX_TEXT = 1000
MAX_DEPTH = 24
MAX_DIGITS = 100

SUPERSCRIPTS = {ord(sign): f"^{digit}" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
SIGNS = {"−": "-", "–": "-", "×": "*", "·": "*", "⋅": "*", "÷": "/", "√": "\\sqrt ", "π": "\\pi "}
SIGNS |= {
    "∞": "\\infty ",
    "±": "\\pm ",
    "∪": "\\cup ",
    "≤": "\\le ",
    "≥": "\\ge ",
    "∈": "\\in ",
    "\u00a0": " ",
}
TRANSLATED = SUPERSCRIPTS | {ord(sign): text for sign, text in SIGNS.items()}
SPACING = re.compile(r"\\(?:left|right)(?![a-zA-Z])|\\[,;:! ()\[\]]|\\q?quad(?![a-zA-Z])|~|\$")
TEXT_COMMAND = re.compile(r"\\(?:text|mathrm|mbox|textbf|mathbf|operatorname)[ \t]*\{([^{}\\]*)\}")
SHORT_FRACTION = re.compile(r"\\[dt]?frac[ \t]*([0-9])[ \t]*([0-9])")
PLAIN_ROOT = re.compile(r"√[ \t]*([0-9]+)")
SHORT_ROOT = re.compile(r"\\sqrt[ \t]*([0-9])")
TOKEN = re.compile(
    r"[ \t]*(?:([0-9]+(?:\.[0-9]+)?|\.[0-9]+)|\\([a-zA-Z]+)|(sqrt|pi|infinity)(?![a-zA-Z])"
    r"|([a-zA-Z])|(\*\*|[-+*/^(){}\[\]]))"
)
COMMANDS = {"cdot": "*", "times": "*", "div": "/", "dfrac": "frac", "tfrac": "frac"}


class NotRead(ValueError):
    """The text is no expression of the known kind; the message says where."""


@dataclass(frozen=True)
class Literal:
    """A number that is written out; a mixed number is one too."""

    value: Fraction
    is_integer: bool


@dataclass(frozen=True)
class Name:
    """A variable, or pi, e, infinity."""

    name: str


@dataclass(frozen=True)
class Operation:
    """kind: "sum" and "product" of any number of arguments; "negative", "inverse", "root" of one;
    "power" of a base and an exponent."""

    kind: str
    arguments: tuple["Node", ...]


Node = Literal | Name | Operation


def plain_text(text: str) -> str:
    """LaTeX's spacing, \\text{} and typographic signs taken out; the meaning stays."""
    text = PLAIN_ROOT.sub(r"\\sqrt{\1}", text).translate(TRANSLATED)
    text = SPACING.sub(" ", TEXT_COMMAND.sub(r" \1 ", text))
    text = SHORT_FRACTION.sub(r"\\frac{\1}{\2}", text)
    return SHORT_ROOT.sub(r"\\sqrt{\1}", text).strip()


def read(text: str) -> Node:
    """The tree of an expression (after `plain_text`). Raises NotRead."""
    if len(text) > MAX_TEXT:
        raise NotRead(f"the expression has {len(text)} characters")
    reader = _Reader(_tokens(text))
    node = reader.sum(0)
    if reader.next != "":
        raise NotRead(f"{reader.next!r} was not expected")
    return node


def evaluate(node: Node) -> Exact:
    """The value of a tree in normal form. Raises NotExact."""
    if isinstance(node, Literal):
        return Exact.rational(node.value)
    if isinstance(node, Name):
        return Exact.name(node.name)
    values = [evaluate(argument) for argument in node.arguments]
    result = values[0]
    match node.kind:
        case "sum":
            for value in values[1:]:
                result = result + value
        case "product":
            for value in values[1:]:
                result = result * value
        case "negative":
            result = -result
        case "inverse":
            result = result.inverse()
        case "root":
            result = Exact.root(_rational(result))
        case "power":
            exponent = _rational(values[1])
            if exponent.denominator != 1:
                raise NotExact("an exponent that is not an integer")
            result = result.power(int(exponent))
    return result


def _rational(value: Exact) -> Fraction:
    found = value.as_rational()
    if found is None:
        raise NotExact("a root or an exponent of something that is not rational")
    return found


def _tokens(text: str) -> list[str]:
    tokens, place, end = [], 0, len(text.rstrip(" \t"))
    while place < end:
        found = TOKEN.match(text, place)
        if found is None:
            raise NotRead(f"{text[place : place + 10]!r} was not understood")
        number, command, word, name, sign = found.groups()
        if number and len(number) > MAX_DIGITS:
            raise NotRead(f"a number of {len(number)} digits")
        if command:
            token = COMMANDS.get(command, command)
            tokens.append(token if token in "*/" else f"\\{token}")
        else:
            tokens.append(f"\\{word}" if word else number or name or sign.replace("**", "^"))
        place = found.end()
    return tokens


def _is_number(token: str) -> bool:
    return token[:1].isdigit() or token[:1] == "."


class _Reader:
    """Recursive descent: sum, product, signed factor, power, atom."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = tokens
        self.place = 0

    @property
    def next(self) -> str:
        return self.ahead(0)

    def ahead(self, distance: int) -> str:
        place = self.place + distance
        return self.tokens[place] if place < len(self.tokens) else ""

    def take(self) -> str:
        self.place += 1
        return self.tokens[self.place - 1]

    def sum(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise NotRead("nested too deeply")
        terms = [self.signed_product(depth)]
        while self.next in ("+", "-"):
            terms.append(self.signed_product(depth))
        return terms[0] if len(terms) == 1 else Operation("sum", tuple(terms))

    def signed_product(self, depth: int) -> Node:
        sign = self.take() if self.next in ("+", "-") else "+"
        factors = [self.power(depth)]
        while True:
            token = self.next
            if token in ("*", "/"):
                self.take()
                negative = self.next == "-"  # 3 * -2
                if negative:
                    self.take()
                factor = self.power(depth)
                factor = Operation("negative", (factor,)) if negative else factor
                factors.append(Operation("inverse", (factor,)) if token == "/" else factor)
            elif token in ("(", "\\sqrt", "\\frac", "\\pi") or (token.isalpha() and token):
                factors.append(self.power(depth))
            else:
                break
        node = factors[0] if len(factors) == 1 else Operation("product", _flat(factors))
        return node if sign == "+" else Operation("negative", (node,))

    def power(self, depth: int) -> Node:
        base = self.atom(depth)
        if self.next != "^":
            return base
        self.take()
        if self.next == "-":
            self.take()
            return Operation("power", (base, Operation("negative", (self.number(),))))
        exponent = self.group(depth) if self.next in ("(", "{") else self.number()
        if self.next == "^":
            raise NotRead("a power of a power")
        return Operation("power", (base, exponent))

    def number(self) -> Node:
        if not _is_number(self.next):
            raise NotRead(f"a number was expected before {self.next!r}")
        token = self.take()
        return Literal(Fraction(token), "." not in token)

    def group(self, depth: int) -> Node:
        closing = {"(": ")", "{": "}"}.get(self.next)
        if closing is None:
            raise NotRead(f"a group was expected before {self.next!r}")
        self.take()
        node = self.sum(depth + 1)
        if self.next != closing:
            raise NotRead(f"{closing!r} is missing")
        self.take()
        return node

    def atom(self, depth: int) -> Node:
        token = self.next
        if _is_number(token):
            return self.mixed() or self.number()
        if token in ("(", "{"):
            return self.group(depth)
        if token == "\\sqrt":
            self.take()
            return Operation("root", (self.group(depth),))
        if token == "\\frac":
            self.take()
            above, below = self.group(depth), self.group(depth)
            return Operation("product", _flat([above, Operation("inverse", (below,))]))
        if token in ("\\pi", "\\infty", "\\infinity"):
            self.take()
            return Name("pi" if token == "\\pi" else "infinity")
        if token.isalpha():
            return Name(self.take())
        raise NotRead(f"{token!r} was not expected" if token else "the expression ends too early")

    def mixed(self) -> Node | None:
        """`2 1/3` and `2\\frac{1}{3}`, which are no products."""
        if "." in self.next:
            return None
        if self.ahead(1) == "\\frac":
            parts = [self.ahead(3), self.ahead(6)]
            shape = [self.ahead(place) for place in (2, 4, 5, 7)]
            width = 8 if shape == ["{", "}", "{", "}"] else 0
        else:
            parts = [self.ahead(1), self.ahead(3)]
            width = 4 if self.ahead(2) == "/" else 0
        if not width or not all(part.isdigit() for part in parts):
            return None
        above, below = map(int, parts)
        if not 0 < above < below or math.gcd(above, below) > 1:
            return None
        whole = int(self.next)
        self.place += width
        return Literal(whole + Fraction(above, below), False)


def _flat(factors: Sequence[Node]) -> tuple[Node, ...]:
    flat: list[Node] = []
    for factor in factors:
        if isinstance(factor, Operation) and factor.kind == "product":
            flat.extend(factor.arguments)
        else:
            flat.append(factor)
    return tuple(flat)
