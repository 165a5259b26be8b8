"""Capitals."""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

from openk2.environments.verifiers.format_checks import WORD
from openk2.environments.verifiers.instructions.constraint import Constraint, Counted, Draw
from openk2.environments.verifiers.instructions.draft import Draft
from openk2.environments.verifiers.instructions.reading import Reading

__all__ = ["CONSTRAINTS", "CapitalWords"]

CASE = frozenset({"case"})


@dataclass(frozen=True)
class WholeCase(Constraint):
    """Base: one rule for every letter of the text; no parameters."""

    takes = CASE
    bars = frozenset({"whole"})
    hardness = 0.2

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls()


class Upper(WholeCase):
    id = "case.upper"
    wordings: ClassVar[tuple[str, ...]] = (
        "Write in capital letters only.",
        "No lowercase letter may occur.",
        "The whole text must be in ALL CAPS.",
    )

    def check(self, reading: Reading) -> bool:
        return reading.text.isupper()

    def plan(self, draft: Draft) -> None:
        draft.recase = str.upper


class Lower(WholeCase):
    id = "case.lower"
    wordings: ClassVar[tuple[str, ...]] = (
        "Write in lowercase letters only.",
        "No capital letter may occur, not even at the start of a sentence.",
        "The whole text must be in lowercase.",
    )

    def check(self, reading: Reading) -> bool:
        return reading.text.islower()

    def plan(self, draft: Draft) -> None:
        draft.recase = str.lower


class Title(WholeCase):
    id = "case.title"
    wordings: ClassVar[tuple[str, ...]] = (
        "Begin every word with a capital letter and write the rest of it in lowercase.",
        "Capitalise Each Word Like This, Short Ones Too.",
        "Every word must have a capital first letter, followed by lowercase letters only.",
    )

    def check(self, reading: Reading) -> bool:
        return bool(reading.words) and all(_titled(word) for word in reading.words)

    def plan(self, draft: Draft) -> None:
        draft.recase = lambda text: WORD.sub(lambda found: found[0].capitalize(), text)


def _titled(word: str) -> bool:
    """Whether a word begins with a capital; the parts of a hyphenated one may, too."""
    rest = "".join(part[1:] for part in word.split("-"))
    return not word[0].islower() and rest == rest.lower()


class Alternating(WholeCase):
    id = "case.alternating"
    hardness = 0.7
    wordings: ClassVar[tuple[str, ...]] = (
        "Alternate the case of words: the first in CAPITALS, the second in lowercase, and so on.",
        "Write every odd word in capital letters and every even word in lowercase letters.",
        "WORD by WORD, switch BETWEEN capitals AND lowercase, beginning WITH capitals.",
    )

    def check(self, reading: Reading) -> bool:
        return len(reading.words) > 1 and all(
            word == (word.lower() if place % 2 else word.upper())
            for place, word in enumerate(reading.words)
        )

    def plan(self, draft: Draft) -> None:
        draft.recase = _alternated


def _alternated(text: str) -> str:
    pieces, last = [], 0
    for place, found in enumerate(WORD.finditer(text)):
        pieces += [text[last : found.start()], (str.lower if place % 2 else str.upper)(found[0])]
        last = found.end()
    return "".join([*pieces, text[last:]])


class CapitalWords(Counted):
    id = "case.capital_words"
    takes = CASE
    noun = ("word", "words")
    sizes = (2, 8)
    hardness = 0.4
    wordings = (
        "Write {amount} of two letters or more in capitals only.",
        "Put {amount} (of at least two letters) in ALL CAPS.",
        "All-capital words: {amount} of two or more letters.",
    )

    def measure(self, reading: Reading) -> int:
        return sum(len(word) >= 2 and word.isalpha() and word.isupper() for word in reading.words)

    def plan(self, draft: Draft) -> None:
        def recase(text: str) -> str:
            spots = list(re.finditer(r"(?<= )[a-z]{2,}(?= )", text))
            for found in draft.rng.sample(spots, self.low):
                text = text[: found.start()] + found[0].upper() + text[found.end() :]
            return text

        draft.words.narrow(3 * self.low + 20)
        draft.recase = recase


class SentenceCapitals(Counted):
    """Capital letters altogether, whatever they begin."""

    id = "case.capital_letters"
    takes = CASE
    bars = frozenset({"start", "paragraph sentences"})
    noun = ("capital letter", "capital letters")
    sizes = (4, 15)
    relations = ("at most", "between")
    hardness = 0.6
    wordings = (
        "Use {amount} in the whole text.",
        "The text must contain {amount}.",
        "Counting every letter, there must be {amount}.",
    )

    def measure(self, reading: Reading) -> int:
        return sum(map(str.isupper, reading.text))

    def plan(self, draft: Draft) -> None:
        if self.low == 0:
            draft.sentences.narrow(high=self.high)
        else:
            draft.sentences.narrow(self.low, self.low)


CONSTRAINTS: tuple[type[Constraint], ...] = (
    Upper,
    Lower,
    Title,
    Alternating,
    CapitalWords,
    SentenceCapitals,
)
