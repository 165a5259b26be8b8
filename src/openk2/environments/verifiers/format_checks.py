"""Budget and format checks that every verifier may use (paper section 3.2.1, 3.2.3).

Each is deterministic, linear in the text's length and fails closed: a text that it cannot judge has
not passed.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from openk2.core.errors import UserError
from openk2.core.records import Score

__all__ = [
    "STOP_WORDS",
    "UNITS",
    "Budget",
    "Budgeted",
    "hidden_text",
    "is_language",
    "json_only",
    "latin_only",
    "penalised",
    "repeated_share",
    "words_of",
]

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
MAX_JSON = 100_000  # characters
MAX_DEPTH = 50
LANGUAGE_WORDS = 15  # fewer words than this say nothing sure about their language
LANGUAGE_SHARE = 0.2  # of all words, stop words of the language
LANGUAGE_LEAD = 1.3  # times the share of any other language

STOP_WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "English": "the and of to in is was that it for with as his her on at by he she they this "
        "had not are but from or have an which one you were all their there been has when who will "
        "would no if out so what into its then them could my we our your i a",
        "French": "le la les de des du un une et est dans que qui pour sur avec pas ne se sont au "
        "aux ce cette ces il elle ils elles nous vous je on mais ou où sa son ses leur leurs était "
        "plus par en comme été être très d'un d'une c'est l'on",
        "Spanish": "el la los las de del un una y es en que por para con no se su sus al lo como "
        "más pero este esta estos había era son ha fue muy sin sobre también me ya entre cuando "
        "todo hay donde desde nos él ella ellos",
        "German": "der die das und ist in den dem des ein eine einen einem einer zu mit auf für "
        "von nicht sich auch an es er sie ich wir war aus bei nach wie als im am zum zur dass sind "
        "wird oder noch über hatte nur vor durch unter aber so",
        "Italian": "il lo la i gli le di del della dei delle un una e è in che per con non si su "
        "sua suo al alla nel nella come più ma questo questa era sono ha anche da dal dalla dove "
        "quando tutto fra tra loro noi io ogni senza",
        "Portuguese": "o a os as de do da dos das um uma e é em que por para com não se seu sua ao "
        "à no na nos nas como mais mas este esta era são foi muito também já entre quando tudo há "
        "onde desde ele ela eles sem sobre pelo pela",
        "Dutch": "de het een en van is in dat op te zijn met voor niet aan er om ook als dan maar "
        "bij nog uit naar door over ze zich hij had was wordt werd deze die heeft of hun wij ik je",
    }.items()
}

# Marks that a reader does not see: zero-width and joining characters, directions, tags, fillers.
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff0-\uffff\ud800-\udfff"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
HIDING_MARKUP = re.compile(
    r"<!--|<!\[CDATA|<\s*(?:span|div|font|p|style|script|template|details|noscript)\b|"
    r"\\(?:phantom|color|textcolor)\s*\{|display\s*:\s*none|visibility\s*:\s*hidden|"
    r"(?:font-size|opacity)\s*:\s*0|^\[[^\]\n]{0,80}\]:\s*(?:#|<>)",
    re.I | re.M,
)


def words_of(text: str) -> list[str]:
    """The words: runs of letters and digits, joined by single apostrophes or hyphens."""
    return WORD.findall(text)


@dataclass(frozen=True)
class Budgeted:
    """What a budget left of a text.

    text   the text, cut after `limit` units where there were more
    used   how many units it had before the cut
    over   whether it was cut
    """

    text: str
    used: int
    over: bool


def _words_cut(text: str, limit: int) -> tuple[int, str]:
    ends = [found.end() for found in WORD.finditer(text)]
    if len(ends) <= limit:
        return len(ends), text
    return len(ends), text[: ends[limit - 1]] if limit else ""


# unit -> (text, limit) -> (units used, the text cut to the limit)
UNITS: Mapping[str, Callable[[str, int], tuple[int, str]]] = {
    "characters": lambda text, limit: (len(text), text[:limit]),
    "words": _words_cut,
}


@dataclass(frozen=True)
class Budget:
    """The most that a response may say; the paper sets tokens per kind of task (section 3.2.3).

    limit    units
    unit     "characters", "words" or "tokens"
    encode   of "tokens": text -> token ids
    decode   of "tokens": token ids -> text
    """

    limit: int
    unit: str = "words"
    encode: Callable[[str], list[int]] | None = None
    decode: Callable[[list[int]], str] | None = None

    def __post_init__(self) -> None:
        if self.limit < 0 or self.unit not in (*UNITS, "tokens"):
            raise UserError(
                f"budget of {self.limit} {self.unit}: give a limit of 0 or more and the unit "
                f"{', '.join(UNITS)} or tokens"
            )

    def apply(self, text: str) -> Budgeted:
        """The text within the budget."""
        if self.unit == "tokens":
            assert self.encode is not None and self.decode is not None, "tokens need a tokenizer"
            tokens = self.encode(text)
            over = len(tokens) > self.limit
            kept = self.decode(tokens[: self.limit]) if over else text
            return Budgeted(kept, len(tokens), over)
        used, kept = UNITS[self.unit](text, self.limit)
        return Budgeted(kept, used, used > self.limit)


def penalised(score: Score, budgeted: Budgeted, penalty: float = 1.0) -> Score:
    """`score`, which is that of `budgeted.text`, less a penalty where the budget was exceeded.

    The paper truncates and penalises and does not say by how much; a penalty of 1 leaves nothing of
    any reward. A score that is not valid stays so.
    """
    parts = {**score.parts, "within_budget": float(not budgeted.over)}
    if score.reward is None or not budgeted.over:
        return replace(score, parts=parts)
    reason = f"over the budget: {budgeted.used} used"
    return Score(max(0.0, score.reward - penalty), parts, reason)


def hidden_text(text: str) -> str:
    """What in the text its reader would not see, in one line; "" where there is nothing."""
    if found := INVISIBLE.search(text) or CONTROL.search(text):
        return f"an invisible character, U+{ord(found[0]):04X}"
    if found := HIDING_MARKUP.search(text):
        return f"markup that can hide text: {found[0]!r}"
    return ""


def latin_only(text: str) -> bool:
    """Whether every letter and digit is one that a page of Western or Central European text has.

    Look-alikes are not: Cyrillic or Greek letters, mathematical or full-width alphabets, phonetic
    symbols, digits of other scripts.
    """
    return all(
        code < 0x180 or 0x1E00 <= code < 0x1F00 or not chr(code).isalnum()
        for code in {ord(character) for character in text}
    )


def is_language(text: str, language: str) -> bool:
    """Whether a text is in `language`, a key of STOP_WORDS, judged by its stop words.

    A short text, one in two languages and one in a language that is not listed are not.
    """
    words = [word.lower().replace("’", "'") for word in words_of(text)]
    if len(words) < LANGUAGE_WORDS:
        return False
    share = {
        name: sum(word in stop for word in words) / len(words) for name, stop in STOP_WORDS.items()
    }
    others = max(value for name, value in share.items() if name != language)
    return share[language] >= max(LANGUAGE_SHARE, LANGUAGE_LEAD * others)


def repeated_share(text: str, size: int = 4) -> float:
    """The share of a text's runs of `size` words that repeat an earlier run; 0 for a short text."""
    words = [word.lower() for word in words_of(text)]
    runs = Counter(zip(*(words[offset:] for offset in range(size)), strict=False))
    total = sum(runs.values())
    return 1 - len(runs) / total if total else 0.0


def json_only(text: str) -> tuple[Any, str]:
    """(value, "") where the whole text is one JSON value, else (None, what is wrong).

    Strict: no text around it, no code fence, no NaN or Infinity, no key twice in one object.
    """
    if len(text) > MAX_JSON:
        return None, f"{len(text)} characters of JSON"
    depth = deepest = 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        return None, f"JSON nested {deepest} deep"
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_distinct), ""
    except ValueError as problem:
        return None, f"not JSON: {problem}"


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found
