"""Simulated users: people who want something, know some facts, and see only what they are told.

A user reads the assistant's text and nothing else: no tool traffic, no thinking. Only the user ends
the dialog. `ScriptedUser` needs no model: it answers questions about what it knows, brings its
wishes all at once or one by one, may change its mind, may first say something wrong, declines what
nobody needs, and waits until the assistant says that it is done.
"""

import random
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openk2.environments.base import seeded_random
from openk2.environments.tool_world.goals import ACTOR, Goal
from openk2.environments.tool_world.scoring import MAX_SAID
from openk2.environments.tool_world.tasks import ToolTask, find_domain
from openk2.environments.tool_world.writing import SetField

__all__ = [
    "PERSONAS",
    "Persona",
    "ScriptedUser",
    "UserFault",
    "UserSimulator",
    "UserTurn",
    "Wishes",
    "sentence",
]


@dataclass(frozen=True)
class Persona:
    """How somebody talks.

    style          in words, for a model that plays the role
    greeting       begins the first message; `thanks` the last one
    at_once        says who they are and all that they want in the first message
    changes_mind   first asks for another value, then corrects it
    mistaken       first gives a wrong fact about themselves, and the right one when asked again
    patience       how many messages without result they wait through
    """

    name: str
    style: str
    greeting: str
    thanks: str
    at_once: bool = True
    changes_mind: bool = False
    mistaken: bool = False
    patience: int = 3


PERSONAS: tuple[Persona, ...] = (
    Persona("brief", "few words, no small talk", "", "Thanks."),
    Persona("polite", "courteous, full sentences", "Good morning!", "Thank you very much.", False),
    Persona("chatty", "tells a little story", "Hi there, busy day here.", "You're great!"),
    Persona("scattered", "forgets things, one at a time", "Hello?", "Ah, thank you.", False, True),
    Persona("hurried", "impatient, wants it done now", "Quick one.", "Good. Bye.", patience=2),
    Persona("careless", "mistypes and corrects", "Hey", "ok thanks", False, False, True),
    Persona("undecided", "changes their mind", "Hello,", "That will do, thanks.", True, True),
    Persona("formal", "stiff, distant", "Dear Sir or Madam,", "With kind regards.", False),
)


@dataclass(frozen=True)
class UserTurn:
    """What the user says, and whether that ends the dialog."""

    text: str
    done: bool = False


@dataclass(frozen=True)
class UserFault:
    """Something that the user, not the agent, did wrong; `kind` is a short label."""

    kind: str
    detail: str


class UserSimulator(ABC):
    """The other side of a dialog."""

    @abstractmethod
    def open(self) -> UserTurn:
        """The first message."""

    @abstractmethod
    def reply(self, said: str) -> UserTurn:
        """The answer to what the assistant said."""

    @abstractmethod
    def faults(self) -> list[UserFault]:
        """What the user did wrong so far."""

    @abstractmethod
    def snapshot(self) -> dict[str, Any]:
        """The user's mind as JSON."""

    @abstractmethod
    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot."""


@dataclass(frozen=True)
class Wishes:
    """What a user of a task knows.

    identity   label -> value: who they are, e.g. {"email": "..."}
    requests   their wishes in words, in order
    first      a request as it is said before the mind changes; None where it never does
    """

    identity: Mapping[str, str]
    requests: tuple[str, ...]
    first: tuple[str | None, ...]

    @classmethod
    def of(cls, task: ToolTask, persona: Persona) -> "Wishes":
        """A task in its user's words."""
        domain = find_domain(task.domain)
        identity: dict[str, str] = {}
        if ACTOR in task.variables:
            actor = task.variables[ACTOR]
            fields = domain.entity[actor.entity].by_name
            identity = {
                fields[name].words: fields[name].kind.say(value)
                for name, value in actor.facts.items()
            }
        rng = seeded_random("wishes", task.domain, task.world)
        first = [
            _other_wish(task, goal, rng) if persona.changes_mind else None for goal in task.goals
        ]
        return cls(identity, tuple(goal.request for goal in task.goals), tuple(first))


def _other_wish(task: ToolTask, goal: Goal, rng: random.Random) -> str | None:
    """The same wish with another value, where setting it twice does no harm."""
    domain = find_domain(task.domain)
    for operator in domain.operators:
        if not isinstance(operator, SetField) or operator.effects or operator.name != goal.tool:
            continue
        kind = domain.entity[operator.entity].by_name[operator.field].kind
        said = kind.say(goal.arguments[operator.field])
        other = kind.say(kind.draw(rng, {}, task.today))
        if other != said and goal.request.count(said) == 1 and goal.kind == "write":
            return goal.request.replace(said, other)
    return None


QUESTION = re.compile(
    r"\?|\b(?:please (?:provide|tell|give|share|confirm)|could you|may i have|"
    r"i(?:'ll| will|'d| would)?(?: first)? need (?:your|to know|the)|need you to)\b",
    re.I,
)
DECISION = re.compile(
    r"\b(?:shall i|should i|do you want me|would you like me|(?:right|correct)\?|"
    r"is that (?:right|correct)|is this (?:right|correct))",
    re.I,
)
CONFIRMATION = re.compile(
    rf"{DECISION.pattern}|\b(?:confirm|go ahead|proceed|yes or no)\b|\(yes/no\)", re.I
)
ABOUT_YOU = re.compile(
    r"\b(?:who (?:you are|are you|am i)|identify|verify (?:you\b|your)|your account|yourself)", re.I
)
ABOUT_YOURS = re.compile(r"\b(?:your|account|customer)\b", re.I)
TRIED = re.compile(
    r"\b(?:done|complete[d]?|all set|has been|have been|is now|are now|i(?:'ve| have)|unable|"
    r"can(?:not|'t)|(?:won't|not) be able|"
    r"(?:\w+n't|not) (?:possible|allow(?:ed)?|permit(?:ted)?|eligible)|"
    r"denied|forbid(?:s|den)?|successfully|here (?:is|are)|"
    r"(?:i|was|were|it's|order|now) (?:\w{3,20}ed|sent|paid|set|put|made|moved)|"
    r"(?:cancel|chang|updat|book|remov|delet|add|creat|mov|schedul|transferr)(?:l?ed)|"
    r"(?:is|are|was|were|comes to|adds up to) [\w$-]*\d)",
    re.I,
)
ANNOUNCED = re.compile(
    r"\b(?:(?:one|just a) (?:moment|second|minute)|hold on|bear with me|please wait|"
    r"let me (?:just |first |now |quickly )?(?:look|check|find|search|pull|see|get|do|start)|"
    r"i(?:'ll| will|'m going to) (?:just |first |now )?(?:look|check|find|search|pull|see|get)|"
    r"i(?:'ve| have)(?: now| successfully)? (?:found|located|received|noted|got|pulled up) "
    r"(?:your|the) [a-z ]{0,40}(?:[.!,;]|$)|i(?:'ve| have) (?:got )?(?:your|all)|"
    r"thank(?:s| you) for (?:providing|confirming|sharing))",
    re.I,
)
NOT_FOUND = re.compile(
    r"(?:\bnot |n't |\bunable to |\bfailed to )(?:find|locate|be found)|"
    r"\bno (?:account|record|match|customer)|\bnot found|\bno \w+ (?:with|under)",
    re.I,
)
MORE = re.compile(r"\b(?:anything else|something else|else (?:i|you)|further help)\b", re.I)
SECRETS = re.compile(r"\b(?:password|pin code|social security|card number|cvv)\b", re.I)


class ScriptedUser(UserSimulator):
    """A user by rules; deterministic given (task, seed)."""

    def __init__(self, task: ToolTask, seed: int = 0, persona: Persona | None = None) -> None:
        rng = seeded_random("user", task.domain, task.world, seed)
        self.persona = persona or rng.choice(PERSONAS)
        self._rng_name = f"{task.domain}\0{task.world}\0{seed}"
        self.wishes = Wishes.of(task, self.persona)
        self._mind: dict[str, Any] = {
            "turn": 0,
            "told": 0,  # wishes brought so far
            "to_correct": [],  # of those, the ones that were not said as they are meant
            "settled": False,
            "wrong": bool(self.persona.mistaken and self.wishes.identity),
            "identified": False,
            "waited": 0,
        }

    def open(self) -> UserTurn:
        parts = [self.persona.greeting]
        count = len(self.wishes.requests) if self.persona.at_once else 1
        parts += [self._bring() for _ in range(count)]
        if self.persona.at_once and self.wishes.identity:
            parts.append(self._identity())
        return UserTurn(" ".join(part for part in parts if part))

    def reply(self, said: str) -> UserTurn:
        mind = self._mind
        mind["turn"] += 1
        heard = re.sub(r"e-mail", "email", said[:MAX_SAID].replace("\u2019", "'"), flags=re.I)
        if mind["to_correct"]:
            return UserTurn(self._correct())
        answer = self._answer(heard)
        if answer:
            return UserTurn(answer)
        announced = ANNOUNCED.search(heard) is not None
        if (TRIED.search(heard) and not announced) or MORE.search(heard):
            if mind["told"] < len(self.wishes.requests):
                return UserTurn(f"One more thing. {self._bring()}")
            return UserTurn(self.persona.thanks, done=True)
        mind["waited"] += 1
        if mind["waited"] > self.persona.patience:
            return UserTurn("This takes too long. Goodbye.", done=True)
        return UserTurn("Okay. Tell me when it is done.")

    def _answer(self, heard: str) -> str:
        """What there is to say to a question; nothing where none was asked."""
        mind, identity = self._mind, self.wishes.identity
        asked = QUESTION.search(heard) is not None and not MORE.search(heard)
        labelled = any(re.search(rf"\b{re.escape(label)}\b", heard, re.I) for label in identity)
        about_me = labelled or ABOUT_YOU.search(heard) is not None
        # Who mistyped says so as soon as anybody looks at it again.
        doubted = (mind["wrong"] and mind["identified"]) or not DECISION.search(heard)
        if identity and asked and about_me and doubted:
            return self._identity()
        if identity and NOT_FOUND.search(heard) and (mind["wrong"] or not mind["identified"]):
            return self._identity()
        if not asked:
            return ""
        if SECRETS.search(heard):
            return "I would rather not give you that."
        if CONFIRMATION.search(heard):
            # A user who waves everything through would share the blame for what was not wished.
            return "Yes, if it is what I asked for, please go ahead."
        answer = self._explain()
        if identity and not mind["identified"] and ABOUT_YOURS.search(heard):
            answer += " " + self._identity()
        return answer

    def faults(self) -> list[UserFault]:
        """None: whoever leaves after waiting in vain has done nothing wrong."""
        return []

    def snapshot(self) -> dict[str, Any]:
        return {**self._mind, "to_correct": list(self._mind["to_correct"])}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        self._mind = {**snapshot, "to_correct": list(snapshot["to_correct"])}

    def _bring(self) -> str:
        """The next wish; a mind that is going to change says another one first."""
        number = self._mind["told"]
        self._mind["told"] += 1
        first = None if self._mind["settled"] else self.wishes.first[number]
        if first is not None:
            self._mind["to_correct"].append(number)
        return sentence(first or self.wishes.requests[number], self._rng(f"wish {number}"))

    def _correct(self) -> str:
        """Everything that was said otherwise before, as it is meant."""
        wishes = [self.wishes.requests[number] for number in self._mind["to_correct"]]
        self._mind["to_correct"], self._mind["settled"] = [], True
        return "Sorry, I changed my mind. " + " ".join(
            sentence(wish, self._rng("again")) + " Forget what I said before." for wish in wishes
        )

    def _identity(self) -> str:
        facts = dict(self.wishes.identity)
        self._mind["wrong"] = self._mind["wrong"] and not self._mind["identified"]
        if self._mind["wrong"]:
            label = next(iter(facts))
            facts[label] = _mistyped(facts[label], self._rng("typing"))
        self._mind["identified"] = True
        return " ".join(f"My {label} is {value}." for label, value in facts.items())

    def _explain(self) -> str:
        """All that the user knows of what is wanted; keys are nothing that a user knows."""
        wishes = self.wishes.requests[: self._mind["told"]]
        again = " ".join(sentence(wish, self._rng("explain")) for wish in wishes)
        return f"I know no more than that. {again}"

    def _rng(self, purpose: str) -> random.Random:
        return seeded_random("says", self._rng_name, purpose, self._mind["turn"])


def sentence(request: str, rng: random.Random) -> str:
    """A wish as a sentence."""
    head, stop, rest = request.partition(". ")
    tail = f". {rest}." if stop else "."
    if re.match(r"(?:I|my|we|our)\b", head):
        return head[0].upper() + head[1:] + tail
    form = rng.choice(("Please {}", "I'd like you to {}", "I need you to {}", "Can you {}"))
    if form.startswith("Can"):
        return form.format(head) + "?" + (f" {rest}." if stop else "")
    return form.format(head) + tail


def _mistyped(text: str, rng: random.Random) -> str:
    """Two neighbouring letters swapped, or the last one doubled where that changes nothing."""
    places = [n for n in range(len(text) - 1) if text[n] != text[n + 1] and text[n].isalnum()]
    if not places:
        return text + text[-1]
    place = rng.choice(places)
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
