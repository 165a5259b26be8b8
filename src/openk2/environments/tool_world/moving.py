"""Operators over two rows or many: move in a tree, exchange, change all rows of an owner."""

from collections.abc import Mapping
from dataclasses import dataclass
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
)
from openk2.environments.tool_world.state import Row, State
from openk2.environments.tool_world.wishes import Wish
from openk2.environments.tool_world.writing import SetReference, Write

__all__ = ["Exchange", "MoveInTree", "TransitionAll", "within"]


def within(state: State, entity: Entity, field: str, key: str, ancestor: str) -> bool:
    """Whether a row is `ancestor` or lies below it; `field` refers to the parent."""
    while key != ancestor:
        row = existing(state, entity.name, key)
        if row[field] == key:
            return False
        key = row[field]
    return True


@dataclass(frozen=True, kw_only=True)
class MoveInTree(SetReference):
    """Moves a row with all below it; never the root, never into itself."""

    def _write(self, state: State, row: Row, entity: Entity, arguments: Mapping[str, Any]) -> Row:
        key = row[entity.key]
        if row[self.field] == key:
            raise Refused("is_the_root", f"the root {entity.words} cannot be moved")
        target = existing(state, entity.name, arguments[self.field])
        if within(state, entity, self.field, target[entity.key], key):
            raise Refused("inside_itself", f"a {entity.words} cannot be moved into itself")
        return super()._write(state, row, entity, arguments)

    def _values(self, draft: Draft, row: Row) -> tuple[dict[str, Any], str] | None:
        entity = draft.domain.entity[self.entity]
        found = super()._values(draft, row)
        if found is None or row[self.field] == row[entity.key]:
            return None
        target = draft.variables[found[0][self.field].variable].key
        inside = within(draft.state, entity, self.field, target, row[entity.key])
        return None if inside else found


@dataclass(frozen=True, kw_only=True)
class Exchange(Write):
    """Two rows swap the values of some fields; {value} is the other row.

    same   fields in which the two rows must agree
    """

    fields: tuple[str, ...]
    same: tuple[str, ...] = ()
    other_conditions: tuple[Condition, ...] = ()

    def _other(self) -> str:
        return f"other_{self.entity}_id"

    def _parameters(self, domain: Domain) -> dict[str, Any]:
        words = domain.entity[self.entity].words
        return {
            self._other(): {
                "type": "string",
                "maxLength": 40,
                "description": f"key of the other {words}",
            }
        }

    def _write(self, state: State, row: Row, entity: Entity, arguments: Mapping[str, Any]) -> Row:
        other = existing(state, entity.name, arguments[self._other()])
        if other[entity.key] == row[entity.key]:
            raise Refused("same_row", f"both are the same {entity.words}")
        for condition in self.other_conditions:
            if not condition.holds(other, state):
                raise Refused(condition.code, condition.describe(f"the other {entity.words}"))
        for name in self.same:
            if other[name] != row[name]:
                words = name.removesuffix("_id").replace("_", " ")
                raise Refused(f"different_{name}", f"the two are not of the same {words}")
        state.update(entity.name, other, **{name: row[name] for name in self.fields})
        return state.update(entity.name, row, **{name: other[name] for name in self.fields})

    def _values(self, draft: Draft, row: Row) -> tuple[dict[str, Any], str] | None:
        entity = draft.domain.entity[self.entity]
        alike = (FieldIs(name, (row[name],)) for name in self.same)
        another = FieldIsNot(entity.key, (row[entity.key],))
        picked = draft.pick(entity, (another, *alike, *self.other_conditions))
        if picked is None or all(picked[0][name] == row[name] for name in self.fields):
            return None
        return {self._other(): FieldOf(picked[1], entity.key)}, draft.phrase(picked[1])


@dataclass(frozen=True, kw_only=True)
class TransitionAll(Operator):
    """Sets a field of all rows of one owner that meet the conditions: cancel all that is pending.

    of        the field that refers to the owner
    where     values of the fields by which rows are chosen
    asks      how a user wishes it: {target} is the owner
    effects   consequences for each row
    """

    entity: str
    name: str
    of: str
    to: Any
    asks: tuple[str, ...]
    where: tuple[tuple[str, Any], ...]
    field: str = "status"
    conditions: tuple[Condition, ...] = ()
    effects: tuple[Consequence, ...] = ()
    description: str = ""

    def tool(self, domain: Domain) -> Tool:
        entity = domain.entity[self.entity]
        owner = domain.entity[entity.references[self.of]]
        many = entity.many

        def run(state: State, arguments: Mapping[str, Any]) -> dict[str, Any]:
            found = existing(state, owner.name, arguments[self.of])
            for condition in self.conditions:
                if not condition.holds(found, state):
                    raise Refused(condition.code, condition.describe(f"the {owner.words}"))
            rows = state.find(entity.name, {self.of: arguments[self.of], **dict(self.where)})
            if not rows:
                raise Refused(f"no_such_{many}", f"the {owner.words} has no such {entity.words}")
            for row in rows:
                after = state.update(entity.name, row, **{self.field: self.to})
                written = Written(state, entity, arguments, row, after)
                for effect in self.effects:
                    effect.apply(written)
            return {"changed": [row[entity.key] for row in rows], "count": len(rows)}

        rules = tuple(c.describe(f"the {owner.words}") for c in self.conditions)
        description = self.description or self.name.replace("_", " ").capitalize() + "."
        chosen = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.where)
        key = {"type": "string", "maxLength": 40, "description": f"key of the {owner.words}"}
        keys = {"type": "array", "items": {"type": "string"}}
        spec = ToolSpec(
            self.name,
            " ".join(
                (
                    description,
                    f"Changes every {entity.words} of it with {chosen}.",
                    *(f"{rule[0].upper()}{rule[1:]}." for rule in rules),
                )
            ),
            object_schema({self.of: key}),
            object_schema({"changed": keys, "count": {"type": "integer"}}),
            writes=True,
            preconditions=(f"the {owner.words} must exist", *rules),
        )
        return Tool(spec, run, (owner.name, self.of))

    def propose(self, draft: Draft) -> Goal | None:
        entity = draft.domain.entity[self.entity]
        owner = draft.domain.entity[entity.references[self.of]]
        wish = Wish(draft, self.name)
        picked = wish.pick(owner, self.conditions)
        if picked is None:
            return None
        row, name = picked
        if not draft.state.find(entity.name, {self.of: row[owner.key], **dict(self.where)}):
            return None
        request = draft.rng.choice(self.asks).format(target=draft.phrase(name))
        return wish.goal({self.of: FieldOf(name, owner.key)}, request)
