"""Zebras, orderings, knights, ciphers and tables against brute force, publications and SQL."""

import itertools
import random
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.environments.verifiers.logic.arrangement import (
    Clue,
    canonical,
    clues_that_settle,
    count_arrangements,
)
from openk2.environments.verifiers.logic.ciphers import MORSE, Cipher, Morse, encipher
from openk2.environments.verifiers.logic.knights import (
    KINDS,
    KnightsAndKnaves,
    Statement,
    consistent_worlds,
)
from openk2.environments.verifiers.logic.tables import QUESTIONS, THEMES, Database, Tables
from openk2.environments.verifiers.logic.tables import _draw_database as draw_database
from openk2.environments.verifiers.logic.zebra import Ordering, Zebra

# Arrangements, zebra, orderings.


def _arrangements(categories: int, size: int) -> Iterator[list[int]]:
    rows = list(itertools.permutations(range(size)))
    for chosen in itertools.product(rows, repeat=categories):
        yield [place for row in chosen for place in row]


def _holds(clue: Clue, places: list[int]) -> bool:
    at, other = places[clue.a], places[clue.b]
    return {
        "at": at == clue.amount, "not_at": at != clue.amount, "same": at == other,
        "different": at != other, "before": at < other, "just_before": at + 1 == other,
        "beside": abs(at - other) == 1, "apart": abs(at - other) == clue.amount,
    }[clue.kind]  # fmt: skip


def _fitting(clues: list[Clue], categories: int, size: int) -> int:
    return sum(
        all(_holds(clue, places) for clue in clues) for places in _arrangements(categories, size)
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_arrangements_are_counted_as_by_brute_force(seed: int) -> None:
    rng = random.Random(seed)
    categories, size = rng.choice([(1, 5), (2, 4), (3, 3)])
    things = range(categories * size)
    clues = []
    for _ in range(rng.randint(0, 6)):
        kind, (a, b) = rng.choice(Zebra.KINDS), rng.sample(things, 2)
        clues.append(Clue(kind, a, a if kind in ("at", "not_at") else b, rng.randrange(size)))
    assert count_arrangements(clues, categories, size, 10**6) == _fitting(clues, categories, size)


@pytest.mark.parametrize(("categories", "size"), [(1, 6), (2, 4), (3, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_clues_settle_and_none_can_be_spared(categories: int, size: int, seed: int) -> None:
    rng = random.Random(seed)
    places = [place for _ in range(categories) for place in rng.sample(range(size), size)]
    kinds = Zebra.KINDS if categories > 1 else Ordering.KINDS
    clues = clues_that_settle(rng, places, size, kinds)
    assert all(_holds(clue, places) for clue in clues)
    assert _fitting(clues, categories, size) == 1
    for clue in clues:
        assert _fitting([other for other in clues if other != clue], categories, size) > 1


def test_renamed_puzzles_are_the_same_problem() -> None:
    rng = random.Random(3)
    places = [place for _ in range(3) for place in rng.sample(range(4), 4)]
    clues = clues_that_settle(rng, places, 4, Zebra.KINDS)
    names = [4 * c + v for c in (2, 0, 1) for v in rng.sample(range(4), 4)]  # thing -> new name
    moved = [0] * 12
    for thing, name in enumerate(names):
        moved[name] = places[thing]
    renamed = [Clue(c.kind, names[c.a], names[c.b], c.amount) for c in reversed(clues)]
    assert canonical(renamed, moved, 4) == canonical(clues, places, 4)
    assert canonical(clues[1:], places, 4) != canonical(clues, places, 4)


# Knights and knaves.


def _is_true(statement: Statement, knights: list[bool]) -> bool:
    kind, about, number = statement
    told = [knights[person] for person in about]
    checks: dict[str, Callable[[], bool]] = {
        "knave": lambda: not told[0],
        "knight": lambda: told[0],
        "alike": lambda: told[0] == told[1],
        "unlike": lambda: told[0] != told[1],
        "either": lambda: told[0] or told[1],
        "neither": lambda: not told[0] and not told[1],
        "if": lambda: not (told[0] and told[1]),
        "count": lambda: sum(knights) == number,
    }
    return checks[kind]()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), people=st.integers(3, 6))
def test_knights_are_found_as_by_brute_force(seed: int, people: int) -> None:
    rng = random.Random(seed)
    said: list[tuple[int, Statement]] = []
    for _ in range(rng.randint(0, 5)):
        kind = rng.choice(list(KINDS))
        about = tuple(rng.sample(range(people), KINDS[kind][0]))
        said.append((rng.randrange(people), (kind, about, rng.randint(0, people))))
    found = consistent_worlds(said, people)
    for world in range(1 << people):
        knights = [bool(world >> person & 1) for person in range(people)]
        fits = all(knights[speaker] == _is_true(what, knights) for speaker, what in said)
        assert bool(found >> world & 1) == fits


def test_answers_to_knights_and_knaves() -> None:
    truth = {"names": ["Ada", "Ben", "Eva"], "knights": ["Ada", "Eva"]}
    for answer, paid in (
        ("Ada, Eva", 1.0), ("eva and ada", 1.0), ("Ada", 0.0), ("Ada, Eva, Eva", 0.0),
        ("Ada, Ben, Eva", 0.0), ("none", 0.0), ("Ada, Eva, Zoe", 0.0), (",", 0.0),
    ):  # fmt: skip
        assert KnightsAndKnaves().grade(truth, f"Answer: {answer}").reward == paid
    assert KnightsAndKnaves().grade({**truth, "knights": []}, "Answer: none").reward == 1.0


# Ciphers.


def test_published_ciphers() -> None:
    assert encipher("HELLO WORLD", "caesar", "13") == "URYYB JBEYQ"
    assert encipher("ATTACKATDAWN", "vigenere", "LEMON") == "LXFOPVEFRNHR"
    rails = encipher("WEAREDISCOVEREDRUNATONCE", "rails", "3")
    assert rails == "WECRUOERDSOEERNTNEAIVDAC"
    assert encipher("WIZARD", "atbash", "") == "DRAZIW"
    assert encipher("FLEE AT ONCE", "keyword", "ZEBRAS") == "SIAA ZQ LKBA"
    assert encipher("AB CDE", "backward", "") == "ED CBA"


def test_morse() -> None:
    assert len(set(MORSE.values())) == 36
    truth = {"solution": "... --- ... / .-", "code": True}
    for answer in ("... --- ... / .-", "··· −−− ···/·−", "`... --- ...  /  .-`"):
        assert Morse().grade(truth, f"Answer: {answer}").reward == 1.0
    assert Morse().grade(truth, "Answer: ...---... / .-").reward == 0.0
    assert Morse().grade({"solution": "SOS 7", "code": False}, "Answer: “sos 7”").reward == 1.0
    assert Cipher().grade({"solution": "SO IT IS"}, "Answer: SO IT").reward == 0.0


# Tables.


def _sql(ask: str, data: Database) -> Callable[..., int]:
    base = sqlite3.connect(":memory:")
    base.execute("create table owners (owner text primary key, grp text)")
    base.execute("create table items (item text primary key, kind text, measure int)")
    base.execute("create table records (owner text, item text, n int)")
    base.executemany("insert into owners values (?, ?)", data.owners.items())
    base.executemany("insert into items values (?, ?, ?)", [(i, *v) for i, v in data.items.items()])
    base.executemany("insert into records values (?, ?, ?)", data.records)
    base.execute(
        "create view totals as select o.owner owner, o.grp grp, r.item item, i.kind kind, r.n n, "
        "coalesce(r.n * i.measure, 0) total from owners o left join records r using (owner) "
        "left join items i using (item)"
    )
    return lambda *values: base.execute(ask, values).fetchone()[0] or 0


SQL: dict[str, str] = {
    "group": "select sum(total) from totals where grp = ? and kind = ?",
    "difference": "select abs(sum(case when grp = ? then total else 0 end) - "
    "sum(case when grp = ? then total else 0 end)) from totals where kind = ?",
    "leader": "select sum(total) from totals where kind = ? and owner = (select owner from totals "
    "group by owner order by sum(total) desc limit 1)",
    "gap": "select max(t) - min(t) from (select sum(total) t from totals where grp = ? "
    "group by owner)",
    "rest": "with leader as (select owner, grp from totals where item = ? order by n desc limit 1) "
    "select sum(total) from totals where grp = (select grp from leader) "
    "and owner <> (select owner from leader)",
}


@pytest.mark.parametrize("seed", range(40))
def test_tables_are_read_as_sqlite_reads_them(seed: int) -> None:
    rng = random.Random(seed)
    theme = rng.choice(THEMES)
    data = draw_database(rng, theme, rng.random())
    for ask in QUESTIONS:
        _, answer, identity = ask(rng, theme, data)
        if answer is not None:
            kind, *values = identity
            assert answer == _sql(SQL[kind], data)(*values), (kind, values)


def test_the_numbers_of_a_table() -> None:
    truth: dict[str, Any] = {"solution": "12345"}
    for answer, paid in (
        ("12345", 1.0), ("12,345", 1.0), ("12345.", 1.0), ("1,2345", 0.0), ("12345.0", 0.0),
        ("１２３４５", 0.0), ("12345 or 0", 0.0), ("-12345", 0.0), ("0x3039", 0.0),
        ("9" * 9000, 0.0),
    ):  # fmt: skip
        assert Tables().grade(truth, f"Answer: {answer}").reward == paid
