"""What a sentence claims about a closed world: a grammar of plain statements with many phrasings.

A sentence is read completely or not at all. So whatever a reading says, the sentence says: words
that the grammar does not know (a negation, a hedge, an invented detail, a name from elsewhere)
make the sentence unreadable, and never vanish.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openk2.environments.verifiers.faithfulness.attributes import ATTRIBUTES, KINDS, Attribute

__all__ = ["UNSTATED", "Claim", "Lexicon", "Reading", "read_sentence", "split_sentences"]

UNSTATED = "unstated"  # the value in a claim that the document does not give one
MAX_SENTENCE = 600  # characters of a sentence that can be read

ENTITY = r"(?:@e\d+|it)"
OWN = r"(?:@e\d+'s|its)"
DOCUMENT = r"(?:the |this )?(?:document|text|context|sheet|source|passage|fact sheet)"
OPENER = re.compile(
    rf"(?:according to {DOCUMENT}|based on {DOCUMENT}|{DOCUMENT} (?:says|states|notes|reports) that"
    r"|in addition|additionally|also|furthermore|moreover|in summary|in short|overall|finally|first"
    r"|second|third|lastly|as for it|and|in brief|to sum up),? "
)
SILENT = re.compile(
    r"(?:(?:here is|this is|below is|here are) (?:a |the |my )?(?:short |brief )?(?:summary|answer"
    r"|facts)(?: (?:of|about|on) @e\d+)?|summary(?: of @e\d+)?|answer|i hope (?:this|that) helps"
    r"|@e\d+|sure|in summary|let me know if you need (?:anything|more))[:!]?"
)
NOT_SAID = (
    rf"{DOCUMENT} (?:does not|doesn't) (?:say|state|mention|tell|give|specify|provide|record"
    r"|include|contain|indicate|reveal)(?: (?:any )?information (?:about|on))? {ask}",
    r"(?:there is )?no information (?:is given |is provided )?(?:about|on) {ask}",
    rf"it is not (?:stated|said|mentioned|given|specified)(?: in {DOCUMENT})? {{ask}}",
    rf"{{ask}} is not (?:stated|said|mentioned|given|specified|recorded|known)(?: (?:in|from|by)"
    rf" {DOCUMENT})?",
    r"(?:i cannot|it is not possible to) (?:say|tell) {ask}(?: from the document)?",
)
SEPARATOR = re.compile(r"(?:,|;)(?: (?:and|while|but|as well as))?|and|while|but|as well as")
RELATIVE = re.compile(r",? ?(?:which|that|who)\b")
SUBJECT = re.compile(r"@e\d+(?!')\b|it\b|the @k\w+")
KIND = re.compile(r"(?:is |was )?an? @k(\w+)")
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
# What stands around the digits (a sign, a decimal part) stays, and makes the sentence unreadable.
NUMBER = re.compile(r"([0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,12})")
IDLE = re.compile(r"\b(?:also|currently|today|presently|in turn) ")


@dataclass(frozen=True)
class Claim:
    """That `attribute` of entity number `entity` is `value`: a number, a kind or UNSTATED."""

    entity: int
    attribute: str
    value: int | str


@dataclass(frozen=True)
class Reading:
    """The claims of a sentence, None where it could not be read; and what "it" means after it."""

    claims: tuple[Claim, ...] | None
    subject: int


class Lexicon:
    """Every name of a world, by which sentences are tagged.

    names   tag ("e0", "p3", ...) -> the ways to write it; longer ones win
    """

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        self._tags = {name.lower(): tag for tag, ways in names.items() for name in ways}
        ways = sorted(self._tags, key=len, reverse=True)
        joined = "|".join(map(re.escape, ways))
        kinds = "|".join(KINDS)
        self._pattern = re.compile(rf"(?<!\w)(?:the )?({joined})(?!\w)|(?<!\w)({kinds})(?!\w)")

    def tag(self, sentence: str) -> str:
        """A sentence in lower case, in one line, with names and numbers as tags."""
        text = re.sub(r"[@*_`\"“”]", " ", sentence.replace("’", "'").lower())
        text = NUMBER.sub(lambda found: "@n" + str(int(found[1].replace(",", ""))), text)
        text = self._pattern.sub(
            lambda found: f"@k{found[2]}" if found[2] else "@" + self._tags[found[1]], text
        )
        text = re.sub(r"^(?:[-•]|[(]?@n[0-9][.)])\s+", "", text.strip())
        return IDLE.sub("", " ".join(text.split())).rstrip(".!? ")


def split_sentences(text: str) -> list[str]:
    """Sentences and lines of a text; empty ones left out."""
    return [piece for found in SENTENCE.split(text) if (piece := found.strip())]


def read_sentence(sentence: str, lexicon: Lexicon, kinds: Sequence[str], subject: int) -> Reading:
    """What a sentence claims, where `subject` is the entity that "it" means at its beginning.

    kinds   of each entity, for "the museum"
    """
    if len(sentence) > MAX_SENTENCE:
        return Reading(None, subject)
    text = lexicon.tag(sentence)
    if not any(map(str.isalnum, text)) or SILENT.fullmatch(text):
        return Reading((), subject)
    for _ in range(2):
        opener = OPENER.match(text)
        text = text[opener.end() :] if opener else text
    unstated = _unstated(text, subject)
    if unstated:
        return Reading((unstated,), unstated.entity)
    return _Sentence(text, kinds, subject).read()


class _Sentence:
    """A walk through one tagged sentence."""

    def __init__(self, text: str, kinds: Sequence[str], subject: int) -> None:
        self.text, self.kinds, self.subject = text, kinds, subject
        self.claims: list[Claim] = []
        self.pending: list[tuple[str, int | str]] = []  # said before their subject is named
        self.named = False  # whether the sentence has named its subject
        self.bare = False  # whether nothing has been said of the subject named last

    def read(self) -> Reading:
        place, joined = 0, True
        while place < len(self.text):
            step = self._statement(place) if joined else None
            if step is None:
                step = self._subject(place) if joined else None
            if step is None:
                step = self._predicate(place)
            joined = False
            if step is None:
                step, joined = self._separator(place), True
            if step is None:
                return Reading(None, self.subject)
            place = step + (self.text[step : step + 1] == " ")
        self._settle()
        unfinished = self.bare or joined or not self.claims
        return Reading(None if unfinished else tuple(self.claims), self.subject)

    def _statement(self, place: int) -> int | None:
        """A whole clause that names both the entity and the value."""
        best: tuple[int, Claim] | None = None
        for attribute, pattern in _clauses():
            found = pattern.match(self.text, place)
            if found and (best is None or found.end() > best[0]):
                said = found["x"] if found["x"] else found["xs"]
                claim = Claim(self._meant(said), attribute, int(found["v"]))
                best = found.end(), claim
        if best is None or self.bare or self.pending:
            return None
        self.claims.append(best[1])
        self.subject, self.named = best[1].entity, True
        return best[0]

    def _subject(self, place: int) -> int | None:
        found = SUBJECT.match(self.text, place)
        if not found or self.bare:
            return None
        if found[0].startswith("the @k") and found[0][6:] != self.kinds[self.subject]:
            return None
        self.subject = self._meant(found[0])
        self.named = self.bare = True
        self._settle()
        return found.end()

    def _predicate(self, place: int) -> int | None:
        relative = RELATIVE.match(self.text, place) if self.bare else None
        start = relative.end() + 1 if relative else place
        found = KIND.match(self.text, start)
        best = (found.end(), "kind", found[1]) if found else None
        said: tuple[int, str, int | str] | None = best
        for attribute, pattern in _predicates():
            matched = pattern.match(self.text, start)
            if matched and (said is None or matched.end() > said[0]):
                said = matched.end(), attribute, int(matched["v"])
        if said is None:
            return None
        self.pending.append(said[1:])
        self.bare = False
        if self.named:
            self._settle()
        return said[0]

    def _separator(self, place: int) -> int | None:
        found = SEPARATOR.match(self.text, place)
        return found.end() if found else None

    def _settle(self) -> None:
        """What was said so far is about the subject."""
        self.claims += [Claim(self.subject, *said) for said in self.pending]
        self.pending = []

    def _meant(self, said: str) -> int:
        named = re.match(r"@e(\d+)", said)
        return int(named[1]) if named else self.subject


def _unstated(text: str, subject: int) -> Claim | None:
    for attribute, pattern in _refusals():
        found = pattern.fullmatch(text)
        if found:
            named = re.search(r"@e(\d+)", text)
            return Claim(int(named[1]) if named else subject, attribute, UNSTATED)
    return None


def _fill(phrase: str, attribute: Attribute) -> str:
    sort = "n" if attribute.sort == "y" else attribute.sort
    phrase = phrase.replace("{v}", rf"(?:the )?@{sort}(?P<v>\d+)")
    return phrase.replace("{x's}", f"(?P<xs>{OWN})").replace("{x}", f"(?P<x>{ENTITY})")


@functools.cache
def _predicates() -> tuple[tuple[str, re.Pattern[str]], ...]:
    found = []
    for name, attribute in ATTRIBUTES.items():
        nouns = "|".join(attribute.nouns)
        has_one = rf"(?:has|with|having) (?:an? )(?:{nouns}) of {{v}}(?:{attribute.unit})?"
        numeric = (has_one,) if attribute.sort == "n" else ()
        for phrase in (*attribute.predicates, *numeric):
            found.append((name, re.compile(_fill(phrase, attribute))))
    return tuple(found)


@functools.cache
def _clauses() -> tuple[tuple[str, re.Pattern[str]], ...]:
    found = []
    for name, attribute in ATTRIBUTES.items():
        nouns = "|".join(attribute.nouns)
        unit = rf"(?:{attribute.unit})?" if attribute.unit else ""
        equals = rf"(?:is|was|amounts to|stands at|comes to) (?:in )?{{v}}{unit}"
        noun_clauses = (
            rf"the (?:{nouns}) of {{x}} {equals}",
            rf"{{x's}} (?:{nouns}) {equals}",
        )
        for phrase in (*attribute.clauses, *noun_clauses):
            pattern = _fill(phrase, attribute)
            # Every pattern has both groups, so that a reader can ask for either.
            pattern += "" if "(?P<x>" in pattern else "(?P<x>(?!))?"
            pattern += "" if "(?P<xs>" in pattern else "(?P<xs>(?!))?"
            found.append((name, re.compile(pattern)))
    return tuple(found)


@functools.cache
def _refusals() -> tuple[tuple[str, re.Pattern[str]], ...]:
    found = []
    for name, attribute in ATTRIBUTES.items():
        nouns = "|".join(attribute.nouns)
        asks = [
            re.escape(ask).replace(r"\{x\}", ENTITY).replace("\\ ", " ") for ask in attribute.asks
        ]
        asks += [rf"(?:the )?(?:{nouns}) of {ENTITY}", rf"{OWN} (?:{nouns})"]
        ask = f"(?:{'|'.join(asks)})"
        for phrase in NOT_SAID:
            found.append((name, re.compile(phrase.replace("{ask}", ask))))
    return tuple(found)
