"""Operators that make new rows: order, file, register; book what nobody else holds at that time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openk2.core.records import ToolSpec
from openk2.environments.tool_world.conditions import Condition
from openk2.environments.tool_world.domain import Domain, Entity
from openk2.environments.tool_world.effects import Consequence, Written, resolve
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

__all__ = ["Book", "Create"]

DRAWS = 8


@dataclass(frozen=True, kw_only=True)
class Create(Operator):
    """A new row: order, file, register.

    name       of the tool
    given      fields that the caller gives, references among them
    defaults   the other fields, as expressions (see effects)
    needs      reference field -> conditions on the row that it points at
    limits     given number -> the expression that it must not exceed, e.g. "=account_id.balance"
    effects    consequences
    asks       how a user wishes it: {field} for each given field
    """

    entity: str
    name: str
    given: tuple[str, ...]
    asks: tuple[str, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    needs: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    effects: tuple[Consequence, ...] = ()
    description: str = ""

    def _guarded(self, entity: Entity) -> str | None:
        """The reference whose row conditions and policies look at."""
        references = [name for name in self.given if name in entity.references]
        return next(
            (f for f in references if f in self.needs), references[-1] if references else None
        )

    def _made(self, state: State, entity: Entity, arguments: Mapping[str, Any]) -> Row:
        """The new row without its key; Refused where a rule does not allow it."""
        for name in self.given:
            if name in entity.references:
                other = entity.references[name]
                referred = existing(state, other, arguments[name])
                require(self.needs.get(name, ()), referred, state, f"the {_words(other)}")
        row = dict(arguments)
        for name, expression in self.defaults.items():
            row[name] = resolve(expression, row, entity, state)
        for name, expression in self.limits.items():
            most = resolve(expression, row, entity, state)
            if row[name] > most:
                message = f"the {_words(name)} is {row[name]:g}; at most {most:g} is possible"
                raise Refused(f"{name}_too_high", message)
        return row

    def _rules(self, entity: Entity) -> tuple[str, ...]:
        """What the tool checks, in words."""
        needs = (
            condition.describe(f"the {_words(entity.references[name])}")
            for name, conditions in self.needs.items()
            for condition in conditions
        )
        limits = (
            f"the {_words(name)} must not exceed the {_words(expression[1:].replace('_id.', ' '))}"
            for name, expression in self.limits.items()
        )
        return (*needs, *limits)

    def tool(self, domain: Domain) -> Tool:
        entity = domain.entity[self.entity]
        missing = set(entity.by_name) - set(self.given) - set(self.defaults)
        if missing:
            raise ValueError(f"{self.name}: no value for {', '.join(sorted(missing))}")

        def run(state: State, arguments: Mapping[str, Any]) -> dict[str, Any]:
            row = state.insert(entity.name, self._made(state, entity, arguments))
            written = Written(state, entity, arguments, {}, row)
            for effect in self.effects:
                effect.apply(written)
            return written.row

        rules = self._rules(entity)
        description = self.description or _words(self.name).capitalize() + "."
        spec = ToolSpec(
            self.name,
            " ".join((description, *(f"{rule[0].upper()}{rule[1:]}." for rule in rules))),
            object_schema({name: entity.by_name[name].kind.schema() for name in self.given}),
            entity.schema(),
            writes=True,
            preconditions=rules,
        )
        guarded = self._guarded(entity)
        target = (entity.references[guarded], guarded) if guarded else None
        return Tool(spec, run, target)

    def propose(self, draft: Draft) -> Goal | None:
        entity = draft.domain.entity[self.entity]
        wish = Wish(draft, self.name)
        arguments: dict[str, Any] = {}
        keys: dict[str, Any] = {}
        words: dict[str, str] = {}
        guarded = self._guarded(entity)
        for name in self.given:
            if name in entity.references:
                other = draft.domain.entity[entity.references[name]]
                needs = self.needs.get(name, ())
                picked = wish.pick(other, needs) if name == guarded else draft.pick(other, needs)
                if picked is None:
                    return None
                arguments[name] = FieldOf(picked[1], other.key)
                keys[name], words[name] = picked[0][other.key], draft.phrase(picked[1])
        for _ in range(DRAWS):
            values: dict[str, Any] = {}
            for name in self.given:
                if name not in keys:
                    kind = entity.by_name[name].kind
                    values[name] = kind.draw(draft.rng, values, draft.state.today)
                    words[name] = kind.say(values[name])
            if wish.forbidden or self._possible(draft.state, entity, {**keys, **values}):
                request = draft.rng.choice(self.asks).format(**words)
                return wish.goal({**arguments, **values}, request)
        return None

    def _possible(self, state: State, entity: Entity, arguments: Mapping[str, Any]) -> bool:
        try:
            self._made(state, entity, arguments)
        except Refused:
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class Book(Create):
    """A new row that holds something for a time: refused where another row holds it then.

    holds   fields that are equal in rows that compete, e.g. ("room_id", "day")
    start   first and `end` last: fields with dates or times of day, the end not included
    active  field values of the rows that count, e.g. not the cancelled ones
    """

    holds: tuple[str, ...]
    start: str
    end: str
    active: tuple[tuple[str, Any], ...] = ()

    def _made(self, state: State, entity: Entity, arguments: Mapping[str, Any]) -> Row:
        row = super()._made(state, entity, arguments)
        first, last = row[self.start], row[self.end]
        if not first < last:
            raise Refused(
                "ends_before_it_starts",
                f"the {_words(self.end)} must come after the {_words(self.start)}",
            )
        equal = {**{name: row[name] for name in self.holds}, **dict(self.active)}
        for rival in state.find(entity.name, equal):
            if first < rival[self.end] and rival[self.start] < last:
                raise Refused(
                    "conflict",
                    f"it is taken from {rival[self.start]} to {rival[self.end]} by "
                    f"{entity.words} {rival[entity.key]}",
                )
        return row

    def _rules(self, entity: Entity) -> tuple[str, ...]:
        held = " and ".join(_words(name.removesuffix("_id")) for name in self.holds)
        return (
            *super()._rules(entity),
            f"no other {entity.words} may overlap with the same {held}",
        )


def _words(name: str) -> str:
    return name.replace("_", " ")
