"""Operators that sum up: totals, highest and lowest of an owner's rows, and rows in a range."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from openk2.core.records import ToolSpec
from openk2.environments.tool_world.domain import Domain, Entity
from openk2.environments.tool_world.goals import ACTOR, Draft, FieldOf, Goal
from openk2.environments.tool_world.operators import Operator, Tool, existing, object_schema
from openk2.environments.tool_world.state import Row, State

__all__ = ["Between", "Total"]

NUMBER = {"type": "number"}
WHOLE = {"type": "integer"}
MEASURES = {
    "total": "what the {field} of {rows} adds up to",
    "highest": "the highest {field} among {rows}",
    "lowest": "the lowest {field} among {rows}",
    "average": "the average {field} of {rows}",
}
ASK = ("tell me {what}", "let me know {what}", "work out {what}")


def _key_schema(entity: Entity) -> dict[str, Any]:
    return {"type": "string", "maxLength": 40, "description": f"key of the {entity.words}"}


def _rows_of(draft: Draft, name: str, many: str) -> str:
    return f"my {many}" if name == ACTOR else f"the {many} of {draft.phrase(name)}"


@dataclass(frozen=True)
class Total(Operator):
    """MEASURE_FIELD_of_ENTITIES(owner's key): one number over the rows of one owner.

    where   field values of the rows that count; `kind` is what those are called, e.g. "unpaid"
    """

    entity: str
    field: str
    of: str
    measure: Literal["total", "highest", "lowest", "average"] = "total"
    where: tuple[tuple[str, Any], ...] = ()
    kind: str = ""

    def _many(self, entity: Entity) -> str:
        return f"{self.kind}_{entity.many}" if self.kind else entity.many

    def _name(self, entity: Entity) -> str:
        return f"{self.measure}_{self.field}_of_{self._many(entity)}"

    def _rows(self, state: State, entity: Entity, owner: Any) -> list[Row]:
        return state.find(entity.name, {self.of: owner, **dict(self.where)})

    def tool(self, domain: Domain) -> Tool:
        entity = domain.entity[self.entity]
        owner = domain.entity[entity.references[self.of]]

        def run(state: State, arguments: Mapping[str, Any]) -> dict[str, Any]:
            existing(state, owner.name, arguments[self.of])
            values = [row[self.field] for row in self._rows(state, entity, arguments[self.of])]
            found = {
                "total": sum(values),
                "highest": max(values, default=0),
                "lowest": min(values, default=0),
                "average": sum(values) / max(1, len(values)),
            }[self.measure]
            return {self.measure: round(found, 2), "count": len(values)}

        field, many = self.field.replace("_", " "), self._many(entity).replace("_", " ")
        spec = ToolSpec(
            self._name(entity),
            f"The {self.measure} {field} of the {many} of one {owner.words}.",
            object_schema({self.of: _key_schema(owner)}),
            object_schema({self.measure: NUMBER, "count": WHOLE}),
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
        if len(self._rows(draft.state, entity, row[owner.key])) < 2:
            return None
        many = self._many(entity).replace("_", " ")
        what = MEASURES[self.measure].format(
            field=entity.by_name[self.field].words, rows=_rows_of(draft, name, many)
        )
        request = draft.rng.choice(ASK).format(what=what)
        arguments = {self.of: FieldOf(name, owner.key)}
        return Goal("ask", self._name(entity), arguments, request, result=self.measure)


@dataclass(frozen=True)
class Between(Operator):
    """list_ENTITIES_by_FIELD(owner's key, from, to): rows in a range of dates or amounts.

    by      the field that lies in the range, both ends included
    total   the field that is added up over them
    """

    entity: str
    of: str
    by: str
    total: str

    def _name(self, entity: Entity) -> str:
        return f"list_{entity.many}_by_{self.by}"

    def _rows(self, state: State, entity: Entity, arguments: Mapping[str, Any]) -> list[Row]:
        rows = state.find(entity.name, {self.of: arguments[self.of]})
        return [row for row in rows if arguments["from"] <= row[self.by] <= arguments["to"]]

    def tool(self, domain: Domain) -> Tool:
        entity = domain.entity[self.entity]
        owner = domain.entity[entity.references[self.of]]
        bound = entity.by_name[self.by].kind.schema()
        bound.pop("description", None)

        def run(state: State, arguments: Mapping[str, Any]) -> dict[str, Any]:
            existing(state, owner.name, arguments[self.of])
            rows = self._rows(state, entity, arguments)
            total = round(sum(row[self.total] for row in rows), 2)
            return {entity.many: rows, "count": len(rows), "total": total}

        by, many = self.by.replace("_", " "), entity.many.replace("_", " ")
        spec = ToolSpec(
            self._name(entity),
            f"List the {many} of one {owner.words} whose {by} lies in a range, both ends included; "
            f"total adds up their {self.total.replace('_', ' ')}.",
            object_schema({self.of: _key_schema(owner), "from": bound, "to": bound}),
            object_schema(
                {
                    entity.many: {"type": "array", "items": entity.schema()},
                    "count": WHOLE,
                    "total": NUMBER,
                }
            ),
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
        field, rng = entity.by_name[self.by], draft.rng
        drawn = (field.kind.draw(rng, row, draft.state.today) for _ in range(2))
        first, last = sorted(drawn)
        owned = {self.of: row[owner.key], "from": first, "to": last}
        rows = self._rows(draft.state, entity, owned)
        if len(rows) < 2:
            return None
        many = _rows_of(draft, name, entity.many.replace("_", " "))
        what = (
            f"what the {entity.by_name[self.total].words} of {many} with {_article(field.words)} "
            f"between {field.kind.say(first)} and {field.kind.say(last)} adds up to"
        )
        request = rng.choice(ASK).format(what=what)
        arguments = {**owned, self.of: FieldOf(name, owner.key)}
        return Goal("ask", self._name(entity), arguments, request, result="total")


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
