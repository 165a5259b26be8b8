"""The event log is the truth: it rebuilds the state, bit for bit."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.environments.tool_world import DOMAINS, ToolSimulator, make_task
from openk2.environments.tool_world.faults import FaultPlan
from openk2.environments.tool_world.players import draw_arguments
from openk2.environments.tool_world.state import Event, State

RETAIL = DOMAINS["retail"]


def wander(simulator: ToolSimulator, rng: random.Random, calls: int) -> None:
    """Random calls with keys that the world really has, so that many of them write."""
    keys = [
        next(iter(row.values()))
        for name in simulator.state.entities
        for row in simulator.state.find(name)
    ]
    specs = list(simulator.tools.values())
    for _ in range(calls):
        spec = rng.choice(specs)
        arguments = draw_arguments(spec, rng, keys)
        for field in arguments:  # a key of the right entity, most of the time
            entity = next((e for e in simulator.state.entities.values() if e.key == field), None)
            if entity is not None and rng.random() < 0.9:
                rows = simulator.state.find(entity.name)
                arguments[field] = rng.choice(rows)[entity.key] if rows else "none"
        simulator.call(spec.name, arguments)


@pytest.mark.parametrize("name", DOMAINS)
def test_the_log_rebuilds_the_state_bit_for_bit(name: str) -> None:
    written = 0
    for seed in range(5):
        simulator = ToolSimulator(make_task(name, seed), seed, faults=FaultPlan(0.1))
        wander(simulator, random.Random(seed), 60)
        again = ToolSimulator.from_snapshot(json.loads(json.dumps(simulator.snapshot())))
        assert again.state.dump() == simulator.state.dump()
        assert again.state_diff() == simulator.state_diff()
        written += sum(bool(event.changes) for event in simulator.events)
    assert written > 10, "hardly anything was written, so nothing was shown"


@pytest.mark.parametrize("name", DOMAINS)
def test_every_turn_can_be_gone_back_to(name: str) -> None:
    task = make_task(name, 3, difficulty=0.9)
    simulator = ToolSimulator(task, 7)
    snapshots = [simulator.snapshot()]
    for call in task.plan:
        assert simulator.call(call.tool, call.arguments).ok
        snapshots.append(simulator.snapshot())
    ending = simulator.state.dump()
    for number, snapshot in enumerate(snapshots):
        simulator.restore(snapshot)
        assert len(simulator.events) == number
        for call in task.plan[number:]:
            simulator.call(call.tool, call.arguments)
        assert simulator.state.dump() == ending


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_diff_is_what_turns_the_beginning_into_the_end(seed: int) -> None:
    simulator = ToolSimulator(make_task("retail", 1), seed)
    before = {name: keyed(simulator.state, name) for name in simulator.state.entities}
    wander(simulator, random.Random(seed), 40)
    for change in simulator.state_diff():
        rows = before[change.entity]
        assert rows.pop(change.key, None) == change.before
        if change.after is not None:
            rows[change.key] = change.after
    assert before == {name: keyed(simulator.state, name) for name in simulator.state.entities}


def keyed(state: State, entity: str) -> dict[str, dict[str, object]]:
    return {row[f"{entity}_id"]: row for row in state.find(entity)}


def test_a_call_that_fails_half_way_changes_nothing() -> None:
    state = RETAIL.world("x")
    before = state.dump()
    row = state.find("order")[0]
    with pytest.raises(ZeroDivisionError), state.recording():
        state.update("order", row, quantity=99)
        state.insert("refund", {**state.find("refund")[0], "refund_id": "R-NEW"})
        _ = 1 // 0
    assert state.dump() == before


def test_worlds_are_functions_of_their_seed() -> None:
    assert RETAIL.world("a").dump() == RETAIL.world("a").dump()
    assert len({RETAIL.world(str(seed)).dump() for seed in range(200)}) == 200


def test_events_survive_json() -> None:
    task = make_task("retail", 4, difficulty=0.9)
    simulator = ToolSimulator(task)
    for call in task.plan:
        simulator.call(call.tool, call.arguments)
    for event in simulator.events:
        assert Event.from_json(json.loads(json.dumps(event.to_json()))) == event
