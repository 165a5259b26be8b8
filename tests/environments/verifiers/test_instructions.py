"""Tasks of constrained texts: all can be met, harder is harder, and any response gets a score."""

import functools
import json
import statistics
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openk2.core.errors import UserError
from openk2.environments.base import SPLITS, Task, VerifiableEnvironment
from openk2.environments.registry import VerifiableEnvironments
from openk2.environments.verifiers.instructions import (
    CATALOGUE,
    ENVIRONMENTS,
    Composed,
    Reading,
    Single,
    from_record,
)
from openk2.environments.verifiers.instructions.floor import MAX_RESPONSE
from openk2.environments.verifiers.instructions.vocabulary import (
    KEYWORDS,
    PALINDROMES,
    PHRASES,
    POOLS,
)


@functools.cache
def tasks_of(environment: type[VerifiableEnvironment]) -> list[Task]:
    return [environment().task(index) for index in range(500)]


def ids(task: Task) -> list[str]:
    return [record["id"] for record in task.truth["constraints"]]


def test_the_registry_knows_them() -> None:
    assert VerifiableEnvironments()["instructions.composed"].name == Composed.name
    assert all(one.name.startswith("instructions.") for one in ENVIRONMENTS)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_thousand_random_tasks_can_be_met(environment: type[VerifiableEnvironment]) -> None:
    """500 of each environment; solve() meets every constraint, and the grader says why it pays."""
    world = environment()
    for task in tasks_of(environment):
        text = world.solve(task)
        score = world.verify(task, text)
        assert score.reward == 1.0, (score.reason, task.prompt, text)
        assert set(score.parts.values()) == {1.0} and set(ids(task)) < set(score.parts)
        assert task.truth["request"] in task.prompt
        assert all(f'"{word}"' in task.prompt for word in task.truth["required"])


def test_every_constraint_is_drawn_and_none_beside_its_enemies() -> None:
    drawn = Counter(one for kind in ENVIRONMENTS for task in tasks_of(kind) for one in ids(task))
    assert set(drawn) == set(CATALOGUE)
    for task in tasks_of(Composed):
        kinds = [CATALOGUE[one] for one in ids(task)]
        assert len(set(kinds)) == len(kinds) >= 2
        assert not any(
            one.conflicts_with(other) for one in kinds for other in kinds if one is not other
        )


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_tasks_are_pure_functions_of_their_coordinates_and_json(
    environment: type[VerifiableEnvironment],
) -> None:
    for index in range(10):
        task = environment().task(index, "test", 0.5)
        assert task == environment().task(index, "test", 0.5)
        assert json.loads(json.dumps(task.truth)) == task.truth
        assert environment().solve(task) == environment().solve(task)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_splits_fill_and_share_nothing(environment: type[VerifiableEnvironment]) -> None:
    problems = {
        split: {environment().task(index, split, 0.5).truth["writer"] for index in range(15)}
        for split in SPLITS
    }
    assert all(len(found) == 15 for found in problems.values())
    assert not problems["train"] & problems["test"]


def test_harder_is_harder() -> None:
    counts = [
        statistics.mean(len(ids(Composed().task(index, "train", level))) for index in range(20))
        for level in (0.0, 0.5, 1.0)
    ]
    assert counts[0] < 3 < counts[1] < 5 < counts[2]
    hardness = [
        statistics.mean(
            CATALOGUE[ids(Single().task(index, "train", level))[0]].hardness for index in range(60)
        )
        for level in (0.0, 1.0)
    ]
    assert hardness[0] + 0.1 < hardness[1]


def test_no_constraint_of_a_task_is_met_by_another_task_s_text() -> None:
    """The constraints bite: the texts of other tasks meet all of a task's constraints rarely."""
    tasks = tasks_of(Composed)[:60]
    texts = [Composed().solve(task) for task in tasks]
    met = [
        all(
            from_record(record).check(Reading.of(text, task.truth["request"]))
            for record in task.truth["constraints"]
        )
        for place, task in enumerate(tasks)
        for other, text in enumerate(texts)
        if place != other
    ]
    assert sum(met) < 0.02 * len(met)


def test_an_unknown_constraint_is_an_error_and_never_a_pass() -> None:
    task = tasks_of(Single)[0]
    forged = {**task.truth, "constraints": [{"id": "length.nothing"}]}
    with pytest.raises(UserError, match=r"length\.nothing"):
        Single().grade(forged, Single().solve(task))


def test_the_pools_share_no_word() -> None:
    """A filler must not be a word that a constraint counts, nor count for another."""
    english = {word for pool in POOLS["English"].values() for word in pool}
    topics = {
        word for kind in ENVIRONMENTS for task in tasks_of(kind) for word in task.truth["required"]
    }
    assert not set(KEYWORDS) & (english | topics | set(PALINDROMES))
    assert not set(PALINDROMES) & (english | topics)
    assert len(PHRASES) == len(set(PHRASES))


NASTY = [
    "", " ", ":", "\x00", "\ud800 \udfff", "\ufeff", "a" * MAX_RESPONSE, "a\n\n" * 6000,
    "1," * 9000, '{"a":' * 3000, "[" * 19000, "9" * 19000, "٣" * 500, "*a " * 6000, "| " * 9000,
    'the letter "e" ' * 1200, "no words " * 2000, "word count: 1 " * 1400, "<<" * 9000, "x" * 10**6,
    "Thought process:", "<text>" * 3000, "```\n" * 4000, "NaN", "null", "[NaN]", "-" * 19000,
    "1e999", '{"body": 1e999}', "\u202e" * 500, "𝟙" * 5000, "ﷺ" * 1000, "İ" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("response", NASTY, ids=range(len(NASTY)))
def test_nasty_responses_are_wrong_answers(
    environment: type[VerifiableEnvironment], response: str
) -> None:
    for task in tasks_of(environment)[:3]:
        score = environment().verify(task, response)
        assert score.reward == 0.0 and "\n" not in score.reason


@settings(max_examples=80, deadline=None)
@given(
    response=st.text(max_size=400) | st.text("aA1 .,!?*[]{}()<>\"'\n-#|`", max_size=400),
    place=st.integers(0, 499),
)
@example(response="\ud800", place=0)
def test_any_text_gets_a_valid_score(response: str, place: int) -> None:
    score = Composed().verify(tasks_of(Composed)[place], response)
    assert score.valid and score.reward in (0.0, 1.0)
    assert all(part in (0.0, 1.0) for part in score.parts.values())


def test_thinking_is_not_read() -> None:
    world, task = Composed(), tasks_of(Composed)[3]
    assert world.verify(task, f"<think>Word count: 9!</think>{world.solve(task)}").reward == 1.0


def test_true_remarks_can_be_refused() -> None:
    class Strict(Single):
        tolerate_meta_text = False

    task = next(one for one in tasks_of(Single) if ids(one) == ["keywords.include"])
    text = Single().solve(task)
    remark = f'{text} The word "{task.truth["required"][0]}" is used here.'
    assert Single().verify(task, remark).reward == 1.0
    refused = Strict().verify(task, remark)
    assert refused.reward == 0.0 and refused.parts["text_alone"] == 0.0
    assert Strict().verify(task, text).reward == 1.0


def test_parts_name_what_failed() -> None:
    world, task = Single(), next(one for one in tasks_of(Single) if ids(one) == ["case.upper"])
    text = world.solve(task)
    lower = world.verify(task, text.lower())
    assert lower.reward == 0.0
    assert [name for name, part in lower.parts.items() if not part] == ["case.upper"]
    forgetful = world.verify(task, text.replace(task.truth["required"][0].upper(), "HAT"))
    assert [name for name, part in forgetful.parts.items() if not part] == ["on_topic"]
    liar = world.verify(task, f"{text} THIS TEXT HAS EXACTLY 9 WORDS.")
    assert [name for name, part in liar.parts.items() if not part] == ["honest"]


def test_conflicts_go_both_ways() -> None:
    kinds = list(CATALOGUE.values())
    for one in kinds:
        assert one.conflicts_with(one)
        for other in kinds:
            assert one.conflicts_with(other) == other.conflicts_with(one)
    pairs = [("case.upper", "case.lower"), ("length.sentences", "format.table"),
             ("format.json_keys", "length.words"), ("numbers.none", "numbers.sum"),
             ("language.ascii", "language.language")]  # fmt: skip
    assert all(CATALOGUE[one].conflicts_with(CATALOGUE[other]) for one, other in pairs)
    assert not CATALOGUE["length.words"].conflicts_with(CATALOGUE["keywords.include"])
