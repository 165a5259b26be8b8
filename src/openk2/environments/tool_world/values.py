"""Kinds of field values: how one is drawn, stored, described by JSON Schema and said by a person.

A kind is data, so that domains can be composed and evolved; everything is drawn from the generator
that is handed in, so that a world is a pure function of its seed.
"""

import functools
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, ClassVar

__all__ = [
    "Amount",
    "AmountOf",
    "Choice",
    "Clock",
    "ClockAfter",
    "Code",
    "Day",
    "DayAfter",
    "Email",
    "Flag",
    "Kind",
    "Note",
    "PersonName",
    "Phone",
    "Place",
    "Reference",
    "Whole",
    "Words",
]

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
KEY_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
CODE_SIGNS = {"#": "0123456789", "@": KEY_ALPHABET[:24]}


@dataclass(frozen=True)
class Kind(ABC):
    """What may stand in a field. `sql` is the column's type."""

    sql: ClassVar[str] = "TEXT"

    @abstractmethod
    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> Any:
        """A value; `row` holds the fields that were drawn before it."""

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of a value."""
        return {"type": "string", "maxLength": 200}

    def say(self, value: Any) -> str:
        """How a person says a value."""
        return str(value)


@dataclass(frozen=True)
class Words(Kind):
    """One of a list of texts, any of which may also be given by an agent; `parts` are joined.

    Words(("red", "blue"), ("lamp", "desk")) draws "red desk".
    """

    parts: tuple[tuple[str, ...], ...]
    joint: str

    def __init__(self, *parts: tuple[str, ...], joint: str = " ") -> None:
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "joint", joint)

    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> str:
        return self.joint.join(rng.choice(part) for part in self.parts)


@dataclass(frozen=True)
class Choice(Kind):
    """One of a closed list; `initial` are those that a world begins with (all, by default)."""

    options: tuple[str, ...]
    initial: tuple[str, ...] = ()

    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> str:
        return rng.choice(self.initial or self.options)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.options)}

    def say(self, value: Any) -> str:
        return str(value).replace("_", " ")


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number between two bounds, both included."""

    low: int
    high: int
    step: int = 1
    sql: ClassVar[str] = "INTEGER"

    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> int:
        return rng.randrange(self.low, self.high + 1, self.step)

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Amount(Kind):
    """A number with two decimals, e.g. money."""

    low: float
    high: float
    unit: str = "USD"
    sql: ClassVar[str] = "REAL"

    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> float:
        return round(rng.uniform(self.low, self.high), 2)

    def schema(self) -> dict[str, Any]:
        return {"type": "number", "minimum": 0, "description": f"in {self.unit}"}

    def say(self, value: Any) -> str:
        return f"{value:.2f} {self.unit}"


@dataclass(frozen=True)
class AmountOf(Amount):
    """An amount that begins as a field of a row referred to, times a field of its own row.

    AmountOf(1, 900, source="product_id.price", times="quantity")
    """

    source: str = ""
    times: str = ""

    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> float:
        try:
            unit = row[self.source]
        except KeyError:  # drawn for a wish and not for a world: there is no row yet
            return super().draw(rng, row, today)
        return float(round(unit * (row[self.times] if self.times else 1), 2))


@dataclass(frozen=True)
class Day(Kind):
    """A date as YYYY-MM-DD, so many days from today."""

    earliest: int
    latest: int

    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> str:
        return (today + timedelta(days=rng.randint(self.earliest, self.latest))).isoformat()

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "date", "pattern": r"^\d{4}-\d{2}-\d{2}$"}

    def say(self, value: Any) -> str:
        year, month, day = str(value).split("-")
        return f"{int(day)} {MONTHS[int(month) - 1]} {year}"


@dataclass(frozen=True)
class DayAfter(Day):
    """A date so many days after another field's, which was drawn before it."""

    other: str = ""

    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> str:
        first = date.fromisoformat(row[self.other]) if self.other in row else today
        return super().draw(rng, row, first)


@dataclass(frozen=True)
class Clock(Kind):
    """A time of day as HH:MM, on the hour or half past."""

    first: int = 8
    last: int = 18

    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> str:
        return f"{rng.randint(self.first, self.last):02d}:{rng.choice(('00', '30'))}"

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5]\d$"}


@dataclass(frozen=True)
class ClockAfter(Clock):
    """A time of day so many minutes after another field's, on the same day."""

    other: str = ""
    minutes: tuple[int, ...] = (30, 60, 90)

    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> str:
        first = row[self.other] if self.other in row else super().draw(rng, row, today)
        total = 60 * int(first[:2]) + int(first[3:]) + rng.choice(self.minutes)
        return f"{total // 60:02d}:{total % 60:02d}"


@dataclass(frozen=True)
class Flag(Kind):
    """Yes or no, stored as 1 or 0 and shown as true or false."""

    share: float = 0.5
    sql: ClassVar[str] = "BOOLEAN"

    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> bool:
        return rng.random() < self.share

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}

    def say(self, value: Any) -> str:
        return "yes" if value else "no"


@dataclass(frozen=True)
class Code(Kind):
    """A code such as a postal code or a licence plate; # is a digit, @ a letter."""

    form: str

    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> str:
        return "".join(
            rng.choice(CODE_SIGNS[sign]) if sign in CODE_SIGNS else sign for sign in self.form
        )


@dataclass(frozen=True)
class PersonName(Kind):
    """First and last name."""

    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> str:
        names = _pools()
        return f"{rng.choice(names['first'])} {rng.choice(names['last'])}"


@dataclass(frozen=True)
class Email(Kind):
    """An address made of another field, which holds a person's name."""

    of: str = "name"

    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> str:
        local = "".join(c for c in row[self.of].lower().replace(" ", ".") if c.isascii())
        return f"{local}{rng.randrange(10, 100)}@example.com"


@dataclass(frozen=True)
class Phone(Kind):
    """A telephone number."""

    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> str:
        return f"555-{rng.randrange(1000):03d}-{rng.randrange(10_000):04d}"


@dataclass(frozen=True)
class Place(Kind):
    """A city, or a street address."""

    what: str = "city"

    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> str:
        pools = _pools()
        if self.what == "city":
            return rng.choice(pools["city"])
        return f"{rng.randrange(1, 300)} {rng.choice(pools['street'])}, {rng.choice(pools['city'])}"


@dataclass(frozen=True)
class Note(Kind):
    """Free text that a user dictates: compared by its words, not by case or punctuation."""

    texts: tuple[str, ...] = ("",)

    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> str:
        return rng.choice(self.texts)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "maxLength": 2000}


@dataclass(frozen=True)
class Reference(Kind):
    """The key of a row of another entity; the world's builder draws it.

    A reference to its own entity makes a tree: it points at an earlier row, the first at itself.

    where     field values of the rows that are referred to in the beginning
    distinct  in the beginning no two rows refer to the same one
    """

    entity: str
    where: tuple[tuple[str, Any], ...] = ()
    distinct: bool = False

    def draw(self, rng: random.Random, row: Mapping[str, Any], today: date) -> Any:
        raise AssertionError("a reference is drawn by the builder, which knows the rows")

    def schema(self) -> dict[str, Any]:
        words = self.entity.replace("_", " ")
        return {"type": "string", "maxLength": 40, "description": f"key of the {words}"}


@functools.cache
def _pools() -> dict[str, tuple[str, ...]]:
    """Names of people and places, without the ones that ASCII cannot write."""
    import mimesis

    person, address = mimesis.Person(seed=0), mimesis.Address(seed=0)
    sources = {
        "first": person.first_name,
        "last": person.last_name,
        "city": address.city,
        "street": lambda: f"{address.street_name()} Street",
    }
    drawn = {name: {draw() for _ in range(600)} for name, draw in sources.items()}
    return {name: tuple(sorted(t for t in texts if t.isascii())) for name, texts in drawn.items()}
