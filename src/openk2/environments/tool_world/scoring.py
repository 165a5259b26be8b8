"""Success as tolerant predicates over the final state and what was said, not as a hash.

Reading is free, order is free, numbers are compared normalised, texts by their words, and keys of
new rows not at all; every row that must change changed so, and no other.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from openk2.core.records import Message
from openk2.environments.base import spoken
from openk2.environments.tool_world.domain import Entity
from openk2.environments.tool_world.state import Change, Row, State
from openk2.environments.tool_world.values import Note

__all__ = ["MAX_SAID", "collateral", "missing", "rivals", "said", "same_value"]

NUMBER = re.compile(r"(?<![\w.-])-?\d[\d,]{0,20}(?:\.\d{1,12})?(?=[A-Za-z%]{0,3}(?![\w-]))")
CURRENCY = re.compile(r"(?:US)?[$€£] ?|\b(?:USD|EUR|GBP) ?(?=\d)")
BULLET = re.compile(r"^\s{0,8}\d{1,3}[.)]\s", re.M)
DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
KEY = re.compile(r"\b[A-Z]{1,4}-[A-Z0-9]{6}\b")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
LONG_DATE = re.compile(
    r"\b(?:(\d{1,2})(?:st|nd|rd|th)? (?:of )?)?(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?"
    r"|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
    r"(?: ?(\d{1,2})(?!\d)(?:st|nd|rd|th)?)?(?:,? (\d{4})\b)?",
    re.I,
)
WORD = re.compile(r"[^\W_]+")
SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
NUMERALS = {word: float(number) for number, word in enumerate(SMALL)} | {"no": 0.0, "none": 0.0}
YES = re.compile(r"\b(?:yes|true|(?:is|are|am|was|has|have|does|do)(?! not)(?!n['’]t))\b", re.I)
NO = re.compile(r"\b(?:no|not|false|never|\w{2,6}n['’]t)\b", re.I)
# Who lists everything that they read has answered nothing: so many values of one shape (numbers,
# dates, keys) may stand in a message, and so many more for each thing that is to be told; fewer of
# them may stand in the very column that the answer stands in; and in a whole dialog no more than
# this times as many.
ALLOWANCE, ALLOWANCE_EACH = 4, 3
RIVALS, RIVALS_EACH = 1, 1
DIALOG = 3
GUESSABLE = 200  # whole numbers below stand in many columns
MAX_SAID = 20_000  # characters of one message that count


def same_value(expected: Any, found: Any) -> bool:
    """Equal up to the type of a number, the last digit of a decimal, case and punctuation."""
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, int | float) and isinstance(found, int | float):
        return abs(expected - found) <= 1e-6 * max(1.0, abs(expected))
    if isinstance(expected, str) and isinstance(found, str):
        return _words(expected) == _words(found) and (bool(_words(found)) or expected == found)
    return bool(expected == found)


def _same_row(
    entity: Entity, expected: Row, found: Row, with_key: bool, renamed: Mapping[str, str]
) -> bool:
    for name, value in expected.items():
        if name == entity.key:
            if with_key and value != found[name]:
                return False
        elif isinstance(entity.by_name[name].kind, Note):
            if _words(value) != _words(found[name]):
                return False
        elif not same_value(
            renamed.get(value, value) if type(value) is str else value, found[name]
        ):
            return False
    return True


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def _answers(entity: Entity, expected: Change, found: Change, renamed: Mapping[str, str]) -> bool:
    """Whether a change is the one that was expected."""
    if (expected.before is None) != (found.before is None):
        return False
    if (expected.after is None) != (found.after is None):
        return False
    new = expected.before is None
    if not new and expected.key != found.key:
        return False
    if expected.after is None:
        return True
    assert found.after is not None
    return _same_row(entity, expected.after, found.after, not new, renamed)


def missing(
    entities: Mapping[str, Entity], expected: Sequence[Change], found: Sequence[Change]
) -> list[Change]:
    """Expected changes that did not happen; each change that happened counts once."""
    return _unmatched(entities, expected, found)[0]


def collateral(
    entities: Mapping[str, Entity], expected: Sequence[Change], found: Sequence[Change]
) -> list[Change]:
    """Changes that happened and were not expected, on other rows than those."""
    places = {(change.entity, change.key) for change in expected if change.before is not None}
    rest = _unmatched(entities, expected, found)[1]
    return [change for change in rest if (change.entity, change.key) not in places]


def _unmatched(
    entities: Mapping[str, Entity], expected: Sequence[Change], found: Sequence[Change]
) -> tuple[list[Change], list[Change]]:
    """Expected changes that did not happen, and changes that were not expected.

    New rows have keys of their own in every episode: once a new row is matched, rows that refer to
    it are compared under its key here.
    """
    left, absent = list(found), []
    renamed: dict[str, str] = {}
    for one in expected:
        entity = entities[one.entity]
        match = next(
            (c for c in left if c.entity == one.entity and _answers(entity, one, c, renamed)), None
        )
        if match is None:
            absent.append(one)
            continue
        left.remove(match)
        if one.before is None:
            renamed[one.key] = match.key
    return absent, left


def rivals(value: Any, state: State) -> set[Any]:
    """What else stands in the columns in which a value stands: what it could be mistaken for."""
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) < GUESSABLE):
        return set()
    found: set[Any] = set()
    for name, entity in state.entities.items():
        rows = state.find(name)
        for column in entity.columns:
            values = {row[column] for row in rows}
            if value in values:
                found |= values
    return found - {value}


def said(
    value: Any, messages: Iterable[Message], tells: int = 1, others: Iterable[Any] = ()
) -> bool:
    """Whether the assistant states a value to the user, and not merely among many of its kind.

    tells    how many values there are to tell in all
    others   values that stand where this one does, see `rivals`

    Thinking is not said, nor is what stands beside a call: the user reads neither.
    """
    texts = [
        spoken(message.content)[:MAX_SAID]
        for message in messages
        if message.role == "assistant" and not message.tool_calls and not message.problems
    ]
    if isinstance(value, bool):
        return any((YES if value else NO).search(text) for text in texts)
    wrong = {_canonical(other) for other in others}
    right = _canonical(value)
    found = [_values_like(right, text, wrong) for text in texts]
    shape, column = ALLOWANCE + ALLOWANCE_EACH * tells, RIVALS + RIVALS_EACH * tells
    everything = set[Any]().union(*found)
    if len(everything) > DIALOG * shape or len(everything & wrong) > DIALOG * column:
        return False
    return any(
        right in values and len(values) <= shape and len(values & wrong) <= column
        for values in found
    )


def _canonical(value: Any) -> Any:
    """A value as it is compared: numbers to the cent, texts by their words."""
    if isinstance(value, int | float):
        return round(float(value), 2)
    if DATE.fullmatch(value) or KEY.fullmatch(value):
        return value
    return " ".join(_words(value)) or value


def _values_like(right: Any, text: str, wrong: Iterable[Any]) -> set[Any]:
    """The values of one shape that a text states; of texts, those that are known."""
    if isinstance(right, float):
        return _numbers(text)
    if DATE.fullmatch(right):
        dates = {*DATE.findall(text), *_long_dates(text)}
        # A date without its year is the one that was asked for, if day and month are.
        return {right if date == right[4:] else date for date in dates}
    if KEY.fullmatch(right):
        return set(KEY.findall(text))
    plain = f" {' '.join(_words(text))} "
    return {known for known in (right, *wrong) if isinstance(known, str) and f" {known} " in plain}


def _numbers(text: str) -> set[float]:
    plain = CURRENCY.sub("", text.replace("\u2212", "-"))
    plain = BULLET.sub(" ", LONG_DATE.sub(" ", DATE.sub(" ", plain)))
    found = {round(float(number.replace(",", "")), 2) for number in NUMBER.findall(plain)}
    return found | {NUMERALS[word] for word in _words(plain) if word in NUMERALS}


def _long_dates(text: str) -> list[str]:
    """Dates with the month in words, as YYYY-MM-DD, or -MM-DD where they have no year."""
    dates = []
    for before, month, after, year in LONG_DATE.findall(text):
        if not (before or after):
            continue
        try:
            day = date(int(year or 2000), MONTHS.index(month[:3].lower()) + 1, int(before or after))
        except ValueError:
            continue
        dates.append(day.isoformat() if year else day.isoformat()[4:])
    return dates
