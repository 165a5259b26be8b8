"""A model in the user's role, watched: what it says wrong is its own fault, not the agent's.

tau-bench's authors found that up to 30 % of failed episodes were the simulated user's doing. So the
user is given only what a user knows, its messages are checked against that, and an episode that
failed after a fault of the user counts as invalid rather than as a failure.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from openk2.core.generation import SamplingOptions
from openk2.core.records import Message
from openk2.environments.base import seeded_random, spoken
from openk2.environments.blocking import BlockingGenerator
from openk2.environments.tool_world.scoring import KEY
from openk2.environments.tool_world.tasks import ToolTask, find_domain
from openk2.environments.tool_world.users import (
    PERSONAS,
    Persona,
    UserFault,
    UserSimulator,
    UserTurn,
    Wishes,
)

__all__ = ["ModelUser", "user_faults"]

END = "###END###"
MAX_MESSAGE = 2000
EMAIL = re.compile(r"[\w.+-]+@[\w.-]+\w")
PLAYED_ASSISTANT = re.compile(
    r"\b(?:i have (?:cancelled|changed|updated|booked|transferred|processed|created)|"
    r"how (?:can|may) i (?:help|assist) you|as an ai|i am an assistant)\b",
    re.I,
)

ROLE = """You are a person who writes to {title}. You are not the assistant.
How you talk: {style}.
Who you are: {identity}.
What you want, in this order:
{requests}
Rules: say only what stands above; if you are asked for anything else, say that you do not know it.
Tell who you are when you are asked. Do not invent numbers, names or dates. Do not offer help.
Write one short message at a time. When the assistant has dealt with all of it, or has told you
that something is impossible, thank it and write {end} at the very end. Never write {end} before
the assistant has said that it is done or cannot be done."""


class ModelUser(UserSimulator):
    """The user of a task, played by a generator.

    It sees the dialog's texts and nothing else. Only its own {end} ends the dialog; the same text
    from the assistant is taken out before the user sees it.
    """

    def __init__(
        self,
        task: ToolTask,
        generator: BlockingGenerator,
        seed: int = 0,
        persona: Persona | None = None,
        options: SamplingOptions | None = None,
    ) -> None:
        rng = seeded_random("user", task.domain, task.world, seed)
        self.task = task
        self.persona = persona or rng.choice(PERSONAS)
        self.wishes = Wishes.of(task, self.persona)
        self._generator = generator
        self._options = options or SamplingOptions(temperature=0.7, max_tokens=400, seed=seed)
        self._dialog: list[Message] = [Message("system", self._role())]
        self._done = False

    def _role(self) -> str:
        identity = "; ".join(f"{label}: {value}" for label, value in self.wishes.identity.items())
        return ROLE.format(
            title=find_domain(self.task.domain).title,
            style=self.persona.style,
            identity=identity or "nothing that matters here",
            requests="\n".join(f"- {request}" for request in self.wishes.requests),
            end=END,
        )

    def open(self) -> UserTurn:
        return self._turn("Hello, how can I help you?")

    def reply(self, said: str) -> UserTurn:
        return self._turn(spoken(said).replace(END, " "))

    def _turn(self, said: str) -> UserTurn:
        # To the model that plays the user, the assistant is the one who prompts.
        self._dialog.append(Message("user", said or "..."))
        completion = self._generator.chat(self._dialog, (), self._options)[0]
        text = spoken(completion.text)[:MAX_MESSAGE].strip()
        self._dialog.append(Message("assistant", text))
        self._done = END in text
        return UserTurn(text.replace(END, "").strip(), self._done)

    def faults(self) -> list[UserFault]:
        texts = [message.content for message in self._dialog if message.role == "assistant"]
        heard = [message.content for message in self._dialog if message.role == "user"]
        return user_faults(self.wishes, texts, heard, self._done)

    def snapshot(self) -> dict[str, Any]:
        dialog = [[message.role, message.content] for message in self._dialog]
        return {"dialog": dialog, "done": self._done}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        self._dialog = [Message(role, content) for role, content in snapshot["dialog"]]
        self._done = snapshot["done"]


def user_faults(
    wishes: Wishes, texts: Sequence[str], heard: Sequence[str], done: bool
) -> list[UserFault]:
    """What a user did wrong, by rules over what it knew, said (`texts`) and was told (`heard`).

    wrong_identity   an address that is not theirs and that was never put right
    unknown_key      a key of the system that nobody had told them
    played_assistant spoke as if it were the assistant
    left_early       ended the dialog before the values of every wish had been said
    empty            said nothing at all
    """
    faults: list[UserFault] = []
    known = " ".join([*wishes.identity.values(), *wishes.requests])
    said = " ".join(texts)
    right = set(EMAIL.findall(known))
    wrong = [found for found in EMAIL.findall(said) if found.rstrip(".") not in right]
    if right and wrong and not any(address in said for address in right):
        faults.append(UserFault("wrong_identity", f"{wrong[0]} instead of {sorted(right)[0]}"))
    told = " ".join(heard)
    for key in dict.fromkeys(KEY.findall(said)):
        if key not in known and key not in told:
            faults.append(UserFault("unknown_key", f"{key} was never told to the user"))
    for text in texts:
        found = PLAYED_ASSISTANT.search(text)
        if found:
            faults.append(UserFault("played_assistant", found[0]))
    if done:
        unsaid = [value for wish in wishes.requests for value in _values(wish) if value not in said]
        if unsaid:
            faults.append(UserFault("left_early", f"{unsaid[0]} was never said"))
    if any(not text.replace(END, "").strip() for text in texts):
        faults.append(UserFault("empty", "a message without text"))
    return faults


def _values(request: str) -> list[str]:
    """Numbers, dates and addresses of a wish: what no paraphrase can change."""
    return re.findall(r"\d[\d.,:-]*\d|\d", request.partition(". ")[0])
