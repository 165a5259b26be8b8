"""Letters: which occur, how often, and where in words. Case and accents make no difference."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar, Self

from openk2.environments.verifiers.format_checks import words_of
from openk2.environments.verifiers.instructions.constraint import Constraint, Counted, Draw
from openk2.environments.verifiers.instructions.draft import UNBOUNDED, Draft
from openk2.environments.verifiers.instructions.reading import Reading, folded, folded_word
from openk2.environments.verifiers.instructions.vocabulary import PALINDROMES

__all__ = ["CONSTRAINTS", "Palindromes"]

LANGUAGE = frozenset({"language"})
# Letters that can be done without, the easier ones first.
DISPENSABLE = "qzxjkvbpygwfmuclhdoinrsta"


@dataclass(frozen=True)
class Without(Constraint):
    """A lipogram."""

    letter: str

    id = "letters.without"
    takes = frozenset({"letters"})
    bars = LANGUAGE
    hardness = 0.8
    wordings: ClassVar[tuple[str, ...]] = (
        'The letter "{letter}" must not occur anywhere.',
        'Write a lipogram: do without the letter "{letter}".',
        'Use no word that contains the letter "{letter}".',
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        used = set("".join(draw.required))
        free = [letter for letter in DISPENSABLE if letter not in used]
        reach = max(3, round(len(free) * draw.difficulty))
        return cls(draw.rng.choice(free[:reach]))

    def check(self, reading: Reading) -> bool:
        return bool(reading.letters) and not reading.letters[self.letter]

    def plan(self, draft: Draft) -> None:
        draft.allow(lambda word: self.letter not in folded_word(word))


@dataclass(frozen=True)
class Frequency(Counted):
    letter: str

    id = "letters.frequency"
    takes = frozenset({"letters"})
    bars = LANGUAGE
    noun = ("time", "times")
    sizes = (8, 25)
    hardness = 0.6
    wordings = (
        'The letter "{letter}" must occur {amount}, in whatever case.',
        'Use the letter "{letter}" {amount}.',
        'Count of the letter "{letter}": {amount}, capitals included.',
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        number = draw.size(*cls.sizes)
        if draw.rng.random() < 0.5:
            return cls(number, UNBOUNDED, draw.rng.choice("bcdfghklmpw"))
        return cls(0, number, draw.rng.choice("bcdfghklmpw"))

    def measure(self, reading: Reading) -> int:
        return reading.letters[self.letter]

    def plan(self, draft: Draft) -> None:
        if self.high == UNBOUNDED:
            draft.preferred = lambda word: self.letter in folded_word(word)
            draft.words.narrow(self.low + 20)
        else:
            draft.allow_filler(lambda word: self.letter not in folded_word(word))


@dataclass(frozen=True)
class Alliteration(Constraint):
    count: int
    letter: str

    id = "letters.alliteration"
    hardness = 0.4
    bars = LANGUAGE
    wordings: ClassVar[tuple[str, ...]] = (
        'Somewhere, {count} words in a row must begin with the letter "{letter}".',
        'Include an alliteration: {count} successive words that start with "{letter}".',
        'Let {count} neighbouring words all begin with "{letter}".',
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.size(3, 6), draw.rng.choice("abcdfghlmprstw"))

    def check(self, reading: Reading) -> bool:
        """Different words: one word said over and over is no alliteration."""
        runs = groupby(reading.lower, key=lambda word: folded(word[:1]) == self.letter)
        return any(is_run and len(set(words)) >= self.count for is_run, words in runs)

    def plan(self, draft: Draft) -> None:
        draft.initials.append((self.letter, self.count))
        draft.sentence_words.narrow(low=self.count + 2)


class Palindromes(Counted):
    id = "letters.palindromes"
    bars = LANGUAGE
    noun = ("palindrome", "different palindromes")
    sizes = (1, 4)
    hardness = 0.5
    wordings = (
        "Include {amount}: words of three letters or more that read the same backwards.",
        "Use {amount} (single words of at least three letters).",
        "The text must contain {amount}, each a word of at least three letters.",
    )

    def measure(self, reading: Reading) -> int:
        letters = (folded(word) for word in reading.counts)
        return sum(len(word) >= 3 and word.isalpha() and word == word[::-1] for word in letters)

    def plan(self, draft: Draft) -> None:
        if self.high != UNBOUNDED:
            draft.allow_filler(lambda word: len(word) < 3 or word != word[::-1])
        draft.units += draft.rng.sample(PALINDROMES, self.low)


@dataclass(frozen=True)
class Initial(Constraint):
    letter: str

    id = "letters.sentence_initial"
    takes = frozenset({"sentence starts", "start"})
    bars = LANGUAGE
    hardness = 0.5
    wordings: ClassVar[tuple[str, ...]] = (
        'Every sentence must begin with the letter "{letter}".',
        'Let each sentence start with a word that begins with "{letter}".',
        'The first letter of every sentence has to be "{letter}".',
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.rng.choice("abcdfghlmoprstw"))

    def check(self, reading: Reading) -> bool:
        firsts = [folded(words_of(sentence)[0])[:1] for sentence in reading.sentences]
        return len(firsts) >= 2 and set(firsts) == {self.letter}

    def plan(self, draft: Draft) -> None:
        draft.sentences.narrow(2)
        draft.every_letter = self.letter


@dataclass(frozen=True)
class NoFinal(Constraint):
    letter: str

    id = "letters.no_final"
    bars = LANGUAGE
    hardness = 0.6
    wordings: ClassVar[tuple[str, ...]] = (
        'No word may end with the letter "{letter}".',
        'Do not let any word end in "{letter}".',
        'Words that end with "{letter}" are forbidden.',
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        ends = {word[-1] for word in draw.required}
        return cls(draw.rng.choice([letter for letter in "dgklmnstyr" if letter not in ends]))

    def check(self, reading: Reading) -> bool:
        return bool(reading.lower) and not any(
            folded(word).endswith(self.letter) for word in reading.lower
        )

    def plan(self, draft: Draft) -> None:
        draft.allow(lambda word: not folded_word(word).endswith(self.letter))


@dataclass(frozen=True)
class Acrostic(Constraint):
    word: str

    id = "letters.acrostic"
    takes = frozenset({"sentence starts", "start", "sentences"})
    bars = LANGUAGE
    hardness = 0.8
    wordings: ClassVar[tuple[str, ...]] = (
        "The first letters of the sentences, read in order, must spell {spelled}.",
        "Write an acrostic: the initials of your sentences spell {spelled}, one sentence a letter.",
        "Taken together, the first letter of each sentence must give {spelled} and nothing else.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        words = ("bread", "grand", "storm", "light", "plant", "field", "bridge", "castle", "moral")
        return cls(draw.rng.choice(words))

    def facts(self) -> Mapping[str, Any]:
        return {"spelled": self.word.upper()}

    def check(self, reading: Reading) -> bool:
        firsts = [folded(words_of(sentence)[0])[:1] for sentence in reading.sentences]
        return "".join(firsts) == self.word

    def plan(self, draft: Draft) -> None:
        draft.sentences.narrow(len(self.word), len(self.word))
        draft.letters.update(enumerate(self.word))


CONSTRAINTS: tuple[type[Constraint], ...] = (
    Without,
    Frequency,
    Alliteration,
    Palindromes,
    Initial,
    NoFinal,
    Acrostic,
)
