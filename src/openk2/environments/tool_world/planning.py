"""The solver: from what a user says to the calls that find everything out and do it.

It chains backwards over fields. A value is known because the user said it, or because some tool
shows a row that holds it; that tool's own parameters have to be known first, and among the rows
that it shows the right one must stand out by what is known of it. The shortest chain wins. A goal
for which there is no chain is unsolvable with these tools: that is what proves a tool necessary.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from openk2.environments.tool_world.domain import Domain
from openk2.environments.tool_world.goals import FieldOf, Goal, Variable
from openk2.environments.tool_world.operators import Reading, Tool
from openk2.environments.tool_world.state import Row, State

__all__ = ["Knowledge", "PlannedCall", "Planner", "Unsolvable"]

MAX_CHAIN = 6


class Unsolvable(Exception):
    """No chain of these tools reaches the goal."""


@dataclass(frozen=True)
class PlannedCall:
    """A call to make: its arguments are values, or fields that are known by then.

    `variable` is the row that it is made to see; `result` the field of its result to tell.
    """

    tool: str
    arguments: Mapping[str, Any]
    variable: str | None = None
    result: str = ""


@dataclass(frozen=True)
class _Chain:
    calls: tuple[PlannedCall, ...]
    known: frozenset[FieldOf]


class Knowledge:
    """What an agent that does its work well knows so far: canonical field -> value."""

    def __init__(self, domain: Domain, variables: Mapping[str, Variable]) -> None:
        self.domain = domain
        self.variables = variables
        self.values: dict[FieldOf, Any] = {
            self.canonical(FieldOf(name, field)): value
            for name, variable in variables.items()
            for field, value in variable.facts.items()
        }

    def canonical(self, wanted: FieldOf) -> FieldOf:
        """A reference that leads to a variable is that variable's key."""
        variable = self.variables[wanted.variable]
        link = variable.links.get(wanted.field) or variable.refers.get(wanted.field)
        if link is None:
            return wanted
        return FieldOf(link, self.domain.entity[self.variables[link].entity].key)

    def value(self, argument: Any) -> Any:
        """What an argument of a planned call stands for."""
        return self.values[self.canonical(argument)] if isinstance(argument, FieldOf) else argument

    def learn(self, call: PlannedCall, reading: Reading, result: Mapping[str, Any]) -> bool:
        """Take in what a reading showed; False where the row did not stand out."""
        assert call.variable is not None
        rows = [dict(result)] if reading.listed is None else list(result[reading.listed])
        row = self.single_out(call.variable, rows, self.values)
        if row is None:
            return False
        for name, value in row.items():
            self.values[self.canonical(FieldOf(call.variable, name))] = value
        return True

    def single_out(self, name: str, rows: list[Row], values: Mapping[FieldOf, Any]) -> Row | None:
        """The one row that fits all that is known of a variable, None where none or several do."""
        variable = self.variables[name]
        for field in self.domain.entity[variable.entity].columns:
            place = self.canonical(FieldOf(name, field))
            if place in values:
                rows = [row for row in rows if row.get(field, values[place]) == values[place]]
        if variable.superlative is not None and len(rows) > 1:
            way = variable.superlative
            if any(way.field not in row for row in rows):
                return None
            best = (min if way.lowest else max)(row[way.field] for row in rows)
            rows = [row for row in rows if row[way.field] == best]
        return rows[0] if len(rows) == 1 else None


class Planner:
    """Plans goals in a world, with some of the domain's tools.

    It looks at the state only to see whether a row would stand out among those that a tool shows.
    """

    def __init__(self, knowledge: Knowledge, tools: Mapping[str, Tool], state: State) -> None:
        self.knowledge = knowledge
        self.domain = knowledge.domain
        self.variables = knowledge.variables
        self.tools = tools
        self.state = state

    def plan(self, goal: Goal) -> tuple[PlannedCall, ...]:
        """The calls for one goal, from what is known now; Unsolvable where there are none."""
        chain = _Chain((), frozenset(self.knowledge.values))
        acts = goal.kind == "write" or bool(goal.result)
        if acts and goal.tool not in self.tools:
            raise Unsolvable(f"there is no {goal.tool}")
        wanted = [*(goal.arguments.values() if acts else ()), *goal.tells]
        for one in wanted:
            if isinstance(one, FieldOf):
                chain = self._extend(chain, one)
        calls = chain.calls
        if acts:
            calls += (PlannedCall(goal.tool, goal.arguments, result=goal.result),)
        return calls

    def _extend(self, chain: _Chain, wanted: FieldOf) -> _Chain:
        found = self._acquire(wanted, chain.known, frozenset())
        if found is None:
            raise Unsolvable(f"nothing shows {wanted.field} of {wanted.variable}")
        return _Chain(chain.calls + found.calls, found.known)

    def _acquire(
        self, wanted: FieldOf, known: frozenset[FieldOf], trail: frozenset[FieldOf]
    ) -> _Chain | None:
        """The shortest chain after which a field is known."""
        wanted = self.knowledge.canonical(wanted)
        if wanted in known:
            return _Chain((), known)
        if wanted in trail or len(trail) >= MAX_CHAIN:
            return None
        best: _Chain | None = None
        for variable, name, tool in self._shown_by(wanted):
            chain = self._through(variable, name, tool, known, trail | {wanted})
            if chain is not None and (best is None or len(chain.calls) < len(best.calls)):
                best = chain
        return best

    def _shown_by(self, wanted: FieldOf) -> Iterator[tuple[Variable, str, Tool]]:
        """Tools that show a row of some variable in which the wanted field stands."""
        for variable in self.variables.values():
            for name, tool in self.tools.items():
                reading = tool.reading
                if reading is None or reading.entity != variable.entity:
                    continue
                places = (FieldOf(variable.name, column) for column in reading.columns)
                if any(self.knowledge.canonical(place) == wanted for place in places):
                    yield variable, name, tool

    def _through(
        self,
        variable: Variable,
        name: str,
        tool: Tool,
        known: frozenset[FieldOf],
        trail: frozenset[FieldOf],
    ) -> _Chain | None:
        """A chain that ends by calling one tool to see one variable's row."""
        reading = tool.reading
        assert reading is not None
        calls: tuple[PlannedCall, ...] = ()
        needed = [FieldOf(variable.name, field) for field in reading.required.values()]
        if variable.superlative is not None:
            needed += [FieldOf(variable.name, field) for field in variable.links]
        elif reading.listed is not None:
            # What the user said by pointing at another row tells rows apart only once it is found.
            shown = [f for f in variable.links if f in reading.columns]
            needed += [FieldOf(variable.name, f) for f in shown if not variable.facts]
        for place in needed:
            found = self._acquire(place, known, trail)
            if found is None:
                return None
            calls, known = calls + found.calls, found.known
        arguments = {
            parameter: self.knowledge.canonical(FieldOf(variable.name, field))
            for parameter, field in {**reading.required, **reading.optional}.items()
            if parameter in reading.required
            or self.knowledge.canonical(FieldOf(variable.name, field)) in known
        }
        if not self._stands_out(variable, reading, arguments, known):
            return self._with_links(variable, name, tool, calls, known, trail)
        return self._called(variable, name, reading, arguments, calls, known)

    def _with_links(
        self,
        variable: Variable,
        name: str,
        tool: Tool,
        calls: tuple[PlannedCall, ...],
        known: frozenset[FieldOf],
        trail: frozenset[FieldOf],
    ) -> _Chain | None:
        """The same tool after the rows that the user pointed at have been found, too."""
        before = len(calls)
        for field in variable.links:
            found = self._acquire(FieldOf(variable.name, field), known, trail)
            if found is None:
                return None
            calls, known = calls + found.calls, found.known
        if len(calls) == before:
            return None
        rest = self._through(variable, name, tool, known, trail)
        return None if rest is None else _Chain(calls + rest.calls, rest.known)

    def _called(
        self,
        variable: Variable,
        name: str,
        reading: Reading,
        arguments: Mapping[str, Any],
        calls: tuple[PlannedCall, ...],
        known: frozenset[FieldOf],
    ) -> _Chain:
        columns = (FieldOf(variable.name, column) for column in reading.columns)
        learned = known | {self.knowledge.canonical(place) for place in columns}
        return _Chain((*calls, PlannedCall(name, arguments, variable.name)), learned)

    def _stands_out(
        self,
        variable: Variable,
        reading: Reading,
        arguments: Mapping[str, Any],
        known: frozenset[FieldOf],
    ) -> bool:
        """Whether the variable's row is the one that fits among those that the tool would show."""
        filters = {**reading.required, **reading.optional}
        equal = {filters[name]: self._truth(place) for name, place in arguments.items()}
        rows = self.state.find(variable.entity, equal)
        if reading.limit is not None and len(rows) > reading.limit:
            if variable.superlative is not None:
                return False
            rows = rows[: reading.limit]
        shown = [{column: row[column] for column in reading.columns} for row in rows]
        truth = {place: self._truth(place) for place in known}
        row = self.knowledge.single_out(variable.name, shown, truth)
        key = self.domain.entity[variable.entity].key
        return row is not None and row.get(key, variable.key) == variable.key

    def _truth(self, place: FieldOf) -> Any:
        """The value that a field is known to have: what was learned, or what would be."""
        if place in self.knowledge.values:
            return self.knowledge.values[place]
        variable = self.variables[place.variable]
        row = self.state.get(variable.entity, variable.key)
        return None if row is None else row[place.field]
