"""What must hold of a row: the same objects guard tools, state policies and explain refusals."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from openk2.environments.tool_world.state import Row, State

__all__ = [
    "AtLeast",
    "AtMost",
    "Condition",
    "DaysFromToday",
    "FieldIs",
    "FieldIsNot",
    "Policy",
    "Through",
]


@dataclass(frozen=True)
class Condition(ABC):
    """A predicate over a row and what it refers to."""

    @abstractmethod
    def holds(self, row: Row, state: State) -> bool:
        """Whether the row meets it."""

    @abstractmethod
    def describe(self, subject: str) -> str:
        """The rule in words, `subject` being e.g. "the order"."""

    @property
    @abstractmethod
    def code(self) -> str:
        """The error code of a tool that refuses for it."""

    @property
    @abstractmethod
    def evidence(self) -> tuple[str, ...]:
        """The path to the field that decides: (field,), (reference, field), or () for none."""


def _words(field: str) -> str:
    return field.replace("_", " ")


def _days(number: int) -> str:
    return "1 day" if number == 1 else f"{number} days"


def _either(options: Sequence[str]) -> str:
    return " or ".join(option.replace("_", " ") for option in options)


@dataclass(frozen=True)
class FieldIs(Condition):
    """The field holds one of these values."""

    field: str
    options: tuple[str | bool, ...]

    def holds(self, row: Row, state: State) -> bool:
        return row[self.field] in self.options

    def describe(self, subject: str) -> str:
        if isinstance(self.options[0], bool):
            return f"{_words(self.field)} must be {str(self.options[0]).lower()} for {subject}"
        return f"the {_words(self.field)} of {subject} must be {_either(self._texts)}"

    @property
    def _texts(self) -> list[str]:
        return [str(option) for option in self.options]

    @property
    def code(self) -> str:
        return f"{self.field}_is_not_{'_or_'.join(self._texts)}".lower().replace(" ", "_")

    @property
    def evidence(self) -> tuple[str, ...]:
        return (self.field,)


@dataclass(frozen=True)
class FieldIsNot(Condition):
    """The field holds none of these values."""

    field: str
    options: tuple[str, ...]

    def holds(self, row: Row, state: State) -> bool:
        return row[self.field] not in self.options

    def describe(self, subject: str) -> str:
        return f"the {_words(self.field)} of {subject} must not be {_either(self.options)}"

    @property
    def code(self) -> str:
        return f"{self.field}_is_{'_or_'.join(self.options)}".lower().replace(" ", "_")

    @property
    def evidence(self) -> tuple[str, ...]:
        return (self.field,)


@dataclass(frozen=True)
class AtLeast(Condition):
    """A number that is not below a bound."""

    field: str
    bound: float

    def holds(self, row: Row, state: State) -> bool:
        return bool(row[self.field] >= self.bound)

    def describe(self, subject: str) -> str:
        return f"the {_words(self.field)} of {subject} must be at least {self.bound:g}"

    @property
    def code(self) -> str:
        return f"{self.field}_too_low"

    @property
    def evidence(self) -> tuple[str, ...]:
        return (self.field,)


@dataclass(frozen=True)
class AtMost(Condition):
    """A number that is not above a bound."""

    field: str
    bound: float

    def holds(self, row: Row, state: State) -> bool:
        return bool(row[self.field] <= self.bound)

    def describe(self, subject: str) -> str:
        return f"the {_words(self.field)} of {subject} must be at most {self.bound:g}"

    @property
    def code(self) -> str:
        return f"{self.field}_too_high"

    @property
    def evidence(self) -> tuple[str, ...]:
        return (self.field,)


@dataclass(frozen=True)
class DaysFromToday(Condition):
    """A date that lies between so many days from today, past ones negative; both included."""

    field: str
    earliest: int
    latest: int

    def holds(self, row: Row, state: State) -> bool:
        days = (date.fromisoformat(row[self.field]) - state.today).days
        return self.earliest <= days <= self.latest

    def describe(self, subject: str) -> str:
        name = f"the {_words(self.field)} of {subject}"
        if self.latest < 0:
            return f"{name} must lie at least {_days(-self.latest)} in the past"
        if self.latest == 0:
            return f"{name} must lie within the last {_days(-self.earliest)}"
        if self.earliest <= 0:
            return f"{name} must not lie in the past"
        return f"{name} must lie at least {_days(self.earliest)} ahead"

    @property
    def code(self) -> str:
        return f"{self.field}_outside_the_allowed_days"

    @property
    def evidence(self) -> tuple[str, ...]:
        return (self.field,)


@dataclass(frozen=True)
class Through(Condition):
    """A condition on the row that a reference points at."""

    reference: str
    condition: Condition

    def holds(self, row: Row, state: State) -> bool:
        (entity,) = (
            owner.references[self.reference]
            for owner in state.entities.values()
            if owner.key in row and next(iter(row)) == owner.key
        )
        found = state.get(entity, row[self.reference])
        return found is not None and self.condition.holds(found, state)

    def describe(self, subject: str) -> str:
        return self.condition.describe(
            f"the {_words(self.reference.removesuffix('_id'))} of {subject}"
        )

    @property
    def code(self) -> str:
        return f"{self.reference.removesuffix('_id')}_{self.condition.code}"

    @property
    def evidence(self) -> tuple[str, ...]:
        return (self.reference, *self.condition.evidence)


@dataclass(frozen=True)
class Policy:
    """A rule that the agent must keep and that no tool enforces.

    The tools may be used on a row only if the condition holds of it.
    """

    name: str
    tools: tuple[str, ...]
    condition: Condition

    def text(self, subject: str) -> str:
        """The rule as the agent reads it."""
        return f"Before you use {' or '.join(self.tools)}: {self.condition.describe(subject)}."
