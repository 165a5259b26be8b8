"""What every text must be, whatever its constraints: on its topic, written out, and in plain sight.

A text that repeats its instructions, hides characters, borrows letters of other alphabets or says
one word over and over can meet many a constraint; it is not an answer. Whether a text that passes
is a good one, no rule here can say: that is left to a judge, as in the paper.
"""

import re
from collections.abc import Iterator, Sequence

from openk2.environments.verifiers.format_checks import (
    hidden_text,
    latin_only,
    repeated_share,
    words_of,
)
from openk2.environments.verifiers.instructions.reading import Reading

__all__ = ["MAX_RESPONSE", "copied", "degenerate", "off_topic", "veiled"]

MAX_RESPONSE = 20_000  # characters; no task here asks for a tenth of it
MIN_WORDS = 20
MIN_DISTINCT = 14
MAX_SHARE = 0.4  # of all words that one word may make up
MAX_REPEATED = 0.35  # of all runs of four words
MIN_CLOSED = 0.5  # of all words, those in sentences that end with a mark
CLOSED = re.compile(r"[.!?…][\"'”’)\]*_»]{0,4}(?:\s*</\w+>)?$")
MAX_WORD = 30  # characters
RUN = 9  # successive words in common with the instructions make a copy
SHORT_RUN = 5
MAX_COPIED = 0.4


def off_topic(reading: Reading, required: Sequence[str]) -> str:
    """Which word of the topic is missing; "" where none is."""
    missing = [word for word in required if word not in reading.counts]
    return f"says nothing of {missing[0]}" if missing else ""


def degenerate(reading: Reading) -> str:
    """Why this is no text that anybody would read; "" where it is one."""
    counts = reading.counts
    if len(reading.words) < MIN_WORDS:
        return f"only {len(reading.words)} words"
    if len(counts) < MIN_DISTINCT:
        return f"only {len(counts)} different words"
    word, most = counts.most_common(1)[0]
    if most > MAX_SHARE * len(reading.words):
        return f"{word[:MAX_WORD]!r} is every {len(reading.words) / most:.1f}th word"
    if max(map(len, reading.words)) > MAX_WORD:
        return f"a word of more than {MAX_WORD} characters"
    sentences = [words_of(one) for one in reading.sentences if CLOSED.search(one)]
    closed = [word.lower() for words in sentences if len(words) >= 3 for word in words]
    if len(closed) < MIN_CLOSED * len(reading.words) or len(set(closed)) < MIN_DISTINCT:
        return f"{len(closed)} of {len(reading.words)} words stand in sentences"
    if (share := repeated_share(reading.prose)) > MAX_REPEATED:
        return f"{share:.0%} of it repeats itself"
    return ""


def veiled(reading: Reading) -> str:
    """What in it is hidden or posing as something else; "" where nothing is."""
    if found := hidden_text(reading.prose):
        return found
    return "" if latin_only(reading.prose) else "letters or digits of another alphabet"


def copied(reading: Reading, instructions: str, repeats_request: bool) -> str:
    """What was copied from the instructions; "" where next to nothing was.

    No run of RUN words may be theirs, and most of the words must stand in no run of SHORT_RUN words
    that the instructions or the request have. `repeats_request`: the first line is the request.
    """
    words = reading.lower
    if repeats_request:
        words = [word.lower() for word in words_of(reading.text.partition("\n")[2])]
    given = [word.lower() for word in words_of(instructions)]
    if copies := set(_runs(given, RUN)) & set(_runs(words, RUN)):
        return f"copies the instructions: {' '.join(min(copies))!r}"
    request = [word.lower() for word in words_of(reading.request)]
    theirs = set(_runs(given, SHORT_RUN)) | set(_runs(request, SHORT_RUN))
    covered = {
        place + offset
        for place, run in enumerate(_runs(words, SHORT_RUN))
        if run in theirs
        for offset in range(SHORT_RUN)
    }
    if len(covered) > MAX_COPIED * len(words):
        return f"{len(covered)} of {len(words)} words are copied from the instructions"
    return ""


def _runs(words: list[str], size: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[offset:] for offset in range(size)), strict=False)
