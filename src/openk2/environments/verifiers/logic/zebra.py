"""Einstein's puzzle and seatings: who stands where, from clues none of which can be spared."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from openk2.environments.base import Problem
from openk2.environments.verifiers.answers import ANSWER_FORMAT
from openk2.environments.verifiers.logic.arrangement import (
    Clue,
    canonical,
    clues_that_settle,
)
from openk2.environments.verifiers.logic.puzzle import Puzzle, between
from openk2.environments.verifiers.logic.vocabulary import ATTRIBUTES, NAMES

__all__ = ["Ordering", "Zebra"]

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")

OWNER: Mapping[str, str] = {
    "name": "{}",
    "drink": "the person who drinks {}",
    "pet": "the person who keeps the {}",
    "job": "the {}",
    "sport": "the person whose sport is {}",
    "fruit": "the person who likes the {}",
    "instrument": "the person who plays the {}",
    "colour": "the person in the {} house",
}


def _told(rng: random.Random, clue: Clue, a: str, b: str, said: Mapping[str, Sequence[str]]) -> str:
    sentence = rng.choice(said[clue.kind]).format(
        a=a, b=b, place=ORDINALS[clue.amount], gap=NUMBERS[max(0, clue.amount - 1)],
        s="" if clue.amount == 2 else "s",
    )  # fmt: skip
    return sentence[0].upper() + sentence[1:]


def _listing(clues: Sequence[str]) -> str:
    return "\n".join(f"{number}. {clue}" for number, clue in enumerate(clues, 1))


class Zebra(Puzzle):
    """Three to five houses, three to five categories; the answer is the whole table.

    Truth: rows (for every house its words, in the order that was asked for), solution.
    """

    name: ClassVar[str] = "logic.zebra"

    KINDS = ("at", "not_at", "same", "different", "before", "just_before", "beside", "apart")
    SAID: Mapping[str, Sequence[str]] = {
        "at": ("{a} lives in the {place} house.", "In the {place} house lives {a}."),
        "not_at": ("{a} does not live in the {place} house.",),
        "same": ("{a} is {b}.", "{a} and {b} are one and the same person."),
        "different": ("{a} is not {b}.", "{a} and {b} are two different people."),
        "before": ("{a} lives somewhere to the left of {b}.", "{b} lives to the right of {a}."),
        "just_before": (
            "{a} lives directly to the left of {b}.",
            "{b} is the right-hand neighbour of {a}.",
        ),
        "beside": ("{a} and {b} are neighbours.", "{a} lives next door to {b}."),
        "apart": ("Between {a} and {b} there is exactly {gap} house{s}.",),
    }
    TEMPLATES = (
        "{count} houses stand in a row, numbered from left to right, with one person in each. "
        "{lists}\n\n{clues}\n\nWho lives where, and with what? {form}",
        "There are {count} people in {count} houses side by side. {lists} From left to right the "
        "houses are the first, the second and so on.\n\nWhat is known:\n{clues}\n\n{form}",
        "Solve this puzzle about {count} neighbours whose houses form a row from left to right. "
        "{lists}\n\nClues:\n{clues}\n\nFind out everything about every house. {form}",
    )

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        size = between(3, 5, difficulty)
        others = [category for category in ATTRIBUTES if category != "name"]
        categories = ["name", *rng.sample(others, between(2, 4, difficulty))]
        words = {c: rng.sample(ATTRIBUTES[c], size) for c in categories}
        places = [place for _ in categories for place in rng.sample(range(size), size)]
        clues = clues_that_settle(rng, places, size, self.KINDS)

        def person(thing: int) -> str:
            category = categories[thing // size]
            return OWNER[category].format(words[category][thing % size])

        told = [_told(rng, clue, person(clue.a), person(clue.b), self.SAID) for clue in clues]
        rows = [
            [words[c][places[k * size : (k + 1) * size].index(h)] for k, c in enumerate(categories)]
            for h in range(size)
        ]
        lists = " ".join(f"Every {c} occurs once: {', '.join(sorted(words[c]))}." for c in words)
        form = (
            f"Give the houses from left to right, each as {', '.join(categories)}, with commas "
            "inside a house and semicolons between houses. "
        ) + ANSWER_FORMAT
        prompt = rng.choice(self.TEMPLATES).format(
            count=NUMBERS[size], lists=lists, clues=_listing(told), form=form
        )
        prompt = prompt[0].upper() + prompt[1:]
        solution = "; ".join(", ".join(row) for row in rows)
        return Problem(prompt, {"rows": rows, "solution": solution}, canonical(clues, places, size))

    def fault(self, truth: Mapping[str, Any], answer: str) -> str:
        rows = [
            [word.strip().casefold() for word in house.split(",")]
            for house in answer.rstrip(" ;.").split(";")
        ]
        if [len(row) for row in rows] != [len(row) for row in truth["rows"]]:
            return "the answer does not list every house with every category"
        right = [[word.casefold() for word in row] for row in truth["rows"]]
        return "" if rows == right else "the answer puts something in the wrong house"


class Ordering(Puzzle):
    """Five to nine people in a row or a race. Truth: order, solution."""

    name: ClassVar[str] = "logic.ordering"

    KINDS = ("not_at", "before", "just_before", "beside", "apart")
    RACE: Mapping[str, Sequence[str]] = {
        "not_at": ("{a} did not finish {place}.", "{a} was not {place}."),
        "before": ("{a} finished before {b}.", "{b} was slower than {a}."),
        "just_before": ("{a} finished directly ahead of {b}.", "{b} came in right after {a}."),
        "beside": ("{a} and {b} finished one right after the other, in some order.",),
        "apart": ("Exactly {gap} of the others finished between {a} and {b}.",),
    }
    SEATS: Mapping[str, Sequence[str]] = {
        "not_at": ("{a} does not sit on the {place} seat from the left.",),
        "before": ("{a} sits somewhere to the left of {b}.", "{b} sits further right than {a}."),
        "just_before": ("{a} sits directly to the left of {b}.",),
        "beside": ("{a} and {b} sit next to each other.", "{a} is beside {b}."),
        "apart": ("Exactly {gap} of the others sit between {a} and {b}.",),
    }
    TEMPLATES = (
        (RACE, "{count} runners took part in a race without ties: {names}.\n\n{clues}\n\nIn which "
         "order did they finish, the winner first? {form}"),
        (RACE, "{names} ran against each other, and no two finished together. About the result we "
         "know:\n{clues}\n\nList them from first to last. {form}"),
        (SEATS, "{count} friends sit side by side on a bench: {names}.\n\n{clues}\n\nGive their "
         "order from left to right. {form}"),
        (SEATS, "Find the seating of {names} in one row of {count} seats.\n{clues}\n\nWho sits "
         "where, from left to right? {form}"),
    )  # fmt: skip

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        size = between(5, 9, difficulty)
        names = rng.sample(NAMES, size)
        places = rng.sample(range(size), size)
        clues = clues_that_settle(rng, places, size, self.KINDS)
        said, template = rng.choice(self.TEMPLATES)
        told = [_told(rng, clue, names[clue.a], names[clue.b], said) for clue in clues]
        order = [names[places.index(place)] for place in range(size)]
        form = "Write the names in that order, with commas between them. " + ANSWER_FORMAT
        count = NUMBERS[size] if size < len(NUMBERS) else str(size)
        prompt = template.format(
            count=count, names=", ".join(sorted(names)), clues=_listing(told), form=form
        )
        prompt = prompt[0].upper() + prompt[1:]
        truth = {"order": order, "solution": ", ".join(order)}
        return Problem(prompt, truth, canonical(clues, places, size))

    def fault(self, truth: Mapping[str, Any], answer: str) -> str:
        names = [name.strip().casefold() for name in answer.rstrip(" .").split(",")]
        right = [name.casefold() for name in truth["order"]]
        if sorted(names) != sorted(right):
            return "the answer does not name everyone once"
        return "" if names == right else "the order is wrong"
