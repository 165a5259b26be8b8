"""Success as tolerant predicates over the final state and what was said, not as a hash.

Reading is free, order is free, numbers and texts are compared normalised, notes by their words, and
keys of new rows not at all; every row that must change changed so, and no other.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from openk2.core.records import Message
from openk2.environments.base import spoken
from openk2.environments.tool_world.domain import Entity
from openk2.environments.tool_world.state import Change, Row
from openk2.environments.tool_world.values import Note

__all__ = ["allowance", "collateral", "missing", "said", "same_value"]

NUMBER = re.compile(r"(?<![\w.-])-?\d[\d,]{0,20}(?:\.\d{1,12})?(?![\w-])")
DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
KEY = re.compile(r"\b[A-Z]{1,4}-[A-Z0-9]{6}\b")
LONG_DATE = re.compile(
    r"\b(?:(\d{1,2})(?:st|nd|rd|th)? )?(January|February|March|April|May|June|July|August|September"
    r"|October|November|December) ?(\d{1,2})?(?:st|nd|rd|th)?,? (\d{4})\b"
)
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
# Who lists everything that they read has answered nothing: so many values of one shape (numbers,
# dates, keys) may stand in a message, and so many more for each thing that is to be told.
ALLOWANCE, ALLOWANCE_EACH = 3, 3
MAX_SAID = 20_000  # characters of one message that count


def same_value(expected: Any, found: Any) -> bool:
    """Equal up to the type of a number, the last digit of a decimal, case and white space."""
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, int | float) and isinstance(found, int | float):
        return abs(expected - found) <= 1e-6 * max(1.0, abs(expected))
    if isinstance(expected, str) and isinstance(found, str):
        return " ".join(expected.split()).casefold() == " ".join(found.split()).casefold()
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
    return re.findall(r"\w+", text.casefold())


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


def allowance(tells: int) -> int:
    """How many values of one shape a message may hold that is to tell so many."""
    return ALLOWANCE + ALLOWANCE_EACH * tells


def said(value: Any, messages: Iterable[Message], allowed: int = ALLOWANCE) -> bool:
    """Whether the assistant states a value to the user, among at most `allowed` of its shape.

    Thinking is not said.
    """
    return any(
        _states(value, spoken(message.content)[:MAX_SAID], allowed)
        for message in messages
        if message.role == "assistant"
    )


def _states(value: Any, text: str, allowed: int) -> bool:
    if isinstance(value, bool):
        return (
            re.search(r"\b(yes|true)\b" if value else r"\b(no|not|false)\b", text, re.I) is not None
        )
    if isinstance(value, int | float):
        numbers = {_number(found) for found in NUMBER.findall(DATE.sub(" ", text))}
        return len(numbers) <= allowed and any(abs(value - n) < 0.005 for n in numbers)
    if DATE.fullmatch(value):
        dates = {*DATE.findall(text), *_long_dates(text)}
        return value in dates and len(dates) <= allowed
    if KEY.fullmatch(value):
        keys = set(KEY.findall(text))
        return value in keys and len(keys) <= allowed
    wanted = re.escape(" ".join(value.replace("_", " ").split()))
    plain = " ".join(text.replace("_", " ").split())
    found = re.search(rf"(?<!\w){wanted}(?!\w)", plain, re.I)
    return found is not None and len(plain) <= 400 + 100 * allowed


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _long_dates(text: str) -> list[str]:
    dates = []
    for before, month, after, year in LONG_DATE.findall(text):
        try:
            dates.append(date(int(year), MONTHS.index(month) + 1, int(after or before)).isoformat())
        except ValueError:
            continue
    return dates
