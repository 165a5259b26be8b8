"""Operators that read: a row by its key, rows by fields, by their owner or by filters; totals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openk2.core.records import ToolSpec
from openk2.environments.tool_world.domain import Domain, Entity
from openk2.environments.tool_world.goals import Draft, FieldOf, Goal
from openk2.environments.tool_world.operators import (
    Operator,
    Reading,
    Tool,
    existing,
    object_schema,
)
from openk2.environments.tool_world.state import State
from openk2.environments.tool_world.values import Choice, Flag, Note, Reference, Whole

__all__ = ["Find", "Get", "ListOf", "Search", "Total"]

ASK = (
    "tell me the {field} of {target}",
    "let me know the {field} of {target}",
    "find out the {field} of {target} for me",
)
WIDE = 200  # a whole number that could be fewer things than this can be guessed


def _key_schema(entity: Entity) -> dict[str, Any]:
    return {"type": "string", "maxLength": 40, "description": f"key of the {entity.words}"}


def _askable(entity: Entity, columns: tuple[str, ...]) -> list[str]:
    """Fields whose value cannot be guessed: asking for them proves that somebody looked."""
    kinds = {name: field.kind for name, field in entity.by_name.items() if name in columns}
    return [
        name
        for name, kind in kinds.items()
        if not isinstance(kind, Choice | Flag | Note | Reference)
        and not (isinstance(kind, Whole) and (kind.high - kind.low) // kind.step < WIDE)
    ]


def _ask(operator: Operator, draft: Draft, entity: Entity, columns: tuple[str, ...]) -> Goal | None:
    picked = draft.pick(entity)
    if picked is None:
        return None
    name = picked[1]
    variable = draft.variables[name]
    hidden = [f for f in _askable(entity, columns) if f not in variable.facts]
    if variable.superlative is not None:
        hidden = [f for f in hidden if f != variable.superlative.field]
    if not hidden:
        return None
    field = draft.rng.choice(hidden)
    words = entity.by_name[field].words
    request = draft.rng.choice(ASK).format(field=words, target=variable.phrase)
    return Goal("ask", "", {}, request, (FieldOf(name, field),))


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
        return _ask(self, draft, entity, self.columns or entity.columns)


@dataclass(frozen=True)
class _Listing(Operator):
    """Rows of an entity found by equal fields; subclasses say which."""

    entity: str

    def _listing(
        self,
        domain: Domain,
        name: str,
        description: str,
        required: tuple[str, ...],
        optional: tuple[str, ...],
        columns: tuple[str, ...],
        limit: int | None,
    ) -> Tool:
        entity = domain.entity[self.entity]
        columns = columns or entity.columns
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
    columns: tuple[str, ...] = ()

    def tool(self, domain: Domain) -> Tool:
        name = f"find_{self.entity}_by_{'_and_'.join(self.by)}"
        words = " and ".join(self.by).replace("_", " ")
        many = domain.entity[self.entity].many.replace("_", " ")
        description = f"Find {many} by {words}."
        return self._listing(domain, name, description, self.by, (), self.columns, None)


@dataclass(frozen=True)
class ListOf(_Listing):
    """list_ENTITIES_of_OWNER(owner's key): the rows that refer to one owner by `of`, a field."""

    of: str
    columns: tuple[str, ...] = ()

    def tool(self, domain: Domain) -> Tool:
        entity = domain.entity[self.entity]
        owner = self.of.removesuffix("_id")
        many = entity.many.replace("_", " ")
        description = f"List the {many} of one {owner.replace('_', ' ')}."
        name = f"list_{entity.many}_of_{owner}"
        return self._listing(domain, name, description, (self.of,), (), self.columns, None)


@dataclass(frozen=True)
class Search(_Listing):
    """search_ENTITIES(filters): rows that equal every filter that is given."""

    by: tuple[str, ...]
    columns: tuple[str, ...] = ()
    limit: int | None = 20

    def tool(self, domain: Domain) -> Tool:
        many = domain.entity[self.entity].many
        words = ", ".join(self.by).replace("_", " ")
        description = f"Search {many.replace('_', ' ')} by any of {words}."
        name = f"search_{many}"
        return self._listing(domain, name, description, (), self.by, self.columns, self.limit)


@dataclass(frozen=True)
class Total(Operator):
    """total_FIELD_of_ENTITIES(owner's key): the sum of a number over the rows of one owner."""

    entity: str
    field: str
    of: str

    def tool(self, domain: Domain) -> Tool:
        entity = domain.entity[self.entity]
        owner = domain.entity[entity.references[self.of]]
        many = entity.many.replace("_", " ")

        def run(state: State, arguments: Mapping[str, Any]) -> dict[str, Any]:
            existing(state, owner.name, arguments[self.of])
            rows = state.find(entity.name, {self.of: arguments[self.of]})
            return {"total": round(sum(row[self.field] for row in rows), 2), "count": len(rows)}

        number = {"type": "number"}
        spec = ToolSpec(
            f"total_{self.field}_of_{entity.many}",
            f"Add up the {self.field.replace('_', ' ')} of the {many} of one {owner.words}.",
            object_schema({self.of: _key_schema(owner)}),
            object_schema({"total": number, "count": {"type": "integer"}}),
            preconditions=(f"the {owner.words} must exist",),
        )
        return Tool(spec, run)

    def propose(self, draft: Draft) -> Goal | None:
        entity = draft.domain.entity[self.entity]
        owner = draft.domain.entity[entity.references[self.of]]
        picked = draft.pick(owner)
        if picked is None:
            return None
        row, name = picked
        rows = draft.state.find(entity.name, {self.of: row[owner.key]})
        if len(rows) < 2:
            return None
        field = entity.by_name[self.field].words
        whose = "my" if name == "user" else "the"
        suffix = "" if name == "user" else f" of {draft.phrase(name)}"
        many = entity.many.replace("_", " ")
        request = f"tell me what the {field} of {whose} {many}{suffix} adds up to"
        tool = f"total_{self.field}_of_{entity.many}"
        return Goal("ask", tool, {self.of: FieldOf(name, owner.key)}, request, result="total")
