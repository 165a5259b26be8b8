"""One episode of a tool world: tools called over a state, all of it logged (section 3.1.1)."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from openk2.core.errors import UserError
from openk2.core.records import Message, Score, ToolSpec
from openk2.core.terminal import printable
from openk2.environments.tool_world.faults import NO_FAULTS, FaultInjector, FaultPlan
from openk2.environments.tool_world.operators import Refused, Tool, ToolUnavailable
from openk2.environments.tool_world.oracle import what_is_left
from openk2.environments.tool_world.scoring import collateral, missing, rivals, said
from openk2.environments.tool_world.spec import ArgumentChecker, ToolExecutor, ToolResult
from openk2.environments.tool_world.state import Change, Event, State
from openk2.environments.tool_world.tasks import ToolTask, find_domain, make_task

__all__ = ["ToolSimulator"]


class ToolSimulator:
    """The world of a task: `call` runs a tool, `score` judges what became of it.

    task     from `make_task`
    seed     of what is random in the episode itself: which calls fail
    faults   which faults are injected; none by default
    tools    names of the tools there are, all of the domain by default
    played   tools to run instead of the domain's own, e.g. those of SimulatedTools
    others   further executors, e.g. MCP sessions; their calls are logged, their state is their own.
             UserError where a name is taken: a server must not stand in for the world's own tools

    Implements `ToolExecutor`. Deterministic given (task, seed, the calls made).
    """

    def __init__(
        self,
        task: ToolTask,
        seed: int = 0,
        *,
        faults: FaultPlan = NO_FAULTS,
        tools: Sequence[str] | None = None,
        played: Mapping[str, Tool] | None = None,
        others: Sequence[ToolExecutor] = (),
    ) -> None:
        self.task = task
        self.seed = seed
        self.domain = find_domain(task.domain)
        every = self.domain.tools if played is None else played
        chosen = every if tools is None else {name: every[name] for name in tools}
        self._tools: Mapping[str, Tool] = chosen
        names = [*chosen, *(name for other in others for name in other.tools)]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise UserError(f"two executors have a tool {printable(twice[0])!r}; leave one out")
        self._others = {name: other for other in others for name in other.tools}
        own = tools is None and not others
        self._checker = self.domain.checker if own else ArgumentChecker(self.tools, formats=True)
        self._policies = {
            name: [policy for policy in self.domain.policies if name in policy.tools]
            for name in chosen
        }
        self._faults = FaultInjector(faults, f"{task.world}\0{seed}")
        self.state: State = self.domain.world(task.world)

    @property
    def tools(self) -> Mapping[str, ToolSpec]:
        """The tools by name, as the agent sees them."""
        own = {name: tool.spec for name, tool in self._tools.items()}
        return own | {name: other.tools[name] for name, other in self._others.items()}

    @property
    def events(self) -> Sequence[Event]:
        """Every call so far."""
        return self.state.events

    def call(self, name: str, arguments: Mapping[str, Any] | str) -> ToolResult:
        """Run one tool; whatever the agent sends gives a typed result, and is logged."""
        checked = self._checker.check(name, arguments)
        if isinstance(checked, ToolResult):
            shown = arguments if isinstance(arguments, str) else "not plain JSON"
            self._log(name[:100], {"text": shown[:1000]}, checked)
            return checked
        if name in self._others:
            outside = self._others[name].call(name, checked)
            self._log(name, checked, outside)
            return outside
        tool = self._tools[name]
        fault = self._faults.before(tool, self.state)
        if fault is not None and fault.instead is not None:
            self._log(name, checked, fault.instead)
            return fault.instead
        violations = self._violations(name, tool, checked)
        with self.state.recording() as changes:
            try:
                content, result = tool.run(self.state, checked), None
            except Refused as refusal:
                content = {"error": refusal.code, "message": str(refusal)}
                result = ToolResult(json.dumps(content), "refused", refusal.code)
            except ToolUnavailable as trouble:
                content = {"error": "unavailable", "message": "the tool is out of order"}
                result = ToolResult(json.dumps(content), "fault", "unavailable", str(trouble))
        if result is None:
            result = ToolResult(json.dumps(content))
            if fault is not None:
                result = fault.spoil(content, self.state)
        broken = violations if changes else ()
        self._log(name, checked, result, tuple(changes), broken)
        return result

    def _violations(self, name: str, tool: Tool, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        policies = self._policies[name]
        if not policies or tool.target is None:
            return ()
        entity, parameter = tool.target
        row = self.state.get(entity, arguments[parameter])
        if row is None:
            return ()
        return tuple(p.name for p in policies if not p.condition.holds(row, self.state))

    def _log(
        self,
        name: str,
        arguments: Mapping[str, Any],
        result: ToolResult,
        changes: tuple[Change, ...] = (),
        violations: tuple[str, ...] = (),
    ) -> None:
        number = len(self.state.events)
        event = Event(
            number,
            name,
            arguments,
            result.status,
            result.content,
            changes,
            result.fault,
            violations,
        )
        self.state.log(event)

    def state_diff(self) -> list[Change]:
        """Rows that differ from the initial state."""
        return self.state.diff()

    def score(self, messages: Sequence[Message]) -> Score:
        """The verdict over the state as it is and what the assistant said in `messages`.

        Parts: state (everything that was to change did), collateral (nothing else did), said
        (everything that was to be told was), policy (no rule was broken). All or nothing. Where a
        tool has refused for good, doing what can be done without it and passing on the incident's
        number is as good.
        """
        verdict = self._judge(self.task.expected, self.task.tells, messages)
        denied = self._faults.denied(self.events)
        if verdict.reward or not denied:
            return verdict
        task = self.task
        left = what_is_left(self.domain, task.world, task.variables, task.goals, denied)
        incidents = tuple(self._faults.incident(name) for name in denied)
        return self._judge(left.changes, left.tells + incidents, messages)

    def _judge(
        self, expected: Sequence[Change], tells: Sequence[Any], messages: Sequence[Message]
    ) -> Score:
        found = self.state.diff()
        absent = missing(self.domain.entity, expected, found)
        surplus = collateral(self.domain.entity, expected, found)
        untold = [
            value
            for value in tells
            if not said(value, messages, len(tells), rivals(value, self.state))
        ]
        broken = sorted({name for event in self.events for name in event.violations})
        parts = {
            "state": float(not absent),
            "collateral": float(not surplus),
            "said": float(not untold),
            "policy": float(not broken),
        }
        reasons = [f"{c.entity} {c.key} was not changed as wished" for c in absent[:1]]
        reasons += [f"{c.entity} {c.key} was changed without a wish" for c in surplus[:1]]
        reasons += [f"{value!r} was not said" for value in untold[:1]]
        reasons += [f"policy {name} was broken" for name in broken[:1]]
        return Score(float(all(parts.values())), parts, "; ".join(reasons))

    def snapshot(self) -> dict[str, Any]:
        """The episode as JSON, small: its coordinates and its events."""
        return {
            "task": self.task.coordinates(),
            "seed": self.seed,
            "faults": self._faults.plan.to_json(),
            "tools": list(self._tools),
            "events": [event.to_json() for event in self.events],
        }

    def restore(self, snapshot: Mapping[str, Any] | None = None) -> None:
        """Go back to a snapshot of this task; without one, to the beginning."""
        events = [] if snapshot is None else [Event.from_json(e) for e in snapshot["events"]]
        self.state.close()
        self.state = self.domain.world(self.task.world)
        self.state.replay(events)

    @classmethod
    def from_snapshot(cls, snapshot: Mapping[str, Any]) -> "ToolSimulator":
        """The episode of a snapshot, in any process that knows its domain."""
        made = cls(
            make_task(**snapshot["task"]),
            snapshot["seed"],
            faults=FaultPlan.from_json(snapshot["faults"]),
            tools=snapshot["tools"],
        )
        made.restore(snapshot)
        return made
