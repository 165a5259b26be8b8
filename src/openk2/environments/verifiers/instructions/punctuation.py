"""Punctuation marks: none, some, at the end."""

from dataclasses import dataclass
from typing import ClassVar, Self

from openk2.environments.verifiers.instructions.constraint import Constraint, Counted, Draw
from openk2.environments.verifiers.instructions.draft import Draft
from openk2.environments.verifiers.instructions.reading import Reading
from openk2.environments.verifiers.instructions.vocabulary import PHRASES

__all__ = ["CONSTRAINTS", "COMMAS", "Parentheses"]

COMMAS = ",，、،﹐"


@dataclass(frozen=True)
class NoCommas(Constraint):
    id = "punctuation.no_commas"
    takes = frozenset({"commas"})
    bars = frozenset({"whole"})
    hardness = 0.2
    wordings: ClassVar[tuple[str, ...]] = (
        "Do not use any commas.",
        "No comma may occur in the text.",
        "Write without commas.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls()

    def check(self, reading: Reading) -> bool:
        return bool(reading.words) and not any(mark in reading.text for mark in COMMAS)

    def plan(self, draft: Draft) -> None:
        """The writer uses none."""


@dataclass(frozen=True)
class EndPhrase(Constraint):
    phrase: str

    id = "punctuation.end_phrase"
    takes = frozenset({"end"})
    bars = frozenset({"case", "letters", "sentence starts", "sentence length", "lines", "repeats"})
    hardness = 0.2
    wordings: ClassVar[tuple[str, ...]] = (
        'End with exactly these words, and nothing after them: "{phrase}"',
        'The last thing in the text must be: "{phrase}"',
        'Finish with the sentence "{phrase}" as it stands here.',
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.rng.choice(PHRASES))

    def check(self, reading: Reading) -> bool:
        return reading.text.endswith(self.phrase)

    def plan(self, draft: Draft) -> None:
        draft.finish_with(self.phrase)


class Exclamations(Counted):
    id = "punctuation.exclamations"
    takes = frozenset({"exclamations"})
    noun = ("exclamation mark", "exclamation marks")
    sizes = (1, 5)
    wordings = (
        "Use {amount}.",
        "The text must contain {amount}.",
        "Put {amount} into the text.",
    )

    def measure(self, reading: Reading) -> int:
        return reading.prose.count("!")

    def plan(self, draft: Draft) -> None:
        draft.exclamations = self.low
        draft.sentences.narrow(low=self.low + 1)


class Questions(Counted):
    id = "punctuation.questions"
    takes = frozenset({"questions"})
    noun = ("question", "questions")
    sizes = (1, 4)
    wordings = (
        "Ask {amount}, each with its question mark.",
        "The text must contain {amount}, which end with a question mark.",
        "There must be {amount} in the text, each closed by a question mark.",
    )

    def measure(self, reading: Reading) -> int:
        return reading.prose.count("?")

    def plan(self, draft: Draft) -> None:
        draft.questions += self.low
        draft.sentences.narrow(low=self.low + 1)


class Semicolons(Counted):
    id = "punctuation.semicolons"
    takes = frozenset({"semicolons"})
    bars = frozenset({"whole"})
    noun = ("semicolon", "semicolons")
    sizes = (1, 4)
    wordings = (
        "Use {amount}.",
        "The text must contain {amount}.",
        "Put {amount} into the text.",
    )

    def measure(self, reading: Reading) -> int:
        return reading.text.count(";")

    def plan(self, draft: Draft) -> None:
        draft.semicolons = self.low


@dataclass(frozen=True)
class OnlyFullStops(Constraint):
    """The full stop is the only mark that ends a sentence, and the only mark at all."""

    id = "punctuation.only_full_stops"
    takes = frozenset({"commas", "exclamations", "questions", "semicolons", "marks"})
    bars = frozenset({"whole"})
    hardness = 0.5
    wordings: ClassVar[tuple[str, ...]] = (
        "The full stop is the only punctuation mark that you may use.",
        "Use full stops and no other punctuation.",
        "Apart from full stops, write no punctuation marks at all.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls()

    def check(self, reading: Reading) -> bool:
        marks = {one for one in reading.text if not one.isalnum() and not one.isspace()}
        return marks == {"."}

    def plan(self, draft: Draft) -> None:
        """The writer uses no other."""


class Parentheses(Counted):
    id = "punctuation.parentheses"
    bars = frozenset({"marks"})
    noun = ("remark in parentheses", "remarks in parentheses")
    sizes = (1, 4)
    wordings = (
        "Include {amount}, like (this).",
        "Put {amount} into the text.",
        "The text must have {amount}.",
    )

    def measure(self, reading: Reading) -> int:
        return parenthesised(reading.text)

    def plan(self, draft: Draft) -> None:
        draft.decorate(self.low, "({})", words=2)


def parenthesised(text: str) -> int:
    """Pairs of parentheses around at least one letter or digit; nested ones count once."""
    depth = count = 0
    filled = False
    for one in text:
        if one == "(":
            depth, filled = depth + 1, filled and depth > 0
        elif one == ")" and depth:
            depth -= 1
            count += not depth and filled
        elif one.isalnum():
            filled = True
    return count


CONSTRAINTS: tuple[type[Constraint], ...] = (
    NoCommas,
    EndPhrase,
    Exclamations,
    Questions,
    Semicolons,
    OnlyFullStops,
    Parentheses,
)
