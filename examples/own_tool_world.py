"""A tool world of your own in a screenful: what is rented out, what may be done, and who may do it.

    python examples/own_tool_world.py

Entities and operators are data; tools with their schemas, seeded worlds, tasks in a user's words, a
plan for each and the proof that it takes these tools come of them (paper section 3.1.1).
"""

from openk2.core.records import Message
from openk2.environments.tool_world import ToolSimulator, make_task
from openk2.environments.tool_world.conditions import AtLeast, FieldIs, Policy
from openk2.environments.tool_world.creating import Create
from openk2.environments.tool_world.domain import Domain, Entity, Field, Superlative
from openk2.environments.tool_world.environment import system_prompt
from openk2.environments.tool_world.reading import Find, Get, ListOf, Search
from openk2.environments.tool_world.tasks import register
from openk2.environments.tool_world.values import (
    Amount,
    Choice,
    Email,
    PersonName,
    Reference,
    Whole,
    Words,
)
from openk2.environments.tool_world.writing import Transition

RIDER = Entity(
    "rider",
    (
        Field("name", PersonName()),
        Field("email", Email()),
        Field("credit", Amount(0, 200)),
    ),
    rows=(8, 8),
    described=("{email}",),
)
BIKE = Entity(
    "bike",
    (
        Field("model", Words(("red", "blue", "green"), ("cargo bike", "tandem", "racer", "trike"))),
        Field("price", Amount(4, 60)),
        Field("condition", Choice(("good", "worn", "broken"))),
    ),
    rows=(10, 10),
    described=("the {model}",),
)
RENTAL = Entity(
    "rental",
    (
        Field("rider_id", Reference("rider")),
        Field("bike_id", Reference("bike")),
        Field("hours", Whole(1, 48)),
        Field("status", Choice(("running", "returned"))),
    ),
    rows=(1, 4),
    described=("my rental of the {bike.model}",),
    per="rider",
    superlatives=(Superlative("longest", "hours", lowest=False),),
)
BIKES = Domain(
    name="bikes",
    title="a bike rental",
    category="transport",
    actor="rider",
    entities=(RIDER, BIKE, RENTAL),
    operators=(
        Find("rider", by=("email",)),
        Get("bike"),
        Search("bike", by=("model", "condition")),
        ListOf("rental", of="rider_id"),
        Transition(
            entity="rental",
            name="return_bike",
            to="returned",
            asks=("end {target}", "take the bike of {target} back"),
            conditions=(FieldIs("status", ("running",)),),
        ),
        Create(
            entity="rental",
            name="rent_bike",
            given=("rider_id", "bike_id", "hours"),
            defaults={"status": "running"},
            needs={"bike_id": (FieldIs("condition", ("good", "worn")),)},
            asks=("rent me {bike_id} for {hours} hours",),
        ),
    ),
    policies=(Policy("short_rentals", ("return_bike",), AtLeast("hours", 2)),),
)


def main() -> None:
    """Three tasks of growing difficulty, each solved by its plan and not by talk."""
    register(BIKES)
    for index, difficulty in enumerate((0.0, 0.4, 0.8)):
        task = make_task("bikes", index, difficulty=difficulty)
        world = ToolSimulator(task)
        if index == 0:
            print(system_prompt(task))
        print(f"\nThe user wants: {'; '.join(goal.request for goal in task.goals)}.")
        print(f"Without these there is no way: {', '.join(task.required)}.")
        for call in task.plan:
            status = world.call(call.tool, call.arguments).status
            print(f"  {call.tool}({dict(call.arguments)}) -> {status}")
        for change in world.state_diff():
            print(f"  changed: {change.entity} {change.key}")
        told = Message("assistant", "; ".join(["That is done", *map(str, task.tells)]))
        earned = world.score([told]).reward
        world.restore()
        talk = world.score([Message("assistant", "All of it has been done.")]).reward
        print(f"  the plan earns {earned}, talk earns {talk}")


if __name__ == "__main__":
    main()
