"""Conditions over several fields of a row, or over the rows that refer to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openk2.environments.tool_world.conditions import Condition
from openk2.environments.tool_world.state import Row, State

__all__ = ["Either", "NotAbove", "Related"]


@dataclass(frozen=True)
class NotAbove(Condition):
    """A number, date or time that is not above another field of the same row."""

    field: str
    other: str

    def holds(self, row: Row, state: State) -> bool:
        return bool(row[self.field] <= row[self.other])

    def describe(self, subject: str) -> str:
        field, other = self.field.replace("_", " "), self.other.replace("_", " ")
        return f"the {field} of {subject} must not be above its {other}"

    @property
    def code(self) -> str:
        return f"{self.field}_above_{self.other}"

    @property
    def evidence(self) -> tuple[str, ...]:
        return (self.field,)


@dataclass(frozen=True)
class Related(Condition):
    """How many rows of another entity refer to this one: at least `least`, at most `most`.

    of      the field of `entity` that refers to the row
    where   field values of the rows that count
    words   what people call them, e.g. "active loans"
    """

    entity: str
    of: str
    words: str
    where: tuple[tuple[str, Any], ...] = ()
    least: int = 0
    most: int | None = None

    def holds(self, row: Row, state: State) -> bool:
        equal: Mapping[str, Any] = {self.of: row[next(iter(row))], **dict(self.where)}
        count = len(state.find(self.entity, equal))
        return self.least <= count and (self.most is None or count <= self.most)

    def describe(self, subject: str) -> str:
        if self.most == 0:
            return f"{subject} must have no {self.words}"
        bound = f"at least {self.least}" if self.most is None else f"at most {self.most}"
        return f"the number of {self.words} of {subject} must be {bound}"

    @property
    def code(self) -> str:
        many = self.words.replace(" ", "_")
        return f"too_few_{many}" if self.most is None else f"too_many_{many}"

    @property
    def evidence(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True)
class Either(Condition):
    """One of two conditions is enough; what the first looks at explains a refusal."""

    first: Condition
    second: Condition

    def holds(self, row: Row, state: State) -> bool:
        return self.first.holds(row, state) or self.second.holds(row, state)

    def describe(self, subject: str) -> str:
        return f"{self.first.describe(subject)}, or {self.second.describe(subject)}"

    @property
    def code(self) -> str:
        return f"{self.first.code}_and_{self.second.code}"

    @property
    def evidence(self) -> tuple[str, ...]:
        return self.first.evidence
