"""Closed worlds: fictional places, what a document says of them, and the document."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openk2.environments.verifiers.faithfulness.attributes import ATTRIBUTES, KINDS
from openk2.environments.verifiers.faithfulness.statements import UNSTATED, Claim, Lexicon

__all__ = ["World", "draw_world", "statement"]

HEADS = ("Har", "Nor", "Bel", "Tor", "Mar", "Quil", "Ash", "Fen", "Gal", "Ost", "Rav", "Syl", "Vel")
TAILS = ("vel", "wick", "mont", "dale", "grove", "stead", "haven", "ridge", "combe", "mere", "ford")
TOWNS = (
    "Arlen Bresk Corvin Dunmar Eskel Farrow Grest Hollen Istra Jorvik Kessel Lunden Morrow Nethby "
    "Orlen Pellam Rostal Selby Tarn Ulm"
)
FIRST = (
    "Mara",
    "Jonas",
    "Ilse",
    "Tomas",
    "Vera",
    "Anton",
    "Nadia",
    "Piet",
    "Rosa",
    "Emil",
    "Clara",
)
LAST = (
    "Lindqvist Okafor Brenner Salgado Novak Thorne Castell Ivarsen Mbeki Rinaldi Weiss Dupont "
    "Yilmaz Petrov Hallam Quist Zeller Amari"
)
OWNERS = tuple(
    f"the {name} {form}"
    for name in ("Brandt", "Kestrel", "Aldous", "Merrow", "Sorel", "Vantage")
    for form in ("Trust", "Foundation", "Company", "Society")
)
EMBLEMS = tuple(
    f"a {colour} {animal}"
    for colour in ("green", "white", "black", "golden", "red", "blue")
    for animal in ("heron", "stag", "falcon", "otter", "lynx", "raven")
)
SIZES = {"staff": (5, 900), "budget": (20_000, 990_000), "area": (150, 9_900)}
SIZES |= {"visitors": (1_000, 98_000), "founded": (1790, 1940), "renovated": (1945, 2020)}
NAMED = {"town": "c", "head": "p", "former_head": "p", "owner": "o", "supplier": "e", "emblem": "m"}


@dataclass(frozen=True)
class World:
    """`names`: tag -> ways to write it, the first in documents; `facts`: of entity 0, 1, ... the
    attribute -> value, a number or the number in the value's tag."""

    names: Mapping[str, Sequence[str]]
    kinds: Sequence[str]
    facts: Sequence[Mapping[str, int]]

    def to_json(self) -> dict[str, Any]:
        return {
            "names": {tag: list(ways) for tag, ways in self.names.items()},
            "kinds": list(self.kinds),
            "facts": [dict(facts) for facts in self.facts],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "World":
        return cls(data["names"], data["kinds"], data["facts"])

    @property
    def lexicon(self) -> Lexicon:
        """The names as sentences have them; a place may carry its kind ("the Harvel museum")."""
        return Lexicon(
            {
                tag: [*ways, f"{ways[0]} {self.kinds[int(tag[1:])]}"] if tag[0] == "e" else ways
                for tag, ways in self.names.items()
            }
        )

    def supports(self, claim: Claim) -> bool:
        """Whether the document says so, or in truth does not say."""
        if claim.attribute == "kind":
            return self.kinds[claim.entity] == claim.value
        return self.facts[claim.entity].get(claim.attribute, UNSTATED) == claim.value

    def written(self, attribute: str, value: int) -> str:
        """A value as a document writes it."""
        sort = ATTRIBUTES[attribute].sort
        if sort in "yn":
            return str(value) if sort == "y" else f"{value:,}"
        return self.names[f"{sort}{value}"][0]


def draw_world(rng: random.Random, entities: int, attributes: int) -> World:
    """A world where every entity has `attributes` of the attributes that there are."""
    names: dict[str, list[str]] = {}
    roots = rng.sample([head + tail for head in HEADS for tail in TAILS], entities)
    names |= {f"e{number}": [root] for number, root in enumerate(roots)}
    surnames = iter(_shuffled(rng, LAST.split()))
    numbers = dict.fromkeys("cpom", 0)
    pools = {
        "c": iter(_shuffled(rng, TOWNS.split())),
        "o": iter(_shuffled(rng, OWNERS)),
        "m": iter(_shuffled(rng, EMBLEMS)),
    }
    facts = []
    for entity in range(entities):
        own: dict[str, int] = {}
        for attribute in sorted(rng.sample(sorted(ATTRIBUTES), attributes)):
            sort = NAMED.get(attribute)
            if sort is None:
                own[attribute] = rng.randint(*SIZES[attribute])
            elif sort == "e":
                own[attribute] = rng.choice([one for one in range(entities) if one != entity])
            else:
                own[attribute] = numbers[sort]
                surname = next(surnames) if sort == "p" else ""
                ways = (
                    [f"{rng.choice(FIRST)} {surname}", surname] if surname else [next(pools[sort])]
                )
                names[f"{sort}{numbers[sort]}"] = _without_article(ways)
                numbers[sort] += 1
        facts.append(own)
    return World(names, [rng.choice(KINDS) for _ in roots], facts)


def statement(rng: random.Random, world: World, entity: int, attribute: str, subject: str) -> str:
    """A sentence of the document: that the attribute of the entity, called `subject`, is so."""
    phrase = rng.choice(ATTRIBUTES[attribute].renders)
    value = world.written(attribute, world.facts[entity][attribute])
    return f"{subject} {phrase.format(v=value)}."


def _shuffled(rng: random.Random, names: Sequence[str]) -> list[str]:
    return rng.sample(names, len(names))


def _without_article(ways: list[str]) -> list[str]:
    bare = [way.removeprefix("the ").removeprefix("a ") for way in ways]
    return list(dict.fromkeys((*ways, *bare)))
