"""A response as a reader counts it: its words, sentences, paragraphs, lines, letters, numbers."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from openk2.environments.verifiers.format_checks import json_only, words_of

__all__ = ["Reading", "folded", "folded_word", "number_value", "sentences_of"]

SENTENCE_BREAK = re.compile(r"(?<=[.!?…])[\"'”’)\]*_»]*\s+")
ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'“])(?:[A-HJ-Z]|[Ee]\.g|[Ii]\.e|P\.S|p\.s|Mrs?|Ms|Dr|St|vs)\.$"
)
QUOTES = "\"'”’»"
PARAGRAPH_BREAK = re.compile(r"\n[ \t]*\n\s*")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
MAX_DIGITS = 18
# Letters that no Unicode decomposition takes apart and that look like, or stand for, plain ones.
PLAIN = str.maketrans(
    {"ı": "i", "ł": "l", "ø": "o", "đ": "d", "ħ": "h", "ŧ": "t", "ß": "ss", "æ": "ae", "œ": "oe"}
    | {"ĸ": "k", "ŋ": "n", "ſ": "s", "þ": "th", "ð": "d"}
)


def folded(text: str) -> str:
    """Lower case without accents: the letters that a reader would name."""
    apart = unicodedata.normalize("NFKD", text.lower())
    return "".join(one for one in apart if not unicodedata.combining(one)).translate(PLAIN)


@lru_cache(8192)
def folded_word(word: str) -> str:
    """`folded` of one word of a vocabulary, remembered."""
    return folded(word)


def number_value(written: str) -> float:
    """The value of what NUMBER found; inf where it has too many digits to mean a thing.

    Commas that group thousands fall away, a point or another comma begins decimals.
    """
    if len(written) > MAX_DIGITS:
        return float("inf")
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", written):
        written = written.replace(",", "")
    parts = re.split(r"[.,]", written)
    return float("inf") if len(parts) > 2 else float(".".join(parts))


@dataclass(frozen=True)
class Reading:
    """One response with what it answers.

    text      canonically composed, line ends as \\n, no white space around it
    request   the sentence of the prompt that says what to write

    Words, sentences, paragraphs, letters and numbers are those of `prose`.
    """

    text: str
    request: str = ""

    @staticmethod
    def of(response: str, request: str = "") -> "Reading":
        text = unicodedata.normalize("NFC", response.replace("\r\n", "\n")).strip()
        return Reading(text, request)

    @cached_property
    def prose(self) -> str:
        """The text; of JSON, its keys and strings as they are meant, one paragraph each."""
        if self.text[:1] not in ("{", "["):
            return self.text
        value, problem = json_only(self.text)
        return self.text if problem else "\n\n".join(_strings(value))

    @cached_property
    def words(self) -> list[str]:
        """As written; a hyphenated word is one."""
        return words_of(self.prose)

    @cached_property
    def lower(self) -> list[str]:
        """The words in lower case, apostrophes straight."""
        return [word.lower().replace("’", "'") for word in self.words]

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each word occurs, in whatever case."""
        return Counter(self.lower)

    @cached_property
    def paragraphs(self) -> list[str]:
        """Parted by blank lines."""
        return [one.strip() for one in PARAGRAPH_BREAK.split(self.prose) if one.strip()]

    @cached_property
    def lines(self) -> list[str]:
        """Those that are not blank."""
        return [one.strip() for one in self.text.split("\n") if one.strip()]

    @cached_property
    def sentences(self) -> list[str]:
        """Of all paragraphs, in order; common abbreviations do not end one."""
        return [one for paragraph in self.paragraphs for one in sentences_of(paragraph)]

    @cached_property
    def letters(self) -> Counter[str]:
        """How often each letter occurs, case and accents aside."""
        return Counter(one for one in folded(self.prose) if one.isalpha())

    @cached_property
    def numbers(self) -> list[float]:
        """Those written in digits."""
        return [number_value(found) for found in NUMBER.findall(self.prose)]


def _strings(value: object) -> Iterator[str]:
    """Keys and values of JSON in reading order."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield unicodedata.normalize("NFC", key)
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
    elif isinstance(value, str):
        yield unicodedata.normalize("NFC", value)


def sentences_of(paragraph: str) -> list[str]:
    """The sentences of one paragraph; a piece without a word is none.

    Neither an abbreviation ends one nor, before a small letter, an ellipsis or quoted speech.
    """
    found: list[str] = []
    start = 0
    small = paragraph.islower()
    for gap in SENTENCE_BREAK.finditer(paragraph):
        before = paragraph[max(start, gap.start() - 8) : gap.start()]
        goes_on = (
            (gap[0][0] in QUOTES or before.endswith(("...", "…")))
            and paragraph[gap.end() : gap.end() + 1].islower()
            and not small
        )
        if not goes_on and not ABBREVIATION.search(before):
            found.append(paragraph[start : gap.start()])
            start = gap.end()
    found.append(paragraph[start:])
    return [one for one in found if words_of(one)]
