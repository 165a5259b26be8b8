"""A closed world's document decides every sentence; what was changed in an answer is noticed."""

import json
import random
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openk2.environments.base import SPLITS
from openk2.environments.verifiers.faithfulness import ClosedWorld
from openk2.environments.verifiers.faithfulness.attributes import ATTRIBUTES
from openk2.environments.verifiers.faithfulness.statements import (
    UNSTATED,
    Claim,
    read_sentence,
    split_sentences,
)
from openk2.environments.verifiers.faithfulness.world import World, draw_world

WORLD = draw_world(random.Random(3), 3, len(ATTRIBUTES))
X, Y = WORLD.names["e0"][0], WORLD.names["e1"][0]
KIND = WORLD.kinds[0]
V = {name: WORLD.written(name, value) for name, value in WORLD.facts[0].items()}


def read(sentence: str, world: World = WORLD) -> tuple[Claim, ...] | None:
    return read_sentence(sentence, world.lexicon, world.kinds, 0).claims


def said(*attributes: str, entity: int = 0) -> tuple[Claim, ...]:
    return tuple(Claim(entity, one, WORLD.facts[entity][one]) for one in attributes)


@pytest.mark.parametrize("difficulty", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_an_honest_answer_earns_everything(difficulty: float) -> None:
    world = ClosedWorld()
    for index in range(60):
        task = world.task(index, "train", difficulty)
        score = world.verify(task, world.solve(task))
        assert score.reward == 1.0 and set(score.parts.values()) == {1.0}, world.solve(task)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_every_phrase_of_a_document_is_read(attribute: str) -> None:
    for phrase in ATTRIBUTES[attribute].renders:
        for subject in (X, "It", f"The {KIND}", f"The {X} {KIND}"):
            sentence = f"{subject} {phrase.format(v=V[attribute])}."
            assert read(sentence) == said(attribute), sentence
    for ask in ATTRIBUTES[attribute].asks:
        claim = (Claim(0, attribute, UNSTATED),)
        assert read(f"The document does not say {ask.format(x=X)}.") == claim
        assert read(f"There is no information about {ask.format(x='it')}.") == claim


@pytest.mark.parametrize(
    ("sentence", "attributes"),
    [
        (f"{X}, which was founded in {V['founded']}, employs {V['staff']} people.",
         "founded staff"),
        (f"Founded in {V['founded']}, {X} covers {V['area']} square meters.", "founded area"),
        (f"{V['head']} leads {X}, and {X}'s emblem is {V['emblem']}.", "head emblem"),
        (f"The director of {X} is {V['head']}; its annual budget is {V['budget']} crowns.",
         "head budget"),
        (f"According to the document, **{X}** was formerly led by {V['former_head']}.",
         "former_head"),
        (f"- {X}: {V['head']} is its director", None),
        (f"{X} stands in {V['town']}, with a staff of {V['staff']}.", "town staff"),
        (f"{V['supplier']} supplies {X}.", "supplier"),
        (f"It is owned by {V['owner']} and welcomes {V['visitors']} guests each year.",
         "owner visitors"),
        (f"{X} has been around since {V['founded']}.", None),
        (f"In addition, {V['staff']} people work at {X}.", "staff"),
        (f"{X} has a floor area of {V['area'].replace(',', '')} m².", "area"),
    ],
)  # fmt: skip
def test_plain_english_is_read(sentence: str, attributes: str | None) -> None:
    assert read(sentence) == (None if attributes is None else said(*attributes.split()))


@pytest.mark.parametrize(
    "sentence",
    [
        f"{X} and {Y} were founded in {V['founded']}.",
        f"{X} was not founded in {V['founded']}.",
        f"{X} was never led by {V['head']}.",
        f"It is false that {X} was founded in {V['founded']}.",
        f"{X} may have been founded in {V['founded']}.",
        f"{X} was probably founded in {V['founded']}.",
        f"{X} employs about {V['staff']} people.",
        f"{X} employs more than {V['staff']} people.",
        f"{X} employs {V['staff']} people or more.",
        f"{X} was founded in {V['founded']} by a merchant.",
        f"{X} was founded in {V['founded']}, making it the oldest in the country.",
        f"{X} was led by {V['head']}.",
        f"{X} buys its supplies from {V['supplier']}, which employs {V['staff']} people.",
        f"{X} employs {V['staff']}.5 people.",
        f"{X} employs -{V['staff']} people.",
        f"{X} employs {V['staff']} robots.",
        f"{X} is led by {V['head']} and {V['former_head']}.",
        f"{X} is led by {V['head'].split()[0]} Miller.",
        f"{X} was founded in {V['founded']} or {int(V['founded']) + 1}.",
        f"{X} was founded in {V['founded']} and.",
        f"If {X} was founded in {V['founded']}, it employs {V['staff']} people.",
        f"Was {X} founded in {V['founded']}, or not",
        f"{X} @n{V['founded']} was founded in @n{V['founded']}",
        "All of this is as the document says",
        f"@e0 was founded in {V['founded']}.",
        f"The {next(kind for kind in WORLD.kinds if kind != KIND)} was founded in {V['founded']}.",
        f"{X} was founded in {V['founded']},1950.",
        f"{X}'s neighbour was founded in {V['founded']}.",
    ],
)
def test_what_is_not_plainly_said_is_not_read(sentence: str) -> None:
    assert read(sentence) is None


def test_who_is_meant_by_it() -> None:
    lexicon, kinds = WORLD.lexicon, WORLD.kinds
    first = read_sentence(f"{Y} stands in {WORLD.written('town', 1)}.", lexicon, kinds, 0)
    assert first.subject == 1
    second = read_sentence(f"It employs {V['staff']} people.", lexicon, kinds, first.subject)
    assert second.claims == (Claim(1, "staff", WORLD.facts[0]["staff"]),)
    assert not WORLD.supports(second.claims[0])


def test_a_name_with_the_wrong_kind_is_nobody() -> None:
    wrong = next(kind for kind in WORLD.kinds if kind != KIND)
    assert read(f"The {X} {wrong} stands in {V['town']}.") is None
    assert read(f"{X} is a {wrong}.") == (Claim(0, "kind", wrong),)
    assert not WORLD.supports(Claim(0, "kind", wrong)) and WORLD.supports(Claim(0, "kind", KIND))


def other_number(rng: random.Random, text: str) -> str:
    found = rng.choice(list(re.finditer(r"[0-9][0-9,]*", text)))
    value = int(found[0].replace(",", "")) + rng.choice((-10, -1, 1, 10, 100))
    return text[: found.start()] + str(value) + text[found.end() :]


MUTATIONS = {
    "negation": lambda rng, world, text: re.sub(
        r" (is|was|stands|lies|has|covers|employs|belongs|buys|uses|spends|receives|welcomes"
        r"|dates)\b",
        r" \1 not",
        text,
        count=1,
    ),
    "number": lambda rng, world, text: other_number(rng, text),
    "name": lambda rng, world, text: swap_name(rng, world, text),
    "addition": lambda rng, world, text: text[:-1] + rng.choice(
        (", the largest in the region.", " and is famous for it.", " under difficult conditions.")
    ),
    "hedge": lambda rng, world, text: text.replace(" is ", " is probably ", 1)
    .replace(" was ", " may have been ", 1)
    .replace(" has ", " seems to have ", 1),
    "lost sentence": lambda rng, world, text: " ".join(
        rng.sample(split_sentences(text), len(split_sentences(text)) - 1)
    ),
}  # fmt: skip


def swap_name(rng: random.Random, world: World, text: str) -> str:
    """One name in the text becomes another of its sort."""
    names = {ways[0]: tag for tag, ways in world.names.items() if ways[0] in text}
    name = rng.choice(sorted(names))
    others = [
        ways[0]
        for tag, ways in world.names.items()
        if tag[0] == names[name][0] and tag != names[name]
    ]
    return text.replace(name, rng.choice(others), 1) if others else text


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(MUTATIONS)), st.integers(0, 5000), st.floats(0, 1), st.randoms())
def test_a_changed_answer_is_not_paid(
    mutation: str, index: int, difficulty: float, rng: random.Random
) -> None:
    environment = ClosedWorld()
    task = environment.task(index, "train", difficulty)
    honest = environment.solve(task)
    if mutation == "number" and not re.search("[0-9]", honest):
        return
    changed = MUTATIONS[mutation](rng, World.from_json(task.truth), honest)
    if changed != honest:
        assert environment.verify(task, changed).reward == 0.0, changed


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 50), st.text(max_size=400))
@example(0, "")
@example(0, "\x00" * 1_000_000)
@example(1, "It was founded in " * 50_000)
@example(1, "It, " * 300)
@example(2, "\ud800 founded in ١٨٨٦ \u202e")
@example(3, "@e0 was founded in @n1886")
@example(4, "</think>" * 1000)
def test_any_text_gets_a_verdict(index: int, response: str) -> None:
    world = ClosedWorld()
    score = world.verify(world.task(index), response)
    assert score.valid and score.reward == 0.0 and "\n" not in score.reason


def test_parts_tell_what_is_missing() -> None:
    world = ClosedWorld()
    task = next(
        one
        for one in (world.task(index, difficulty=0.5) for index in range(100))
        if all(asked in one.truth["facts"][one.truth["target"]] for asked in one.truth["asked"])
    )
    sentences = split_sentences(world.solve(task))
    count = len(sentences)
    lost = world.verify(task, " ".join(sentences[1:])).parts
    assert lost["coverage"] == (count - 1) / count and lost["precision"] == 1.0
    worse = world.verify(task, " ".join([*sentences, "It is the best of all."])).parts
    assert worse["precision"] == count / (count + 1) and worse["coverage"] == 1.0


def test_polite_sentences_are_free_but_count() -> None:
    world = ClosedWorld()
    task = world.task(0, difficulty=0.5)
    honest = world.solve(task)
    assert world.verify(task, f"Here is the summary:\n{honest}").reward == 1.0
    assert world.verify(task, f"{'I hope this helps. ' * 9}{honest}").reward == 0.0
    spaced = world.verify(task, honest.replace(". ", "." + " " * 5000))
    assert spaced.reward == 0.0 and spaced.parts == {"length": 0.0}
    assert world.verify(task, f"<think>{'so ' * 9999}</think>{honest}").reward == 1.0


def test_splits_fill_with_different_problems() -> None:
    world = ClosedWorld()
    for split in SPLITS:
        tasks = [world.task(index, split, 0.5) for index in range(100)]
        assert len({task.prompt for task in tasks}) == 100
        assert all(json.loads(json.dumps(task.truth)) == task.truth for task in tasks)


def test_harder_documents_are_longer() -> None:
    world = ClosedWorld()
    sizes = [
        sum(len(world.task(index, difficulty=level).prompt) for index in range(20))
        for level in (0.0, 0.5, 1.0)
    ]
    assert sizes[0] * 1.5 < sizes[1] and sizes[1] * 1.3 < sizes[2]
