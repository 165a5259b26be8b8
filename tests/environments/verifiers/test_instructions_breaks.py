"""The honest writer meets every constraint with whatever parameters; a small edit breaks it."""

import json
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.environments.base import seeded_random
from openk2.environments.verifiers.format_checks import WORD, words_of
from openk2.environments.verifiers.instructions import CATALOGUE, Reading
from openk2.environments.verifiers.instructions.constraint import Constraint, Draw
from openk2.environments.verifiers.instructions.draft import UNBOUNDED
from openk2.environments.verifiers.instructions.environment import honest_text
from openk2.environments.verifiers.instructions.topics import draw_topic

Edit = Callable[[str, Any], str]


def recount(part: str, repeats: Callable[[str, int], str]) -> Edit:
    """Break a count: as many more `part` as pass the upper limit, or text without any."""

    def edit(text: str, constraint: Any) -> str:
        if constraint.high == UNBOUNDED:
            return re.sub(part, "", text, flags=re.M)
        return repeats(text, constraint.high)

    return edit


def added(more: str) -> Edit:
    return recount(re.escape(more), lambda text, high: text + f" {more}" * (high + 1))


def words(text: str, constraint: Any) -> str:
    """One word too many, or one too few."""
    found = list(WORD.finditer(text))
    if constraint.high == UNBOUNDED:
        return text[: found[constraint.low - 1].start()]
    return text + " more" * (constraint.high + 1 - len(found))


def sentences(text: str, constraint: Any) -> str:
    if constraint.high == UNBOUNDED:
        return text.replace(".", "").replace("!", "").replace("?", "")
    return text + " So it was." * constraint.high


def without(word: str) -> Callable[[str], str]:
    return lambda text: re.sub(rf"\b{word}\b", "thing", text, flags=re.I)


def swapped(text: str) -> str:
    """The first and the last list item change places."""
    items = re.findall(r"^- .*$", text, re.M)
    first, last = items[0], items[-1]
    return text.replace(first, "\0").replace(last, first).replace("\0", last)


def prefixed(text: str, _: Any) -> str:
    return "Well then. " + text


def suffixed(text: str, _: Any) -> str:
    return text + " Well then"


def json_dropped(text: str, _: Any) -> str:
    value = json.loads(text)
    if isinstance(value, list):
        return json.dumps(value[:-1])
    return json.dumps(dict(list(value.items())[1:]))


EDITS: dict[str, Edit] = {
    "length.words": words,
    "length.characters": lambda text, one: (
        text[: one.low - 1] if one.high == UNBOUNDED else text + "x" * one.high
    ),
    "length.sentences": sentences,
    "length.paragraphs": recount(
        r"\n\n", lambda text, high: text + "\n\nMore of this." * (high + 1)
    ),
    "length.lines": recount(r"\n", lambda text, high: text + "\nMore of this." * (high + 1)),
    "length.sentence_words": lambda text, one: (
        text + " Go." if one.low > 1 else text.rstrip(".") + " more" * one.high + "."
    ),
    "length.paragraph_sentences": suffixed,
    "length.word_letters": lambda text, one: text + " " + "x" * (one.most + 1),
    "keywords.include": lambda text, one: without(one.words[0])(text),
    "keywords.exclude": lambda text, one: f"{text} {one.words[0]}",
    "keywords.frequency": lambda text, one: text + f" {one.word}" * one.high,
    "keywords.first_word": prefixed,
    "keywords.last_word": suffixed,
    "keywords.paragraph_start": lambda text, one: "A new one.\n\n" + text,
    "keywords.sentence_start": prefixed,
    "keywords.sentence_contains": prefixed,
    "keywords.position": prefixed,
    "keywords.ordered": lambda text, one: f"{one.words[-1]} {text}",
    "keywords.each_paragraph": lambda text, one: text + "\n\nOne more.",
    "letters.without": lambda text, one: text + f" {one.letter}",
    "letters.frequency": lambda text, one: (
        re.sub(one.letter, "x", text, flags=re.I)
        if one.high == UNBOUNDED
        else text + one.letter * (one.high + 1)
    ),
    "letters.alliteration": lambda text, one: re.sub(rf"\b{one.letter}", "x", text, flags=re.I),
    "letters.palindromes": lambda text, one: WORD.sub(lambda found: found[0] + "zq", text),
    "letters.sentence_initial": lambda text, one: text + " Xylophone.",
    "letters.no_final": lambda text, one: text + f" x{one.letter}",
    "letters.acrostic": lambda text, one: text + " More.",
    "case.upper": lambda text, one: text + "x",
    "case.lower": lambda text, one: text + "X",
    "case.title": lambda text, one: text + " more",
    "case.alternating": lambda text, one: "A " + text,
    "case.capital_words": recount(r"\b[A-Z]{2,}\b", lambda text, high: text + " MORE" * (high + 1)),
    "case.capital_letters": recount(r"[A-Z]", lambda text, high: text + "X" * (high + 1)),
    "punctuation.no_commas": lambda text, one: text.replace(" ", ", ", 1),
    "punctuation.end_phrase": suffixed,
    "punctuation.exclamations": added("!"),
    "punctuation.questions": added("?"),
    "punctuation.semicolons": added(";"),
    "punctuation.only_full_stops": lambda text, one: text[:-1] + "!",
    "punctuation.parentheses": recount(r"[()]", lambda text, high: text + " (x)" * (high + 1)),
    "format.bullets": recount(r"^- ", lambda text, high: text + "\n- more" * (high + 1)),
    "format.numbered": lambda text, one: text.replace("1. ", "3. ", 1),
    "format.headings": recount(r"^## ", lambda text, high: text + "\n# x\na b c" * (high + 1)),
    "format.sections": lambda text, one: text.replace("Section 1", "Section 3", 1),
    "format.title": lambda text, one: text.replace(">>", "", 1),
    "format.highlights": recount(r"\*", lambda text, high: text + " *more*" * (high + 1)),
    "format.table": lambda text, one: re.sub(r"^\|[^|]*\|", "|", text, count=1, flags=re.M),
    "format.code_block": lambda text, one: text.replace("```", "``", 1),
    "format.placeholders": recount(r"[\[\]]", lambda text, high: text + " [more]" * (high + 1)),
    "format.postscript": lambda text, one: text.replace(one.marker, "By the way", 1),
    "format.json_keys": json_dropped,
    "format.json_schema": json_dropped,
    "format.xml": suffixed,
    "format.quotation": suffixed,
    "structure.two_responses": lambda text, one: text.replace("******", "***"),
    "structure.parts": lambda text, one: text + "\n***\nAnd one more.",
    "structure.repeat_request": prefixed,
    "structure.growing_sentences": suffixed,
    "structure.chain": lambda text, one: text + " Xylophones are loud.",
    "structure.different_openings": lambda text, one: f"{text} {words_of(text)[0]} again.",
    "structure.sorted_items": lambda text, one: swapped(text),
    "counting.unique_words": lambda text, one: text + " more" * 200,
    "counting.word_repeats": lambda text, one: text + " more" * (one.most + 1),
    "counting.distinct_words": lambda text, one: " ".join(
        f"{word} x{place}" for place, word in enumerate(words_of(text) * 3)
    ),
    "numbers.count": recount(r"\d", lambda text, high: text + " 7" * (high + 1)),
    "numbers.sum": lambda text, one: text + " 1",
    "numbers.increasing": lambda text, one: text + " 0",
    "numbers.none": lambda text, one: text + " 1",
    "language.ascii": lambda text, one: text.replace(" ", "\u00a0", 1),
    "language.language": lambda text, one: (
        text + " it was in the house and he had the key to that" * 20
    ),
}


def written(kind: type[Constraint], seed: int, difficulty: float) -> tuple[Constraint, str, str]:
    """A constraint, an honest text that meets it, and the request."""
    rng = seeded_random(kind.id, seed, difficulty)
    topic = draw_topic(rng)
    constraint = kind.draw(Draw(rng, difficulty, topic.required, set(topic.required)))
    text = honest_text(random.Random(seed), topic.request, topic.required, [constraint])
    assert text is not None, (constraint, topic)
    return constraint, text, topic.request


def test_every_constraint_has_an_edit_that_breaks_it() -> None:
    assert set(EDITS) == set(CATALOGUE)


@pytest.mark.parametrize("name", EDITS)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6), difficulty=st.floats(0, 1))
def test_an_edit_flips_the_verdict(name: str, seed: int, difficulty: float) -> None:
    constraint, text, request = written(CATALOGUE[name], seed, difficulty)
    assert constraint.check(Reading.of(text, request))
    broken = EDITS[name](text, constraint)
    assert not constraint.check(Reading.of(broken, request)), (constraint, broken)
