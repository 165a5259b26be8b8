"""How sentences, items, words and numbers follow one another, and the language they are in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

from openk2.environments.verifiers.format_checks import is_language, words_of
from openk2.environments.verifiers.instructions.constraint import PROSE, Constraint, Counted, Draw
from openk2.environments.verifiers.instructions.draft import Draft
from openk2.environments.verifiers.instructions.reading import Reading, folded
from openk2.environments.verifiers.instructions.vocabulary import LANGUAGES

__all__ = ["CONSTRAINTS", "list_items"]

ITEM = re.compile(r"^[ \t]*(?:[-*•]|\d{1,9}[.)])[ \t]+(\S.*)$", re.M)
DIGITS = frozenset({"digits"})


def list_items(reading: Reading) -> list[str]:
    """The items of all lists, folded as an alphabetical order compares them."""
    return [folded(" ".join(words_of(item))) for item in ITEM.findall(reading.text)]


@dataclass(frozen=True)
class Plain(Constraint):
    """Base: no parameters."""

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls()


class Growing(Plain):
    id = "structure.growing_sentences"
    takes = frozenset({"sentence length"})
    hardness = 0.8
    wordings: ClassVar[tuple[str, ...]] = (
        "Every sentence must have more words than the one before it.",
        "Let each sentence be longer, in words, than the previous one.",
        "The sentences must grow: each has more words than its predecessor.",
    )

    def check(self, reading: Reading) -> bool:
        lengths = [len(words_of(sentence)) for sentence in reading.sentences]
        return len(lengths) >= 3 and all(one < other for one, other in pairwise(lengths))

    def plan(self, draft: Draft) -> None:
        draft.growing = True
        draft.sentences.narrow(high=12)
        draft.sentence_words.high = 60


class Chained(Plain):
    id = "structure.chain"
    takes = frozenset({"sentence starts"})
    hardness = 0.8
    wordings: ClassVar[tuple[str, ...]] = (
        "Every sentence but the first must begin with the last word of the sentence before it.",
        "Chain the sentences: the last word of each is the first word of the next.",
        "Start each sentence with the word that ended the previous one.",
    )

    def check(self, reading: Reading) -> bool:
        words = [[word.lower() for word in words_of(one)] for one in reading.sentences]
        return len(words) >= 3 and all(one[-1] == other[0] for one, other in pairwise(words))

    def plan(self, draft: Draft) -> None:
        draft.chained = True


class Openings(Plain):
    id = "structure.different_openings"
    takes = frozenset({"sentence starts"})
    hardness = 0.4
    wordings: ClassVar[tuple[str, ...]] = (
        "No two sentences may begin with the same word.",
        "Begin every sentence with a different word.",
        "The first words of the sentences must all differ.",
    )

    def check(self, reading: Reading) -> bool:
        firsts = [words_of(sentence)[0].lower() for sentence in reading.sentences]
        return len(firsts) >= 3 and len(set(firsts)) == len(firsts)

    def plan(self, draft: Draft) -> None:
        draft.different_starts = True


@dataclass(frozen=True)
class Sorted(Constraint):
    """The items of the lists stand in alphabetical order."""

    count: int

    id = "structure.sorted_items"
    takes = frozenset({"list"})
    bars = PROSE | {"whole", "marks"}
    hardness = 0.5
    wordings: ClassVar[tuple[str, ...]] = (
        'Include a list of {count} or more items ("- item") in alphabetical order.',
        'Somewhere, list at least {count} things, one a line after "- ", sorted from A to Z.',
        "There must be a list of {count} bullet points or more (`- item`), in alphabetical order.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.size(3, 6))

    def check(self, reading: Reading) -> bool:
        items = list_items(reading)
        return len(set(items)) == len(items) >= self.count and items == sorted(items)

    def plan(self, draft: Draft) -> None:
        draft.paragraphs.narrow(2)
        draft.between.append(
            lambda phrase: "\n".join(sorted(f"- {phrase(2)}" for _ in range(self.count)))
        )


@dataclass(frozen=True)
class UniqueShare(Constraint):
    """Of all words, at least this percentage are different ones."""

    percent: int

    id = "counting.unique_words"
    takes = frozenset({"repeats"})
    bars = frozenset({"language"})
    hardness = 0.6
    wordings: ClassVar[tuple[str, ...]] = (
        "At least {percent}% of the words must be different words.",
        "Vary your words: the different ones must make up {percent} percent of all or more.",
        "Different words divided by all words: {percent}% or more.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.size(70, 95))

    def check(self, reading: Reading) -> bool:
        return bool(reading.words) and 100 * len(reading.counts) >= self.percent * len(
            reading.words
        )

    def plan(self, draft: Draft) -> None:
        draft.most_repeats = 1


@dataclass(frozen=True)
class MostRepeats(Constraint):
    most: int

    id = "counting.word_repeats"
    takes = frozenset({"repeats"})
    bars = frozenset({"language"})
    hardness = 0.7
    wordings: ClassVar[tuple[str, ...]] = (
        "Use no word more than {most} times, not even short ones.",
        "Every word, small ones included, may occur at most {most} times.",
        "No single word may be used more than {most} times.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(5 - draw.size(1, 3))

    def check(self, reading: Reading) -> bool:
        return bool(reading.counts) and max(reading.counts.values()) <= self.most

    def plan(self, draft: Draft) -> None:
        draft.most_repeats = self.most


class DistinctWords(Counted):
    id = "counting.distinct_words"
    takes = frozenset({"distinct"})
    bars = frozenset({"language", "word form", "letters"})
    noun = ("different word", "different words")
    sizes = (35, 80)
    hardness = 0.5
    wordings = (
        "Use {amount}.",
        "The text must be made of {amount}.",
        "Count every word once, however often it occurs: there must be {amount}.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        number = draw.size(*cls.sizes)
        return cls(number, number + 40)

    def measure(self, reading: Reading) -> int:
        return len(reading.counts)

    def plan(self, draft: Draft) -> None:
        draft.words.narrow(self.low + 3, self.high + 10)
        draft.most_repeats = min(draft.most_repeats, 2)
        draft.words.narrow(low=round(self.low * 1.5))


class Numbers(Counted):
    id = "numbers.count"
    takes = DIGITS
    noun = ("number", "numbers")
    sizes = (1, 5)
    wordings = (
        "Write {amount} in digits.",
        "The text must contain {amount}, written in digits.",
        "Use {amount} in digits, such as 12 or 300.",
    )

    def measure(self, reading: Reading) -> int:
        return len(reading.numbers)

    def plan(self, draft: Draft) -> None:
        draft.units += [str(draft.rng.randint(2, 900)) for _ in range(self.low)]


@dataclass(frozen=True)
class NumberSum(Constraint):
    """At least `least` numbers in digits, and all of them add up to `total`."""

    total: int
    least: int

    id = "numbers.sum"
    takes = DIGITS
    hardness = 0.7
    wordings: ClassVar[tuple[str, ...]] = (
        "Write at least {least} numbers in digits, and let all numbers in the text add up to "
        "{total}.",
        "The numbers in the text (in digits, {least} or more of them) must sum to {total}.",
        "Use {least} or more numbers, written in digits, whose sum is {total}.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.rng.randint(40, 400), draw.size(2, 5))

    def check(self, reading: Reading) -> bool:
        return len(reading.numbers) >= self.least and round(sum(reading.numbers), 6) == self.total

    def plan(self, draft: Draft) -> None:
        cuts = sorted(draft.rng.sample(range(1, self.total), self.least - 1))
        draft.units += [str(high - low) for low, high in pairwise([0, *cuts, self.total])]


@dataclass(frozen=True)
class GrowingNumbers(Constraint):
    least: int

    id = "numbers.increasing"
    takes = DIGITS
    hardness = 0.5
    wordings: ClassVar[tuple[str, ...]] = (
        "Use at least {least} numbers in digits, each larger than the one before it.",
        "Write {least} or more numbers in digits, in increasing order.",
        "The numbers in the text, {least} or more and in digits, must increase from one to the "
        "next.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.size(2, 5))

    def check(self, reading: Reading) -> bool:
        numbers = reading.numbers
        return len(numbers) >= self.least and all(one < two for one, two in pairwise(numbers))

    def plan(self, draft: Draft) -> None:
        numbers = sorted(draft.rng.sample(range(2, 1000), self.least))
        draft.units.append(" ".join(map(str, numbers)))
        draft.sentence_words.narrow(low=self.least + 2)


class NoDigits(Plain):
    id = "numbers.none"
    takes = DIGITS
    hardness = 0.1
    wordings: ClassVar[tuple[str, ...]] = (
        "Write no digits; spell numbers out.",
        "No digit may occur in the text.",
        "Do not use any numerals.",
    )

    def check(self, reading: Reading) -> bool:
        return bool(reading.words) and not any(one.isnumeric() for one in reading.text)

    def plan(self, draft: Draft) -> None:
        """The writer uses none."""


class Ascii(Plain):
    id = "language.ascii"
    takes = frozenset({"characters used"})
    bars = frozenset({"language"})
    hardness = 0.1
    wordings: ClassVar[tuple[str, ...]] = (
        "Use ASCII characters only: no accents, no curly quotes, no long dashes.",
        "Every character must be plain ASCII.",
        "Write in pure ASCII.",
    )

    def check(self, reading: Reading) -> bool:
        return bool(reading.words) and reading.text.isascii()

    def plan(self, draft: Draft) -> None:
        """The writer uses no other."""


@dataclass(frozen=True)
class Language(Constraint):
    language: str

    id = "language.language"
    takes = frozenset({"language"})
    bars = frozenset({"word form", "sentence starts"})
    hardness = 0.4
    wordings: ClassVar[tuple[str, ...]] = (
        "Write in {language}, apart from words that are asked for here.",
        "The text must be in {language}; words that this message asks for stay as they are.",
        "Use {language}, but leave the words that this message demands as they stand.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.rng.choice(LANGUAGES))

    def facts(self) -> Mapping[str, Any]:
        return {"language": self.language}

    def check(self, reading: Reading) -> bool:
        return is_language(reading.text, self.language)

    def plan(self, draft: Draft) -> None:
        draft.language = self.language
        draft.words.narrow(40)


CONSTRAINTS: tuple[type[Constraint], ...] = (
    Growing,
    Chained,
    Openings,
    Sorted,
    UniqueShare,
    MostRepeats,
    DistinctWords,
    Numbers,
    NumberSum,
    GrowingNumbers,
    NoDigits,
    Ascii,
    Language,
)
