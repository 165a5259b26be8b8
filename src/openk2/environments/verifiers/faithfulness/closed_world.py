"""Summaries that may say nothing but what the document says (paper section 3.2.1, faithfulness).

Sentence by sentence, as FACTS Grounding does it, but in a closed world where code can read every
statement: an honest answer is read with certainty, and a sentence that cannot be read is one that
the document does not support. The prompt says so.
"""

import json
import random
from collections.abc import Mapping
from typing import Any

from openk2.core.records import Score
from openk2.environments.base import Problem, Task, VerifiableEnvironment
from openk2.environments.verifiers.faithfulness.attributes import ATTRIBUTES
from openk2.environments.verifiers.faithfulness.statements import (
    UNSTATED,
    Claim,
    read_sentence,
    split_sentences,
)
from openk2.environments.verifiers.faithfulness.world import World, draw_world, statement

__all__ = ["ClosedWorld"]

SENTENCE_LENGTH = 250  # characters that an answer may have for each sentence it is allowed
OPENINGS = (
    "Read the document and tell me about {x}: {asks}.",
    "Using nothing but the document, write about {x}. Say {asks}.",
    "A colleague wants to know of {x}: {asks}. Answer from the document alone.",
    "From the document below, summarise for {x} the following and nothing else: {asks}.",
)
RULES = (
    "Write at most {n} sentences of plain prose. Every sentence must be supported by the document "
    "and belong to what was asked; if the document does not give one of these things, write that "
    'the document does not say it, for example "The document does not say {example}." State facts '
    "plainly in words close to the document's: no negations, no estimates, no remarks of your own, "
    "numbers in digits."
)


class ClosedWorld(VerifiableEnvironment):
    """Answer about one entity among others like it, from a document that is the whole world.

    Harder: more entities and facts, mixed paragraphs, pronouns, more questions, one of them
    without an answer. Reward 1 where every sentence is supported and relevant, everything asked is
    said and the length is kept; otherwise 0. parts: precision (of the sentences that claim
    something, the share supported), coverage (of what was asked, the share said), relevance (of the
    claims, the share that was asked for), length (1 or 0).
    """

    name = "faithfulness.closed_world"

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        entities = 3 + round(4 * difficulty)
        world = draw_world(rng, entities, 6 + round(2 * difficulty))
        target = rng.randrange(entities)
        known = sorted(world.facts[target])
        asked = rng.sample(known, 3 + round(2 * difficulty))
        unknown = sorted(set(ATTRIBUTES) - set(known))
        if rng.random() < difficulty:
            asked[rng.randrange(len(asked))] = rng.choice(unknown)
        name = world.names[f"e{target}"][0]
        asks = [rng.choice(ATTRIBUTES[one].asks).format(x="it") for one in asked]
        limit = len(asked) + 1
        # Any other attribute, known or not: the example must not give away what is unknown.
        other = rng.choice(sorted(set(ATTRIBUTES) - set(asked)))
        example = ATTRIBUTES[other].asks[0].format(x="it")
        prompt = "\n\n".join(
            (
                rng.choice(OPENINGS).format(x=name, asks=", ".join(asks[:-1]) + f" and {asks[-1]}"),
                RULES.format(n=limit, example=example),
                "Document:",
                _document(rng, world, difficulty),
            )
        )
        truth = world.to_json() | {"target": target, "asked": asked, "limit": limit}
        identity = json.dumps([world.to_json(), target, sorted(asked)], sort_keys=True)
        return Problem(prompt, truth, identity)

    def grade(self, truth: Mapping[str, Any], response: str) -> Score:
        text, limit = response.strip(), truth["limit"]
        if len(text) > SENTENCE_LENGTH * limit:
            return Score(0.0, {"length": 0.0}, f"{len(text)} characters for {limit} sentences")
        sentences = split_sentences(text)
        if len(sentences) > limit:
            return Score(0.0, {"length": 0.0}, f"{len(sentences)} sentences; {limit} were allowed")
        world = World.from_json(truth)
        supported, claiming, claims = _judged(world, sentences, truth["target"])
        wanted = {
            Claim(truth["target"], one, world.facts[truth["target"]].get(one, UNSTATED))
            for one in truth["asked"]
        }
        free = [claim for claim in claims if claim.attribute == "kind"]
        relevant = sum(claim in wanted for claim in claims)
        parts = {
            "precision": supported / claiming if claiming else 0.0,
            "coverage": len(wanted & set(claims)) / len(wanted),
            "relevance": relevant / (len(claims) - len(free)) if relevant else 0.0,
            "length": 1.0,
        }
        reward = float(all(part == 1.0 for part in parts.values()))
        weak = [name for name, part in parts.items() if part < 1]
        return Score(reward, parts, f"short of: {', '.join(weak)}" if weak else "faithful")

    def solve(self, task: Task) -> str:
        world, target = World.from_json(task.truth), task.truth["target"]
        rng = random.Random(task.index)
        name = world.names[f"e{target}"][0]
        sentences: list[str] = []
        for asked in task.truth["asked"]:
            subject = name if not sentences else rng.choice(("It", name))
            if asked in world.facts[target]:
                sentences.append(statement(rng, world, target, asked, subject))
            else:
                ask = rng.choice(ATTRIBUTES[asked].asks).format(x=name)
                sentences.append(f"The document does not say {ask}.")
        return " ".join(sentences)


def _judged(world: World, sentences: list[str], target: int) -> tuple[int, int, list[Claim]]:
    """How many sentences are supported, how many claim anything, and every claim that was read."""
    lexicon, subject = world.lexicon, target
    supported = claiming = 0
    claims: list[Claim] = []
    for sentence in sentences:
        reading = read_sentence(sentence, lexicon, world.kinds, subject)
        subject = reading.subject
        if reading.claims is None:
            claiming += 1
            continue
        claiming += bool(reading.claims)
        supported += bool(reading.claims) and all(map(world.supports, reading.claims))
        claims += reading.claims
    return supported, claiming, claims


def _document(rng: random.Random, world: World, difficulty: float) -> str:
    """Every fact in a sentence: a paragraph for each entity, or (harder) all of them mixed."""
    if difficulty > 0.7:
        facts = [(entity, one) for entity, own in enumerate(world.facts) for one in own]
        rng.shuffle(facts)
        lines = [
            statement(rng, world, entity, one, world.names[f"e{entity}"][0])
            for entity, one in facts
        ]
        lines += [f"{world.names[f'e{n}'][0]} is {_a(kind)}." for n, kind in enumerate(world.kinds)]
        return "\n\n".join(" ".join(lines[start : start + 8]) for start in range(0, len(lines), 8))
    paragraphs = []
    for entity in rng.sample(range(len(world.facts)), len(world.facts)):
        name, kind = world.names[f"e{entity}"][0], world.kinds[entity]
        lines = [f"{name} is {_a(kind)}."]
        for attribute in rng.sample(sorted(world.facts[entity]), len(world.facts[entity])):
            subject = rng.choice(("It", f"The {kind}")) if rng.random() < difficulty else name
            lines.append(statement(rng, world, entity, attribute, subject))
        paragraphs.append(" ".join(lines))
    return "\n\n".join(paragraphs)


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
