"""Tasks carry their proof: the plan does it, nothing less does, and no baseline gets there."""

import dataclasses
import itertools

import pytest

from openk2.core.errors import UserError
from openk2.core.records import Message, Score
from openk2.environments.tool_world import DOMAINS, ToolSimulator, ToolTask, make_task
from openk2.environments.tool_world.oracle import carry_out
from openk2.environments.tool_world.planning import Unsolvable
from openk2.environments.tool_world.tasks import find_domain

TASKS = 25


def tell(task: ToolTask) -> list[Message]:
    return [Message("assistant", "I found: " + "; ".join(str(value) for value in task.tells))]


def carried_out(task: ToolTask, without: str = "", messages: list[Message] | None = None) -> Score:
    """The score of the plan, perhaps without the calls of one tool."""
    simulator = ToolSimulator(task)
    for call in task.plan:
        if call.tool != without:
            assert simulator.call(call.tool, call.arguments).ok
    return simulator.score(tell(task) if messages is None else messages)


@pytest.mark.parametrize("name", DOMAINS)
def test_the_plan_solves_the_task_and_nothing_does_not(name: str) -> None:
    for index in range(TASKS):
        task = make_task(name, index)
        assert carried_out(task) == Score(1.0, dict.fromkeys(PARTS, 1.0))
        assert ToolSimulator(task).score([]).reward == 0
        if task.tells:
            assert carried_out(task, messages=[Message("assistant", "Done.")]).reward == 0


PARTS = ("state", "collateral", "said", "policy")


@pytest.mark.parametrize("name", DOMAINS)
def test_every_required_tool_is_necessary(name: str) -> None:
    for index in range(8):
        task = make_task(name, index)
        assert task.required
        domain = find_domain(name)
        for tool in task.required:
            with pytest.raises(Unsolvable):
                carry_out(domain, task.world, task.variables, task.goals, without=(tool,))
            if domain.tools[tool].spec.writes:
                assert carried_out(task, without=tool).reward == 0
        replaceable = {call.tool for call in task.plan} - set(task.required)
        for tool in replaceable:
            carry_out(domain, task.world, task.variables, task.goals, without=(tool,))


def test_order_does_not_matter_where_nothing_depends_on_it() -> None:
    """Writes of a task's goals commute: goals never touch the same rows."""
    task = next(
        t for t in (make_task("retail", i, difficulty=0.9) for i in range(50)) if t.expected
    )
    writes = [call for call in task.plan if DOMAINS["retail"].tools[call.tool].spec.writes]
    for order in itertools.permutations(writes):
        simulator = ToolSimulator(task)
        for call in order:
            simulator.call(call.tool, call.arguments)
        assert simulator.score(tell(task)).reward == 1


def test_a_write_too_many_and_a_broken_policy_fail() -> None:
    task = make_task("retail", 0, difficulty=0.0)
    for index in range(100):
        task = make_task("retail", index)
        if any(goal.kind == "refuse" and goal.tool == "cancel_order" for goal in task.goals):
            break
    simulator = ToolSimulator(task)
    touched = {change.key for change in task.expected}
    order = next(
        row
        for row in simulator.state.find("order")
        if row["status"] == "pending" and row["order_id"] not in touched
    )
    for call in task.plan:
        simulator.call(call.tool, call.arguments)
    assert simulator.call("cancel_order", {"order_id": order["order_id"]}).ok
    found = simulator.score(tell(task))
    assert found.reward == 0 and found.parts["collateral"] == 0

    simulator.restore()
    rows = simulator.state.find("order", {"status": "pending"})
    costly = [row for row in rows if row["amount"] > 600]
    if costly:
        assert simulator.call("cancel_order", {"order_id": costly[0]["order_id"]}).ok
        assert simulator.score(tell(task)).parts["policy"] == 0


def test_tasks_are_pure_functions_of_their_coordinates() -> None:
    for index in range(10):
        task = make_task("retail", index, "test", 0.6)
        assert make_task(**task.coordinates()) == task
        task = make_task("retail", index)
        assert make_task(**task.coordinates()) == task
    worlds = {
        split: {make_task("retail", index, split).world for index in range(20)}
        for split in ("train", "validation", "test")
    }
    assert not worlds["train"] & worlds["test"]


def test_difficulty_asks_for_more() -> None:
    lengths = {
        level: sum(len(make_task("retail", index, difficulty=level).plan) for index in range(20))
        for level in (0.0, 0.5, 1.0)
    }
    assert lengths[0.0] < lengths[0.5] < lengths[1.0]


def test_unknown_domains_and_splits_are_named() -> None:
    with pytest.raises(UserError, match="retial"):
        make_task("retial", 0)
    with pytest.raises(UserError, match="dev"):
        make_task("retail", 0, "dev")


def test_users_are_never_told_a_key() -> None:
    for name in DOMAINS:
        for index in range(10):
            task = make_task(name, index)
            words = " ".join(goal.request for goal in task.goals)
            assert not any(variable.key in words for variable in task.variables.values())
            assert "{" not in words and "}" not in words


@pytest.mark.parametrize("name", DOMAINS)
def test_every_field_of_every_expected_change_matters(name: str) -> None:
    """But for keys of new rows."""
    noticed = 0
    for index in range(10):
        task = make_task(name, index)
        for number, change in enumerate(task.expected):
            entity = find_domain(name).entity[change.entity]
            for field, value in (change.after or {}).items():
                if field == entity.key:
                    continue
                wrong: object = "something else"
                if isinstance(value, bool):
                    wrong = not value
                elif isinstance(value, int | float):
                    wrong = value + 1
                altered_change = dataclasses.replace(change, after={**change.after, field: wrong})
                expected = [*task.expected[:number], altered_change, *task.expected[number + 1 :]]
                assert carried_out(dataclasses.replace(task, expected=tuple(expected))).reward == 0
                noticed += 1
    assert noticed > 10
