"""Agents that need no model: the oracle, and the baselines that every score stands beside.

An agent is a function of the messages and tools that it sees. The oracle knows the task; it asks
the user for what it needs to know and follows the solver's plan, trying again where tools fail. The
null agent says nothing, the talker claims success without a call, the random caller calls whatever
the schemas admit.
"""

import json
import random
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

from openk2.core.records import Message, Score, ToolCall, ToolSpec
from openk2.environments.tool_world.environment import ToolWorld
from openk2.environments.tool_world.goals import ACTOR, Goal
from openk2.environments.tool_world.planning import Knowledge, PlannedCall, Planner, Unsolvable
from openk2.environments.tool_world.tasks import find_domain

__all__ = ["Agent", "Oracle", "RandomCaller", "draw_arguments", "null_agent", "play", "talker"]

Agent = Callable[[Sequence[Message], Sequence[ToolSpec]], Message]
RETRIES = 6
SNAKE = re.compile(r"(?<=[a-z0-9])([A-Z])")


def play(world: ToolWorld, agent: Agent) -> Score:
    """Play the episode that was reset to its end."""
    tools = tuple(world.simulator.tools.values())
    done = bool(world.ended)
    while not done:
        _, done = world.step(agent(world.messages, tools))
    return world.score()


def null_agent(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Message:
    """Says nothing and does nothing."""
    return Message("assistant", "")


def talker(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Message:
    """Claims that everything is done, in words that echo the user; calls nothing."""
    wish = messages[-1].content[:500] if messages[-1].role == "user" else ""
    text = f"I have done that: {wish} It has been completed successfully. Confirmed, status: ok."
    return Message("assistant", text)


class RandomCaller:
    """Calls random tools with arguments that their schemas admit, keys that it saw among them."""

    def __init__(self, seed: int, calls: int = 12) -> None:
        self._rng = random.Random(seed)
        self._calls = calls
        self._made = 0

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Message:
        if self._made >= self._calls:
            return Message("assistant", "It has been done.")
        self._made += 1
        spec = self._rng.choice(tools)
        seen = [key for m in messages for key in re.findall(r"[A-Z]{1,4}-[A-Z0-9]{6}", m.content)]
        arguments = draw_arguments(spec, self._rng, seen)
        return Message("assistant", tool_calls=(_call(self._made, spec.name, arguments),))


def draw_arguments(spec: ToolSpec, rng: random.Random, seen: Sequence[str] = ()) -> dict[str, Any]:
    """Arguments that a tool's schema admits; texts are taken from `seen` where there are any."""
    properties = spec.parameters.get("properties", {})
    required = set(spec.parameters.get("required", ()))
    return {
        name: _draw_value(schema, rng, seen)
        for name, schema in properties.items()
        if name in required or rng.random() < 0.5
    }


def _draw_value(schema: Mapping[str, Any], rng: random.Random, seen: Sequence[str]) -> Any:
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema.get("type", "string")
    if kind == "boolean":
        return rng.random() < 0.5
    if kind in ("integer", "number"):
        low = schema.get("minimum", 1)
        return rng.randint(int(low), int(min(schema.get("maximum", low + 100), 10**6)))
    pattern = schema.get("pattern", "")
    if r"\d{4}" in pattern:
        return f"2026-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"
    if pattern:
        return f"{rng.randrange(24):02d}:00"
    return rng.choice(list(seen)) if seen and rng.random() < 0.8 else "something"


def _call(number: int, name: str, arguments: Mapping[str, Any]) -> ToolCall:
    return ToolCall(f"functions.{name}:{number}", name, json.dumps(dict(arguments)))


class Oracle:
    """Solves the task of one episode as an agent that makes no mistake would.

    Whether a write whose reply was lost took effect it reads in the episode's log, where another
    agent would have to look the row up.
    """

    def __init__(self, world: ToolWorld) -> None:
        self._world = world
        self._steps = self._run()
        self._number = 0
        self._denied: dict[str, str] = {}  # tools that refuse for good, and what they said

    def __call__(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Message:
        return next(self._steps)

    def _run(self) -> Iterator[Message]:
        """One turn after the other; what is found out is reported when no wish is left undone."""
        task = self._world.tool_task
        domain = find_domain(task.domain)
        knowledge = Knowledge(domain, task.variables)
        reports: list[str] = []
        for goal in task.goals:
            while not self._was_told(goal):
                yield Message("assistant", " ".join([*reports, "Is there anything else?"]))
                reports.clear()
            yield from self._identify()
            reports.append((yield from self._serve(goal, knowledge)))
        yield Message("assistant", " ".join(reports))
        while True:
            yield Message("assistant", "Everything is done. Is there anything else?")

    def _serve(self, goal: Goal, knowledge: Knowledge) -> Generator[Message, None, str]:
        """Do what one goal takes, around tools that refuse for good; what there is to report."""
        domain, simulator = knowledge.domain, self._world.simulator
        told: list[Any] = []
        while True:
            tools = {n: tool for n, tool in domain.tools.items() if n not in self._denied}
            try:
                plan = Planner(knowledge, tools, simulator.state).plan(goal)
            except Unsolvable:
                return " ".join(["I am unable to do that.", *self._denied.values()])
            for call in plan:
                found = yield from self._make(call, knowledge)
                if found is None:
                    self._denied[call.tool] = simulator.events[-1].content
                    break
                if call.result:
                    told.append(found[call.result])
            else:
                return _report(goal, [*told, *(knowledge.value(place) for place in goal.tells)])

    def _make(
        self, call: PlannedCall, knowledge: Knowledge
    ) -> Generator[Message, None, dict[str, Any] | None]:
        """A call, made again while it fails; its result, None where it never succeeds."""
        reading = knowledge.domain.tools[call.tool].reading
        arguments = {name: knowledge.value(value) for name, value in call.arguments.items()}
        for _ in range(RETRIES):
            self._number += 1
            yield Message("assistant", tool_calls=(_call(self._number, call.tool, arguments),))
            found = self._result()
            if found is not None and (reading is None or knowledge.learn(call, reading, found)):
                return found
        return None

    def _was_told(self, goal: Goal) -> bool:
        """Whether the user has said this wish by now, and not as one that was taken back."""
        return any(
            message.role == "user" and goal.request.partition(". ")[0][1:] in message.content
            for message in self._world.messages
        )

    def _identify(self) -> Iterator[Message]:
        """Ask the user who they are until the right answer has come."""
        task = self._world.tool_task
        if ACTOR not in task.variables:
            return
        actor = task.variables[ACTOR]
        fields = find_domain(task.domain).entity[actor.entity].by_name
        for _ in range(3):
            said = " ".join(m.content for m in self._world.messages if m.role == "user")
            missing = [
                fields[name].words
                for name, value in actor.facts.items()
                if fields[name].kind.say(value) not in said
            ]
            if not missing:
                return
            yield Message("assistant", f"Could you tell me your {' and your '.join(missing)}?")

    def _result(self) -> dict[str, Any] | None:
        """What the last call gave, with drifted names and scaled amounts put right."""
        event = self._world.simulator.events[-1]
        if event.status == "fault":
            if event.changes:
                return dict(event.changes[0].after or {})
            return None
        found: dict[str, Any] = json.loads(event.content)
        if found.get("truncated"):
            return None
        restored: dict[str, Any] = _restored(found)
        return restored


def _restored(found: Any) -> Any:
    if isinstance(found, list):
        return [_restored(item) for item in found]
    if not isinstance(found, dict):
        return found
    units = found.get("units", {})
    return {
        SNAKE.sub(lambda match: "_" + match[1].lower(), name): (
            round(value / 100, 2) if name in units else _restored(value)
        )
        for name, value in found.items()
        if name != "units"
    }


def _report(goal: Goal, told: Sequence[Any]) -> str:
    values = "; ".join(str(value) for value in told)
    if goal.kind == "refuse":
        return f"I am unable to do that: {goal.reason}. For your information: {values}."
    if goal.kind == "ask" or told:
        return f"Here is what I found: {values}."
    return "That has been done."
