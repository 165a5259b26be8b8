"""Operators that read: a row by its key, rows by fields, by their owner or by filters."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openk2.core.records import ToolSpec
from openk2.environments.tool_world.domain import Domain, Entity
from openk2.environments.tool_world.goals import ACTOR, Draft, FieldOf, Goal
from openk2.environments.tool_world.operators import (
    Operator,
    Reading,
    Tool,
    existing,
    object_schema,
)
from openk2.environments.tool_world.state import State
from openk2.environments.tool_world.values import (
    Choice,
    Clock,
    Email,
    Flag,
    Kind,
    Note,
    PersonName,
    Phone,
    Place,
    Reference,
    Whole,
    Words,
)

__all__ = ["Find", "Get", "ListOf", "Search"]

ASK = (
    "tell me {what}",
    "let me know {what}",
    "find out {what}",
    "look up {what}",
)
WIDE = 200  # a whole number that could be fewer things than this can be guessed


def _key_schema(entity: Entity) -> dict[str, Any]:
    return {"type": "string", "maxLength": 40, "description": f"key of the {entity.words}"}


def _guessable(kind: Kind) -> bool:
    """Whether a value can be said without having looked it up."""
    if isinstance(kind, Whole):
        return (kind.high - kind.low) // kind.step < WIDE
    if isinstance(kind, Words):
        return math.prod(len(part) for part in kind.parts) < WIDE
    return isinstance(kind, Choice | Clock | Flag | Note | Reference)


def _ask(draft: Draft, entity: Entity, columns: tuple[str, ...]) -> Goal | None:
    """To be told a field that nobody can guess and that the user does not know."""
    picked = draft.pick(entity)
    if picked is None:
        return None
    name = picked[1]
    variable = draft.variables[name]
    known = {*variable.facts, variable.superlative.field if variable.superlative else ""}
    fields = [entity.by_name[f] for f in columns if f in entity.by_name and f not in known]
    hidden = [field for field in fields if not _guessable(field.kind)]
    if name == ACTOR:
        hidden = [f for f in hidden if not isinstance(f.kind, PersonName | Email | Phone | Place)]
    if not hidden:
        return None
    field = draft.rng.choice(hidden)
    what = f"my {field.words}" if name == ACTOR else f"the {field.words} of {variable.phrase}"
    request = draft.rng.choice(ASK).format(what=what)
    return Goal("ask", "", {}, request, (FieldOf(name, field.name),))


@dataclass(frozen=True)
class Get(Operator):
    """get_ENTITY(key): the whole row, or `columns` of it."""

    entity: str
    columns: tuple[str, ...] = ()

    def tool(self, domain: Domain) -> Tool:
        entity = domain.entity[self.entity]
        columns = self.columns or entity.columns

        def run(state: State, arguments: Mapping[str, Any]) -> dict[str, Any]:
            row = existing(state, entity.name, arguments[entity.key])
            return {name: row[name] for name in columns}

        spec = ToolSpec(
            f"get_{entity.name}",
            f"Look up a {entity.words} by its key.",
            object_schema({entity.key: _key_schema(entity)}),
            entity.schema(columns),
            preconditions=(f"the {entity.words} must exist",),
        )
        return Tool(spec, run, None, Reading(entity.name, columns, {entity.key: entity.key}))

    def propose(self, draft: Draft) -> Goal | None:
        entity = draft.domain.entity[self.entity]
        return _ask(draft, entity, self.columns or entity.columns)


@dataclass(frozen=True)
class _Listing(Operator):
    """Rows of an entity found by equal fields; subclasses say which.

    Fields that are `hidden` are not shown: one has to look the single row up.
    """

    entity: str

    def _listing(
        self,
        domain: Domain,
        name: str,
        description: str,
        required: tuple[str, ...],
        optional: tuple[str, ...],
        hidden: tuple[str, ...],
        limit: int | None,
    ) -> Tool:
        entity = domain.entity[self.entity]
        columns = tuple(column for column in entity.columns if column not in hidden)
        listed = entity.many
        parameters = {
            field: entity.by_name[field].kind.schema() for field in (*required, *optional)
        }

        def run(state: State, arguments: Mapping[str, Any]) -> dict[str, Any]:
            found = state.find(entity.name, arguments)
            shown = [{name: row[name] for name in columns} for row in found[:limit]]
            return {listed: shown, "count": len(found)}

        returns = {
            "type": "object",
            "properties": {
                listed: {"type": "array", "items": entity.schema(columns)},
                "count": {"type": "integer"},
            },
            "required": [listed, "count"],
        }
        if limit is not None:
            description += f" Shows the first {limit}; count says how many there are."
        spec = ToolSpec(name, description, object_schema(parameters, required), returns)
        reading = Reading(
            entity.name,
            columns,
            {field: field for field in required},
            {field: field for field in optional},
            limit,
            listed,
        )
        return Tool(spec, run, None, reading)


@dataclass(frozen=True)
class Find(_Listing):
    """find_ENTITY_by_FIELD(field): the rows whose field equals a text that a person knows."""

    by: tuple[str, ...]
    hidden: tuple[str, ...] = ()

    def tool(self, domain: Domain) -> Tool:
        name = f"find_{self.entity}_by_{'_and_'.join(self.by)}"
        words = " and ".join(self.by).replace("_", " ")
        many = domain.entity[self.entity].many.replace("_", " ")
        description = f"Find {many} by {words}."
        return self._listing(domain, name, description, self.by, (), self.hidden, None)


@dataclass(frozen=True)
class ListOf(_Listing):
    """list_ENTITIES_of_OWNER(owner's key): the rows that refer to one owner by `of`, a field."""

    of: str
    hidden: tuple[str, ...] = ()

    def tool(self, domain: Domain) -> Tool:
        entity = domain.entity[self.entity]
        owner = self.of.removesuffix("_id")
        many = entity.many.replace("_", " ")
        description = f"List the {many} of one {owner.replace('_', ' ')}."
        name = f"list_{entity.many}_of_{owner}"
        return self._listing(domain, name, description, (self.of,), (), self.hidden, None)


@dataclass(frozen=True)
class Search(_Listing):
    """search_ENTITIES(filters): rows that equal every filter that is given."""

    by: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    limit: int | None = 20

    def tool(self, domain: Domain) -> Tool:
        many = domain.entity[self.entity].many
        words = ", ".join(self.by).replace("_", " ")
        description = f"Search {many.replace('_', ' ')} by any of {words}."
        name = f"search_{many}"
        return self._listing(domain, name, description, (), self.by, self.hidden, self.limit)
