"""The operator that makes new rows: book, order, file, register."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openk2.core.records import ToolSpec
from openk2.environments.tool_world.conditions import Condition
from openk2.environments.tool_world.domain import Domain, Entity
from openk2.environments.tool_world.goals import Draft, FieldOf, Goal
from openk2.environments.tool_world.operators import (
    Operator,
    Tool,
    existing,
    object_schema,
    require,
)
from openk2.environments.tool_world.state import Row, State
from openk2.environments.tool_world.wishes import Wish
from openk2.environments.tool_world.writing import Effect

__all__ = ["Create"]


@dataclass(frozen=True, kw_only=True)
class Create(Operator):
    """A new row: book, order, file, register.

    name       of the tool
    given      fields that the caller gives, references among them
    defaults   the other fields; the text "today" is the date, "=FIELD" copies a given one and
               "=REFERENCE.FIELD" a field of a given row
    needs      reference field -> conditions on the row that it points at
    effects    consequences on rows that the new one refers to
    asks       how a user wishes it: {field} for each given field
    """

    entity: str
    name: str
    given: tuple[str, ...]
    asks: tuple[str, ...]
    defaults: Mapping[str, Any]
    needs: Mapping[str, tuple[Condition, ...]]
    effects: tuple[Effect, ...] = ()
    description: str = ""

    def _guarded(self, entity: Entity) -> str | None:
        """The reference whose row conditions and policies look at."""
        references = [field for field in self.given if field in entity.references]
        return next(
            (f for f in references if f in self.needs), references[-1] if references else None
        )

    def tool(self, domain: Domain) -> Tool:
        entity = domain.entity[self.entity]
        missing = set(entity.by_name) - set(self.given) - set(self.defaults)
        if missing:
            raise ValueError(f"{self.name}: no value for {', '.join(sorted(missing))}")

        def run(state: State, arguments: Mapping[str, Any]) -> dict[str, Any]:
            referred: dict[str, Row] = {}
            for field in self.given:
                if field in entity.references:
                    other = entity.references[field]
                    referred[field] = existing(state, other, arguments[field])
                    subject = f"the {other.replace('_', ' ')}"
                    require(self.needs.get(field, ()), referred[field], state, subject)
            row = dict(arguments)
            for field, value in self.defaults.items():
                row[field] = _default(value, arguments, referred, state)
            row = state.insert(entity.name, row)
            for effect in self.effects:
                row = effect.apply(state, row, entity, arguments)
            return row

        rules = tuple(
            condition.describe(f"the {entity.references[field].replace('_', ' ')}")
            for field, conditions in self.needs.items()
            for condition in conditions
        )
        description = self.description or self.name.replace("_", " ").capitalize() + "."
        spec = ToolSpec(
            self.name,
            " ".join((description, *(f"{rule.capitalize()}." for rule in rules))),
            object_schema({field: entity.by_name[field].kind.schema() for field in self.given}),
            entity.schema(),
            writes=True,
            preconditions=rules,
        )
        guarded = self._guarded(entity)
        target = (entity.references[guarded], guarded) if guarded else None
        return Tool(spec, run, target)

    def propose(self, draft: Draft) -> Goal | None:
        entity = draft.domain.entity[self.entity]
        arguments: dict[str, Any] = {}
        words: dict[str, str] = {}
        wish = Wish(draft, self.name)
        guarded = self._guarded(entity)
        for field in self.given:
            if field in entity.references:
                other = draft.domain.entity[entity.references[field]]
                needs = self.needs.get(field, ())
                picked = wish.pick(other, needs) if field == guarded else draft.pick(other, needs)
                if picked is None:
                    return None
                arguments[field] = FieldOf(picked[1], other.key)
                words[field] = draft.phrase(picked[1])
            else:
                kind = entity.by_name[field].kind
                arguments[field] = kind.draw(draft.rng, arguments, draft.state.today)
                words[field] = kind.say(arguments[field])
        return wish.goal(arguments, draft.rng.choice(self.asks).format(**words))


def _default(
    value: Any, arguments: Mapping[str, Any], referred: Mapping[str, Row], state: State
) -> Any:
    if value == "today":
        return state.today.isoformat()
    if not (isinstance(value, str) and value.startswith("=")):
        return value
    field, _, inner = value[1:].partition(".")
    return referred[field][inner] if inner else arguments[field]
