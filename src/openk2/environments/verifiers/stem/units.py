"""Units of measurement, read from hostile text into an exact factor and seven exponents.

Symbols, prefixes and factors are those of the SI brochure (9th edition, 2019), with the non-SI
units that schools use. Nothing is executed; a text that is no unit is a `NotUnit`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

__all__ = ["BASE", "NotUnit", "Unit", "read_base_unit", "read_unit"]

BASE = ("m", "kg", "s", "A", "K", "mol", "cd")
MAX_TEXT = 100
MAX_EXPONENT = 9

Dimension = tuple[int, ...]  # exponents of BASE


class NotUnit(ValueError):
    """The text is no unit; the message says why."""


@dataclass(frozen=True)
class Unit:
    """A value in SI base units is `factor * value + offset`."""

    factor: Fraction
    dimension: Dimension
    offset: Fraction = Fraction(0)

    def __mul__(self, other: "Unit") -> "Unit":
        if self.offset or other.offset:
            raise NotUnit("a temperature scale with an offset stands alone")
        pairs = zip(self.dimension, other.dimension, strict=True)
        return Unit(self.factor * other.factor, tuple(a + b for a, b in pairs))

    def power(self, exponent: int) -> "Unit":
        if self.offset and exponent != 1:
            raise NotUnit("a temperature scale with an offset stands alone")
        return Unit(self.factor**exponent, tuple(a * exponent for a in self.dimension), self.offset)


ONE = Unit(Fraction(1), (0,) * len(BASE))
PREFIXES: Mapping[str, int] = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "d": -1,
    "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip
PREFIX_WORDS: Mapping[str, int] = {
    "giga": 9, "mega": 6, "kilo": 3, "deci": -1, "centi": -2, "milli": -3, "micro": -6, "nano": -9,
}  # fmt: skip

# symbol -> (factor, dimension, takes prefixes, words)
TABLE: Mapping[str, tuple[str, Dimension, bool, tuple[str, ...]]] = {
    "m": ("1", (1, 0, 0, 0, 0, 0, 0), True, ("metre", "meter")),
    "g": ("1/1000", (0, 1, 0, 0, 0, 0, 0), True, ("gram",)),
    "s": ("1", (0, 0, 1, 0, 0, 0, 0), True, ("second", "sec")),
    "A": ("1", (0, 0, 0, 1, 0, 0, 0), True, ("ampere", "amp")),
    "K": ("1", (0, 0, 0, 0, 1, 0, 0), True, ("kelvin",)),
    "mol": ("1", (0, 0, 0, 0, 0, 1, 0), True, ("mole",)),
    "cd": ("1", (0, 0, 0, 0, 0, 0, 1), True, ("candela",)),
    "N": ("1", (1, 1, -2, 0, 0, 0, 0), True, ("newton",)),
    "J": ("1", (2, 1, -2, 0, 0, 0, 0), True, ("joule",)),
    "W": ("1", (2, 1, -3, 0, 0, 0, 0), True, ("watt",)),
    "Pa": ("1", (-1, 1, -2, 0, 0, 0, 0), True, ("pascal",)),
    "Hz": ("1", (0, 0, -1, 0, 0, 0, 0), True, ("hertz",)),
    "C": ("1", (0, 0, 1, 1, 0, 0, 0), True, ("coulomb",)),
    "V": ("1", (2, 1, -3, -1, 0, 0, 0), True, ("volt",)),
    "Ω": ("1", (2, 1, -3, -2, 0, 0, 0), True, ("ohm",)),
    "S": ("1", (-2, -1, 3, 2, 0, 0, 0), True, ("siemens",)),
    "F": ("1", (-2, -1, 4, 2, 0, 0, 0), True, ("farad",)),
    "H": ("1", (2, 1, -2, -2, 0, 0, 0), True, ("henry",)),
    "T": ("1", (0, 1, -2, -1, 0, 0, 0), True, ("tesla",)),
    "Wb": ("1", (2, 1, -2, -1, 0, 0, 0), True, ("weber",)),
    "L": ("1/1000", (3, 0, 0, 0, 0, 0, 0), True, ("litre", "liter", "l")),
    "M": ("1000", (-3, 0, 0, 0, 0, 1, 0), True, ("molar",)),
    "eV": ("1.602176634e-19", (2, 1, -2, 0, 0, 0, 0), True, ("electronvolt",)),
    "Wh": ("3600", (2, 1, -2, 0, 0, 0, 0), True, ()),
    "Ah": ("3600", (0, 0, 1, 1, 0, 0, 0), True, ()),
    "bar": ("100000", (-1, 1, -2, 0, 0, 0, 0), True, ("bar",)),
    "atm": ("101325", (-1, 1, -2, 0, 0, 0, 0), False, ("atmosphere",)),
    "cal": ("4.184", (2, 1, -2, 0, 0, 0, 0), True, ("calorie",)),
    "t": ("1000", (0, 1, 0, 0, 0, 0, 0), False, ("tonne",)),
    "min": ("60", (0, 0, 1, 0, 0, 0, 0), False, ("minute", "min")),
    "h": ("3600", (0, 0, 1, 0, 0, 0, 0), False, ("hour", "hr")),
    "d": ("86400", (0, 0, 1, 0, 0, 0, 0), False, ("day",)),
    "ha": ("10000", (2, 0, 0, 0, 0, 0, 0), False, ("hectare",)),
    "in": ("0.0254", (1, 0, 0, 0, 0, 0, 0), False, ("inch",)),
    "ft": ("0.3048", (1, 0, 0, 0, 0, 0, 0), False, ("foot", "feet")),
    "mi": ("1609.344", (1, 0, 0, 0, 0, 0, 0), False, ("mile",)),
    "lb": ("0.45359237", (0, 1, 0, 0, 0, 0, 0), False, ("pound",)),
    "rad": ("1", (0, 0, 0, 0, 0, 0, 0), False, ("radian",)),
}
SCALES = {
    "°C": Unit(Fraction(1), (0, 0, 0, 0, 1, 0, 0), Fraction("273.15")),
    "°F": Unit(Fraction(5, 9), (0, 0, 0, 0, 1, 0, 0), Fraction("459.67") * Fraction(5, 9)),
}

SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
RAISED = re.compile("[⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
LATEX = re.compile(r"\\(?:text|mathrm|mathit|rm|operatorname|si|unit)(?![a-zA-Z])|[{}$~]|\\[,;:! ]")
SIGNS = {"\\cdot": "*", "\\times": "*", "·": "*", "⋅": "*", "×": "*", "\\Omega": "Ω", "\u2126": "Ω"}
SIGNS |= {
    "µ": "u",
    "μ": "u",
    "\\mu ": "u",
    "\\mu": "u",
    "^{\\circ}": "°",
    "^\\circ": "°",
    "\\degree": "°",
    "degrees Celsius": "°C",
    "degrees Fahrenheit": "°F",
    "° ": "°",
    "−": "-",
}
SIGNS |= {"\u2103": "°C", "**": "^", "^ ": "^", "\u212a": "K"}
WRAPPED = re.compile(r"\\(?:text|mathrm|mathit|operatorname)[ \t]*\{([^{}\\]*)\}")
FRACTION = re.compile(r"\\[dt]?frac[ \t]*\{([^{}]*)\}[ \t]*\{([^{}]*)\}")
PREFIXED_OHM = re.compile("(?<![a-zA-Z])([kM]) Ω")
TOKEN = re.compile(
    r"[ \t]*(?:(°?[a-zA-ZΩ]+)(-?[0-9]{1,2}(?![0-9]))?"
    r"|\^(?:\((-?[0-9]{1,2})\)|(-?[0-9]{1,2})(?![0-9]))|([*/()]))"
)
PER = re.compile("(?<![a-zA-Z])per(?![a-zA-Z])")


@lru_cache(4096)
def read_unit(text: str) -> Unit:
    """`kg m^2 / s^2`, `m/s/s`, `J/(kg K)`, `km h^-1`, `newton metres`. Raises NotUnit."""
    if len(text) > MAX_TEXT:
        raise NotUnit(f"a unit of {len(text)} characters")
    tokens = _tokens(text)
    unit, place = _product(tokens, 0, 0)
    if place < len(tokens):
        raise NotUnit(f"{tokens[place]!r} was not expected in the unit")
    return unit


def read_base_unit(text: str) -> Dimension:
    """`kg m^2 s^-3` or `kg m^2/s^3`: base units alone, each at most once. Raises NotUnit."""
    dimension = read_unit(text).dimension
    names = [token for token in _tokens(text) if token[0] not in "^*/()"]
    if len(names) != len(set(names)) or not set(names) <= set(BASE):
        raise NotUnit("only base units were asked for, each at most once")
    return dimension


def _tokens(text: str) -> list[str]:
    """Names, signs, and exponents as "^2"."""
    text = RAISED.sub(lambda found: "^" + found[0].translate(SUPERSCRIPTS), text)
    text = FRACTION.sub(r"(\1)/(\2)", WRAPPED.sub(r" \1 ", text))
    text = " ".join(text.split())
    for sign, plain in SIGNS.items():
        text = text.replace(sign, plain)
    text = PREFIXED_OHM.sub(r"\1Ω", text)
    text = PER.sub("/", re.sub(r"\^ +", "^", LATEX.sub(" ", text))).rstrip(" \t")
    tokens, place = [], 0
    while place < len(text):
        found = TOKEN.match(text, place)
        if found is None:
            raise NotUnit(f"{text[place : place + 10]!r} is no part of a unit")
        name, bare, grouped, raised, sign = found.groups()
        tokens.append(name or sign or f"^{grouped or raised}")
        tokens.extend([f"^{bare}"] if bare else [])
        place = found.end()
    return tokens


def _product(tokens: list[str], place: int, depth: int) -> tuple[Unit, int]:
    """The units from `place` up to the end or to the parenthesis that closes this depth."""
    unit, divide, expected = ONE, False, True
    while place < len(tokens) and tokens[place] != ")":
        token = tokens[place]
        if token in ("*", "/"):
            if expected:
                raise NotUnit(f"{token!r} was not expected in the unit")
            divide, expected = token == "/", True
            place += 1
            continue
        if token == "(" and depth < 3:
            factor, place = _product(tokens, place + 1, depth + 1)
            if place == len(tokens):
                raise NotUnit("')' is missing in the unit")
        elif token[0] == "^" or token == "(":
            raise NotUnit(f"{token!r} was not expected in the unit")
        else:
            factor = _named(token)
        place += 1
        exponent = 1
        if place < len(tokens) and tokens[place][0] == "^":
            exponent = int(tokens[place][1:])
            place += 1
        if abs(exponent) > MAX_EXPONENT or exponent == 0:
            raise NotUnit(f"the exponent {exponent} in a unit")
        factor = factor.power(-exponent if divide else exponent)
        unit = factor if unit is ONE else unit * factor
        if max(map(abs, unit.dimension)) > 4 * MAX_EXPONENT:
            raise NotUnit("very large exponents in a unit")
        divide, expected = False, False
    if expected:
        raise NotUnit("a unit is missing")
    return unit, place


def _named(name: str) -> Unit:
    if name in SCALES:
        return SCALES[name]
    if name in TABLE:
        return _plain(name)
    for prefix, exponent in PREFIXES.items():
        symbol = name.removeprefix(prefix)
        if name.startswith(prefix) and symbol in TABLE and TABLE[symbol][2]:
            return _scaled(_plain(symbol), exponent)
    return _worded(name.lower())


def _worded(word: str) -> Unit:
    for form in (word, word.removesuffix("s"), word.removesuffix("es")):
        if form in WORDS:
            return _plain(WORDS[form])
        for prefix, exponent in PREFIX_WORDS.items():
            symbol = WORDS.get(form.removeprefix(prefix), "")
            if form.startswith(prefix) and symbol and TABLE[symbol][2]:
                return _scaled(_plain(symbol), exponent)
    raise NotUnit(f"{word[:20]!r} is no known unit")


def _plain(symbol: str) -> Unit:
    factor, dimension, _, _ = TABLE[symbol]
    return Unit(Fraction(factor), dimension)


def _scaled(unit: Unit, exponent: int) -> Unit:
    return Unit(unit.factor * Fraction(10) ** exponent, unit.dimension)


WORDS = {word: symbol for symbol, (_, _, _, words) in TABLE.items() for word in words}
