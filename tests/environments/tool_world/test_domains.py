"""Every domain of the library: its shape, its worlds, its wishes and the proof of its tasks."""

import itertools
import re
from collections import Counter

import pytest

from openk2.core.records import Message
from openk2.environments.base import seeded_random
from openk2.environments.tool_world import DOMAINS, ToolSimulator, make_task
from openk2.environments.tool_world.domain import Domain
from openk2.environments.tool_world.goals import ACTOR, Draft, Goal
from openk2.environments.tool_world.operators import Operator
from openk2.environments.tool_world.oracle import carry_out
from openk2.environments.tool_world.planning import Unsolvable
from openk2.environments.tool_world.values import Reference

KEY = re.compile(r"\b[A-Z]{1,4}-[A-Z0-9]{6}\b")
NAMES = tuple(DOMAINS)
TASKS = 12


def proposals(domain: Domain, operator: Operator, worlds: int, refusals: float = 0.15):
    """Goals that an operator proposes in one world after the other, with their drafts."""
    for number in range(worlds):
        world = f"proposals-{number}"
        state = domain.world(world)
        rng = seeded_random("test", operator.tool(domain).spec.name, number)
        draft = Draft(domain, state, rng, refusals)
        goal = operator.propose(draft) if draft.possible else None
        state.close()
        if goal is not None:
            yield world, draft, goal


def solved(domain: Domain, world: str, draft: Draft, goal: Goal):
    """The calls of the plan for one goal; none where there is no plan."""
    try:
        return carry_out(domain, world, dict(draft.variables), (goal,))
    except Unsolvable:
        return None


def test_there_are_enough_domains_of_enough_kinds() -> None:
    assert len(DOMAINS) >= 13
    assert sum(domain.actor is None for domain in DOMAINS.values()) >= 2
    assert len({domain.category for domain in DOMAINS.values()}) >= 8
    operators = {type(o).__name__ for domain in DOMAINS.values() for o in domain.operators}
    assert {"Book", "Exchange", "MoveInTree", "TransitionAll", "Transfer", "Between"} <= operators


@pytest.mark.parametrize("name", NAMES)
def test_shape(name: str) -> None:
    domain = DOMAINS[name]
    writes = [tool for tool in domain.tools.values() if tool.spec.writes]
    assert 4 <= len(domain.entities) <= 7
    assert 10 <= len(domain.tools) <= 25
    assert len(writes) >= 8 and len(domain.tools) - len(writes) >= 5
    assert 2 <= len(domain.policies) <= 4
    guarded = {tool for policy in domain.policies for tool in policy.tools}
    assert guarded <= {tool.spec.name for tool in writes}
    for policy in domain.policies:
        for tool in policy.tools:
            target = domain.tools[tool].target
            assert target is not None
            known = domain.entity[target[0]]
            path = policy.condition.evidence
            assert path and path[0] in known.columns


@pytest.mark.parametrize("name", NAMES)
def test_worlds_are_consistent_and_differ(name: str) -> None:
    domain = DOMAINS[name]
    dumps = set()
    for seed in ("a", "b", "c"):
        state = domain.world(seed)
        rows = {entity.name: state.find(entity.name) for entity in domain.entities}
        assert 50 <= sum(map(len, rows.values())) <= 200
        for entity in domain.entities:
            keys = {other: {next(iter(row.values())) for row in rows[other]} for other in rows}
            assert len(keys[entity.name]) == len(rows[entity.name])
            for field in entity.fields:
                values = [row[field.name] for row in rows[entity.name]]
                if isinstance(field.kind, Reference):
                    assert set(values) <= keys[field.kind.entity]
                    assert not field.kind.distinct or len(set(values)) == len(values)
                    for wanted, value in itertools.product(field.kind.where, values):
                        referred = state.get(field.kind.entity, value)
                        assert referred is not None and referred[wanted[0]] == wanted[1]
        dumps.add(state.dump())
        again = domain.world(seed)
        assert again.dump() == state.dump()
        again.close()
        state.close()
    assert len(dumps) == 3


@pytest.mark.parametrize("name", NAMES)
def test_every_writing_tool_is_asked_for_and_can_be_planned(name: str) -> None:
    domain = DOMAINS[name]
    for operator in domain.operators:
        tool = operator.tool(domain)
        if not tool.spec.writes:
            continue
        found = (
            solved(domain, world, draft, goal)
            for world, draft, goal in proposals(domain, operator, 60, refusals=0)
        )
        outcome = next((one for one in found if one is not None), None)
        assert outcome is not None, f"nobody asks for {tool.spec.name}"
        assert outcome.changes, f"{tool.spec.name} changes nothing"
        assert outcome.calls[-1].tool == tool.spec.name


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_forbids_something(name: str) -> None:
    domain = DOMAINS[name]
    ruled = {tool for policy in domain.policies for tool in policy.tools}
    for operator in domain.operators:
        if operator.tool(domain).spec.name in ruled:
            found = proposals(domain, operator, 80, refusals=0.9)
            world, draft, goal = next(one for one in found if one[2].kind == "refuse")
            outcome = solved(domain, world, draft, goal)
            assert outcome is not None and not outcome.changes
            assert KEY.fullmatch(outcome.tells[0])


@pytest.mark.parametrize("name", NAMES)
def test_requests_read_well_and_show_no_keys(name: str) -> None:
    domain = DOMAINS[name]
    names = set(domain.tools) | {column for e in domain.entities for column in e.columns}
    shy = {word for word in names if "_" in word}
    for operator in domain.operators:
        for _, draft, goal in proposals(domain, operator, 6):
            own = {v.key for v in draft.variables.values()}
            assert not KEY.search(goal.request) and not any(key in goal.request for key in own)
            assert "{" not in goal.request and "}" not in goal.request
            assert goal.request == goal.request.strip() and "  " not in goal.request
            assert not shy & set(re.findall(r"\w+", goal.request)), goal.request
            assert goal.request[0].islower()
            assert goal.kind != "refuse" or (goal.reason and "_" not in goal.reason)
            assert " None" not in goal.request


@pytest.mark.parametrize("name", NAMES)
def test_plans_pay_and_silence_does_not(name: str) -> None:
    read = Counter()
    for index in range(TASKS):
        task = make_task(name, index, "validation")
        silent = ToolSimulator(task)
        assert silent.score([]).reward == 0.0
        simulator = ToolSimulator(task)
        for call in task.plan:
            assert simulator.call(call.tool, call.arguments).ok
            read[call.tool] += not simulator.tools[call.tool].writes
        told = Message("assistant", "; ".join(str(value) for value in task.tells))
        verdict = simulator.score([told])
        assert verdict.reward == 1.0, verdict.reason
        assert (ACTOR in task.variables) == (DOMAINS[name].actor is not None)
    assert len(+read) >= 3


@pytest.mark.parametrize("name", ("airline", "retail", "banking", "travel"))
def test_no_answer_depends_on_the_order_of_the_wishes(name: str) -> None:
    domain = DOMAINS[name]
    for index in range(12):
        task = make_task(name, index, "validation", difficulty=0.9)
        turned = carry_out(domain, task.world, task.variables, task.goals[::-1])
        assert sorted(map(str, turned.tells)) == sorted(map(str, task.tells))
        kept = {(c.entity, c.key) for c in task.expected if c.before is not None}
        assert {(c.entity, c.key) for c in turned.changes if c.before is not None} == kept
        for goal in task.goals:
            for place in goal.tells:
                key = task.variables[place.variable].key
                change = next((c for c in task.expected if c.key == key), None)
                assert change is None or change.after[place.field] == change.before[place.field]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_tasks_use_the_whole_domain(name: str) -> None:
    domain = DOMAINS[name]
    tasks = [make_task(name, index) for index in range(300)]
    used = {call.tool for task in tasks for call in task.plan}
    kinds = Counter(goal.kind for task in tasks for goal in task.goals)
    asked = {goal.tool for task in tasks for goal in task.goals}
    writing = {tool for tool, made in domain.tools.items() if made.spec.writes}
    assert writing <= used
    assert writing <= asked
    assert len(used - writing) >= len(set(domain.tools) - writing) - 1
    assert kinds["refuse"] >= 0.05 * kinds.total()
    assert kinds["ask"] and kinds["write"]
    assert max(len(task.plan) for task in tasks) >= 6
