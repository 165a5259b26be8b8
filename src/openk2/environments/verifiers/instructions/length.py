"""How much: words, sentences, paragraphs, lines, characters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from openk2.environments.verifiers.format_checks import words_of
from openk2.environments.verifiers.instructions.constraint import Constraint, Counted, Draw
from openk2.environments.verifiers.instructions.draft import UNBOUNDED, Draft
from openk2.environments.verifiers.instructions.reading import Reading, sentences_of

__all__ = ["CONSTRAINTS"]


class Words(Counted):
    id = "length.words"
    takes = frozenset({"words"})
    bars = frozenset({"whole"})
    noun = ("word", "words")
    sizes = (40, 160)
    relations = ("at least", "at most", "between")
    slack = 0.2
    wordings = (
        "Write {amount}.",
        "The whole text must have {amount}.",
        "Keep to {amount} in all; a hyphenated word counts as one.",
    )

    def measure(self, reading: Reading) -> int:
        return len(reading.words)

    def plan(self, draft: Draft) -> None:
        draft.words.narrow(self.low, self.high)


class Characters(Counted):
    id = "length.characters"
    takes = frozenset({"characters", "words"})
    bars = frozenset({"whole"})
    noun = ("character", "characters")
    sizes = (300, 1200)
    relations = ("at least", "at most", "between")
    slack = 0.2
    wordings = (
        "Use {amount}, spaces included.",
        "The length, with spaces and punctuation, is to be {amount}.",
        "Your text must come to {amount} (everything counts, spaces too).",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        drawn = super().draw(draw)
        if drawn.low == drawn.high:
            return cls(drawn.low, drawn.low + round(drawn.low * 0.1))
        return drawn

    def measure(self, reading: Reading) -> int:
        return len(reading.text)

    def plan(self, draft: Draft) -> None:
        draft.characters.narrow(self.low, self.high)


class Sentences(Counted):
    id = "length.sentences"
    takes = frozenset({"sentences"})
    noun = ("sentence", "sentences")
    sizes = (5, 14)
    relations = ("at least", "at most", "between")
    wordings = (
        "Write {amount}.",
        "The text must consist of {amount}.",
        "Say it in {amount}.",
    )

    def measure(self, reading: Reading) -> int:
        return len(reading.sentences)

    def plan(self, draft: Draft) -> None:
        draft.sentences.narrow(self.low, self.high)


class Paragraphs(Counted):
    id = "length.paragraphs"
    takes = frozenset({"paragraphs"})
    noun = ("paragraph", "paragraphs")
    sizes = (2, 5)
    relations = ("at least", "between")
    wordings = (
        "Write {amount}, parted by blank lines.",
        "Divide the text into {amount} with an empty line between them.",
        "Structure: {amount}; a blank line ends a paragraph.",
    )

    def measure(self, reading: Reading) -> int:
        return len(reading.paragraphs)

    def plan(self, draft: Draft) -> None:
        draft.paragraphs.narrow(self.low, self.high)


class Lines(Counted):
    id = "length.lines"
    takes = frozenset({"lines", "sentences", "paragraphs"})
    noun = ("line", "lines")
    sizes = (5, 10)
    relations = ("at least", "at most", "between")
    wordings = (
        "Write one sentence per line, {amount} in all.",
        "Put every sentence on a line of its own, and write {amount}.",
        "Format it like a poem: {amount}, each of them one sentence.",
    )

    def measure(self, reading: Reading) -> int:
        return len(reading.lines)

    def check(self, reading: Reading) -> bool:
        return super().check(reading) and all(len(sentences_of(one)) == 1 for one in reading.lines)

    def plan(self, draft: Draft) -> None:
        draft.sentences.narrow(self.low, self.high)
        draft.paragraphs.narrow(1, 1)
        draft.line_per_sentence = True


@dataclass(frozen=True)
class SentenceWords(Constraint):
    """Every sentence has between `low` and `high` words."""

    low: int
    high: int

    id = "length.sentence_words"
    takes = frozenset({"sentence length"})
    hardness = 0.5
    wordings: ClassVar[tuple[str, ...]] = (
        "Every sentence must have {range} words.",
        "No sentence may have a number of words other than {range}.",
        "Keep each sentence to {range} words.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        low = draw.rng.randint(5, 10)
        if draw.rng.random() < 0.5:
            return cls(low, UNBOUNDED)
        return cls(1, low + 4) if draw.rng.random() < 0.5 else cls(low, low + 5)

    def facts(self) -> Mapping[str, Any]:
        if self.high == UNBOUNDED:
            return {"range": f"{self.low} or more"}
        return {"range": f"{self.high} or fewer" if self.low == 1 else f"{self.low} to {self.high}"}

    def check(self, reading: Reading) -> bool:
        lengths = [len(words_of(sentence)) for sentence in reading.sentences]
        return bool(lengths) and self.low <= min(lengths) and max(lengths) <= self.high

    def plan(self, draft: Draft) -> None:
        draft.sentence_words.narrow(self.low, self.high)


@dataclass(frozen=True)
class ParagraphSentences(Constraint):
    """Every paragraph has exactly `count` sentences, and there are several paragraphs."""

    count: int

    id = "length.paragraph_sentences"
    takes = frozenset({"sentences", "paragraph sentences"})
    bars = frozenset({"lines"})
    hardness = 0.5
    wordings: ClassVar[tuple[str, ...]] = (
        "Every paragraph must have exactly {count} sentences; write two paragraphs or more.",
        "Write at least two paragraphs, each of exactly {count} sentences.",
        "Give each paragraph {count} sentences, no more and no fewer, and have at least two.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.size(2, 5))

    def check(self, reading: Reading) -> bool:
        counts = [len(sentences_of(paragraph)) for paragraph in reading.paragraphs]
        return len(counts) >= 2 and set(counts) == {self.count}

    def plan(self, draft: Draft) -> None:
        draft.paragraphs.narrow(2)
        draft.paragraph_sentences = self.count


@dataclass(frozen=True)
class WordLetters(Constraint):
    """No word has more than `most` characters."""

    most: int

    id = "length.word_letters"
    takes = frozenset({"word form"})
    hardness = 0.6
    wordings: ClassVar[tuple[str, ...]] = (
        "Use no word of more than {most} letters.",
        "Every word must have at most {most} letters.",
        "Words longer than {most} letters are not allowed.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        longest = max(map(len, draw.required))
        return cls(max(longest, draw.rng.randint(7, 10) - round(2 * draw.difficulty)))

    def check(self, reading: Reading) -> bool:
        return max(map(len, reading.words), default=UNBOUNDED) <= self.most

    def plan(self, draft: Draft) -> None:
        draft.allow(lambda word: len(word) <= self.most)


CONSTRAINTS: tuple[type[Constraint], ...] = (
    Words,
    Characters,
    Sentences,
    Paragraphs,
    Lines,
    SentenceWords,
    ParagraphSentences,
    WordLetters,
)
