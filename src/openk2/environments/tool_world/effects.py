"""What follows from a write, over relations: stock moves, seats are taken, ledgers grow.

Values are data. A text is an expression: "today"; "=FIELD" of the row or a parameter of the call;
"=REFERENCE.FIELD" of a row that it refers to; "=A*B" the product of two such or of one and a whole
number; anything else is itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openk2.environments.tool_world.domain import Entity
from openk2.environments.tool_world.operators import existing
from openk2.environments.tool_world.state import Row, State

__all__ = ["Cascade", "Consequence", "Effect", "Record", "Removal", "Written", "resolve"]


@dataclass
class Written:
    """A write that was just made: the row before it (empty for a new one) and as it is now."""

    state: State
    entity: Entity
    arguments: Mapping[str, Any]
    before: Row
    row: Row

    def value(self, expression: Any) -> Any:
        """What an expression stands for; parameters go before fields."""
        return resolve(expression, {**self.row, **self.arguments}, self.entity, self.state)


def resolve(expression: Any, row: Mapping[str, Any], entity: Entity, state: State) -> Any:
    """What an expression stands for, seen from a row of `entity`."""
    if expression == "today":
        return state.today.isoformat()
    if not (isinstance(expression, str) and expression.startswith("=")):
        return expression
    factors = [_place(place, row, entity, state) for place in expression[1:].split("*")]
    return factors[0] if len(factors) == 1 else round(factors[0] * factors[1], 2)


def _place(place: str, row: Mapping[str, Any], entity: Entity, state: State) -> Any:
    if place.isdigit():
        return int(place)
    field, _, inner = place.partition(".")
    return existing(state, entity.references[field], row[field])[inner] if inner else row[field]


class Consequence(ABC):
    """Something that follows from a write."""

    @abstractmethod
    def apply(self, written: Written) -> None:
        """Do it; where the written row itself changes, so does `written.row`."""


@dataclass(frozen=True)
class Effect(Consequence):
    """Another field changes, of the row itself or of one that it refers to.

    value      what the field is set to, an expression
    add        instead of setting: add this number, or what this expression stands for
    sign       -1 subtracts
    reference  the field whose row changes; the row itself by default
    previous   the row that the reference pointed at before the write
    """

    field: str
    value: Any = None
    add: str | float | None = None
    sign: int = 1
    reference: str | None = None
    previous: bool = False

    def apply(self, written: Written) -> None:
        changed, name, state = written.row, written.entity.name, written.state
        if self.reference is not None:
            source = written.before if self.previous else written.row
            name = written.entity.references[self.reference]
            changed = existing(state, name, source[self.reference])
        if self.add is not None:
            new = round(changed[self.field] + self.sign * written.value(self.add), 2)
        else:
            new = written.value(self.value)
        after = state.update(name, changed, **{self.field: new})
        if self.reference is None:
            written.row = after


@dataclass(frozen=True)
class Record(Consequence):
    """A row of another entity comes into being: a ledger's line, an order's first item.

    values   field -> expression; "=key" is the key of the written row
    """

    entity: str
    values: Mapping[str, Any]

    def apply(self, written: Written) -> None:
        key = written.row[written.entity.key]
        made = {n: key if v == "=key" else written.value(v) for n, v in self.values.items()}
        written.state.insert(self.entity, made)


@dataclass(frozen=True)
class Cascade(Consequence):
    """All rows of another entity that refer to the written one by `of` change a field, too.

    where   field values of the rows that change
    """

    entity: str
    of: str
    field: str
    value: Any
    where: tuple[tuple[str, Any], ...] = ()

    def apply(self, written: Written) -> None:
        equal = {self.of: written.row[written.entity.key], **dict(self.where)}
        for row in written.state.find(self.entity, equal):
            written.state.update(self.entity, row, **{self.field: written.value(self.value)})


@dataclass(frozen=True)
class Removal(Consequence):
    """All rows of another entity that refer to the written one by `of` go, and what is `below`."""

    entity: str
    of: str
    below: tuple["Removal", ...] = ()

    def apply(self, written: Written) -> None:
        state, entity = written.state, written.state.entities[self.entity]
        for row in state.find(self.entity, {self.of: written.row[written.entity.key]}):
            for removal in self.below:
                removal.apply(Written(state, entity, {}, row, row))
            state.delete(self.entity, row)
