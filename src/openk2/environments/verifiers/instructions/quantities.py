"""Numbers and units as people say them, and what a text really has of each."""

import re
from collections.abc import Callable

from openk2.environments.verifiers.instructions import case, layout, letters, punctuation
from openk2.environments.verifiers.instructions.constraint import Counted
from openk2.environments.verifiers.instructions.reading import Reading, folded
from openk2.environments.verifiers.instructions.structure import list_items

__all__ = [
    "HOW",
    "NUMBER_PATTERN",
    "UNIT_PATTERN",
    "agrees",
    "measure",
    "parse_number",
]

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
VALUES = (
    {word: value for value, word in enumerate(ONES.split())}
    | {word: 10 * value for value, word in enumerate(TENS.split(), 2)}
    | {"dozen": 12, "single": 1}
)
NAMED = "|".join(sorted((*VALUES, "hundred", "thousand"), key=len, reverse=True))
NUMBER_PATTERN = (
    rf"(?:\d{{1,9}}(?:,\d{{3}}){{0,3}}|"
    rf"(?:a\s+)?(?:{NAMED})(?:[\s-]+(?:and\s+)?(?:{NAMED})\b){{0,5}})"
)
HOW = (
    r"exactly|precisely|at least|at most|no more than|no fewer than|no less than|not more than|"
    r"more than|fewer than|less than|over|under|only|just|about|around|approximately|approx\.?|"
    r"roughly|nearly|almost|some|up to|a total of"
)
NEARLY = 0.1  # how far "about" may be off, as a share
LIKE = ("about", "around", "approximately", "approx", "approx.", "roughly", "nearly", "almost", "~")


def _counted(constraint: type[Counted]) -> Callable[[Reading], int]:
    """How a constraint of the catalogue counts."""
    return constraint(0, 0).measure


def _marks(*marks: str) -> Callable[[Reading], int]:
    return lambda reading: sum(reading.prose.count(mark) for mark in marks)


UNITS: tuple[tuple[str, Callable[[Reading], int]], ...] = (
    (r"(?:unique|different|distinct)\s+words?", lambda reading: len(reading.counts)),
    (
        r"(?:all-caps?|all-capital|capitali[sz]ed|uppercase|upper-case|capital)\s+words?|"
        r"words?\s+in\s+(?:all\s+)?(?:caps|capitals|capital letters|uppercase)",
        _counted(case.CapitalWords),
    ),
    (r"(?:capital|uppercase|upper-case)\s+letters?", lambda reading: _cased(reading, str.isupper)),
    (r"(?:lowercase|lower-case)\s+letters?", lambda reading: _cased(reading, str.islower)),
    (r"words?(?:\s+long)?", lambda reading: len(reading.words)),
    (r"sentences?(?:\s+long)?", lambda reading: len(reading.sentences)),
    (r"paragraphs?(?:\s+long)?", lambda reading: len(reading.paragraphs)),
    (r"lines?(?:\s+long)?", lambda reading: len(reading.lines)),
    (r"characters?(?:\s+long)?", lambda reading: len(reading.text)),
    (r"bullet\s+points?|bullets?", _counted(layout.Bullets)),
    (r"(?:numbered|list)\s+items?|items?", lambda reading: len(list_items(reading))),
    (r"headings?|headers?", lambda reading: len(layout.HEADING.findall(reading.text))),
    (r"sections?", _counted(layout.Sections)),
    (r"highlight(?:ed)?(?:\s+(?:parts?|sections?|phrases?))?s?", _counted(layout.Highlights)),
    (r"placeholders?", _counted(layout.Placeholders)),
    (r"exclamation\s+(?:marks?|points?)", _marks("!")),
    (r"question\s+marks?|questions?", _marks("?")),
    (r"semi-?colons?", _marks(";")),
    (r"commas?", _marks(*punctuation.COMMAS)),
    (r"(?:parentheses|parenthes[ei]s|parenthetical\s+remarks?)", _counted(punctuation.Parentheses)),
    (r"palindromes?", _counted(letters.Palindromes)),
    (r"digits?|numerals?", lambda reading: sum(map(str.isdigit, reading.text))),
    (r"numbers?", lambda reading: len(reading.numbers)),
    (r"code\s+blocks?", lambda reading: len(layout.FENCE.findall(reading.text)) // 2),
    (r"(?:markdown\s+)?tables?", lambda reading: len(_table_rules(reading))),
    (r"non-ascii\s+characters?", lambda reading: sum(ord(one) > 127 for one in reading.text)),
)
UNIT_PATTERN = "(?:" + "|".join(f"(?:{pattern})" for pattern, _ in UNITS) + r")\b"


def parse_number(said: str) -> float:
    """The value of what NUMBER_PATTERN found: `1,200` or `a hundred and twenty-five`."""
    if said[0].isdigit():
        return int(said.replace(",", ""))
    thousands = value = 0
    for word in re.findall(r"[a-z]+", said):
        if word == "thousand":
            thousands, value = thousands + max(1, value) * 1000, 0
        elif word == "hundred":
            value = max(1, value) * 100
        elif word == "dozen":
            value = max(1, value) * 12
        else:
            value += VALUES.get(word, 0)
    return thousands + value


def measure(unit: str, reading: Reading) -> int:
    """How many of a unit, as UNIT_PATTERN finds it, `letter x` or `word x`, a text has."""
    kind, _, name = unit.partition(" ")
    if kind == "letter" and len(name) == 1:
        return reading.letters[folded(name)]
    if kind == "word" and name and name != "long":
        return reading.counts[name]
    for pattern, count in UNITS:
        if re.fullmatch(pattern, unit):
            return count(reading)
    raise AssertionError(f"no unit {unit!r}")


def agrees(actual: int, how: str, said: float) -> bool:
    """Whether a number that was claimed fits the true one; without `how` it must be the same."""
    if how in ("at least", "no fewer than", "no less than"):
        return actual >= said
    if how in ("at most", "no more than", "not more than", "up to"):
        return actual <= said
    if how in ("more than", "over"):
        return actual > said
    if how in ("fewer than", "less than", "under"):
        return actual < said
    if how in LIKE or how == "some":
        return abs(actual - said) <= NEARLY * said
    return actual == said


def _cased(reading: Reading, rule: Callable[[str], bool]) -> int:
    return sum(map(rule, reading.text))


def _table_rules(reading: Reading) -> list[str]:
    return [line for line in reading.lines if layout.RULE.match(line)]
