"""A domain as data: entities with typed fields, relations between them, operators and policies.

A domain is composed, not programmed: its tools are made by operators (reading, writing) that know
how to run, what they need and give, when they refuse, how a person asks for them and how one checks
that they were done. So the same pieces, recombined, make new domains (paper section 3.1.1).
"""

import functools
import random
import sqlite3
import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from openk2.environments.base import seeded_random
from openk2.environments.tool_world.spec import ArgumentChecker
from openk2.environments.tool_world.state import Row, State
from openk2.environments.tool_world.values import KEY_ALPHABET, Kind, Reference

if TYPE_CHECKING:
    from openk2.environments.tool_world.conditions import Policy
    from openk2.environments.tool_world.operators import Operator, Tool

__all__ = ["Domain", "Entity", "Field", "Superlative", "placeholders"]

FIRST_DAY = date(2026, 1, 5)


@dataclass(frozen=True)
class Field:
    """One column. `label` is what people call it; the name with spaces by default."""

    name: str
    kind: Kind
    label: str = ""

    @property
    def words(self) -> str:
        """What people call the field."""
        return self.label or self.name.replace("_", " ")


@dataclass(frozen=True)
class Superlative:
    """A way to point at a row among several: the `word` one has the lowest or highest `field`."""

    word: str
    field: str
    lowest: bool = True


@dataclass(frozen=True)
class Entity:
    """A kind of thing that a world holds rows of; its key is `NAME_id`.

    rows          how many a world begins with; of `per`, for each row of that entity
    described     how a person points at a row, e.g. "the order of {placed_on}"; {product.name}
                  follows the reference product_id. Several templates are ways to say it
    superlatives  other ways to point at one among the rows of an owner or of a search
    """

    name: str
    fields: tuple[Field, ...]
    rows: tuple[int, int]
    described: tuple[str, ...]
    per: str | None = None
    superlatives: tuple[Superlative, ...] = ()
    plural: str = ""

    @property
    def key(self) -> str:
        """The name of the key field."""
        return f"{self.name}_id"

    @property
    def many(self) -> str:
        """The plural of the name."""
        return self.plural or f"{self.name}s"

    @property
    def words(self) -> str:
        """The name as people say it."""
        return self.name.replace("_", " ")

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """All field names, the key first."""
        return (self.key, *(field.name for field in self.fields))

    @functools.cached_property
    def by_name(self) -> Mapping[str, Field]:
        """The fields by name, without the key."""
        return {field.name: field for field in self.fields}

    @functools.cached_property
    def references(self) -> Mapping[str, str]:
        """Which fields are keys of other entities: field -> entity."""
        return {f.name: f.kind.entity for f in self.fields if isinstance(f.kind, Reference)}

    def schema(self, columns: tuple[str, ...] | None = None) -> dict[str, Any]:
        """The JSON Schema of a row as tools show it."""
        names = columns or self.columns
        shown: dict[str, Any] = {}
        for name in names:
            shown[name] = {"type": "string"}
            if name != self.key:
                found = self.by_name[name].kind.schema()
                shown[name] = {key: found[key] for key in ("type", "enum") if key in found}
        return {"type": "object", "properties": shown, "required": list(names)}


@dataclass(frozen=True)
class Domain:
    """A world's blueprint.

    name       "retail"
    title      what the agent is told it works for, e.g. "an online shop"
    category   the paper's category of applications, e.g. "e-commerce"
    actor      the entity that the user is one of; None where the user owns everything
    entities   in an order in which each refers to earlier ones only
    operators  what its tools are made from
    policies   rules that tools do not enforce and that the agent must follow
    """

    name: str
    title: str
    category: str
    actor: str | None
    entities: tuple[Entity, ...]
    operators: tuple["Operator", ...]
    policies: tuple["Policy", ...] = ()

    @functools.cached_property
    def entity(self) -> Mapping[str, Entity]:
        """The entities by name."""
        return {entity.name: entity for entity in self.entities}

    @functools.cached_property
    def tools(self) -> Mapping[str, "Tool"]:
        """What the operators make, by tool name."""
        made = [operator.tool(self) for operator in self.operators]
        named = {tool.spec.name: tool for tool in made}
        if len(named) != len(made):
            raise ValueError(f"domain {self.name}: two operators make tools of one name")
        return named

    @functools.cached_property
    def checker(self) -> ArgumentChecker:
        """Checks arguments of all tools."""
        specs = {name: tool.spec for name, tool in self.tools.items()}
        return ArgumentChecker(specs, formats=True)

    @functools.cached_property
    def _image(self) -> bytes:
        """An empty database with the tables of all entities."""
        database = sqlite3.connect(":memory:", isolation_level=None)
        State.create_tables(database, self.entities)
        return database.serialize()

    def world(self, seed: str) -> State:
        """The initial state of a world, a pure function of (domain, seed)."""
        rng = seeded_random("world", self.name, seed)
        today = FIRST_DAY + timedelta(days=rng.randrange(700))
        rows: dict[str, dict[str, Row]] = {}
        for entity in self.entities:
            rows[entity.name] = {}
            self._fill(entity, rows, rng, today)
        made = {name: [tuple(row.values()) for row in rows[name].values()] for name in rows}
        return State(self._image, self.entity, made, today, seed)

    def _fill(
        self, entity: Entity, rows: dict[str, dict[str, Row]], rng: random.Random, today: date
    ) -> None:
        """Draw the rows of an entity into `rows`, which holds those of the earlier ones."""
        owners: list[str | None] = [None]
        if entity.per:
            (owning,) = (f.kind for f in entity.fields if f.name == f"{entity.per}_id")
            assert isinstance(owning, Reference)
            owners = [*_referable(owning, rows, rng)]
        prefix = "".join(word[0] for word in entity.name.split("_")).upper()
        mine = rows[entity.name]
        plain = {f.name: f.kind for f in entity.fields if not isinstance(f.kind, Reference)}
        open_keys = {
            f.name: _referable(f.kind, rows, rng)
            for f in entity.fields
            if isinstance(f.kind, Reference) and f.kind.entity not in (entity.per, entity.name)
        }
        once = {f.name for f in entity.fields if isinstance(f.kind, Reference) and f.kind.distinct}
        for owner in owners:
            for _ in range(rng.randint(*entity.rows)):
                bits = rng.getrandbits(30)
                signs = (KEY_ALPHABET[bits >> shift & 31] for shift in range(0, 30, 5))
                key = f"{prefix}-{''.join(signs)}"
                row = _Drawn(entity, rows, key)
                for name in entity.by_name:
                    if name in plain:
                        row[name] = plain[name].draw(rng, row, today)
                    elif name not in open_keys:
                        of_owner = entity.references[name] == entity.per
                        row[name] = owner if of_owner else rng.choice(list(mine) or [key])
                    elif not open_keys[name]:
                        return  # nothing is left to refer to
                    elif name in once:
                        row[name] = open_keys[name].pop()
                    else:
                        row[name] = rng.choice(open_keys[name])
                mine[key] = row


class _Drawn(dict[str, Any]):
    """A row that is being drawn: "product_id.price" is that field of the row referred to."""

    def __init__(self, entity: Entity, rows: Mapping[str, Mapping[str, Row]], key: str) -> None:
        super().__init__({entity.key: key})
        self._entity = entity
        self._rows = rows

    def __missing__(self, name: str) -> Any:
        reference, _, inner = name.partition(".")
        return self._rows[self._entity.references[reference]][self[reference]][inner]


def _referable(
    kind: Reference, rows: Mapping[str, Mapping[str, Row]], rng: random.Random
) -> list[str]:
    """Keys that a reference may begin with, in random order where each is used once."""
    found = rows[kind.entity]
    keys = [key for key, row in found.items() if all(row[n] == value for n, value in kind.where)]
    if kind.distinct:
        rng.shuffle(keys)
    return keys


def placeholders(template: str) -> list[str]:
    """The names in braces of a template, in order."""
    return [name for _, name, _, _ in string.Formatter().parse(template) if name]
