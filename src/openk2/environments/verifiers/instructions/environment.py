"""Texts under constraints, in the spirit of IFEval and IFBench (paper section 3.2.1).

A task is a topic and constraints that some text meets all at once: the generator keeps a
conjunction only where the honest writer has written such a text. The reward is 1 where every
constraint is met, the text is one that can be read, and what it says of itself is true; else 0.
"""

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from openk2.core.records import Score
from openk2.environments.base import Problem, Task, VerifiableEnvironment, seeded_random
from openk2.environments.verifiers.instructions.catalogue import CATALOGUE, from_record
from openk2.environments.verifiers.instructions.claims import false_claim, meta_text
from openk2.environments.verifiers.instructions.constraint import Constraint, Draw
from openk2.environments.verifiers.instructions.draft import Draft, Unwritable
from openk2.environments.verifiers.instructions.floor import (
    MAX_RESPONSE,
    copied,
    degenerate,
    off_topic,
    veiled,
)
from openk2.environments.verifiers.instructions.reading import Reading
from openk2.environments.verifiers.instructions.topics import Topic, draw_topic
from openk2.environments.verifiers.instructions.writer import write

__all__ = ["ENVIRONMENTS", "Composed", "Constrained", "Single", "honest_text"]

WRITER_TRIALS = 4
TEMPLATES = (
    "{request} {required}\n\nFollow these rules:\n{rules}\n\n{house}",
    "{request} {required} {house}\n\nRequirements:\n{rules}",
    "{request}\n\nConditions:\n{rules}\n- {required}\n\n{house}",
    "{request} {required}\n\n{rules}\n\n{house}",
)
REQUIRED = (
    'Use the words "{0}" and "{1}".',
    'The words "{0}" and "{1}" must occur in it as they stand.',
    'Mention the "{0}" and the "{1}" by these words.',
)
HOUSE = (
    "Write at least 20 words, in sentences, as visible plain text in the Latin alphabet; give the "
    "text alone, without remarks on these instructions.",
    "Answer with the text itself and nothing about how it was written. It must be plain text in "
    "Latin letters, 20 words or more in full sentences, with nothing hidden.",
    "Your answer is the text only (sentences, 20 words or more, Latin letters, nothing hidden); do "
    "not comment on the instructions.",
)


def honest_text(
    rng: random.Random, request: str, required: Sequence[str], constraints: Sequence[Constraint]
) -> str | None:
    """A text that meets all constraints; None where the writer finds none."""
    for _ in range(WRITER_TRIALS):
        draft = Draft(rng, request=request)
        draft.units += required
        draft.reserve(*required)
        try:
            for constraint in constraints:
                constraint.plan(draft)
            text = write(draft)
        except Unwritable:
            continue
        reading = Reading.of(text, request)
        if all(constraint.check(reading) for constraint in constraints) and not (
            off_topic(reading, required) or degenerate(reading) or veiled(reading)
        ):
            return text
    return None


class Constrained(VerifiableEnvironment):
    """Base. `tolerate_meta_text`: whether true remarks on the instructions may be paid."""

    tolerate_meta_text: ClassVar[bool] = True

    def count(self, rng: random.Random, difficulty: float) -> int:
        """How many constraints a task has."""
        raise NotImplementedError

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        while True:
            topic = draw_topic(rng)
            constraints = draw_constraints(rng, difficulty, topic, self.count(rng, difficulty))
            records = [constraint.record() for constraint in constraints]
            identity = json.dumps([topic.subject, sorted(records, key=str)], sort_keys=True)
            if honest_text(_writer(identity), topic.request, topic.required, constraints):
                break
        prompt, rules = phrased(rng, topic, constraints)
        truth = {
            "request": topic.request,
            "required": list(topic.required),
            "constraints": records,
            "rules": rules,
            "writer": identity,
        }
        return Problem(prompt, truth, identity)

    def grade(self, truth: Mapping[str, Any], response: str) -> Score:
        constraints = [from_record(record) for record in truth["constraints"]]
        if len(response) > MAX_RESPONSE:
            parts = dict.fromkeys((one.id for one in constraints), 0.0)
            return Score(0.0, parts, f"the response has {len(response)} characters")
        reading = Reading.of(response, truth["request"])
        failed = {one.id: not one.check(reading) for one in constraints}
        faults = {
            "on_topic": off_topic(reading, truth["required"]),
            "substance": degenerate(reading),
            "visible": veiled(reading),
            "own_words": copied(
                reading,
                truth["rules"],
                any(one.id == "structure.repeat_request" for one in constraints),
            ),
            "honest": false_claim(reading, met=not any(failed.values())),
        }
        if not self.tolerate_meta_text:
            faults["text_alone"] = meta_text(reading)
        parts = {name: float(not fault) for name, fault in (failed | faults).items()}
        reasons = [f"{name} is not met" for name, fault in failed.items() if fault]
        reasons += [f"{name}: {fault}" for name, fault in faults.items() if fault]
        return Score(float(not reasons), parts, "; ".join(reasons))

    def solve(self, task: Task) -> str:
        truth = task.truth
        constraints = [from_record(record) for record in truth["constraints"]]
        text = honest_text(
            _writer(truth["writer"]), truth["request"], truth["required"], constraints
        )
        assert text is not None, "the writer wrote this text when the task was made"
        return text


class Single(Constrained):
    """One constraint; harder ones as the difficulty goes up."""

    name = "instructions.single"

    def count(self, rng: random.Random, difficulty: float) -> int:
        return 1


class Composed(Constrained):
    """From two constraints to six."""

    name = "instructions.composed"

    def count(self, rng: random.Random, difficulty: float) -> int:
        return min(6, 2 + int(4 * difficulty + rng.random()))


def draw_constraints(
    rng: random.Random, difficulty: float, topic: Topic, count: int
) -> list[Constraint]:
    """Constraints of which no two conflict, near the difficulty."""
    draw = Draw(rng, difficulty, topic.required, set(topic.required))
    order = list(CATALOGUE.values())
    order.sort(key=lambda kind: abs(kind.hardness - difficulty) + 1.5 * rng.random())
    chosen: list[Constraint] = []
    for kind in order:
        if len(chosen) == count:
            break
        if not any(kind.conflicts_with(other) for other in chosen):
            chosen.append(kind.draw(draw))
    return chosen


def phrased(rng: random.Random, topic: Topic, constraints: Sequence[Constraint]) -> tuple[str, str]:
    """The prompt, and of it all that is not the request."""
    rules = "\n".join(f"- {rng.choice(constraint.describe())}" for constraint in constraints)
    required = rng.choice(REQUIRED).format(*topic.required)
    template = rng.choice(TEMPLATES)
    fields = {"required": required, "rules": rules, "house": rng.choice(HOUSE)}
    return (
        template.format(request=topic.request, **fields),
        template.format(request="", **fields).strip(),
    )


def _writer(identity: str) -> random.Random:
    return seeded_random("honest writer", identity)


ENVIRONMENTS: tuple[type[VerifiableEnvironment], ...] = (Single, Composed)
