"""What a user wants: goals over rows that the user can point at, and the words for both.

A user never knows keys. A row is pointed at by facts that the user knows (`Variable.facts`), by
rows that it belongs or refers to (`links`) and perhaps by a superlative; the draft makes sure that
exactly one row answers to the description.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from openk2.environments.tool_world.conditions import Condition
from openk2.environments.tool_world.domain import Domain, Entity, Superlative, placeholders
from openk2.environments.tool_world.state import Row, State

__all__ = ["ACTOR", "Draft", "FieldOf", "Goal", "Variable"]

ACTOR = "user"
ATTEMPTS = 12


@dataclass(frozen=True)
class FieldOf:
    """The value of a field of a variable's row: what an agent has to find out."""

    variable: str
    field: str


@dataclass(frozen=True)
class Variable:
    """A row that the dialog is about.

    key          its key, which the user does not know
    facts        field -> value, what the user can say of it
    links        reference field -> the variable that it points at, which the user says or implies
    refers       reference field -> a variable that only looking at the row reveals
    superlative  it is the one with the lowest or highest field among those that facts and links fit
    phrase       how the user points at it
    """

    name: str
    entity: str
    key: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    superlative: Superlative | None = None
    phrase: str = ""
    refers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Goal:
    """One thing that the user wants.

    kind        write: `tool` called with `arguments`; ask: `tells` said; refuse: the request must
                be turned down, nothing changed, `tells` said
    arguments   parameter -> a value that the user says, or a FieldOf to find out
    request     the wish in the user's words
    tells       what the agent must say, as fields to find out
    result      of an ask by `tool`: the field of its result that must be said
    reason      of a refusal: the rule that forbids it
    """

    kind: Literal["write", "ask", "refuse"]
    tool: str
    arguments: Mapping[str, Any]
    request: str
    tells: tuple[FieldOf, ...] = ()
    reason: str = ""
    result: str = ""


class Draft:
    """A world in which a goal is being drawn: operators ask it for rows and for words."""

    def __init__(
        self, domain: Domain, state: State, rng: random.Random, refusals: float = 0.0
    ) -> None:
        self.domain = domain
        self.state = state
        self.rng = rng
        self.refusals = refusals  # share of wishes that a rule forbids
        self.variables: dict[str, Variable] = {}
        if domain.actor is not None:
            entity = domain.entity[domain.actor]
            row = rng.choice(state.find(entity.name))
            for template in entity.described:
                facts = {name: row[name] for name in placeholders(template)}
                if len(state.find(entity.name, facts)) == 1:
                    key = row[entity.key]
                    phrase = template.format(**self._said(entity, facts))
                    self.variables[ACTOR] = Variable(
                        ACTOR, entity.name, key, facts, {}, None, phrase
                    )
                    break

    @property
    def possible(self) -> bool:
        """Whether the user, if the domain has one, can say who they are."""
        return self.domain.actor is None or ACTOR in self.variables

    def rows(self, entity: Entity) -> list[Row]:
        """The rows that the user may talk about: their own, where rows have owners."""
        own = self._own_reference(entity)
        if own is not None:
            return self.state.find(entity.name, {own: self.variables[ACTOR].key})
        if entity.per is not None:
            parent = self.domain.entity[entity.per]
            found = [
                self.state.find(entity.name, {parent.key: r[parent.key]}) for r in self.rows(parent)
            ]
            return [row for rows in found for row in rows]
        if ACTOR in self.variables and entity.name == self.domain.actor:
            mine = self.state.get(entity.name, self.variables[ACTOR].key)
            return [mine] if mine is not None else []
        return self.state.find(entity.name)

    def _own_reference(self, entity: Entity) -> str | None:
        """The field by which rows of an entity belong to the user's kind."""
        if self.domain.actor is None:
            return None
        named = [f for f, target in entity.references.items() if target == self.domain.actor]
        return named[0] if named else None

    def pick(
        self, entity: Entity, conditions: Sequence[Condition] = (), broken: Condition | None = None
    ) -> tuple[Row, str] | None:
        """A row and its variable's name; it meets all conditions but `broken`, which it breaks."""
        wanted = [condition for condition in conditions if condition != broken]
        rows = [
            row
            for row in self.rows(entity)
            if all(condition.holds(row, self.state) for condition in wanted)
            and (broken is None or not broken.holds(row, self.state))
        ]
        self.rng.shuffle(rows)
        for row in rows[:ATTEMPTS]:
            name = self.point_at(entity, row)
            if name is not None:
                return row, name
        return None

    def point_at(self, entity: Entity, row: Row) -> str | None:
        """The name of a variable for a row, with a description that no other row answers to."""
        for variable in self.variables.values():
            if (variable.entity, variable.key) == (entity.name, row[entity.key]):
                return variable.name
        before = dict(self.variables)
        links, suffix = self._owner_links(entity, row)
        if links is not None:
            ways: list[str | Superlative] = [*entity.described, *entity.superlatives]
            self.rng.shuffle(ways)
            for way in ways:
                made = self._described(entity, row, links, way, suffix)
                if made is not None:
                    return made
        self.variables = before
        return None

    def _owner_links(self, entity: Entity, row: Row) -> tuple[dict[str, str] | None, str]:
        own = self._own_reference(entity)
        if own is not None:
            return {own: ACTOR}, ""
        if entity.per is None:
            return {}, ""
        parent = self.domain.entity[entity.per]
        parent_row = self.state.get(parent.name, row[parent.key])
        assert parent_row is not None
        name = self.point_at(parent, parent_row)
        return (None, "") if name is None else ({parent.key: name}, f" of {self.phrase(name)}")

    def _described(
        self,
        entity: Entity,
        row: Row,
        links: Mapping[str, str],
        way: str | Superlative,
        suffix: str,
    ) -> str | None:
        facts: dict[str, Any] = {}
        linked = dict(links)
        if isinstance(way, Superlative):
            equal = {name: self.variables[link].key for name, link in linked.items()}
            rivals = self.state.find(entity.name, equal)
            values = sorted((found[way.field] for found in rivals), reverse=not way.lowest)
            if len(values) < 2 or values[0] != row[way.field] or values[1] == values[0]:
                return None
            whose = "my" if ACTOR in links.values() else "the"
            phrase = f"{whose} {way.word} {entity.words}{suffix}"
            return self._add(entity, row, {}, linked, way, phrase)
        said: dict[str, str] = {}
        for name in placeholders(way):
            reference, _, inner = name.rpartition(".")
            if reference:
                other = self.domain.entity[entity.references[f"{reference}_id"]]
                link = self._plain(other, row[f"{reference}_id"], inner)
                if link is None:
                    return None
                linked[f"{reference}_id"] = link
                value = self.variables[link].facts[inner]
                said[name] = other.by_name[inner].kind.say(value)
            else:
                facts[name] = row[name]
                said[name] = entity.by_name[name].kind.say(row[name])
        equal = {name: self.variables[link].key for name, link in linked.items()}
        if len(self.state.find(entity.name, {**facts, **equal})) != 1:
            return None
        phrase = way
        for name, text in said.items():
            phrase = phrase.replace("{" + name + "}", text)
        return self._add(entity, row, facts, linked, None, phrase + suffix)

    def _plain(self, entity: Entity, key: str, inner: str) -> str | None:
        """A variable for a row that one of its fields alone singles out."""
        row = self.state.get(entity.name, key)
        assert row is not None
        for variable in self.variables.values():
            if variable.key == key and inner in variable.facts:
                return variable.name
        if len(self.state.find(entity.name, {inner: row[inner]})) != 1:
            return None
        said = entity.by_name[inner].kind.say(row[inner])
        forms = [form for form in entity.described if placeholders(form) == [inner]]
        phrase = forms[0].replace("{" + inner + "}", said) if forms else said
        return self._add(entity, row, {inner: row[inner]}, {}, None, phrase)

    def _add(
        self,
        entity: Entity,
        row: Row,
        facts: Mapping[str, Any],
        links: Mapping[str, str],
        superlative: Superlative | None,
        phrase: str,
    ) -> str:
        name = f"{entity.name}_{len(self.variables)}"
        made = Variable(name, entity.name, row[entity.key], facts, links, superlative, phrase)
        self.variables[name] = made
        return name

    def follow(self, name: str, path: tuple[str, ...]) -> FieldOf:
        """The field at the end of a path of references that begins at a variable's row."""
        for reference in path[:-1]:
            variable = self.variables[name]
            known = {**variable.refers, **variable.links}
            if reference not in known:
                entity = self.domain.entity[variable.entity]
                row = self.state.get(entity.name, variable.key)
                assert row is not None
                other = self.domain.entity[entity.references[reference]]
                target = self.state.get(other.name, row[reference])
                assert target is not None
                link = self._add(other, target, {}, {}, None, "")
                known[reference] = link
                refers = {**variable.refers, reference: link}
                self.variables[name] = replace(variable, refers=refers)
            name = known[reference]
        return FieldOf(name, path[-1])

    def phrase(self, name: str) -> str:
        """How the user points at a variable."""
        return self.variables[name].phrase

    @staticmethod
    def _said(entity: Entity, facts: Mapping[str, Any]) -> dict[str, str]:
        return {name: entity.by_name[name].kind.say(value) for name, value in facts.items()}
