"""Function, program and property problems: fair, varied, and judged by type and value."""

import math
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openk2.environments import VerifiableEnvironments
from openk2.environments.base import GraderFailure, VerifiableEnvironment
from openk2.environments.sandbox import SandboxUnavailable
from openk2.environments.verifiers.coding import ENVIRONMENTS, grading
from openk2.environments.verifiers.coding.formats import READERS, WRITERS, same_output
from openk2.environments.verifiers.coding.grading import same_value
from openk2.environments.verifiers.coding.problems import ChainProblem, canonical, draw_problem
from openk2.environments.verifiers.coding.properties import PropertyProblem
from openk2.environments.verifiers.coding.property_structures import STRUCTURES
from openk2.environments.verifiers.coding.response import MAX_CODE, code_blocks, submitted_code
from openk2.environments.verifiers.coding.steps import KINDS

ALL = [environment() for environment in ENVIRONMENTS]
FUNCTIONS, PROGRAMS, PROPERTIES, _ = ALL


@pytest.mark.parametrize("environment", ALL, ids=lambda one: one.name)
def test_tasks_repeat_themselves_and_are_found_by_name(environment: VerifiableEnvironment) -> None:
    for index in range(2):
        task = environment.task(index, "test", 0.5)
        assert task == VerifiableEnvironments()[environment.name].task(index, "test", 0.5)
        assert task.prompt != environment.task(index, "train", 0.5).prompt


def test_problems_are_varied() -> None:
    drawn = [draw_problem(random.Random(i), 0.5, tuple(KINDS)) for i in range(400)]
    assert len({one.identity() for one in drawn}) > 320
    assert len({one.chain.core.step.name for one in drawn}) > 60


def test_difficulty_adds_steps() -> None:
    def steps(difficulty: float) -> float:
        drawn = (draw_problem(random.Random(i), difficulty, tuple(KINDS)) for i in range(60))
        return sum(len(one.chain.uses) for one in drawn) / 60

    assert steps(0.0) + 1 < steps(0.5) < steps(1.0) - 0.5


def test_hidden_cases_are_no_examples_and_no_constant_fits() -> None:
    for index in range(40):
        problem = ChainProblem.from_json(FUNCTIONS.task(index).truth)
        cases = problem.cases()
        every = [canonical(case) for case in (*cases.examples, *cases.hidden)]
        assert len(set(every)) == len(every) == 15
        outputs = [canonical(problem.chain(*case)) for case in cases.hidden]
        assert max(map(outputs.count, outputs)) <= 9


def test_no_function_to_train_on_is_a_program_to_be_tested_with() -> None:
    train, test = (
        {
            ChainProblem.from_json(environment.task(index, split, 0.0).truth).identity()
            for index in range(count)
        }
        for environment, split, count in ((FUNCTIONS, "train", 300), (PROGRAMS, "test", 40))
    )
    assert len(test) > 15 and not train & test


def test_one_problem_in_two_orders_has_one_identity() -> None:
    """Reversing a list changes no sum: such chains must not fall into two splits."""
    core = ["longest_rising_subsequence", {}]
    plain = {"before": [], "core": core, "after": [], "seed": 1, "size": 12}
    shuffled = {**plain, "before": [["reverse_list", {}], ["reverse_list", {}]], "seed": 2}
    other = {**plain, "before": [["reverse_list", {}]]}
    identities = [ChainProblem.from_json(one).identity() for one in (plain, shuffled, other)]
    assert identities[0] == identities[1] != identities[2]


@pytest.mark.parametrize("environment", ALL[:3], ids=lambda one: one.name)
def test_half_a_program_is_not_paid(environment: VerifiableEnvironment) -> None:
    """The honest program, but wrong for one hidden case."""
    task = environment.task(5, "train", 0.4)
    honest = environment.solve(task)
    if environment is PROGRAMS:
        spoilt = honest.replace("print(write_", "print(end=chr(46)) or print(write_")
    else:
        name = task.truth["function"]
        problem: Any = PropertyProblem if environment is PROPERTIES else ChainProblem
        bad = problem.from_json(task.truth).cases().hidden[-1]
        spoilt = honest.replace(
            "\n```\n",
            f"\n_honest = {name}\ndef {name}(*a):\n"
            f"    return 'no' if a == {bad!r} else _honest(*a)\n```\n",
        )
    assert spoilt != honest
    score = environment.verify(task, spoilt)
    assert score.reward == 0.0 and score.parts["format"] == 1.0
    if environment is not PROGRAMS:
        assert score.parts["cases"] == pytest.approx(11 / 12)


def test_mutating_the_arguments_does_not_matter() -> None:
    task = next(
        task for task in map(FUNCTIONS.task, range(99)) if "values" in task.prompt.split("\n")[1]
    )
    name = task.truth["function"]
    spoiling = FUNCTIONS.solve(task).replace(
        "\n```\n",
        f"\n_honest = {name}\ndef {name}(*a):\n    result = _honest(*a)\n    a[0].clear()\n"
        "    return result\n```\n",
    )
    assert FUNCTIONS.verify(task, spoiling).reward == 1.0


def test_any_right_answer_of_a_property_problem_is_paid() -> None:
    several = 0
    for index in range(12):
        task = PROPERTIES.task(index, "train", 0.5)
        last = PROPERTIES.solve(task).replace("worth > most", "worth >= most")
        assert last != PROPERTIES.solve(task)
        assert PROPERTIES.verify(task, last).reward == 1.0
        problem = PropertyProblem.from_json(task.truth)
        several += any(len(problem.right_answers(case)) > 1 for case in problem.cases().hidden)
    assert several >= 8


def test_candidates_of_the_structures_are_what_their_phrase_says() -> None:
    rng = random.Random(3)
    for _ in range(20):
        count, edges = STRUCTURES["order"].draw(rng, 6)
        for order in STRUCTURES["order"].candidates(count, edges):
            assert sorted(order) == list(range(count))
            assert all(order.index(a) < order.index(b) for a, b in edges)
        count, roads = STRUCTURES["path"].draw(rng, 7)
        joined = {frozenset(edge[:2]) for edge in roads}
        paths = list(STRUCTURES["path"].candidates(count, roads))
        assert paths and len({tuple(path) for path in paths}) == len(paths)
        for path in paths:
            assert path[0] == 0 and path[-1] == count - 1 and len(set(path)) == len(path)
            assert all(frozenset(path[i : i + 2]) in joined for i in range(len(path) - 1))
        (rows,) = STRUCTURES["schedule"].draw(rng, 6)
        for chosen in STRUCTURES["schedule"].candidates(rows):
            covered = [time for i in chosen for time in range(*rows[i])]
            assert len(set(covered)) == len(covered)


@pytest.mark.parametrize(
    ("value", "expected", "same"),
    [
        (1, 1, True),
        (True, 1, False),
        (1.0, 1, False),
        (1, True, False),
        ([1, [2]], [1, [2]], True),
        ((1, 2), [1, 2], False),
        ([True], [1], False),
        ([1], [1, 2], False),
        ({"a": 1}, {"a": 1}, True),
        ({"a": True}, {"a": 1}, False),
        ({True: 1}, {1: 1}, False),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        (0.1 + 0.2, 0.3, True),
        (0.3001, 0.3, False),
        (math.nan, 0.0, False),
        (math.inf, 1e308, False),
        (None, 0, False),
        ("1", 1, False),
        (10**400, 1, False),
    ],
)
def test_equality_is_of_type_and_value(value: object, expected: object, same: bool) -> None:
    assert same_value(value, expected) is same


VALUES = {
    "int": st.integers(),
    "text": st.text("ab c1", max_size=9),
    "ints": st.lists(st.integers(-99, 99)),
    "words": st.lists(st.text("abc", min_size=1)),
    "counts": st.dictionaries(st.text("a bc", min_size=1, max_size=2), st.integers(-9, 9)),
    "matrix": st.lists(st.lists(st.integers(-9, 9), min_size=1, max_size=3)),
}


@given(st.sampled_from(sorted(VALUES)).flatmap(lambda k: st.tuples(st.just(k), VALUES[k])))
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back(kind_and_value: tuple[str, Any]) -> None:
    kind, value = kind_and_value
    lines = iter((WRITERS[kind](value) + "\n").split("\n"))
    assert READERS[kind](lines) == value


def test_outputs_may_differ_in_trailing_white_space_alone() -> None:
    assert same_output("1 2 \r\n3\n\n", "1 2\n3")
    for other in (
        "1 2\n3\n4",
        "12\n3",
        "1  2\n3",
        " 1 2\n3",
        "1 2\n3.0",
        "1 2\n03",
        "",
        "1 2\n\n3",
    ):
        assert not same_output(other, "1 2\n3")


def test_the_last_closed_python_block_counts() -> None:
    draft = "```python\nfirst\n```\nbetter:\n```py\nsecond\n```\n```\nthird\n```\n```python\nopen"
    assert submitted_code(draft) == "second\n"
    assert submitted_code("````python\na = '''\n```\n'''\n````") == "a = '''\n```\n'''\n"
    assert submitted_code("```python\n" + "x" * MAX_CODE + "\n```") is None
    assert [one.above for one in code_blocks("a.py\n\n```python\n```")] == ["a.py"]


HOSTILE = [
    "",
    "\0" * 1000,
    "\ud800",
    "`" * 10**6,
    "```\n" * 200_000,
    "```python\n" * 100_000,
    "a/b.py\n```python\n<<<<<<< SEARCH\n" * 20_000,
    "```diff\n+++ b/x\n" + "@@\n-a\n" * 20_000 + "```",
    "```python\n" + "(" * 50_000 + "\n```",
    "\u0661\n" * 1000,
    "<think>" * 1000,
]


@pytest.mark.parametrize("environment", ALL, ids=lambda one: one.name)
def test_every_text_gets_a_verdict(environment: VerifiableEnvironment) -> None:
    task = environment.task(0, "train", 0.2)

    @given(st.text() | st.text().map(lambda text: f"```python\n{text}\n```"))
    @settings(max_examples=15, deadline=None)
    def judged(response: str) -> None:
        score = environment.verify(task, response)
        assert score.reward == 0.0 and score.reason and "\n" not in score.reason

    for response in HOSTILE:
        judged = example(response)(judged)
    judged()


@pytest.mark.parametrize("environment", [FUNCTIONS, PROGRAMS], ids=lambda one: one.name)
def test_a_machine_without_a_sandbox_gives_no_verdict(
    environment: VerifiableEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*arguments: object, **options: object) -> None:
        raise SandboxUnavailable("no namespaces")

    monkeypatch.setattr(grading, "call_function", missing)
    monkeypatch.setattr("openk2.environments.verifiers.coding.programs.run_python", missing)
    task = environment.task(0)
    with pytest.raises(GraderFailure, match="no namespaces"):
        environment.grade(task.truth, environment.solve(task))
    assert not environment.verify(task, environment.solve(task)).valid
