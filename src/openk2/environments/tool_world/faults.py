"""Faults on purpose: what goes wrong with tools in the world, injected, labelled and repeatable.

Whether and how call number n fails is a function of (plan, seed, n), so a restored episode fails
as the first one did. Labels stand in ToolResult.fault and in the log; the agent sees only what a
real tool would have shown it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from openk2.environments.base import seeded_random
from openk2.environments.tool_world.operators import Tool
from openk2.environments.tool_world.spec import ToolResult
from openk2.environments.tool_world.state import Event, State

__all__ = ["FAULTS", "NO_FAULTS", "Fault", "FaultInjector", "FaultPlan"]

# label -> whether the same call can succeed later, and whether it strikes reads or writes or both
FAULTS: Mapping[str, str] = {
    "timeout": "the call took too long and did nothing",
    "lost_reply": "the call was made, but its reply was lost",
    "rate_limit": "too many calls; it works again after a few others",
    "partial_result": "only some of the rows were shown, and it says so",
    "stale_read": "a row is shown as it was before its last change",
    "schema_drift": "fields have other names than the schema says",
    "wrong_unit": "an amount is given in hundredths, and it says so",
    "permission": "the tool refuses for good, under an incident number",
}
UNRECOVERABLE = frozenset({"permission"})
RATE_LIMIT_CALLS = 2


@dataclass(frozen=True)
class FaultPlan:
    """Which faults happen how often.

    rate     share of calls that fail in some way, in [0, 1]
    kinds    labels that may be drawn, for each call; "permission" for each tool of the episode
    denied   tools that refuse for good (the fault "permission")
    """

    rate: float = 0.0
    kinds: tuple[str, ...] = tuple(kind for kind in FAULTS if kind not in UNRECOVERABLE)
    denied: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """ValueError for an unknown kind or a rate that is no share."""
        unknown = set(self.kinds) - set(FAULTS)
        if unknown:
            raise ValueError(f"no fault {sorted(unknown)[0]!r}; there are {', '.join(FAULTS)}")
        if not 0 <= self.rate <= 1:
            raise ValueError(f"the rate of faults is {self.rate!r}; it lies between 0 and 1")

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "FaultPlan":
        """The plan that `to_json` wrote."""
        return cls(found["rate"], tuple(found["kinds"]), tuple(found["denied"]))


NO_FAULTS = FaultPlan()


@dataclass(frozen=True)
class Fault:
    """A fault that strikes a call: `instead` of running it, or by spoiling its result."""

    label: str
    instead: ToolResult | None = None

    def spoil(self, content: dict[str, Any], state: State) -> ToolResult:
        """What the agent sees of a call that did run."""
        if self.label == "lost_reply":
            return _trouble("lost_reply", "timeout", "no reply within 30 s")
        spoiled = {
            "partial_result": _partial,
            "schema_drift": _drifted,
            "wrong_unit": _hundredths,
            "stale_read": lambda found: _stale(found, state),
        }[self.label](content)
        if spoiled == content:
            return ToolResult(json.dumps(content))
        return ToolResult(json.dumps(spoiled), fault=self.label)


class FaultInjector:
    """Draws the fault, if any, of each call of an episode."""

    def __init__(self, plan: FaultPlan, seed: str) -> None:
        self.plan = plan
        self._seed = seed

    def before(self, tool: Tool, state: State) -> Fault | None:
        """The fault of the call that is about to be made."""
        name = tool.spec.name
        if self._refuses(name):
            return Fault("permission", self._denied(name))
        if not self.plan.rate:
            return None
        recent: list[Event] = state.events[-RATE_LIMIT_CALLS:]
        if any(e.fault == "rate_limit" and e.tool == name for e in recent[-1:]):
            return None  # whoever waits and asks again is served
        rng = seeded_random("fault", self._seed, len(state.events))
        kinds = [kind for kind in self.plan.kinds if kind not in UNRECOVERABLE]
        if not kinds or rng.random() >= self.plan.rate:
            return None
        label = rng.choice(kinds)
        if label == "timeout" or (label == "lost_reply" and not tool.spec.writes):
            return Fault("timeout", _trouble("timeout", "timeout", "no reply within 30 s"))
        if label == "rate_limit":
            message = "too many requests; wait and try again"
            return Fault(label, _trouble(label, "rate_limited", message))
        return Fault(label)

    def _refuses(self, name: str) -> bool:
        """Whether a tool refuses for good: settled before the first call, so that nobody gets out
        of a wish by calling its tool until it breaks."""
        if "permission" not in self.plan.kinds:
            return name in self.plan.denied
        share = self.plan.rate / len(self.plan.kinds)
        drawn = seeded_random("denied", self._seed, name).random()
        return name in self.plan.denied or drawn < share

    @staticmethod
    def denied(events: Sequence[Event]) -> list[str]:
        """Tools that have refused for good."""
        return sorted({event.tool for event in events if event.fault == "permission"})

    def incident(self, name: str) -> int:
        """The number under which a tool refuses: whoever can tell it has asked the tool."""
        return seeded_random("incident", self._seed, name).randrange(10**5, 10**6)

    def _denied(self, name: str) -> ToolResult:
        message = f"permission denied for {name}; refer to incident {self.incident(name)}"
        return _trouble("permission", "permission_denied", message)


def _trouble(label: str, error: str, message: str) -> ToolResult:
    return ToolResult(json.dumps({"error": error, "message": message}), "fault", error, label)


def _rows_of(content: Mapping[str, Any]) -> str | None:
    """The name under which a result lists rows, None where it lists none."""
    for name, value in content.items():
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            return name
    return None


def _partial(content: dict[str, Any]) -> dict[str, Any]:
    name = _rows_of(content)
    if name is None or len(content[name]) < 2:
        return content
    kept = content[name][: len(content[name]) // 2]
    return {**content, name: kept, "truncated": True, "message": "partial result; ask again"}


def _drifted(content: dict[str, Any]) -> dict[str, Any]:
    """snake_case fields as camelCase, in the rows."""

    def camel(name: str) -> str:
        first, *rest = name.split("_")
        return first + "".join(word.capitalize() for word in rest)

    name = _rows_of(content)
    if name is None:
        return {camel(field): value for field, value in content.items()}
    rows = [{camel(field): value for field, value in row.items()} for row in content[name]]
    return {**content, name: rows}


def _hundredths(content: dict[str, Any]) -> dict[str, Any]:
    def scaled(row: dict[str, Any]) -> dict[str, Any]:
        amounts = {name: value for name, value in row.items() if isinstance(value, float)}
        if not amounts:
            return row
        changed = {name: round(100 * value) for name, value in amounts.items()}
        return {**row, **changed, "units": dict.fromkeys(amounts, "hundredths")}

    name = _rows_of(content)
    if name is None:
        return scaled(content)
    return {**content, name: [scaled(row) for row in content[name]]}


def _stale(content: dict[str, Any], state: State) -> dict[str, Any]:
    """Rows as they were before the last event that changed them."""
    before = {
        (change.key, tuple(change.after)): change.before
        for event in state.events
        for change in event.changes
        if change.before is not None and change.after is not None
    }

    def old(row: dict[str, Any]) -> dict[str, Any]:
        for (key, _), found in before.items():
            if next(iter(row.values()), None) == key:
                return {name: found.get(name, value) for name, value in row.items()}
        return row

    name = _rows_of(content)
    if name is None:
        return old(content)
    return {**content, name: [old(row) for row in content[name]]}
