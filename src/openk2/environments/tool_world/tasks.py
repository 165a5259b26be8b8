"""Tasks with proof: goals drawn in a world, the shortest plan for them, and what shows it right.

A task is a pure function of (domain, index, split, difficulty). Its plan has been carried out: what
it changed is what success means. Each tool of the plan that no other could replace is proved
necessary: the solver without it finds no way (paper section 3.1.1: tasks come with an explicit
rubric of success criteria, expected tool-use patterns and checkpoints).
"""

import functools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from openk2.core.errors import UserError
from openk2.environments.base import check_coordinates, seeded_random
from openk2.environments.tool_world.domain import Domain
from openk2.environments.tool_world.goals import Draft, FieldOf, Goal, Variable
from openk2.environments.tool_world.oracle import Outcome, carry_out
from openk2.environments.tool_world.planning import PlannedCall, Unsolvable
from openk2.environments.tool_world.scoring import collateral, missing
from openk2.environments.tool_world.state import Change

__all__ = ["Rubric", "ToolTask", "find_domain", "make_task", "register"]

ATTEMPTS, PATIENCE = 400, 40
MAX_GOALS = 4
_REGISTERED: dict[str, Domain] = {}


@dataclass(frozen=True)
class Rubric:
    """What a judge, or a person, looks for.

    success       what must be so at the end
    patterns      how tools are expected to be used
    checkpoints   what a good episode reaches on its way, in order
    """

    success: tuple[str, ...]
    patterns: tuple[str, ...]
    checkpoints: tuple[str, ...]


@dataclass(frozen=True)
class ToolTask:
    """Something that a user wants in a world, with the proof that it can be had.

    world       seed of the initial state; `today` the date in it
    goals       what the user wants; `variables` the rows that it is about, "user" being the user
    plan        the calls that do it, with the values that they carried
    expected    what the plan changed; `tells` what it had to say
    required    tools of the plan without which there is no other way
    """

    domain: str
    index: int
    split: str
    difficulty: float
    world: str
    today: date
    goals: tuple[Goal, ...]
    variables: Mapping[str, Variable]
    plan: tuple[PlannedCall, ...]
    expected: tuple[Change, ...]
    tells: tuple[Any, ...]
    required: tuple[str, ...]
    rubric: Rubric

    def coordinates(self) -> dict[str, Any]:
        """What `make_task` makes the same task of."""
        return {
            "domain": self.domain,
            "index": self.index,
            "split": self.split,
            "difficulty": self.difficulty,
        }


def register(domain: Domain) -> None:
    """Make a domain known by its name, beside those of the library."""
    _REGISTERED[domain.name] = domain
    _make_named.cache_clear()


def find_domain(name: str) -> Domain:
    """The domain of this name; UserError where there is none."""
    from openk2.environments.tool_world.domains import DOMAINS

    found = _REGISTERED.get(name) or DOMAINS.get(name)
    if found is None:
        known = ", ".join([*DOMAINS, *_REGISTERED])
        raise UserError(f"no domain {name!r}; there are {known}")
    return found


def make_task(
    domain: str | Domain, index: int, split: str = "train", difficulty: float | None = None
) -> ToolTask:
    """Task number `index` of a domain.

    `difficulty` in [0, 1] sets how many goals there are and how many calls the plan takes; None
    lets the index decide. No world of one split occurs in another.
    """
    if isinstance(domain, str):
        return _make_named(domain, index, split, difficulty)
    return _make(domain, index, split, difficulty)


@functools.lru_cache(maxsize=1024)  # every reset of an episode asks for its task
def _make_named(name: str, index: int, split: str, difficulty: float | None) -> ToolTask:
    return _make(find_domain(name), index, split, difficulty)


def _make(blueprint: Domain, index: int, split: str, difficulty: float | None) -> ToolTask:
    check_coordinates(blueprint.name, index, split, difficulty)
    rng = seeded_random("task", blueprint.name, split, index)
    drawn = rng.random()  # drawn in any case: a task made again by its difficulty is the same
    difficulty = drawn if difficulty is None else difficulty
    goals = 1 + min(MAX_GOALS - 1, int(difficulty * MAX_GOALS))
    for attempt in range(ATTEMPTS):
        world = f"{split}-{index}-{attempt}"
        # A domain with few tools may not have so many goals for any of its worlds.
        wanted = max(1, goals - attempt // PATIENCE)
        task = _attempt(blueprint, index, split, difficulty, world, rng, wanted)
        if task is not None:
            return task
    raise ValueError(f"domain {blueprint.name}: no task in {ATTEMPTS} attempts; has it goals?")


def _attempt(
    domain: Domain,
    index: int,
    split: str,
    difficulty: float,
    world: str,
    rng: random.Random,
    wanted: int,
) -> ToolTask | None:
    state = domain.world(world)
    draft = Draft(domain, state, rng, refusals=0.15)
    goals = tuple(_draw_goals(draft, wanted)) if draft.possible else ()
    state.close()
    if len(goals) != wanted:
        return None
    variables = dict(draft.variables)
    try:
        outcome = carry_out(domain, world, variables, goals)
    except Unsolvable:
        return None
    if any(type(value) in (int, float) and value == 0 for value in outcome.tells):
        return None  # "no" and "none" say it without anybody having looked
    if _order_matters(domain, world, variables, goals, outcome):
        return None
    names = tuple(dict.fromkeys(call.tool for call in outcome.calls))
    required = tuple(
        name for name in names if not _solvable_without(domain, world, variables, goals, name)
    )
    if not required:
        return None
    return ToolTask(
        domain.name,
        index,
        split,
        difficulty,
        world,
        state.today,
        goals,
        variables,
        outcome.calls,
        outcome.changes,
        outcome.tells,
        required,
        _rubric(goals, required, outcome.calls, outcome.tells),
    )


def _draw_goals(draft: Draft, wanted: int) -> Iterator[Goal]:
    """Goals of different tools on different rows, so that the order does not matter."""
    operators = list(draft.domain.operators)
    touched: set[str] = set()
    used: set[str] = set()
    found = 0
    draft.rng.shuffle(operators)
    for operator in operators:
        before = dict(draft.variables)
        goal = operator.propose(draft)
        if goal is None:
            draft.variables = before
            continue
        rows = {
            a.variable for a in (*goal.arguments.values(), *goal.tells) if isinstance(a, FieldOf)
        }
        rows.discard("user")
        signature = goal.tool or f"ask {goal.tells[0].field}"
        if rows & touched or signature in used:
            draft.variables = before
            continue
        touched |= rows
        used.add(signature)
        found += 1
        yield goal
        if found == wanted:
            return


def _solvable_without(
    domain: Domain, world: str, variables: Mapping[str, Variable], goals: Sequence[Goal], tool: str
) -> bool:
    try:
        carry_out(domain, world, variables, goals, without=(tool,))
    except Unsolvable:
        return False
    return True


def _order_matters(
    domain: Domain,
    world: str,
    variables: Mapping[str, Variable],
    goals: Sequence[Goal],
    outcome: Outcome,
) -> bool:
    """Whether what is to be told or changed depends on which goal an agent turns to first."""
    changed = {
        (change.key, name)
        for change in outcome.changes
        if change.before is not None and change.after is not None
        for name, value in change.after.items()
        if change.before[name] != value
    }
    told = (place for goal in goals for place in goal.tells)
    if any((variables[place.variable].key, place.field) in changed for place in told):
        return True
    if len(goals) == 1:
        return False
    try:
        other = carry_out(domain, world, variables, goals[::-1])
    except Unsolvable:
        return True
    entities, changes = domain.entity, (outcome.changes, other.changes)
    return bool(
        sorted(map(str, other.tells)) != sorted(map(str, outcome.tells))
        or missing(entities, *changes)
        or collateral(entities, *changes)
    )


def _rubric(
    goals: Sequence[Goal],
    required: Sequence[str],
    calls: Sequence[PlannedCall],
    tells: Sequence[Any],
) -> Rubric:
    success = [
        f"the request is turned down: {goal.reason}"
        if goal.kind == "refuse"
        else f"did: {goal.request}"
        for goal in goals
    ]
    success += [f"the user is told {value}" for value in tells]
    success.append("nothing else has changed")
    patterns = [f"calls {name}" for name in required]
    patterns.append("looks rows up before changing them; asks the user for what no tool shows")
    checkpoints = [f"{call.tool} with {dict(call.arguments)}" for call in calls]
    return Rubric(tuple(success), tuple(patterns), tuple(checkpoints))
