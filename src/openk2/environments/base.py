"""One protocol for everything that can be played and graded (paper section 3.2.1, 3.3).

An environment makes tasks, plays an episode of one and scores it. Tasks are a pure function of
(environment, split, index, difficulty); an episode is a pure function of (task, seed, the messages
stepped). A single-turn task with a checkable answer is the shortest case: `VerifiableEnvironment`.

Splits are held out by construction: every problem has an identity, the hash of the identity decides
its split, and a generator draws again until it meets the split that was asked for. So no problem of
"test" can ever be drawn for "train", at any difficulty.
"""

import hashlib
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from openk2.core.errors import UserError
from openk2.core.records import Message, Score, ToolSpec

__all__ = [
    "SPLITS",
    "Environment",
    "GraderFailure",
    "Observation",
    "Problem",
    "Task",
    "VerifiableEnvironment",
    "check_coordinates",
    "seeded_random",
    "split_of",
    "spoken",
]

# Share of all problems that belong to each split, in percent.
SPLITS: Mapping[str, int] = {"train": 80, "validation": 10, "test": 10}
DRAWS = 10_000


class GraderFailure(Exception):
    """No verdict was reached, through no fault of the answer: the score's reward is None."""


@dataclass(frozen=True)
class Problem:
    """What a generator draws.

    prompt     what the model reads
    truth      what the grader needs, JSON; the model never sees it
    identity   equal for two problems exactly when they are the same problem; decides the split
    """

    prompt: str
    truth: Mapping[str, Any]
    identity: str


@dataclass(frozen=True)
class Task:
    """A problem with its coordinates: `environment.task(index, split, difficulty)` makes it again.

    `difficulty` lies in [0, 1]; `truth` is hidden from the model.
    """

    environment: str
    split: str
    index: int
    difficulty: float
    prompt: str
    truth: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Observation:
    """What the agent sees next: messages since its last turn, and the tools that it may call."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()


def seeded_random(*parts: str | int | float) -> random.Random:
    """A random stream of its own for these coordinates, the same on every machine."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return random.Random(int.from_bytes(digest[:16], "big"))


def split_of(environment: str, identity: str) -> str:
    """The split that a problem belongs to."""
    digest = hashlib.sha256(f"{environment}\0{identity}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") % 100
    for split, share in SPLITS.items():
        if place < share:
            return split
        place -= share
    raise AssertionError("the shares of the splits do not sum to 100")


def spoken(response: str) -> str:
    """What a response says to its reader: thinking up to the last </think> left out.

    Thinking that never ends leaves nothing: an answer inside it was not given.
    """
    text = response.rpartition("</think>")[2]
    return "" if "<think>" in text else text


class Environment(ABC):
    """Makes tasks and plays one episode at a time; a copy is made for every episode in parallel.

    name     "family.kind", the key in the registry
    """

    name: ClassVar[str]

    @abstractmethod
    def task(self, index: int, split: str = "train", difficulty: float | None = None) -> Task:
        """Task number `index` (0 and up) of a split; a difficulty of None lets the index decide.

        Raises UserError for a split, an index or a difficulty that do not exist.
        """

    @abstractmethod
    def reset(self, task: Task, seed: int = 0) -> Observation:
        """Begin an episode; the observation holds the prompt and the tools."""

    @abstractmethod
    def step(self, message: Message) -> tuple[Observation, bool]:
        """The agent's turn; what it sees next, and whether the episode is over."""

    @abstractmethod
    def score(self) -> Score:
        """The verdict over the episode as far as it went; asking changes nothing."""

    @abstractmethod
    def snapshot(self) -> dict[str, Any]:
        """The episode as JSON, at any turn; `restore` in any process goes on from it."""

    @abstractmethod
    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on with an episode; afterwards it ends as the one that was saved would have."""

    def verify(self, task: Task, response: str) -> Score:
        """The score of an episode of one turn that says `response`."""
        player = type(self)()
        player.reset(task)
        player.step(Message("assistant", response))
        return player.score()


class VerifiableEnvironment(Environment):
    """A single-turn environment; a subclass gives `generate`, `grade` and `solve`.

    twin   the name of an environment whose problems these are in another form: a problem then
           belongs to the same split in both; empty where there is none
    """

    twin: ClassVar[str] = ""

    def __init__(self) -> None:
        self._task: Task | None = None
        self._response: str | None = None

    @abstractmethod
    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        """A problem, drawn from `rng` alone; harder as `difficulty` goes from 0 to 1."""

    @abstractmethod
    def grade(self, truth: Mapping[str, Any], response: str) -> Score:
        """The verdict on what a response says (thinking is gone already).

        Total: any text, however hostile, gets a valid score. GraderFailure only where the machine
        failed. `response` is never executed outside the sandbox.
        """

    @abstractmethod
    def solve(self, task: Task) -> str:
        """An honest response that earns the full reward."""

    def task(self, index: int, split: str = "train", difficulty: float | None = None) -> Task:
        check_coordinates(self.name, index, split, difficulty)
        rng = seeded_random(self.name, split, index)
        drawn = rng.random()  # drawn in any case: a task made again by its difficulty is the same
        difficulty = drawn if difficulty is None else difficulty
        for _ in range(DRAWS):
            problem = self.generate(rng, difficulty)
            if split_of(self.twin or self.name, problem.identity) == split:
                return Task(self.name, split, index, difficulty, problem.prompt, problem.truth)
        raise UserError(
            f"{self.name}: no problem of the split {split} in {DRAWS} draws at difficulty "
            f"{difficulty:g}; raise the difficulty"
        )

    def verify(self, task: Task, response: str) -> Score:
        """The score of a response to a task; a failed grader gives a score that is not valid."""
        try:
            return self.grade(task.truth, spoken(response))
        except GraderFailure as failure:
            return Score(None, reason=str(failure))

    def reset(self, task: Task, seed: int = 0) -> Observation:
        self._task, self._response = task, None
        return Observation((Message("user", task.prompt),))

    def step(self, message: Message) -> tuple[Observation, bool]:
        assert self._response is None, "step() after the end"
        self._response = message.content
        return Observation(()), True

    def score(self) -> Score:
        assert self._task is not None, "score() before reset()"
        if self._response is None:
            return Score(0.0, reason="no answer was given")
        return self.verify(self._task, self._response)

    def snapshot(self) -> dict[str, Any]:
        assert self._task is not None, "snapshot() before reset()"
        task = self._task
        return {
            "split": task.split,
            "index": task.index,
            "difficulty": task.difficulty,
            "prompt": task.prompt,
            "truth": dict(task.truth),
            "response": self._response,
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        self._task = Task(
            self.name,
            snapshot["split"],
            snapshot["index"],
            snapshot["difficulty"],
            snapshot["prompt"],
            snapshot["truth"],
        )
        self._response = snapshot["response"]


def check_coordinates(name: str, index: int, split: str, difficulty: float | None) -> None:
    """UserError for a split, an index or a difficulty that no environment has."""
    if split not in SPLITS:
        raise UserError(f"{name}: no split {split!r}; there are {', '.join(SPLITS)}")
    if index < 0:
        raise UserError(f"{name}: task {index}; tasks are numbered from 0")
    if difficulty is not None and not 0 <= difficulty <= 1:
        raise UserError(f"{name}: difficulty {difficulty!r}; it lies between 0 and 1")
