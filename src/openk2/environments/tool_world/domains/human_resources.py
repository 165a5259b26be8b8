"""Human resources: departments, employees, leaves, shifts, expenses, trainings, enrolments."""

from openk2.environments.tool_world.conditions import (
    AtLeast,
    AtMost,
    DaysFromToday,
    FieldIs,
    Policy,
)
from openk2.environments.tool_world.creating import Book, Create
from openk2.environments.tool_world.domain import Domain, Entity, Field, Superlative
from openk2.environments.tool_world.effects import Effect
from openk2.environments.tool_world.moving import Exchange
from openk2.environments.tool_world.reading import Find, Get, ListOf, Search
from openk2.environments.tool_world.relations import Related
from openk2.environments.tool_world.summaries import Total
from openk2.environments.tool_world.values import (
    Amount,
    Choice,
    Clock,
    ClockAfter,
    Code,
    Day,
    DayAfter,
    Email,
    PersonName,
    Place,
    Reference,
    Whole,
    Words,
)
from openk2.environments.tool_world.writing import (
    Adjust,
    Postpone,
    Remove,
    SetField,
    SetReference,
    Transition,
)

__all__ = ["HUMAN_RESOURCES"]

OPEN = FieldIs("status", ("requested",))

DEPARTMENT = Entity(
    "department",
    (
        Field("name", Words(("Sales", "Finance", "Research", "Logistics", "Marketing", "Legal"))),
        Field("city", Place()),
        Field("free_positions", Whole(0, 4), "number of free positions"),
        Field("budget", Amount(20000, 900000)),
    ),
    (5, 5),
    ("the {name} department",),
)
EMPLOYEE = Entity(
    "employee",
    (
        Field("department_id", Reference("department")),
        Field("name", PersonName()),
        Field("email", Email()),
        Field("bank_account", Code("## #### ####")),
        Field("address", Place("street")),
        Field("leave_days", Whole(0, 30), "number of leave days"),
        Field("overtime", Whole(0, 900), "overtime in minutes"),
        Field("entry_date", Day(-3000, -20), "date of joining"),
    ),
    (9, 9),
    ("{email}",),
)
LEAVE = Entity(
    "leave",
    (
        Field("employee_id", Reference("employee")),
        Field("first_day", Day(-20, 60)),
        Field("last_day", DayAfter(1, 12, other="first_day")),
        Field("type", Choice(("vacation", "parental", "study", "unpaid"))),
        Field("status", Choice(("requested", "approved", "rejected"))),
    ),
    (1, 3),
    ("my leave that begins on {first_day}", "my {type} leave"),
    per="employee",
    superlatives=(Superlative("earliest", "first_day"),),
    plural="leaves",
)
SHIFT = Entity(
    "shift",
    (
        Field("employee_id", Reference("employee")),
        Field("day", Day(-3, 14)),
        Field("start", Clock(6, 20), "start time"),
        Field("end", ClockAfter(other="start", minutes=(120, 150, 180)), "end time"),
        Field("desk", Code("@##")),
        Field("status", Choice(("planned", "worked", "missed"), ("planned", "planned", "worked"))),
    ),
    (2, 4),
    ("my shift on {day}", "my shift at the desk {desk}"),
    per="employee",
    superlatives=(Superlative("latest", "day", lowest=False),),
)
EXPENSE = Entity(
    "expense",
    (
        Field("employee_id", Reference("employee")),
        Field("amount", Amount(5, 900)),
        Field(
            "purpose",
            Words(
                ("hotel", "train", "taxi", "dinner", "software", "books"),
                ("in Paris", "in Berlin", "in London", "for a client", "for the team"),
            ),
        ),
        Field("date", Day(-60, -1)),
        Field("status", Choice(("submitted", "approved", "paid"))),
    ),
    (2, 3),
    ('my expense "{purpose}"', "my expense of {date}"),
    per="employee",
    superlatives=(Superlative("largest", "amount", lowest=False),),
)
TRAINING = Entity(
    "training",
    (
        Field(
            "title",
            Words(
                ("intensive", "advanced", "practical", "short"),
                ("negotiation", "first aid", "accounting", "leadership", "safety", "writing"),
            ),
        ),
        Field("day", Day(-3, 40)),
        Field("places_left", Whole(0, 8), "number of free places"),
        Field("price", Amount(30, 700)),
        Field("level", Choice(("basic", "expert"))),
    ),
    (10, 10),
    ("the {title} training", "the {title} training on {day}"),
)
ENROLMENT = Entity(
    "enrolment",
    (
        Field("employee_id", Reference("employee")),
        Field("training_id", Reference("training")),
        Field("status", Choice(("enrolled", "completed"))),
        Field("date", Day(-30, 0)),
    ),
    (1, 2),
    ("my enrolment of {date}", "my enrolment in the {training.title} training"),
    per="employee",
)

WRITES = (
    Book(
        entity="leave",
        name="request_leave",
        given=("employee_id", "first_day", "last_day", "type"),
        defaults={"status": "requested"},
        needs={"employee_id": (AtLeast("leave_days", 3),)},
        holds=("employee_id",),
        start="first_day",
        end="last_day",
        asks=(
            "request {type} leave for me from {first_day} to {last_day}",
            "put in for {type} leave from {first_day} until {last_day}",
        ),
    ),
    Remove(
        entity="leave",
        name="withdraw_leave",
        asks=("withdraw {target}", "take back {target}"),
        conditions=(FieldIs("status", ("requested", "approved")),),
    ),
    SetField(
        entity="leave",
        name="change_leave_type",
        field="type",
        asks=("change {target} to {value} leave",),
        conditions=(OPEN,),
    ),
    Exchange(
        entity="shift",
        name="swap_desks",
        fields=("desk",),
        asks=("swap the desks of {target} and {value}",),
        conditions=(FieldIs("status", ("planned",)),),
        other_conditions=(FieldIs("status", ("planned",)),),
    ),
    Postpone(
        entity="shift",
        name="postpone_shift",
        field="day",
        steps=(1, 2, 3),
        most=7,
        asks=("postpone {target} by {value}", "move {target} back by {value}"),
        conditions=(FieldIs("status", ("planned",)),),
    ),
    Transition(
        entity="shift",
        name="confirm_shift",
        to="worked",
        asks=("record that I worked {target}", "confirm {target} as worked"),
        conditions=(FieldIs("status", ("planned",)), DaysFromToday("day", -100, 0)),
    ),
    Create(
        entity="expense",
        name="submit_expense",
        given=("employee_id", "amount", "purpose", "date"),
        defaults={"status": "submitted"},
        needs={
            "employee_id": (
                Related(
                    "expense",
                    "employee_id",
                    "submitted expenses",
                    (("status", "submitted"),),
                    most=1,
                ),
            )
        },
        asks=('submit an expense of {amount} for me, dated {date}, with the purpose "{purpose}"',),
    ),
    Adjust(
        entity="expense",
        name="reduce_expense",
        field="amount",
        parameter="by",
        sign=-1,
        least=1,
        most=30,
        low=1,
        asks=("take {value} off {target}", "reduce {target} by {value}"),
        conditions=(FieldIs("status", ("submitted",)),),
    ),
    Remove(
        entity="expense",
        name="withdraw_expense",
        asks=("withdraw {target}", "delete {target}"),
        conditions=(FieldIs("status", ("submitted",)),),
    ),
    Create(
        entity="enrolment",
        name="enrol",
        given=("employee_id", "training_id"),
        defaults={"status": "enrolled", "date": "today"},
        needs={"training_id": (AtLeast("places_left", 1), DaysFromToday("day", 1, 1000))},
        effects=(Effect("places_left", add=-1, reference="training_id"),),
        asks=("enrol me in {training_id}", "sign me up for {training_id}"),
    ),
    Remove(
        entity="enrolment",
        name="cancel_enrolment",
        asks=("cancel {target}", "take {target} back"),
        conditions=(FieldIs("status", ("enrolled",)),),
        effects=(Effect("places_left", add=1, reference="training_id"),),
    ),
    SetReference(
        entity="employee",
        name="change_department",
        field="department_id",
        asks=("move me to {value}", "transfer me to {value}"),
        conditions=(DaysFromToday("entry_date", -10000, -365),),
        target_conditions=(AtLeast("free_positions", 1),),
        effects=(
            Effect("free_positions", add=1, reference="department_id", previous=True),
            Effect("free_positions", add=-1, reference="department_id"),
        ),
    ),
    SetField(
        entity="employee",
        name="change_bank_account",
        field="bank_account",
        asks=(
            "pay my salary to the account {value} from now on",
            "change my bank account to {value}",
        ),
    ),
)

HUMAN_RESOURCES = Domain(
    "human_resources",
    "a company's human resources department",
    "office",
    "employee",
    (DEPARTMENT, EMPLOYEE, LEAVE, SHIFT, EXPENSE, TRAINING, ENROLMENT),
    (
        Find("employee", by=("email",), hidden=("bank_account", "overtime")),
        Get("employee"),
        Find("department", by=("name",)),
        Search("training", by=("title", "day"), hidden=("price",)),
        Get("training"),
        ListOf("leave", of="employee_id"),
        ListOf("shift", of="employee_id"),
        ListOf("expense", of="employee_id"),
        ListOf("enrolment", of="employee_id"),
        Total("expense", field="amount", of="employee_id"),
        *WRITES,
    ),
    (
        Policy("past_leave", ("withdraw_leave",), DaysFromToday("first_day", 1, 1000)),
        Policy("expensive_trainings", ("enrol",), AtMost("price", 550)),
        Policy("large_expenses", ("withdraw_expense", "reduce_expense"), AtMost("amount", 700)),
        Policy("short_notice", ("postpone_shift",), DaysFromToday("day", 1, 1000)),
    ),
)
