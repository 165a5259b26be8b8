"""An honest writer: from a plan to a text that follows it.

It lays out paragraphs and sentences with the number of words each shall have, puts what was asked
for in its place, fills the rest with plain prose, finishes the text, counts, and adapts its length
where blocks or letters made it too long or too short.
"""

import random
from collections import Counter
from collections.abc import Callable, Set

from openk2.environments.verifiers.instructions.draft import UNBOUNDED, Draft, Unwritable
from openk2.environments.verifiers.instructions.reading import Reading, folded_word
from openk2.environments.verifiers.instructions.vocabulary import PATTERN, POOLS

__all__ = ["write"]

USUAL_WORDS = 70
USUAL_SENTENCE = 9
LENGTH_TRIALS = 12
QUICK_TRIES = 4
Slots = list[list[str | None]]  # sentence, word


def write(draft: Draft) -> str:
    """A text after the plan; raises Unwritable where the writer finds none."""
    if draft.most_repeats < UNBOUNDED and draft.language != "English":
        raise Unwritable("stop words repeat")
    goal = draft.words.nearest(USUAL_WORDS + sum(len(unit.split()) for unit in draft.units))
    for _ in range(LENGTH_TRIALS):
        picker = Picker(draft)
        shape = _lay_out(draft, goal)
        text = _finish(draft, _fill(draft, picker, shape), shape, picker)
        reading = Reading.of(text)
        words, characters = len(reading.words), len(reading.text)
        missing = draft.words.nearest(words) - words
        short = draft.characters.nearest(characters) - characters
        if not missing and not short:
            return text
        per_word = max(1, characters // max(1, words))
        goal += missing or (short // per_word or (1 if short > 0 else -1))
    raise Unwritable("no length fits")


class Picker:
    """Chooses filler words that the plan allows."""

    def __init__(self, draft: Draft) -> None:
        self.draft, self.rng = draft, draft.rng
        self.used: Counter[str] = Counter()
        self._pools: dict[tuple[str, str], list[str]] = {}

    def permits(self, word: str) -> bool:
        return all(rule(word.lower()) for rule in self.draft.allowed)

    def word(self, kind: str, initial: str = "", but: Set[str] = frozenset()) -> str:
        """A word of a kind, or of any where none of that kind is left; Unwritable without one."""
        for choice in (kind, *POOLS[self.draft.language]):
            pool = self._pool(choice, initial)
            tries = (self.rng.choice(pool) for _ in range(QUICK_TRIES if pool else 0))
            word = next((one for one in tries if self._left(one) and one not in but), None)
            if word is None:
                left = [one for one in pool if self._left(one) and one not in but]
                word = self.rng.choice(left) if left else None
            if word is not None:
                self.used[word.lower()] += 1
                return word
        raise Unwritable(f"no word left that begins with {initial!r}")

    def phrase(self, count: int) -> str:
        """A few words for a heading, an item or a cell."""
        kinds = ("adjective", "noun")
        return " ".join(self.word(kinds[(place + count) % 2]) for place in range(count))

    def _left(self, word: str) -> bool:
        return self.used[word.lower()] < self.draft.most_repeats

    def _pool(self, kind: str, initial: str) -> list[str]:
        if (kind, initial) not in self._pools:
            pool = [
                word
                for word in POOLS[self.draft.language][kind]
                if folded_word(word).startswith(initial)
                and word.lower() not in self.draft.reserved
                and self.permits(word)
                and all(rule(word.lower()) for rule in self.draft.allowed_fillers)
            ]
            preferred = self.draft.preferred
            if preferred is not None:
                pool = [word for word in pool if preferred(word)] or pool
            self._pools[kind, initial] = pool
        return self._pools[kind, initial]


def _lay_out(draft: Draft, goal: int) -> list[list[int]]:
    """The number of words of every sentence of every paragraph, about `goal` in all."""
    paragraphs = draft.paragraphs.nearest(2)
    least, most = draft.sentence_words.low, draft.sentence_words.high
    if draft.paragraph_sentences is not None:
        counts = [paragraphs * draft.paragraph_sentences]
    else:
        closing = bool(draft.ending)  # a sentence beside those that are laid out here
        low = max(draft.sentences.low - closing, paragraphs)
        wanted = goal // min(max(USUAL_SENTENCE, least), most)
        high = min(draft.sentences.high - closing, max(low, wanted + 12))
        counts = sorted(range(low, high + 1), key=lambda count: abs(count - wanted))
    for count in counts:
        extra = count * (count - 1) // 2 if draft.growing else 0
        if count * least + extra <= goal <= count * most:
            break
    else:
        if not counts:
            raise Unwritable("too few sentences for the paragraphs")
        count = counts[0]
    lengths = _sentence_lengths(draft, count, goal)
    per, left = divmod(count, paragraphs)
    shape, place = [], 0
    for index in range(paragraphs):
        size = per + (index < left)
        shape.append(lengths[place : place + size])
        place += size
    return shape


def _sentence_lengths(draft: Draft, count: int, goal: int) -> list[int]:
    least, most = draft.sentence_words.low, draft.sentence_words.high
    if draft.growing:
        first = max(least, (goal - count * (count - 1) // 2) // count)
        lengths = [first + place for place in range(count)]
        lengths[-1] += max(0, goal - sum(lengths))
        return lengths
    base, left = divmod(min(max(goal, count * least), count * most), count)
    lengths = [base + (place < left) for place in range(count)]
    for _ in range(count):
        give, take = draft.rng.randrange(count), draft.rng.randrange(count)
        if give != take and lengths[give] > least + 1 and lengths[take] < most:
            lengths[give] -= 1
            lengths[take] += 1
    return lengths


def _fill(draft: Draft, picker: Picker, shape: list[list[int]]) -> list[list[str]]:
    """The words of every sentence."""
    lengths = [length for paragraph in shape for length in paragraph]
    slots: Slots = [[None] * length for length in lengths]
    firsts = [sum(map(len, shape[:index])) for index in range(len(shape))]
    _place_fixed(draft, slots, firsts)
    rng = draft.rng
    for first, paragraph in zip(firsts, shape, strict=True):
        for unit in draft.every_paragraph:
            _place_somewhere(rng, slots, range(first, first + len(paragraph)), unit)
    for place, unit in draft.sentence_units.items():
        _place_somewhere(rng, slots, [place], unit)
    for unit in sorted(_units(draft, picker), key=lambda one: -len(one.split())):
        _place_somewhere(rng, slots, range(len(slots)), unit)
    for sentence in slots:
        for word in filter(None, sentence):
            plain = word.strip("*[]()").lower()
            if not picker.permits(plain):
                raise Unwritable(f"{plain} is needed and not allowed")
            picker.used[plain] += 1
    for index, sentence in enumerate(slots):
        _fill_sentence(draft, picker, slots, index, sentence)
    return [[word for word in sentence if word is not None] for sentence in slots]


def _units(draft: Draft, picker: Picker) -> list[str]:
    """What must stand somewhere in the prose."""
    units = list(draft.units)
    units += [template.format(picker.phrase(words)) for template, words in draft.decorations]
    for letter, count in draft.initials:
        words: list[str] = []
        while len(words) < count:
            words.append(picker.word("adjective", letter, set(words)))
        units.append(" ".join(words))
    return units


def _fill_sentence(
    draft: Draft, picker: Picker, slots: Slots, index: int, sentence: list[str | None]
) -> None:
    if sentence[0] is None:
        initial = draft.letters.get(index, draft.every_letter)
        if draft.chained and index:
            sentence[0] = slots[index - 1][-1]
        else:
            openers = {one[0].lower() for one in slots if one[0] is not None}
            sentence[0] = picker.word(
                "adjective" if initial or draft.different_starts else "article",
                initial,
                openers if draft.different_starts else set(),
            )
    for place, word in enumerate(sentence):
        if word is None:
            sentence[place] = picker.word(PATTERN[place % len(PATTERN)])
    if draft.chained and index + 1 < len(slots) and (start := slots[index + 1][0]) is not None:
        sentence[-1] = start


def _place_fixed(draft: Draft, slots: Slots, firsts: list[int]) -> None:
    """Words whose place is decided: starts, positions, the last word."""
    starts = dict(draft.starts)
    for paragraph, word in draft.paragraph_starts.items():
        if starts.setdefault(firsts[paragraph], word) != word:
            raise Unwritable("two words for one start")
    for sentence, word in starts.items():
        for place, part in enumerate(word.split()):
            _put(slots, sentence, place, part)
    for position, word in draft.positions.items():
        sentence, place = 0, position
        while sentence < len(slots) and place >= len(slots[sentence]):
            place -= len(slots[sentence])
            sentence += 1
        _put(slots, sentence, place, word)
    if draft.last_word:
        _put(slots, len(slots) - 1, len(slots[-1]) - 1, draft.last_word)


def _put(slots: Slots, sentence: int, place: int, word: str) -> None:
    if sentence >= len(slots) or place >= len(slots[sentence]) or slots[sentence][place]:
        raise Unwritable(f"no place for {word}")
    slots[sentence][place] = word


def _place_somewhere(
    rng: random.Random, slots: Slots, sentences: list[int] | range, unit: str
) -> None:
    """Put a phrase into free slots that are neither first nor last of a sentence."""
    parts = unit.split()
    places = [
        (sentence, start)
        for sentence in sentences
        if sentence < len(slots)
        for start in range(1, len(slots[sentence]) - len(parts))
        if not any(slots[sentence][start : start + len(parts)])
    ]
    if not places:
        raise Unwritable(f"no place for {unit}")
    sentence, start = rng.choice(places)
    slots[sentence][start : start + len(parts)] = parts


def _finish(
    draft: Draft, sentences: list[list[str]], shape: list[list[int]], picker: Picker
) -> str:
    """Punctuation, paragraphs, blocks, case."""
    count = len(sentences)
    questions = max(0, draft.questions)
    if questions + draft.exclamations > count:
        raise Unwritable("too few sentences for the marks")
    order = draft.rng.sample(range(count), questions + draft.exclamations)
    marks = dict.fromkeys(order[:questions], "?") | dict.fromkeys(order[questions:], "!")
    _semicolons(draft, sentences)
    written = [
        " ".join(_capital(words)) + marks.get(place, ".") for place, words in enumerate(sentences)
    ]
    if draft.line_per_sentence:
        paragraphs = ["\n".join(written)]
    else:
        paragraphs, place = [], 0
        for lengths in shape:
            paragraphs.append(" ".join(written[place : place + len(lengths)]))
            place += len(lengths)
    if draft.ending:
        paragraphs[-1] += " " + draft.ending
    return _assemble(draft, paragraphs, picker.phrase)


def _assemble(draft: Draft, paragraphs: list[str], phrase: Callable[[int], str]) -> str:
    headings = [make(phrase) for make in draft.headings]
    if len(headings) > len(paragraphs) or (draft.between and len(paragraphs) < 2):
        raise Unwritable("too few paragraphs for the blocks")
    blocks = [
        part
        for index, paragraph in enumerate(paragraphs)
        for part in (*headings[index : index + 1], paragraph)
    ]
    last = len(blocks) - (1 + (len(headings) == len(paragraphs)))
    blocks[last:last] = [make(phrase) for make in draft.between]
    blocks = [make(phrase) for make in draft.before] + blocks
    if draft.postscript:
        blocks.append(f"{draft.postscript} {phrase(4)}.")
    text = draft.wrap(blocks) if draft.wrap else "\n\n".join(blocks)
    return draft.recase(text) if draft.recase else text


def _capital(words: list[str]) -> list[str]:
    first = words[0]
    return [first[:1].upper() + first[1:], *words[1:]]


def _semicolons(draft: Draft, sentences: list[list[str]]) -> None:
    places = [
        (sentence, place)
        for sentence, words in enumerate(sentences)
        for place in range(1, len(words) - 1)
        if words[place].isalpha()
    ]
    for sentence, place in draft.rng.sample(places, min(draft.semicolons, len(places))):
        sentences[sentence][place] += ";"
