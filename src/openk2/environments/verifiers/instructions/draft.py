"""What an honest writer has to keep in mind while writing: the plan that constraints fill in."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["UNBOUNDED", "Draft", "Span", "Unwritable"]

UNBOUNDED = 1_000_000


class Unwritable(Exception):
    """This conjunction of constraints leaves the writer no text."""


@dataclass
class Span:
    """A range of whole numbers, both ends included."""

    low: int
    high: int = UNBOUNDED

    def narrow(self, low: int = 0, high: int = UNBOUNDED) -> None:
        """Unwritable where nothing is left."""
        self.low, self.high = max(self.low, low), min(self.high, high)
        if self.low > self.high:
            raise Unwritable(f"nothing between {self.low} and {self.high}")

    def nearest(self, number: int) -> int:
        return min(self.high, max(self.low, number))


@dataclass
class Draft:
    """The plan of a text: some paragraphs of prose, lines of other kinds between them, and finish.

    Constraints write into it before the writer begins. Numbers of sentences and paragraphs count
    from 0 here. `units` are phrases that must stand somewhere, each in one piece; `reserved` words
    must not occur but where a constraint puts them.
    """

    rng: random.Random
    request: str = ""  # the sentence of the prompt that says what to write
    words: Span = field(default_factory=lambda: Span(30))
    characters: Span = field(default_factory=lambda: Span(150))
    sentences: Span = field(default_factory=lambda: Span(3))
    paragraphs: Span = field(default_factory=lambda: Span(1))
    sentence_words: Span = field(default_factory=lambda: Span(3, 30))
    paragraph_sentences: int | None = None
    growing: bool = False  # every sentence has more words than the one before it
    different_starts: bool = False
    chained: bool = False  # every sentence begins with the last word of the one before it

    allowed: list[Callable[[str], bool]] = field(default_factory=list)
    allowed_fillers: list[Callable[[str], bool]] = field(default_factory=list)
    preferred: Callable[[str], bool] | None = None
    most_repeats: int = UNBOUNDED
    reserved: set[str] = field(default_factory=set)
    language: str = "English"

    units: list[str] = field(default_factory=list)
    decorations: list[tuple[str, int]] = field(default_factory=list)  # format string, words
    initials: list[tuple[str, int]] = field(default_factory=list)  # letter, successive words
    sentence_units: dict[int, str] = field(default_factory=dict)
    every_paragraph: list[str] = field(default_factory=list)
    starts: dict[int, str] = field(default_factory=dict)
    paragraph_starts: dict[int, str] = field(default_factory=dict)
    letters: dict[int, str] = field(default_factory=dict)
    every_letter: str = ""  # which every sentence begins with
    positions: dict[int, str] = field(default_factory=dict)
    last_word: str = ""

    questions: int = 0
    exclamations: int = 0
    semicolons: int = 0
    line_per_sentence: bool = False
    before: list[Callable[[Callable[[int], str]], str]] = field(default_factory=list)
    between: list[Callable[[Callable[[int], str]], str]] = field(default_factory=list)
    headings: list[Callable[[Callable[[int], str]], str]] = field(default_factory=list)
    postscript: str = ""  # how its line begins
    recase: Callable[[str], str] | None = None
    wrap: Callable[[list[str]], str] | None = None
    ending: str = ""  # appended to the last paragraph

    def allow(self, rule: Callable[[str], bool]) -> None:
        """Only words for which `rule` holds; it is asked of the word in lower case."""
        self.allowed.append(rule)

    def allow_filler(self, rule: Callable[[str], bool]) -> None:
        """As `allow`, for words that no constraint asked for."""
        self.allowed_fillers.append(rule)

    def decorate(self, count: int, template: str, words: int) -> None:
        """`count` phrases of some words in a format string somewhere in the prose."""
        self.decorations += [(template, words)] * count

    def finish_with(self, phrase: str) -> None:
        """Close the last paragraph with these sentences."""
        self.ending = phrase
        self.questions -= phrase.count("?")

    def reserve(self, *words: str) -> None:
        self.reserved.update(word.lower() for word in words)
