"""What a domain's tools are made from: each operator runs, plans, asks and checks one kind of tool.

An operator is data. `tool` makes the callable tool of it. A reading operator says what rows it
shows and by which fields it finds them, which is all that a planner needs. A writing operator
proposes goals: something that a user may want of it, the rows that it concerns and how to say it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from openk2.core.records import ToolSpec
from openk2.environments.tool_world.conditions import Condition
from openk2.environments.tool_world.state import Row, State

if TYPE_CHECKING:
    from openk2.environments.tool_world.domain import Domain
    from openk2.environments.tool_world.goals import Draft, Goal

__all__ = [
    "Operator",
    "Reading",
    "Refused",
    "Tool",
    "ToolUnavailable",
    "existing",
    "object_schema",
    "require",
]


class Refused(Exception):
    """A precondition does not hold: the tool does nothing and says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ToolUnavailable(Exception):
    """The tool itself failed, through no fault of the caller; nothing was changed."""


@dataclass(frozen=True)
class Reading:
    """What a reading tool gives: rows of `entity` with `columns`, found by equal fields.

    required, optional   parameter -> the field that it must equal
    limit                at most so many rows are shown
    listed               the name in the result under which a list of rows stands; None for one row
    """

    entity: str
    columns: tuple[str, ...]
    required: Mapping[str, str]
    optional: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    listed: str | None = None


@dataclass(frozen=True)
class Tool:
    """A tool of a domain.

    run       state, checked arguments -> the result, a JSON object; raises Refused
    target    the entity and the parameter of the row that policies look at
    reading   what it shows, for a reading tool that a plan can use to find something out
    """

    spec: ToolSpec
    run: Callable[[State, Mapping[str, Any]], dict[str, Any]]
    target: tuple[str, str] | None = None
    reading: Reading | None = None


@dataclass(frozen=True)
class Operator(ABC):
    """One kind of tool over a domain's entities."""

    @abstractmethod
    def tool(self, domain: "Domain") -> Tool:
        """The tool that this operator makes in a domain; ValueError where it does not fit."""

    def propose(self, draft: "Draft") -> "Goal | None":
        """Something that a user may want of the tool, None where this world offers nothing."""
        return None


def existing(state: State, entity: str, key: Any) -> Row:
    """The row with this key; Refused where there is none."""
    row = state.get(entity, key)
    if row is None:
        raise Refused(f"{entity}_not_found", f"there is no {entity.replace('_', ' ')} {key!r}")
    return row


def require(conditions: tuple[Condition, ...], row: Row, state: State, subject: str) -> None:
    """Refused, with the first condition that does not hold."""
    for condition in conditions:
        if not condition.holds(row, state):
            raise Refused(condition.code, condition.describe(subject))


def object_schema(
    properties: Mapping[str, Any], required: tuple[str, ...] | None = None
) -> dict[str, Any]:
    """The JSON Schema of an object with these properties and no others."""
    names = list(properties) if required is None else list(required)
    return {
        "type": "object",
        "properties": dict(properties),
        "required": names,
        "additionalProperties": False,
    }
