"""Knights, who always tell the truth, and knaves, who always lie.

A set of worlds is a whole number with one bit for each way in which the people can be knights: in
world w person i is a knight when bit i of w is set. What a statement says is the set of worlds in
which it is true, so that a puzzle is solved with a few operations on whole numbers.
"""

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from openk2.environments.base import Problem
from openk2.environments.verifiers.answers import ANSWER_FORMAT
from openk2.environments.verifiers.logic.puzzle import Puzzle, between
from openk2.environments.verifiers.logic.vocabulary import NAMES

__all__ = ["KnightsAndKnaves", "consistent_worlds"]

Statement = tuple[str, tuple[int, ...], int]  # kind, the people it is about, a number

# Kinds of statement: how many people each is about (0: everyone), and how it is told.
KINDS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "knave": (1, ("{0} is a {liar}.", "{0} belongs to the {liars}.")),
    "knight": (1, ("{0} is a {honest}.",)),
    "alike": (2, ("{0} and {1} are of the same kind.", "{0} is what {1} is.")),
    "unlike": (2, ("Exactly one of {0} and {1} is a {honest}.", "{0} and {1} differ in kind.")),
    "either": (2, ("At least one of {0} and {1} is a {honest}.",)),
    "neither": (2, ("Both {0} and {1} are {liars}.", "Neither {0} nor {1} is a {honest}.")),
    "if": (2, ("If {0} is a {honest}, then {1} is a {liar}.",)),
    "count": (0, ("Exactly {number} of us {be} {honest_count}.",)),
}


def _worlds_of(person: int, people: int) -> int:
    """The worlds in which a person is a knight."""
    block = ((1 << (1 << person)) - 1) << (1 << person)
    worlds, width = block, 2 << person
    while width < 1 << people:
        worlds |= worlds << width
        width *= 2
    return worlds


def _worlds_with(number: int, people: int) -> int:
    """The worlds with exactly this many knights."""
    return sum(1 << world for world in range(1 << people) if world.bit_count() == number)


def _meaning(statement: Statement, people: int, knights: Sequence[int], every: int) -> int:
    """The worlds in which a statement is true."""
    kind, about, number = statement
    if kind == "count":
        return _worlds_with(number, people)
    a, b = knights[about[0]], knights[about[-1]]
    return {
        "knight": a,
        "knave": every & ~a,
        "alike": every & ~(a ^ b),
        "unlike": a ^ b,
        "either": a | b,
        "neither": every & ~(a | b),
        "if": every & ~(a & b),
    }[kind]


def consistent_worlds(statements: Sequence[tuple[int, Statement]], people: int) -> int:
    """The worlds that fit what was said: (speaker, statement) pairs."""
    every = (1 << (1 << people)) - 1
    knights = [_worlds_of(person, people) for person in range(people)]
    left = every
    for speaker, statement in statements:
        left &= every & ~(knights[speaker] ^ _meaning(statement, people, knights, every))
    return left


class KnightsAndKnaves(Puzzle):
    """Four to twelve people; nobody's statement can be spared. Truth: names, knights, solution."""

    name: ClassVar[str] = "logic.knights_and_knaves"

    ISLANDS = (
        ("knight", "knights", "knave", "knaves"),
        ("truth-teller", "truth-tellers", "liar", "liars"),
        ("saint", "saints", "trickster", "tricksters"),
    )
    TEMPLATES = (
        "On an island everyone is either a {honest}, who always tells the truth, or a {liar}, who "
        "always lies. You meet {names}.\n\n{lines}\n\nWho are the {honests}? {form}",
        "{names} are {count} islanders. Each is a {honest} (all that they say is true) or a {liar} "
        "(all that they say is false).\n\n{lines}\n\nFind the {honests}. {form}",
        "Among {names}, the {honests} speak only the truth and the {liars} speak only falsehoods; "
        "everyone is one or the other.\n\n{lines}\n\nWhich of them are {honests}? {form}",
    )

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        people = between(4, 12, difficulty)
        world = rng.randrange(1 << people)
        said = _statements_that_settle(rng, world, people)
        names = rng.sample(NAMES, people)
        honest, honests, liar, liars = rng.choice(self.ISLANDS)
        lines = []
        for speaker, (kind, about, number) in said:
            sentence = rng.choice(KINDS[kind][1]).format(
                *(names[person] for person in about), number=number, honest=honest, liar=liar,
                liars=liars, be="is" if number == 1 else "are",
                honest_count=f"a {honest}" if number == 1 else honests,
            )  # fmt: skip
            lines.append(f"{names[speaker]} says: “{sentence}”")
        form = (
            f"List the names of all {honests}, with commas between them, or write `none`. "
        ) + ANSWER_FORMAT
        prompt = rng.choice(self.TEMPLATES).format(
            honest=honest, honests=honests, liar=liar, liars=liars, count=people,
            names=f"{', '.join(names[:-1])} and {names[-1]}", lines="\n".join(lines), form=form,
        )  # fmt: skip
        knights = [name for person, name in enumerate(names) if world >> person & 1]
        truth = {"names": names, "knights": knights, "solution": ", ".join(knights) or "none"}
        return Problem(prompt, truth, _canonical(said))

    def fault(self, truth: Mapping[str, Any], answer: str) -> str:
        text = answer.rstrip(" .").casefold().replace(" and ", ", ")
        names = [] if text == "none" else [name.strip() for name in text.split(",") if name.strip()]
        if not names and text != "none":
            return "the answer names nobody"
        if len(names) != len(set(names)) or set(names) - {n.casefold() for n in truth["names"]}:
            return "the answer is not a list of these people"
        right = {name.casefold() for name in truth["knights"]}
        return "" if set(names) == right else "the answer names the wrong people"


def _statements_that_settle(
    rng: random.Random, world: int, people: int
) -> list[tuple[int, Statement]]:
    """What the people of a world say, so that only this world fits and nothing can be spared."""
    every = (1 << (1 << people)) - 1
    knights = [_worlds_of(person, people) for person in range(people)]
    said: list[tuple[int, Statement]] = []
    while (left := consistent_worlds(said, people)).bit_count() > 1:
        speaker = rng.randrange(people)
        others = [person for person in range(people) if person != speaker]
        kind = rng.choice(list(KINDS))
        statement = (
            kind, tuple(rng.sample(others, KINDS[kind][0])), rng.randint(0, people),
        )  # fmt: skip
        meaning = _meaning(statement, people, knights, every)
        fits = every & ~(knights[speaker] ^ meaning)
        if fits >> world & 1 and left & fits != left:
            said.append((speaker, statement))
    for one in list(said):
        fewer = [other for other in said if other is not one]
        if consistent_worlds(fewer, people).bit_count() == 1:
            said = fewer
    return said


def _canonical(said: Sequence[tuple[int, Statement]]) -> str:
    """The same for puzzles that differ in names: people are numbered as they are first heard of."""
    numbers: dict[int, int] = {}
    form = []
    for speaker, (kind, about, number) in said:
        people = [numbers.setdefault(person, len(numbers)) for person in (speaker, *about)]
        form.append([kind, people, number if kind == "count" else 0])
    return json.dumps(form)
