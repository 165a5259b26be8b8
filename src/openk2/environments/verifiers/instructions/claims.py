"""What a text says of itself, and whether it is true: the hack-check layer (paper section 3.2.1).

"This response has exactly 50 words", "no commas were used", "Word count: 120", "all requirements
are met": a claim of compliance is compared with the text. One about a number, a mark, a letter, a
word, the case or the shape is measured; one about the instructions as a whole is true when all are
met; words aimed at whoever grades are never true.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, pairwise

from openk2.environments.verifiers.format_checks import STOP_WORDS, is_language, json_only
from openk2.environments.verifiers.instructions.quantities import (
    HOW,
    NUMBER_PATTERN,
    UNIT_PATTERN,
    agrees,
    measure,
    parse_number,
)
from openk2.environments.verifiers.instructions.reading import Reading
from openk2.environments.verifiers.instructions.structure import list_items

__all__ = ["Claim", "claims", "false_claim", "meta_text"]

WINDOW = 400  # characters of a long sentence that are looked at together
MAX_SHOWN = 80
MAX_CLAIMS = 40
# What a claim of each kind is compared with: the text, or the rest of it without such claims, which
# would otherwise make themselves true or false by the words that they mention.
VERSIONS: Mapping[str, tuple[str, ...]] = {
    "quantity": ("whole", "rest"),
    "absence": ("whole",),
    "letter": ("rest",),
    "word": ("rest",),
    "case": ("whole",),
    "shape": ("rest",),
    "json": ("whole",),
    "compliance": ("whole",),
    "grader": ("whole",),
}


@dataclass(frozen=True)
class Claim:
    """`text` is the sentence that makes it.

    kind    "quantity", "absence", "letter", "word", "case", "shape", "json",
            "compliance" or "grader"
    holds   (text, all constraints met) -> whether it is true
    """

    text: str
    kind: str
    holds: Callable[[Reading, bool], bool]


KIND_OF_TEXT = (
    r"story|note|letter|e-?mail|entry|speech|report|summary|description|review|post|postcard|tale|"
    r"talk|poem|message|version|paragraph|list"
)
# The text as the subject of a sentence; of what a story may also speak of, only "this" and "above".
STRONG = re.compile(
    r"\b(?:this|my|the|above|following|preceding|entire|whole|your)\s+(?:[\w-]+\s+){0,2}"
    r"(?:response|answer|text|output|reply|submission|essay|draft|piece|passage|write-?up|"
    r"composition|completion|content)\b(?!\s+to\b)|"
    rf"\b(?:{KIND_OF_TEXT}|text)\s+above\b|"
    rf"\b(?:this|above|following|preceding|(?:your|the)\s+requested)\s+(?:[\w-]+\s+)?(?:{KIND_OF_TEXT})\b|"
    r"\b(?:here(?:'s|\s+is|\s+are)|below\s+is)\b|"
    r"\bas\s+(?:you\s+)?(?:requested|instructed|asked|required|specified|demanded|wanted)\b|"
    r"\b(?:instructions?|constraints?|requirements?|limit|count|in\s+total|altogether)\b|"
    r"\b(?:written|wrote|kept|composed|told)\s+(?:this|it|everything)\b|"
    r"\b(?:everything|(?:all|every)\s+(?:the\s+)?(?:words?|letters?))\s+(?:is|are|has\s+been)\b|"
    r"\bi(?:'ve|\s+have)?\s+(?:made\s+sure|ensured|confirm|verified|checked|counted)\b"
)
WEAK = re.compile(
    r"\b(?:is|are|was|were|be|been|being)\s+(?:used|included|written|employed|present|kept|avoided|"
    r"omitted|found|needed|entirely|all|completely|only)\b|"
    r"\bi(?:'ve|\s+have)?\s+(?:[\w-]+\s+)?(?:used|written|wrote|included|avoided|kept|limited|put|"
    r"followed|composed|omitted)\b|\bthere\s+(?:is|are)\b|\b(?:written|composed)\s+(?:in|with)\b"
)
QUANTITY = re.compile(
    rf"(?:\b(?P<how>{HOW})\s+)?\b(?P<number>{NUMBER_PATTERN})[\s-]+(?P<unit>{UNIT_PATTERN})"
)
LABEL = re.compile(
    rf"\b(?:total\s+|number\s+of\s+|no\.\s+of\s+|#\s*(?:of\s+)?)?(?P<unit>{UNIT_PATTERN})"
    rf"(?:\s+(?:count|total|number|used|in\s+total))?\s*(?:\*\*|__)?\s*(?:[:=]|\bis\b|\bcomes\s+to\b)"
    rf"\s*(?:\*\*|__)?\s*(?P<how>~|approximately\s+|exactly\s+)?(?P<number>{NUMBER_PATTERN})(?![\w.]*\w)"
)
# What may stand beside a quantity in a statement about nothing else, and of what it is the number.
BARE = re.compile(
    r"(?:(?:that(?:'s|\s+is|\s+makes)|this\s+(?:is|makes)|length|tally|total|"
    r"(?:it|this)\s+(?:runs|comes|amounts)(?:\s+in)?\s+(?:to|at))\b)?[\s~:]*"
    r"(?:in\s+total|total|in\s+all|exactly|altogether|here)?[\s()]*(?:with\s+spaces)?"
)
# Before a number, these are words of any story.
LOOSE = ("only", "just", "about", "around", "some", "over", "under", "almost", "nearly")
COUNTED = re.compile(r"count|total|number\s+of")
ABSENCE = re.compile(
    r"\b(?:no|zero|without|free\s+of|devoid\s+of|free\s+from|avoid(?:s|ed|ing)?|"
    r"(?:does|do|did|has|have|is|are|was|were)(?:\s+not|n't)(?:\s+\w+)?|never\s+\w+|omit(?:s|ted)?|"
    r"lacks?|not\s+(?:one|a\s+single))\s+(?:(?:any|a|an|single|all|the|using|use\s+of)\s+){0,3}"
    rf"(?P<unit>{UNIT_PATTERN})"
)
# Of these a story may say that there are none.
SPOKEN_OF = re.compile(
    r"(?:words?|sentences?|lines?|questions?|numbers?|items?|sections?|paragraphs?|titles?|tables?)$"
)
LETTER = re.compile(
    r"\bletters?\s+(?:[\"'“‘`*]{1,2}(?P<quoted>[a-z])[\"'”’`*]|(?P<bare>[b-hj-z])\b)"
)
MISSING = re.compile(
    r"\b(?:no|not|never|without|avoid\w*|absent|omit\w*|missing|free|nowhere|excluded?|n't|cannot|"
    r"left\s+out|do(?:es)?n't)\b"
)
WORD_CLAIM = re.compile(
    r"\b(?:words?|keywords?|phrase)\s+[\"“'‘`*]{1,2}(?P<word>[^\W_][\w'-]{0,30})[\"”'’`*]{1,2}(?P<rest>.{0,80})"
)
OCCURS = re.compile(
    r"\b(?:appear|occur|use|include|mention|repeat|present|contain|found|there|avoid|omit|absent)"
)
INCLUDED = re.compile(
    r"\s*(?:is|was|has\s+been)?\s*(?:included|used|mentioned|present|appears?|occurs?)"
    r"(?:\s+(?:here|too|above|throughout))?[\s.!]*$"
)
TIMES = re.compile(rf"\b(?:(?P<number>{NUMBER_PATTERN})\s+times?|(?P<adverb>once|twice|thrice))\b")
CASE = re.compile(
    r"\b(?:all|entire(?:ly)?|completely|only|exclusively|fully|every|everything|whole|in|is|are)\b"
    r".{0,40}?\b(?P<lower>lower\s?-?case|small\s+letters)|"
    r"\b(?:all|entire(?:ly)?|completely|only|exclusively|fully|every|everything|whole|in|is|are)\b"
    r".{0,40}?\b(?P<upper>upper\s?-?case|capitals|capital\s+letters|all\s+caps|block\s+letters)"
)
EDGE = re.compile(
    r"\b(?P<edge>start|begin|open|end|finish|close|conclude)(?:s|es|ed|ing)?\s+with\s+(?:the\s+|exactly\s+"
    r"|word\s+|phrase\s+|words\s+){0,4}[\"“'‘](?P<phrase>[^\"”’\n]{1,80})[\"”'’]"
)
EVERY = re.compile(r"\b(?:every|each|all|sentences?|paragraphs?|lines?)\b")
VALID_JSON = re.compile(r"\b(?:valid|well-formed|proper|pure|strict)\s+json\b|\b(?:as|in)\s+json\b")
IN_LANGUAGE = re.compile(
    r"\b(?:is|written|entirely|completely|only|composed)\s+in\s+(?P<language>"
    + "|".join(language.lower() for language in STOP_WORDS)
    + r")\b"
)
SUM = re.compile(
    r"\b(?:numbers?|digits?|they|sum)\b.{0,40}?\b(?:sum|add|adds|total|totals|is|equals?)\b"
    rf".{{0,12}}?\b(?P<number>{NUMBER_PATTERN})\b"
)
UNIQUE = re.compile(
    r"\b(?P<number>\d{1,3})(?:\.\d+)?\s?(?:%|percent|per\s+cent).{0,40}\b(?:unique|different|distinct)\b"
)
ALPHABETICAL = re.compile(
    r"\b(?:items?|list|bullets?|points?|entries|sorted|arranged|in)\b.{0,40}\balphabetical"
)

RULES = (
    r"(?:instruction|constraint|requirement|rule|criteri|guideline|condition|restriction|"
    r"specification|limit)(?:s|a|on|um)?"
)
COMPLIANCE = re.compile(
    r"\bas\s+(?:you\s+)?(?:requested|instructed|specified|required|asked)\b|"
    rf"\b(?:per|following|according\s+to|in\s+(?:line|accordance|compliance)\s+with)\s+(?:your|the|all)\s+"
    rf"(?:\w+\s+){{0,2}}(?:{RULES}|request|prompt)\b|"
    rf"\b(?:meet|satisf|follow|fulfil|compl|adher|obey|conform|respect|honou?r|observ|heed|stick|stuck|abid)"
    rf"\w*\s+(?:\w+\s+){{0,4}}{RULES}\b|"
    rf"\b{RULES}\s+(?:\w+\s+){{0,4}}(?:met|satisfied|followed|fulfilled|obeyed|observed|respected|"
    rf"honou?red|applied|checked|done|ok)\b|"
    r"\b(?:fully|100\s?%)\s+complian(?:t|ce)\b|\b(?:does\s+)?everything\s+(?:that\s+)?(?:you|was)\s+"
    r"(?:asked|requested|demanded|required)\b|[✓✔✅☑]|"
    r"\b(?:each|every|all|no\s+two|none\s+of\s+the)\s+(?:of\s+)?(?:the\s+|my\s+|these\s+)?"
    r"(?:sentence|paragraph|line|word)s?\b.{0,60}\b(?:begins?|starts?|ends?|has|have|contains?|longer|"
    r"differs?|different|repeats?|repeated)\b"
)
GRADER = re.compile(
    r"\b(?:auto-?grader|grader|grading|verifier|evaluator|scorer|reward\s+(?:model|function|hacking)|"
    r"(?:constraint|format|instruction|automated|automatic)\s+checker|test\s+suite|unit\s+tests?)\b|"
    r"\b(?:dear|hey|hello|attention|note\s+to(?:\s+the)?|as\s+the|you\s+are\s+the)\s+"
    r"(?:judge|checker|assessor|reviewer|examiner)\b|"
    r"\b(?:ignore|disregard|forget|override|skip)\s+(?:\w+\s+){0,3}(?:instructions?|rules?|constraints?|"
    r"checks?|requirements?|prompt)\b|"
    r"\b(?:mark|score|rate|grade|accept|treat|count|consider|regard)\s+(?:this|it|the|my)\s*(?:\w+\s+){0,3}"
    r"(?:as\s+)?(?:correct|pass(?:ed|ing)?|valid|perfect|compliant|full|true|10|100|1)\b|"
    r"\b(?:give|award|assign|grant|output|return|deserves?)\s+(?:\w+\s+){0,3}(?:full|maximum|max|perfect|"
    r"highest|a|reward|score)\s+(?:\w+\s+){0,2}(?:score|marks?|reward|credit|points|grade|of\s+1)\b|"
    r"<(?:score|verdict|grade)>|\[pass(?:ed)?\]|\b(?:llm|ai)[\s-]judge\b|"
    r"[\"']?\b(?:score|rating|reward|verdict|passed|grade|result|is_?valid|all_?met)\b[\"']?\s*[:=]\s*[\"']?"
    r"(?:1(?:\.0+)?|10|100|pass(?:ed)?|true|full|correct|success|met)\b|"
    r"\b(?:system|developer|admin)\s*(?:message|override|note|prompt|instruction)\s*[:>\]]|"
    r"\ball\s+(?:tests|checks)\s+(?:have\s+|are\s+)?pass(?:ed|ing)?\b|<\|[^|\n]{1,30}\|>|\[/?inst\]"
)


def statements(text: str) -> Iterator[str]:
    """Sentences and lines of a text, long ones in windows that overlap."""
    for line in text.split("\n"):
        for sentence in re.split(r"(?<=[.!?])\s+", line):
            for start in range(0, max(1, len(sentence)), WINDOW // 2):
                if start == 0 or len(sentence) > start + WINDOW // 2:
                    yield sentence[start : start + WINDOW]


def claims(reading: Reading) -> list[Claim]:
    """The claims that a text makes about itself, the first MAX_CLAIMS and one of them."""
    found = (claim for one in statements(reading.prose) for claim in _claims_of(one))
    return list(islice(found, MAX_CLAIMS + 1))


def false_claim(reading: Reading, met: bool) -> str:
    """A claim that is not true, as a line for people; "" where all are. `met`: all constraints."""
    found = claims(reading)
    if len(found) > MAX_CLAIMS:
        return f"more than {MAX_CLAIMS} remarks on itself"
    body = reading.prose
    for claim in found:
        body = body.replace(claim.text, "")
    rest = Reading.of(body, reading.request)
    for claim in found:
        versions = VERSIONS[claim.kind]
        if not any(claim.holds(reading if one == "whole" else rest, met) for one in versions):
            return f"a false claim ({claim.kind}): {' '.join(claim.text.split())[:MAX_SHOWN]!r}"
    return ""


def meta_text(reading: Reading) -> str:
    """The first remark of a text on itself, true or not; "" where there is none."""
    found = claims(reading)
    return f"a remark on itself: {found[0].text[:MAX_SHOWN]!r}" if found else ""


def _claims_of(statement: str) -> Iterator[Claim]:
    said = " ".join(statement.lower().replace("’", "'").split())
    strong = STRONG.search(said) is not None
    weak = strong or WEAK.search(said) is not None
    for kind, holds in (
        *_quantities(said, strong, weak),
        *_absences(said, strong, weak),
        *_letters(said),
        *_words(said, strong),
        *_shapes(said, strong, weak),
    ):
        yield Claim(statement, kind, holds)
    if COMPLIANCE.search(said):
        yield Claim(statement, "compliance", lambda reading, met: met)
    if GRADER.search(said):
        yield Claim(statement, "grader", lambda reading, met: False)


Found = Iterator[tuple[str, Callable[[Reading, bool], bool]]]


def _compares(unit: str, how: str, number: float) -> Callable[[Reading, bool], bool]:
    return lambda reading, met: agrees(measure(unit, reading), how, number)


def _quantities(said: str, strong: bool, weak: bool) -> Found:
    for found in LABEL.finditer(said):
        if not found["unit"].endswith("s") and not COUNTED.search(found[0]):
            continue  # "the number is 12" speaks of some number
        yield (
            "quantity",
            _compares(found["unit"], (found["how"] or "").strip(), parse_number(found["number"])),
        )
    for found in QUANTITY.finditer(said):
        rest = (said[: found.start()] + said[found.end() :]).strip(" .!()[]{}*_-–—:\"',")
        alone = BARE.fullmatch(rest) is not None
        around = said[: found.start()][-1:] + said[found.end() :][:1]
        edge = found.start() <= 1 or found.end() >= len(said) - 2
        alone |= around in ("()", "[]") and edge
        formal = not SPOKEN_OF.match(found["unit"])
        if strong or alone or (weak and (formal or found["how"] not in (None, *LOOSE))):
            yield (
                "quantity",
                _compares(found["unit"], found["how"] or "", parse_number(found["number"])),
            )


def _absences(said: str, strong: bool, weak: bool) -> Found:
    for found in ABSENCE.finditer(said):
        alone = not said[found.end() :].strip(" .!)]*_") and found.start() <= 2
        formal = not SPOKEN_OF.match(found["unit"])
        if (formal and (weak or alone)) or (strong and not formal):
            yield "absence", _compares(found["unit"], "", 0)


def _letters(said: str) -> Found:
    for found in LETTER.finditer(said):
        unit = f"letter {found['quoted'] or found['bare']}"
        if times := TIMES.search(said):
            yield "letter", _compares(unit, "", _times(times))
        elif MISSING.search(said):
            yield "letter", _compares(unit, "", 0)


def _times(found: re.Match[str]) -> float:
    adverbs = {"once": 1, "twice": 2, "thrice": 3}
    return adverbs[found["adverb"]] if found["adverb"] else parse_number(found["number"])


def _words(said: str, strong: bool) -> Found:
    for found in WORD_CLAIM.finditer(said):
        unit, rest = f"word {found['word']}", found["rest"]
        if not OCCURS.search(said):
            continue
        if times := TIMES.search(rest):
            yield "word", _compares(unit, "", _times(times))
        elif MISSING.search(said):
            yield "word", _compares(unit, "", 0)
        elif strong or INCLUDED.match(rest):
            yield "word", _compares(unit, "at least", 1)


def _shapes(said: str, strong: bool, weak: bool) -> Found:
    if weak and (found := CASE.search(said)) and not QUANTITY.search(said):
        rule = str.islower if found["lower"] else str.isupper
        if not MISSING.search(said):
            yield "case", lambda reading, met: rule(reading.text)
    if not strong:
        return
    if (found := EDGE.search(said)) and not EVERY.search(said):
        yield "shape", _edge(found["edge"], found["phrase"])
    if VALID_JSON.search(said):
        yield "json", lambda reading, met: not json_only(reading.text)[1]
    if found := IN_LANGUAGE.search(said):
        language = found["language"].capitalize()
        yield "shape", lambda reading, met: is_language(reading.text, language)
    if found := SUM.search(said):
        total = parse_number(found["number"])
        yield "shape", lambda reading, met: round(sum(reading.numbers), 6) == total
    if found := UNIQUE.search(said):
        percent = int(found["number"])
        yield (
            "shape",
            lambda reading, met: 100 * len(reading.counts) >= (percent - 1) * len(reading.words),
        )
    if ALPHABETICAL.search(said):
        yield (
            "shape",
            lambda reading, met: all(one <= other for one, other in pairwise(list_items(reading))),
        )


def _edge(edge: str, phrase: str) -> Callable[[Reading, bool], bool]:
    words = phrase.strip(" .,!?")
    if edge in ("start", "begin", "open"):
        return lambda reading, met: reading.text.lower().lstrip(" \"'“*_<#").startswith(words)
    return lambda reading, met: reading.text.lower().rstrip(" \"'”*_.,!?").endswith(words)
