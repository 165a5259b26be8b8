"""Tasks of reasoning-gym: its generators, our extraction of the answer, its scorers in a jail.

reasoning-gym pays part of the reward for an answer with a tail, and several of its scorers execute
the answer, in which it can read the truth that lies in the same process
(benchmarks/scorer_exploits_reasoning_gym.py). Here an answer is paid when it equals the truth, line
by line, or is the same number (`NUMBERS`). Only where many answers are right (`FORMS`) is the
scorer asked, in a sandboxed process of its own, and only about an answer that is nothing but what
the form allows, in which no code can be written. Datasets whose best blind guess would be paid too
often ask several questions in one task.
"""

import contextlib
import decimal
import functools
import io
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar

from openk2.core.records import Score
from openk2.environments.base import GraderFailure, Problem, Task, VerifiableEnvironment
from openk2.environments.sandbox import Limits, SandboxUnavailable, call_function
from openk2.environments.verifiers.answers import MAX_ANSWER
from openk2.environments.verifiers.logic.gym_table import (
    COPIED,
    DATASETS,
    FORMS,
    NUMBERS,
)

__all__ = ["GYM_ENVIRONMENTS", "Gym", "entry_of", "tagged_answers"]

SIZE = 100_000  # problems of a dataset at one difficulty
OPEN, CLOSE = "<answer>", "</answer>"
ONE = f"Give your final answer once, between {OPEN} and {CLOSE}, and nothing else between them."
SEVERAL = (
    f"Give the final answers in the order of the questions, each once, between {OPEN} and {CLOSE}, "
    "and nothing else between them."
)
BESIDE = re.compile(r" ?([,\[\]()]) ?")
NUMBER = re.compile(
    r"[-+]?(?:[0-9]{1,40}|[0-9]{1,3}(?:,[0-9]{3}){1,12})(?:\.[0-9]{1,40})?(?:[eE][-+]?[0-9]{1,2})?"
)
LIMITS = Limits(wall_s=5.0, cpu_s=5.0)
# Runs inside the sandbox.
SCORER = """
import reasoning_gym

def score(name, answer, entry):
    return float(reasoning_gym.get_score_answer_fn(name)(answer, entry))
"""


def tagged_answers(response: str, count: int) -> list[str] | None:
    """The answers that a response gives in tags; None where they are not exactly `count`."""
    parts = response.split(OPEN)[1:]
    if len(parts) != count or response.count(CLOSE) != count:
        return None
    answers = [part.partition(CLOSE)[0] for part in parts if CLOSE in part]
    if len(answers) != count or any(len(answer) > MAX_ANSWER for answer in answers):
        return None
    return answers


@contextlib.contextmanager
def _contained(seed: int) -> Iterator[None]:
    """Python's and numpy's global generators seeded, the decimal context a new one, no printing.

    Afterwards all is as it was: some datasets draw from the global generators, one seeds numpy's,
    one changes the precision in which others compute their answers, and one prints dots.
    """
    import numpy

    python, arrays = random.getstate(), numpy.random.get_state()
    random.seed(seed)
    numpy.random.seed(seed)
    try:
        silent = contextlib.redirect_stdout(io.StringIO())
        with silent, decimal.localcontext(decimal.Context()):
            yield
    finally:
        random.setstate(python)
        numpy.random.set_state(arrays)


@functools.lru_cache(maxsize=64)
def _dataset(name: str, level: float | None) -> Any:
    """A dataset whose curriculum stands at this share of its levels; None: it has no curriculum."""
    with _contained(0):
        from reasoning_gym import factory

        if level is None:
            return factory.create_dataset(name, seed=0, size=SIZE)
        curriculum = factory.CURRICULA[name]()
        for attribute in curriculum.attributes.values():
            curriculum.set_attr_level(attribute.name, round(level * (len(attribute.levels) - 1)))
        make, _ = factory.DATASETS[name]
        return make(curriculum.generate_configuration({"seed": 0, "size": SIZE}))


def entry_of(name: str, difficulty: float, place: int) -> dict[str, Any]:
    """Problem `place` of a dataset as JSON: question, answer, metadata if its scorer is asked."""
    _, top, bottom = DATASETS[name]
    level = None if top is None else bottom + round(4 * difficulty) / 4 * (top - bottom)
    dataset = _dataset(name, level)
    with _contained(place):
        entry = dict(dataset[place])
    if name not in FORMS:
        del entry["metadata"]
    found: dict[str, Any] = json.loads(json.dumps(entry))
    return found


def _lines(text: str) -> list[str]:
    """Its lines; white space counts only as one space between words."""
    lines = (" ".join(line.split()) for line in text.strip().splitlines())
    return [BESIDE.sub(r"\1", line) for line in lines]


def _same(name: str, answer: str, right: str) -> bool:
    """Whether an answer says what the stored one does."""
    if name not in NUMBERS:
        return _lines(answer) == _lines(right)
    if not NUMBER.fullmatch(answer.strip()):
        return False
    value, expected = (Fraction(text.strip().replace(",", "")) for text in (answer, right))
    return abs(value - expected) <= NUMBERS[name] * abs(expected)


class Gym(VerifiableEnvironment):
    """One dataset. Truth: answers, and entries (what its scorer needs) where it is asked."""

    dataset: ClassVar[str]

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        count = DATASETS[self.dataset].questions
        entries: list[dict[str, Any]] = []
        while len(entries) < count:
            try:
                entry = entry_of(self.dataset, difficulty, rng.randrange(SIZE))
            except RuntimeError:  # tsumego has no problem for some numbers
                continue
            copied = self.dataset in COPIED and entry["answer"] in entry["question"]
            if len(entry["answer"]) <= MAX_ANSWER and not copied:
                entries.append(entry)
        questions = [entry["question"].strip() for entry in entries]
        if count == 1:
            prompt = f"{questions[0]}\n\n{ONE}"
        else:
            asked = (f"Question {number}:\n{text}" for number, text in enumerate(questions, 1))
            prompt = "\n\n".join((*asked, SEVERAL))
        truth: dict[str, Any] = {"answers": [entry["answer"] for entry in entries]}
        if self.dataset in FORMS:
            truth["entries"] = entries
        return Problem(prompt, truth, json.dumps(sorted(questions)))

    def grade(self, truth: Mapping[str, Any], response: str) -> Score:
        expected: Sequence[str] = truth["answers"]
        answers = tagged_answers(response, len(expected))
        if answers is None:
            reason = f"{len(expected)} answers in {OPEN}...{CLOSE} are due, each once"
            return Score(0.0, {"answered": 0.0, "correct": 0.0}, reason)
        wrong = [
            number
            for number, (answer, right) in enumerate(zip(answers, expected, strict=True))
            if not _same(self.dataset, answer, right)
        ]
        correct = not wrong or ("entries" in truth and self._all_accepted(truth, answers, wrong))
        return Score(
            float(correct),
            {"answered": 1.0, "correct": float(correct)},
            "" if correct else "an answer is wrong",
        )

    def _all_accepted(
        self, truth: Mapping[str, Any], answers: Sequence[str], numbers: Sequence[int]
    ) -> bool:
        """Whether the dataset's own scorer gives full marks to each of these answers."""
        form = re.compile(FORMS[self.dataset])
        if not all(form.fullmatch(answers[number].strip()) for number in numbers):
            return False
        for number in numbers:
            case = (self.dataset, answers[number].strip(), truth["entries"][number])
            try:
                called = call_function(
                    SCORER, "score", [case], preload=("reasoning_gym",), limits=LIMITS
                )
            except SandboxUnavailable as error:
                raise GraderFailure(f"no sandbox for {self.name}: {error}") from None
            outcome = called.outcomes[0]
            if outcome.status != "ok" or outcome.value != 1.0:
                return False
        return True

    def solve(self, task: Task) -> str:
        return "\n".join(f"{OPEN}{answer}{CLOSE}" for answer in task.truth["answers"])


def _environment(dataset: str) -> type[Gym]:
    members = {"name": f"logic.gym_{dataset}", "dataset": dataset, "__module__": __name__}
    members["__doc__"] = f"reasoning-gym's {dataset}."
    return type(f"Gym_{dataset}", (Gym,), members)


GYM_ENVIRONMENTS: tuple[type[Gym], ...] = tuple(_environment(name) for name in DATASETS)
