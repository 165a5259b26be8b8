"""Questions over several tables: joins, multi-hop look-ups and aggregates (paper section 3.1).

The three tables are those of a little database: one kind of thing with a group, another with a
group and a measure, and records that link the two with a count. The total of a record is its
count times the measure.
"""

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from openk2.environments.base import Problem
from openk2.environments.verifiers.answers import ANSWER_FORMAT
from openk2.environments.verifiers.logic.puzzle import Puzzle, between
from openk2.environments.verifiers.logic.vocabulary import NAMES

__all__ = ["Tables"]

NUMBER = re.compile(r"-?(?:[0-9]{1,12}|[0-9]{1,3}(?:,[0-9]{3}){1,3})")
LEAST = 10  # a smaller answer is too easily guessed


@dataclass(frozen=True)
class Theme:
    """How a database is told: columns of its three tables, values, and what a total is called."""

    tables: tuple[str, str, str]
    owner: tuple[str, str]  # columns: the owner, its group
    item: tuple[str, str, str]  # columns: the item, its group, its measure
    count: str
    total: str
    owners: Sequence[str]
    owner_groups: Sequence[str]
    items: Sequence[str]
    item_groups: Sequence[str]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


THEMES = (
    Theme(
        ("Customers", "Products", "Orders"), ("customer", "city"), ("product", "category", "price"),
        "units", "total order value (units times price)", NAMES,
        _words("Lisbon Oslo Vienna Prague Dublin Athens"),
        _words("lamp desk chair shelf kettle toaster mug plate rug clock mirror vase"),
        _words("kitchen office living garden"),
    ),
    Theme(
        ("Drivers", "Routes", "Trips"), ("driver", "depot"), ("route", "region", "kilometres"),
        "trips", "total distance in kilometres (trips times kilometres)", NAMES,
        _words("Harbour Station Airport Mill Castle"),
        _words("R1 R2 R3 R4 R5 R6 R7 R8 R9 R10 R11 R12"),
        _words("coast valley hills city"),
    ),
    Theme(
        ("Workers", "Jobs", "Shifts"), ("worker", "team"), ("job", "site", "hours"),
        "shifts", "total of hours (shifts times hours)", NAMES,
        _words("red blue green yellow amber"),
        _words("welding painting digging wiring roofing paving tiling planting sawing drilling"),
        _words("bridge tunnel school tower"),
    ),
    Theme(
        ("Farms", "Crops", "Deliveries"), ("farm", "county"), ("crop", "kind", "kilos per crate"),
        "crates", "total weight in kilos (crates times kilos per crate)",
        tuple(f"{name} Farm" for name in NAMES),
        _words("Kent Devon Norfolk Surrey Dorset"),
        _words("carrots leeks beans plums pears apples barley oats wheat onions peas cherries"),
        _words("vegetables fruit grain"),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Database:
    """owners: owner -> group; items: item -> (group, measure); records: (owner, item, count)."""

    owners: Mapping[str, str]
    items: Mapping[str, tuple[str, int]]
    records: Sequence[tuple[str, str, int]]

    def total(self, fits: Callable[[str, str], bool] = lambda owner, item: True) -> int:
        """The sum of the totals of all records whose owner and item fit."""
        return sum(n * self.items[item][1] for who, item, n in self.records if fits(who, item))

    def of_owner(self, owner: str) -> int:
        return self.total(lambda who, item: who == owner)

    def leader(self, owners: Sequence[str]) -> str | None:
        """Whoever of these has the largest total; nobody where two share it."""
        totals = sorted(((self.of_owner(owner), owner) for owner in owners), reverse=True)
        tied = len(totals) > 1 and totals[0][0] == totals[1][0]
        return None if tied or not totals else totals[0][1]


def _draw_database(rng: random.Random, theme: Theme, difficulty: float) -> Database:
    owner_groups = rng.sample(theme.owner_groups, between(2, 4, difficulty))
    item_groups = rng.sample(theme.item_groups, between(2, 3, difficulty))
    owners = {
        name: rng.choice(owner_groups)
        for name in rng.sample(theme.owners, between(4, 9, difficulty))
    }
    items = {
        name: (rng.choice(item_groups), rng.randint(3, between(20, 150, difficulty)))
        for name in rng.sample(theme.items, between(4, 10, difficulty))
    }
    pairs = [(owner, item) for owner in owners for item in items]
    chosen = rng.sample(pairs, between(8, 30, difficulty))
    return Database(
        owners, items, [(*pair, rng.randint(1, between(6, 30, difficulty))) for pair in chosen]
    )


Question = tuple[str, int | None, list[str]]  # its text, its answer if it has one, its identity


def _group_total(rng: random.Random, theme: Theme, data: Database) -> Question:
    group = rng.choice(sorted(set(data.owners.values())))
    kind = rng.choice(sorted({kind for kind, _ in data.items.values()}))
    text = (
        f"What is the {theme.total} of all records in {theme.tables[2]} whose {theme.owner[0]} has "
        f"the {theme.owner[1]} {group} and whose {theme.item[0]} has the {theme.item[1]} {kind}?"
    )
    return text, data.total(
        lambda who, item: data.owners[who] == group and data.items[item][0] == kind
    ), ["group", group, kind]  # fmt: skip


def _difference(rng: random.Random, theme: Theme, data: Database) -> Question:
    groups = sorted(set(data.owners.values()))
    if len(groups) < 2:
        return "", None, []
    one, other = rng.sample(groups, 2)
    kind = rng.choice(sorted({kind for kind, _ in data.items.values()}))
    totals = [
        data.total(lambda who, item, g=g: data.owners[who] == g and data.items[item][0] == kind)  # type: ignore[misc]
        for g in (one, other)
    ]
    text = (
        f"Count only records whose {theme.item[0]} has the {theme.item[1]} {kind}. By how much do "
        f"the {theme.owner[1]} {one} and the {theme.owner[1]} {other} differ in their "
        f"{theme.total}? (Larger minus smaller.)"
    )
    return text, abs(totals[0] - totals[1]), ["difference", *sorted((one, other)), kind]


def _leader_in_kind(rng: random.Random, theme: Theme, data: Database) -> Question:
    leader = data.leader(list(data.owners))
    kind = rng.choice(sorted({kind for kind, _ in data.items.values()}))
    text = (
        f"Take the {theme.owner[0]} with the largest {theme.total}. How much of that total comes "
        f"from records whose {theme.item[0]} has the {theme.item[1]} {kind}?"
    )
    if leader is None:
        return text, None, []
    return text, data.total(
        lambda who, item: who == leader and data.items[item][0] == kind
    ), ["leader", kind]  # fmt: skip


def _gap_in_group(rng: random.Random, theme: Theme, data: Database) -> Question:
    group = rng.choice(sorted(set(data.owners.values())))
    members = [owner for owner, its_group in data.owners.items() if its_group == group]
    totals = sorted(data.of_owner(owner) for owner in members)
    text = (
        f"Work out the {theme.total} of every {theme.owner[0]} with the {theme.owner[1]} {group} "
        f"(0 for one without records). What is the largest of these minus the smallest?"
    )
    return text, totals[-1] - totals[0], ["gap", group]


def _rest_of_leader_group(rng: random.Random, theme: Theme, data: Database) -> Question:
    item = rng.choice(sorted(data.items))
    counts = sorted(((n, who) for who, one, n in data.records if one == item), reverse=True)
    text = (
        f"Find the {theme.owner[0]} with the most {theme.count} for the {theme.item[0]} {item}. "
        f"What is the {theme.total} of everyone else with the same {theme.owner[1]}, over all "
        f"their records?"
    )
    if not counts or (len(counts) > 1 and counts[0][0] == counts[1][0]):
        return text, None, []
    leader = counts[0][1]
    return text, data.total(
        lambda who, _: who != leader and data.owners[who] == data.owners[leader]
    ), ["rest", item]  # fmt: skip


QUESTIONS = (_group_total, _difference, _gap_in_group, _leader_in_kind, _rest_of_leader_group)


class Tables(Puzzle):
    """Three tables of up to 30 records, one number as the answer. Truth: solution."""

    name: ClassVar[str] = "logic.tables"

    TEMPLATES = (
        "{tables}\n\n{question} {form}",
        "Use the tables to answer the question.\n\n{tables}\n\nQuestion: {question} {form}",
        "{question}\n\n{tables}\n\n{form}",
    )
    FORM = "The answer is one whole number, without a unit. " + ANSWER_FORMAT

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        theme = rng.choice(THEMES)
        while True:
            data = _draw_database(rng, theme, difficulty)
            ask = rng.choice(QUESTIONS[: between(2, len(QUESTIONS), difficulty)])
            question, answer, identity = ask(rng, theme, data)
            if answer is not None and answer >= LEAST:
                break
        write = rng.choice((_markdown, _comma_separated, _lines))
        tables = "\n\n".join(write(*table) for table in _shuffled_tables(rng, theme, data))
        prompt = rng.choice(self.TEMPLATES).format(tables=tables, question=question, form=self.FORM)
        rows = [sorted(data.owners.items()), sorted(data.items.items()), sorted(data.records)]
        return Problem(prompt, {"solution": str(answer)}, json.dumps([identity, rows]))

    def fault(self, truth: Mapping[str, Any], answer: str) -> str:
        text = answer.removesuffix(".")
        if not NUMBER.fullmatch(text):
            return "the answer is not one whole number"
        number = int(text.replace(",", ""))
        return "" if number == int(truth["solution"]) else "the number is wrong"


Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]  # its name, its columns, its rows


def _shuffled_tables(rng: random.Random, theme: Theme, data: Database) -> list[Table]:
    """The three tables, their rows in any order."""
    owners = [[owner, group] for owner, group in data.owners.items()]
    items = [[item, group, str(measure)] for item, (group, measure) in data.items.items()]
    records = [[owner, item, str(count)] for owner, item, count in data.records]
    for rows in (owners, items, records):
        rng.shuffle(rows)
    columns = (theme.owner, theme.item, (theme.owner[0], theme.item[0], theme.count))
    return list(zip(theme.tables, columns, (owners, items, records), strict=True))


def _markdown(name: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruled = [columns, ["---"] * len(columns), *rows]
    return f"**{name}**\n" + "\n".join(f"| {' | '.join(row)} |" for row in ruled)


def _comma_separated(name: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"{name}:\n" + "\n".join(",".join(row) for row in (columns, *rows))


def _lines(name: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    told = (
        "; ".join(f"{column}: {cell}" for column, cell in zip(columns, row, strict=True))
        for row in rows
    )
    return f"{name}\n" + "\n".join(f"- {line}" for line in told)
