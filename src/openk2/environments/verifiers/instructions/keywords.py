"""Which words, how often and where."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from openk2.environments.verifiers.format_checks import words_of
from openk2.environments.verifiers.instructions.constraint import (
    Constraint,
    Counted,
    Draw,
    listed,
)
from openk2.environments.verifiers.instructions.draft import Draft
from openk2.environments.verifiers.instructions.reading import Reading

__all__ = ["CONSTRAINTS", "ORDINALS"]

ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    "eleventh", "twelfth",
)  # fmt: skip
# Words that are hard to do without.
COMMON = ("the", "a", "in", "on", "over", "with", "this", "some", "old", "new", "small", "now")


@dataclass(frozen=True)
class Include(Constraint):
    words: tuple[str, ...]

    id = "keywords.include"
    hardness = 0.1
    wordings: ClassVar[tuple[str, ...]] = (
        "Include the words {listed}.",
        "Each of the words {listed} must occur.",
        "Work in {listed}.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.keywords(draw.size(2, 6)))

    def facts(self) -> Mapping[str, Any]:
        return {"listed": listed(self.words)}

    def check(self, reading: Reading) -> bool:
        return all(word in reading.counts for word in self.words)

    def plan(self, draft: Draft) -> None:
        draft.units += self.words


@dataclass(frozen=True)
class Exclude(Constraint):
    words: tuple[str, ...]

    id = "keywords.exclude"
    hardness = 0.4
    bars = frozenset({"language"})
    wordings: ClassVar[tuple[str, ...]] = (
        "Do not use the words {listed}.",
        "None of the words {listed} may occur.",
        "Avoid {listed} altogether.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(tuple(draw.rng.sample(COMMON, draw.size(2, 5))))

    def facts(self) -> Mapping[str, Any]:
        return {"listed": listed(self.words)}

    def check(self, reading: Reading) -> bool:
        return bool(reading.counts) and not any(word in reading.counts for word in self.words)

    def plan(self, draft: Draft) -> None:
        draft.allow(lambda word: word not in self.words)


@dataclass(frozen=True)
class Frequency(Counted):
    word: str

    id = "keywords.frequency"
    bars = frozenset({"repeats"})
    noun = ("time", "times")
    sizes = (2, 5)
    wordings = (
        'Use the word "{word}" {amount}.',
        'The word "{word}" must occur {amount}.',
        '"{word}" is to be written {amount}.',
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        word, number = draw.keyword(), draw.rng.randint(*cls.sizes)
        exact = draw.rng.random() < 0.3 + 0.6 * draw.difficulty
        return cls(number, number if exact else number + 2, word)

    def measure(self, reading: Reading) -> int:
        return reading.counts[self.word]

    def plan(self, draft: Draft) -> None:
        draft.units += [self.word] * self.low


@dataclass(frozen=True)
class FirstWord(Constraint):
    word: str

    id = "keywords.first_word"
    takes = frozenset({"start"})
    bars = frozenset({"top"})
    hardness = 0.2
    wordings: ClassVar[tuple[str, ...]] = (
        'The first word must be "{word}".',
        'Begin with the word "{word}".',
        'Open the text with "{word}" as its very first word.',
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.keyword())

    def check(self, reading: Reading) -> bool:
        return reading.lower[:1] == [self.word]

    def plan(self, draft: Draft) -> None:
        draft.starts[0] = self.word


@dataclass(frozen=True)
class LastWord(Constraint):
    word: str

    id = "keywords.last_word"
    takes = frozenset({"end"})
    hardness = 0.2
    wordings: ClassVar[tuple[str, ...]] = (
        'The last word must be "{word}".',
        'Close with the word "{word}".',
        'Make "{word}" the very last word of the text.',
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.keyword())

    def check(self, reading: Reading) -> bool:
        return reading.lower[-1:] == [self.word]

    def plan(self, draft: Draft) -> None:
        draft.last_word = self.word


@dataclass(frozen=True)
class Placed(Constraint):
    """Base: a word has to do with number `number`, counted from 1, of something."""

    number: int
    word: str

    most: ClassVar[int] = 5
    hardness = 0.5

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.size(2, cls.most), draw.keyword())

    def facts(self) -> Mapping[str, Any]:
        return {
            "number": self.number,
            "ordinal": ORDINALS[self.number - 1] if self.number <= 12 else f"{self.number}th",
            "word": self.word,
        }


def starts_with(parts: list[str], number: int, word: str) -> bool:
    """Whether part `number`, counted from 1, exists and begins with the word."""
    return len(parts) >= number and [one.lower() for one in words_of(parts[number - 1])[:1]] == [
        word
    ]


class ParagraphStart(Placed):
    id = "keywords.paragraph_start"
    takes = frozenset({"sentence starts"})
    bars = frozenset({"lines"})
    most = 4
    wordings = (
        'The {ordinal} paragraph must begin with the word "{word}"; blank lines part paragraphs.',
        'Begin paragraph {number} with "{word}" (paragraphs are parted by blank lines).',
        'Let the {ordinal} of your paragraphs, parted by empty lines, start with "{word}".',
    )

    def check(self, reading: Reading) -> bool:
        return starts_with(reading.paragraphs, self.number, self.word)

    def plan(self, draft: Draft) -> None:
        draft.paragraphs.narrow(self.number)
        draft.paragraph_starts[self.number - 1] = self.word


class SentenceStart(Placed):
    id = "keywords.sentence_start"
    takes = frozenset({"sentence starts"})
    wordings = (
        'The {ordinal} sentence must begin with the word "{word}".',
        'Begin sentence number {number} with "{word}".',
        'Let the {ordinal} sentence start with the word "{word}".',
    )

    def check(self, reading: Reading) -> bool:
        return starts_with(reading.sentences, self.number, self.word)

    def plan(self, draft: Draft) -> None:
        draft.sentences.narrow(self.number)
        draft.starts[self.number - 1] = self.word


class SentenceContains(Placed):
    id = "keywords.sentence_contains"
    takes = frozenset({"sentence content"})
    wordings = (
        'The {ordinal} sentence must contain the word "{word}", and no other sentence may.',
        'Use the word "{word}" in sentence number {number} and in no other sentence.',
        'Only the {ordinal} sentence contains the word "{word}".',
    )

    def check(self, reading: Reading) -> bool:
        holders = [
            place
            for place, sentence in enumerate(reading.sentences, 1)
            if self.word in (one.lower() for one in words_of(sentence))
        ]
        return holders == [self.number]

    def plan(self, draft: Draft) -> None:
        draft.sentences.narrow(self.number)
        draft.sentence_units[self.number - 1] = self.word


class Position(Placed):
    id = "keywords.position"
    takes = frozenset({"position"})
    bars = frozenset({"top"})
    most = 30
    hardness = 0.7
    wordings = (
        'Word number {number} of the text must be "{word}".',
        'Counted from the beginning, word {number} has to be "{word}".',
        'Place "{word}" so that it is word number {number}.',
    )

    def check(self, reading: Reading) -> bool:
        return reading.lower[self.number - 1 : self.number] == [self.word]

    def plan(self, draft: Draft) -> None:
        draft.words.narrow(self.number)
        draft.positions[self.number - 1] = self.word


@dataclass(frozen=True)
class Ordered(Constraint):
    """The words occur, and their first occurrences stand in this order."""

    words: tuple[str, ...]

    id = "keywords.ordered"
    hardness = 0.4
    wordings: ClassVar[tuple[str, ...]] = (
        "Use the words {listed}, for the first time in this order.",
        "The words {listed} must all occur, first appearing in the order given.",
        "Mention {listed}, one after the other in exactly this order.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.keywords(draw.size(2, 5)))

    def facts(self) -> Mapping[str, Any]:
        return {"listed": listed(self.words)}

    def check(self, reading: Reading) -> bool:
        if not all(word in reading.counts for word in self.words):
            return False
        places = [reading.lower.index(word) for word in self.words]
        return places == sorted(places)

    def plan(self, draft: Draft) -> None:
        draft.units.append(" ".join(self.words))
        draft.sentence_words.narrow(low=len(self.words) + 2)


@dataclass(frozen=True)
class EachParagraph(Constraint):
    word: str

    id = "keywords.each_paragraph"
    takes = frozenset({"paragraph content"})
    bars = frozenset({"repeats", "lines"})
    hardness = 0.4
    wordings: ClassVar[tuple[str, ...]] = (
        'Every paragraph must contain "{word}"; write at least two, parted by blank lines.',
        'Write two or more paragraphs with blank lines between them, and use "{word}" in each.',
        'Use "{word}" at least once in each paragraph, of which there are at least two, parted by '
        "an empty line.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.keyword())

    def check(self, reading: Reading) -> bool:
        paragraphs = [[one.lower() for one in words_of(part)] for part in reading.paragraphs]
        return len(paragraphs) >= 2 and all(self.word in words for words in paragraphs)

    def plan(self, draft: Draft) -> None:
        draft.paragraphs.narrow(2)
        draft.every_paragraph.append(self.word)


CONSTRAINTS: tuple[type[Constraint], ...] = (
    Include,
    Exclude,
    Frequency,
    FirstWord,
    LastWord,
    ParagraphStart,
    SentenceStart,
    SentenceContains,
    Position,
    Ordered,
    EachParagraph,
)
