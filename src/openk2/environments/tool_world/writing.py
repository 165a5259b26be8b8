"""Operators that write: status changes, new values, bookings, transfers, new and removed rows.

Each checks all that it needs before it touches a row, so that a refused call changes nothing.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from openk2.core.records import ToolSpec
from openk2.environments.tool_world.conditions import Condition, FieldIs, FieldIsNot
from openk2.environments.tool_world.domain import Domain, Entity
from openk2.environments.tool_world.effects import Consequence, Written
from openk2.environments.tool_world.goals import Draft, FieldOf, Goal
from openk2.environments.tool_world.operators import (
    Operator,
    Refused,
    Tool,
    existing,
    object_schema,
    require,
)
from openk2.environments.tool_world.state import Row, State
from openk2.environments.tool_world.wishes import Wish

__all__ = [
    "Adjust",
    "Append",
    "Postpone",
    "Remove",
    "SetField",
    "SetReference",
    "Transfer",
    "Transition",
    "Write",
]


@dataclass(frozen=True, kw_only=True)
class Write(Operator):
    """A tool that changes a row of `entity`.

    name        of the tool
    asks        how a user wishes it: {target} is the row, {value} what it becomes
    conditions  on the row; the tool refuses where one does not hold
    effects     further consequences
    """

    entity: str
    name: str
    asks: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    effects: tuple[Consequence, ...] = ()
    description: str = ""

    def _parameters(self, domain: Domain) -> dict[str, Any]:
        """Schemas of the parameters after the key."""
        return {}

    @abstractmethod
    def _write(self, state: State, row: Row, entity: Entity, arguments: Mapping[str, Any]) -> Row:
        """Check what only this operator knows, then change the row."""

    def _values(self, draft: Draft, row: Row) -> tuple[dict[str, Any], str] | None:
        """Arguments after the key, and {value} in words; None where nothing fits this row."""
        return {}, ""

    def tool(self, domain: Domain) -> Tool:
        entity = domain.entity[self.entity]
        subject = f"the {entity.words}"

        def run(state: State, arguments: Mapping[str, Any]) -> dict[str, Any]:
            row = existing(state, entity.name, arguments[entity.key])
            require(self.conditions, row, state, subject)
            after = self._write(state, row, entity, arguments)
            written = Written(state, entity, arguments, row, after)
            for effect in self.effects:
                effect.apply(written)
            return written.row

        key = {"type": "string", "maxLength": 40, "description": f"key of the {entity.words}"}
        description = self.description or self.name.replace("_", " ").capitalize() + "."
        rules = tuple(condition.describe(subject) for condition in self.conditions)
        spec = ToolSpec(
            self.name,
            " ".join((description, *(f"{rule[0].upper()}{rule[1:]}." for rule in rules))),
            object_schema({entity.key: key, **self._parameters(domain)}),
            entity.schema(),
            writes=True,
            preconditions=(f"{subject} must exist", *rules),
        )
        return Tool(spec, run, (entity.name, entity.key))

    def propose(self, draft: Draft) -> Goal | None:
        entity = draft.domain.entity[self.entity]
        wish = Wish(draft, self.name)
        picked = wish.pick(entity, self.conditions)
        if picked is None:
            return None
        row, name = picked
        found = self._values(draft, row)
        if found is None:
            return None
        values, words = found
        request = draft.rng.choice(self.asks).format(target=draft.phrase(name), value=words)
        return wish.goal({entity.key: FieldOf(name, entity.key), **values}, request)


@dataclass(frozen=True, kw_only=True)
class Transition(Write):
    """Sets a status field to one value: cancel, approve, close, check in, switch off."""

    field: str = "status"
    to: Any

    def _write(self, state: State, row: Row, entity: Entity, arguments: Mapping[str, Any]) -> Row:
        return state.update(entity.name, row, **{self.field: self.to})

    def _values(self, draft: Draft, row: Row) -> tuple[dict[str, Any], str] | None:
        return None if row[self.field] == self.to else ({}, str(self.to))


@dataclass(frozen=True, kw_only=True)
class SetField(Write):
    """Gives a field a new value that the user names."""

    field: str

    def _parameters(self, domain: Domain) -> dict[str, Any]:
        return {self.field: domain.entity[self.entity].by_name[self.field].kind.schema()}

    def _write(self, state: State, row: Row, entity: Entity, arguments: Mapping[str, Any]) -> Row:
        return state.update(entity.name, row, **{self.field: arguments[self.field]})

    def _values(self, draft: Draft, row: Row) -> tuple[dict[str, Any], str] | None:
        kind = draft.domain.entity[self.entity].by_name[self.field].kind
        value = kind.draw(draft.rng, row, draft.state.today)
        return None if value == row[self.field] else ({self.field: value}, kind.say(value))


@dataclass(frozen=True, kw_only=True)
class SetReference(Write):
    """Makes a row refer to another one: reassign, move, exchange.

    `target_conditions` hold of the row that it is to refer to.
    """

    field: str
    target_conditions: tuple[Condition, ...] = ()

    def _parameters(self, domain: Domain) -> dict[str, Any]:
        return {self.field: domain.entity[self.entity].by_name[self.field].kind.schema()}

    def _write(self, state: State, row: Row, entity: Entity, arguments: Mapping[str, Any]) -> Row:
        other = entity.references[self.field]
        target = existing(state, other, arguments[self.field])
        if arguments[self.field] == row[self.field]:
            raise Refused("same_as_before", f"it is that {other.replace('_', ' ')} already")
        require(self.target_conditions, target, state, f"the new {other.replace('_', ' ')}")
        return state.update(entity.name, row, **{self.field: arguments[self.field]})

    def _values(self, draft: Draft, row: Row) -> tuple[dict[str, Any], str] | None:
        other = draft.domain.entity[draft.domain.entity[self.entity].references[self.field]]
        picked = draft.pick(other, self.target_conditions)
        if picked is None or picked[0][other.key] == row[self.field]:
            return None
        return {self.field: FieldOf(picked[1], other.key)}, draft.phrase(picked[1])


@dataclass(frozen=True, kw_only=True)
class Adjust(Write):
    """Adds to a number, or with sign -1 takes away; refused where it would leave its bounds."""

    field: str
    parameter: str = "amount"
    sign: int = 1
    low: float = 0
    high: float = 1_000_000
    least: float = 1
    most: float = 20

    def _parameters(self, domain: Domain) -> dict[str, Any]:
        kind = domain.entity[self.entity].by_name[self.field].kind
        number = "integer" if kind.sql == "INTEGER" else "number"
        return {self.parameter: {"type": number, "exclusiveMinimum": 0}}

    def _write(self, state: State, row: Row, entity: Entity, arguments: Mapping[str, Any]) -> Row:
        value = round(row[self.field] + self.sign * arguments[self.parameter], 2)
        name = self.field.replace("_", " ")
        if not self.low <= value <= self.high:
            raise Refused(
                f"{self.field}_out_of_bounds",
                f"the {name} would be {value:g}; it lies between {self.low:g} and {self.high:g}",
            )
        return state.update(entity.name, row, **{self.field: value})

    def _values(self, draft: Draft, row: Row) -> tuple[dict[str, Any], str] | None:
        kind = draft.domain.entity[self.entity].by_name[self.field].kind
        amount: float = draft.rng.randint(int(self.least), int(self.most))
        if kind.sql == "REAL":
            amount = round(amount + draft.rng.randrange(100) / 100, 2)
        if not self.low <= row[self.field] + self.sign * amount <= self.high:
            return None
        return {self.parameter: amount}, kind.say(amount)


@dataclass(frozen=True, kw_only=True)
class Transfer(Write):
    """Moves part of a number from one row to another of the same entity; {value} says both.

    same   fields in which the two rows must agree, e.g. the product whose stock is moved
    unit   what a user says after the number
    """

    field: str
    parameter: str = "amount"
    other_conditions: tuple[Condition, ...] = ()
    same: tuple[str, ...] = ()
    most: float = 50
    unit: str = ""

    def _other(self, entity: Entity) -> str:
        return f"to_{entity.key}"

    def _parameters(self, domain: Domain) -> dict[str, Any]:
        entity = domain.entity[self.entity]
        number = "integer" if entity.by_name[self.field].kind.sql == "INTEGER" else "number"
        key = {"type": "string", "maxLength": 40, "description": f"key of the other {entity.words}"}
        return {self._other(entity): key, self.parameter: {"type": number, "exclusiveMinimum": 0}}

    def _write(self, state: State, row: Row, entity: Entity, arguments: Mapping[str, Any]) -> Row:
        other = existing(state, entity.name, arguments[self._other(entity)])
        require(self.other_conditions, other, state, f"the other {entity.words}")
        amount = arguments[self.parameter]
        if other[entity.key] == row[entity.key]:
            raise Refused("same_row", f"both are the same {entity.words}")
        for name in self.same:
            if other[name] != row[name]:
                words = name.removesuffix("_id").replace("_", " ")
                raise Refused(f"different_{name}", f"the two are not of the same {words}")
        if row[self.field] < amount:
            name = self.field.replace("_", " ")
            raise Refused(f"{self.field}_too_low", f"the {name} is only {row[self.field]:g}")
        added = round(other[self.field] + amount, 2)
        state.update(entity.name, other, **{self.field: added})
        return state.update(entity.name, row, **{self.field: round(row[self.field] - amount, 2)})

    def _values(self, draft: Draft, row: Row) -> tuple[dict[str, Any], str] | None:
        entity = draft.domain.entity[self.entity]
        kind = entity.by_name[self.field].kind
        alike = (FieldIs(name, (row[name],)) for name in self.same)
        another = FieldIsNot(entity.key, (row[entity.key],))
        picked = draft.pick(entity, (another, *alike, *self.other_conditions))
        if picked is None:
            return None
        amount: float = draft.rng.randint(1, int(self.most))
        if kind.sql == "REAL":
            amount = round(amount + draft.rng.randrange(100) / 100, 2)
        if amount > row[self.field]:
            return None
        values = {self._other(entity): FieldOf(picked[1], entity.key), self.parameter: amount}
        said = f"{kind.say(amount)} {self.unit}".rstrip()
        return values, f"{said} to {draft.phrase(picked[1])}"


@dataclass(frozen=True, kw_only=True)
class Postpone(Write):
    """Moves a date by a number of days: renew, extend, put off; {value} says how many.

    most      days at once; `steps` are the numbers that users ask for
    furthest  days from today beyond which the date may not lie
    sign      -1 moves it earlier, though never into the past
    """

    field: str
    parameter: str = "days"
    steps: tuple[int, ...] = (3, 7, 14)
    most: int = 30
    furthest: int = 60
    sign: int = 1

    def _parameters(self, domain: Domain) -> dict[str, Any]:
        return {self.parameter: {"type": "integer", "minimum": 1, "maximum": self.most}}

    def _write(self, state: State, row: Row, entity: Entity, arguments: Mapping[str, Any]) -> Row:
        moved = self._moved(row, arguments[self.parameter])
        days = (moved - state.today).days
        if days > self.furthest or (self.sign < 0 and days < 0):
            raise Refused(
                f"{self.field}_outside_the_allowed_days",
                f"it would be {moved.isoformat()}, which is {days} days from today",
            )
        return state.update(entity.name, row, **{self.field: moved.isoformat()})

    def _moved(self, row: Row, days: int) -> date:
        return date.fromisoformat(row[self.field]) + timedelta(days=self.sign * days)

    def _values(self, draft: Draft, row: Row) -> tuple[dict[str, Any], str] | None:
        days = draft.rng.choice(self.steps)
        ahead = (self._moved(row, days) - draft.state.today).days
        if ahead > self.furthest or (self.sign < 0 and ahead < 0):
            return None
        return {self.parameter: days}, "1 day" if days == 1 else f"{days} days"


@dataclass(frozen=True, kw_only=True)
class Append(Write):
    """Adds a line to a text; {value} is the line."""

    field: str
    parameter: str = "line"

    def _parameters(self, domain: Domain) -> dict[str, Any]:
        return {self.parameter: {"type": "string", "minLength": 1, "maxLength": 500}}

    def _write(self, state: State, row: Row, entity: Entity, arguments: Mapping[str, Any]) -> Row:
        lines = [*row[self.field].splitlines(), arguments[self.parameter]]
        return state.update(entity.name, row, **{self.field: "\n".join(lines)})

    def _values(self, draft: Draft, row: Row) -> tuple[dict[str, Any], str] | None:
        kind = draft.domain.entity[self.entity].by_name[self.field].kind
        line = kind.draw(draft.rng, row, draft.state.today)
        return ({self.parameter: line}, line) if line else None


@dataclass(frozen=True, kw_only=True)
class Remove(Write):
    """Deletes a row."""

    def _write(self, state: State, row: Row, entity: Entity, arguments: Mapping[str, Any]) -> Row:
        state.delete(entity.name, row)
        return row
