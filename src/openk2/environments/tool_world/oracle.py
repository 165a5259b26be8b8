"""Carries goals out with the solver's plans on a real world: the proof behind a task."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openk2.environments.tool_world.domain import Domain
from openk2.environments.tool_world.goals import Goal, Variable
from openk2.environments.tool_world.operators import Refused
from openk2.environments.tool_world.planning import Knowledge, PlannedCall, Planner, Unsolvable
from openk2.environments.tool_world.state import Change, Event

__all__ = ["Outcome", "carry_out", "what_is_left"]


@dataclass(frozen=True)
class Outcome:
    """The calls that were made with their values, what they changed and what is to be told."""

    calls: tuple[PlannedCall, ...]
    changes: tuple[Change, ...]
    tells: tuple[Any, ...]


def carry_out(
    domain: Domain,
    world: str,
    variables: Mapping[str, Variable],
    goals: Sequence[Goal],
    without: Collection[str] = (),
) -> Outcome:
    """Plan and do one goal after the other; Unsolvable where a plan lacks or a tool refuses.

    without   names of tools that there are not
    """
    state = domain.world(world)
    tools = {name: tool for name, tool in domain.tools.items() if name not in without}
    knowledge = Knowledge(domain, variables)
    calls: list[PlannedCall] = []
    tells: list[Any] = []
    for goal in goals:
        for call in Planner(knowledge, tools, state).plan(goal):
            values = {name: knowledge.value(given) for name, given in call.arguments.items()}
            with state.recording() as made:
                try:
                    result = tools[call.tool].run(state, values)
                except Refused as refusal:
                    raise Unsolvable(f"{call.tool}: {refusal}") from None
            state.log(Event(len(state.events), call.tool, values, "ok", "", tuple(made)))
            calls.append(PlannedCall(call.tool, values, call.variable, call.result))
            reading = tools[call.tool].reading
            if reading is not None and not knowledge.learn(call, reading, result):
                raise Unsolvable(f"{call.tool}: no row stands out")
            if call.result:
                tells.append(result[call.result])
        tells += [knowledge.value(place) for place in goal.tells]
    changes = tuple(state.diff())
    state.close()
    return Outcome(tuple(calls), changes, tuple(tells))


def what_is_left(
    domain: Domain,
    world: str,
    variables: Mapping[str, Variable],
    goals: Sequence[Goal],
    without: Collection[str],
) -> Outcome:
    """Of these goals, what can still be done without some of the tools."""
    kept: list[Goal] = []
    outcome = Outcome((), (), ())
    for goal in goals:
        try:
            outcome = carry_out(domain, world, variables, [*kept, goal], without)
        except Unsolvable:
            continue
        kept.append(goal)
    return outcome
