"""What a judge is shown of a candidate: data between marks that it cannot forge, and no orders.

A candidate is written by the policy that the verdict rewards, so it is hostile text (the paper's
critic faces its own actor, section 3.2.2). Rules take out what can be recognised; for the rest
there are both orders, quotes checked by code, and probes.
"""

import functools
import hashlib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from openk2.core.terminal import printable

__all__ = ["MAX_CANDIDATE", "REMOVED", "Sanitized", "enclose", "fold", "has_substance", "sanitize"]

MAX_CANDIDATE = 20_000  # characters of a candidate that a judge is shown
REMOVED = "[removed]"
CUT = "\n[cut]"
MAX_FINDINGS = 20

# Letters that look like Latin ones; what NFKC folds (full width, mathematical) needs no entry.
LOOK_ALIKES = str.maketrans(
    "аеорсухіјѕԁһкмтАЕОРСУХІЈЅВКМНТαορνικτυΑΒΕΗΙΚΜΝΟΡΤΥΧΖ",
    "aeopcyxijsdhkmtaeopcyxijsbkmhtaopviktuabehikmnoptyxz",
)
TOKEN = re.compile(
    r"<\|[^<>|\n]{0,64}\|>"
    r"|</?(?:s|bos|eos|pad|start_of_turn|end_of_turn|system|user|assistant|human|instructions?"
    r"|candidate|verdict|think|tool_call)>"
    r"|\[/?(?:inst|sys|system|system_prompt|available_tools|tool_calls|tool_results)\]"
    r"|<</?sys>>"
)
ROLE = re.compile(
    r"^([ \t>*_-]{0,8}(?:assistant|user|human|system|developer|tool|judge|grader|evaluator"
    r"|candidate [ab])[ \t*_]{0,4}):",
    re.M,
)
HEADING = re.compile(r"^[ \t]{0,3}#{1,6}(?=[ \t\n]|$)", re.M)
JUDGE = r"(?:grader|judge|evaluator|assessor|scorer|rater|reviewer|critic)s?"
SAID = r"(?:response|answer|candidate|output|completion|reply)"
LABELLED = r"(?:candidate|response|assistant|completion)\W{1,4}(?:[ab12]|one|two)\b"
GAP = r"[^.!?]{0,60}"
ORDERS = re.compile(
    "|".join(
        (
            rf"\b(?:ignore|disregard|forget|override|bypass)\b{GAP}?\b(?:previous|prior|above|earlier"
            rf"|all|any|your|other|these)\b{GAP}?\b(?:instructions?|prompts?|rules?|criteri(?:a|on)"
            rf"|rubrics?|guidelines?|candidates?|responses?)\b",
            rf"\bas\W{{1,4}}(?:the|an?|my|our|your)\W{{1,4}}(?:\w{{1,12}}\W{{1,4}})?{JUDGE}\b{GAP}?"
            rf"\b(?:you|must|should|shall|give|award|choose|prefer|pick)\b",
            rf"\b(?:dear|attention|note to|message to|note for|message for|hey|hello|hi)\W{{1,4}}"
            rf"(?:the |any |all |our )?(?:\w{{1,12}} )?{JUDGE}\b",
            rf"\b(?:give|award|assign|grant|rate|score|mark|grade)\b{GAP}?\b(?:full|highest|maximum"
            rf"|top|perfect|best)\W{{1,4}}(?:possible )?(?:score|marks?|rating|points?|grade"
            rf"|credit|stars?)\b",
            rf"\b(?:give|award|assign|grant|output|return)\b{GAP}?\b(?:score|rating|grade|mark)s?"
            r"\W{1,4}(?:of\W{1,4})?(?:\d+|ten|five|one)\b",
            rf"\b(?:rate|score|grade)\W{{1,4}}(?:this|it|me|my)\b{GAP}?\b(?:\d+|ten|five)\b",
            rf"\b(?:choose|select|pick|prefer|favou?r|vote for)\W{{1,4}}(?:the )?(?:{LABELLED}"
            rf"|(?:this|my|first|second)\W{{1,4}}{SAID}\b)",
            rf"\b{LABELLED}{GAP}?\b(?:better|best|correct|winner|wins?|preferred|chosen|superior"
            r"|worse|wrong|deserves)\b",
            rf"\b(?:this|my|our)\W{{1,4}}{SAID}\W{{1,4}}(?:deserves|wins"
            r"|(?:should|must|ought to|has to)\W{1,4}(?:be|get|receive|win|score))\b",
            r"\[\[\W?[abc12]\W?\]\]",
            r"\b(?:final )?(?:verdict|winner|rating)\W{1,4}(?:is\W{1,4})?(?:[ab]\b|\d+|candidate\b"
            r"|first\b|second\b|correct\b|supported\b|met\b)",
        )
    )
)
VERDICT_KEY = re.compile(
    r"[\"'](?:winner|verdict|preference|better|preferred|score|rating|grade|met|met_a|met_b|label"
    r"|violated|supported)[\"']\s{0,8}:"
)
VERDICT_REACH = 2_000  # characters from a verdict's key to the braces around it
SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
# What "One Token to Fool LLM-as-a-Judge" (arXiv 2507.08794) calls master keys: openings of an
# answer that are no answer.
OPENINGS = re.compile(
    r"\b(?:thought process|(?:let s|let us|let me|lets|i will|we will) (?:solve|think|reason|work"
    r"|go|look|break|start|begin|analy[sz]e|consider)(?: (?:this|that|it|the|about|through|at|into"
    r"|on|out|down|with|problem|question|task|answer|carefully|first|together))*(?: step by step)?"
    r"|step by step|solutions?|(?:the |my |final ){0,4}answers?(?: is)?|explanations?|reasoning"
    r"|analysis|response|sure|certainly|of course|okay|ok|here (?:is|s) (?:the|my|a)"
    r" (?:solution|answer|response)|here you go|to solve this(?: problem)?|we need to"
    r"|candidate [ab]?|assistant"
    r"|l[oö]sung|antwort|respuesta|soluci[oó]n|r[eé]ponse|soluzione|answer here|n a|todo)\b"
    r"|解答|解説|解析|答案|思考过程|かいせつ|回答|解"
)


@dataclass(frozen=True)
class Sanitized:
    """`text` may be shown to a judge; `findings` say in one line each what was taken out."""

    text: str
    findings: tuple[str, ...] = ()


def sanitize(candidate: str, limit: int = MAX_CANDIDATE) -> Sanitized:
    """`candidate` without what could pass for anything else than data.

    Characters that do not show (controls, zero width, direction marks, variation selectors) go;
    chat tokens, role lines and headings stay readable but lose their form; sentences that address
    the judge, and JSON that looks like a verdict, are replaced by REMOVED. At most `limit`
    characters are looked at.
    """
    findings: list[str] = []
    text = candidate[:limit]
    visible = "".join(character for character in text if _shows(character))
    if len(visible) < len(text):
        findings.append(f"{len(text) - len(visible)} characters that do not show")
    text, tokens = _neutralize_tokens(visible)
    findings += [f"chat token {token}" for token in tokens]
    text, roles = _replace(ROLE, text, lambda found: found[:-1] + " -")
    findings += [f"role line {role.strip()}" for role in roles]
    text, headings = _replace(HEADING, text, lambda _: "§")
    findings += [f"{len(headings)} headings"] if headings else []
    text, orders = _cut_orders(text)
    findings += [f"addressed to the judge: {order}" for order in orders]
    if len(candidate) > limit:
        text += CUT
        findings.append(f"cut after {limit} of {len(candidate)} characters")
    return Sanitized(text, tuple(printable(found)[:200] for found in findings[:MAX_FINDINGS]))


def has_substance(candidate: str, prompt: str = "") -> bool:
    """Whether a text says anything at all, so that a judge has something to weigh.

    Punctuation, openings without an answer ("Thought process:"), text that only addresses the
    judge, and the prompt said again are nothing.
    """
    said = _without_openings(sanitize(candidate).text)
    return any(map(str.isalnum, said)) and said != _without_openings(prompt[:MAX_CANDIDATE])


def enclose(label: str, text: str, *secret: str | int) -> str:
    """`text` as data between marks that depend on it: it cannot contain its own hash."""
    mark = hashlib.sha256(
        "\0".join(map(str, (*secret, label, text))).encode("utf-8", "surrogatepass")
    ).hexdigest()[:16]
    return f"[{label} {mark} begins]\n{text}\n[{label} {mark} ends]"


def fold(text: str) -> str:
    """`text` in lower case with look-alikes as the letters they resemble; the same length."""
    return "".join(map(_fold, text))


@functools.lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    normal = unicodedata.normalize("NFKC", character.translate(LOOK_ALIKES)).lower()
    return normal.translate(LOOK_ALIKES) if len(normal) == 1 else character


@functools.lru_cache(maxsize=4096)
def _shows(character: str) -> bool:
    selector = "︀" <= character <= "️" or "\U000e0100" <= character <= "\U000e01ef"
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co")
    return character in "\n\t" or not (hidden or selector)


def _without_openings(text: str) -> str:
    words = re.sub(r"[\W_]+", " ", fold(text.replace(REMOVED, " ").replace(CUT, " ")))
    return " ".join(OPENINGS.sub(" ", words).split())


def _replace(
    pattern: re.Pattern[str], text: str, change: Callable[[str], str]
) -> tuple[str, list[str]]:
    """Every match of `pattern` in the folded text changed in the text itself; what was found."""
    pieces, found, end = [], [], 0
    for match in pattern.finditer(fold(text)):
        original = text[match.start() : match.end()]
        pieces += [text[end : match.start()], change(original)]
        found.append(original)
        end = match.end()
    return "".join((*pieces, text[end:])), found


def _neutralize_tokens(text: str) -> tuple[str, list[str]]:
    """Chat tokens with their brackets changed; taking one out can bring forth another."""
    found: list[str] = []
    while True:
        text, more = _replace(
            TOKEN, text, lambda token: f"‹{re.sub(r'[^A-Za-z0-9_]+', '', token)}›"
        )
        if not more:
            return text, found
        found += more


def _cut_orders(text: str) -> tuple[str, list[str]]:
    """The text without sentences that address the judge and without verdicts in JSON."""
    folded = fold(text)
    spans = [_sentence_around(folded, *match.span()) for match in ORDERS.finditer(folded)]
    for match in VERDICT_KEY.finditer(folded):
        start = folded.rfind("{", max(0, match.start() - VERDICT_REACH), match.start())
        stop = folded.find("}", match.end(), match.end() + VERDICT_REACH)
        while 0 <= stop < len(folded) - 1 and folded[stop + 1] == "}":
            stop += 1
        start = match.start() if start < 0 else start
        spans.append((start, stop + 1 if stop >= 0 else match.end()))
    pieces, cut, end = [], [], 0
    for start, stop in sorted(spans):
        if stop <= end:
            continue
        if start >= end:
            pieces += [text[end:start], REMOVED]
        cut.append(text[max(start, end) : stop].strip())
        end = stop
    return "".join((*pieces, text[end:])), cut


def _sentence_around(text: str, start: int, stop: int) -> tuple[int, int]:
    """The line or sentence that a span lies in."""
    window = max(0, start - VERDICT_REACH)
    before = [match.end() for match in SENTENCE_END.finditer(text, window, start)]
    after = SENTENCE_END.search(text, stop)
    first = before[-1] if before else window
    while first < start and text[first].isspace():
        first += 1
    return first, after.start() if after else len(text)
