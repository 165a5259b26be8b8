"""A telephone company: plans, subscribers, lines, options, invoices, visits."""

from openk2.environments.tool_world.conditions import AtMost, DaysFromToday, FieldIs, Policy
from openk2.environments.tool_world.creating import Book, Create
from openk2.environments.tool_world.domain import Domain, Entity, Field, Superlative
from openk2.environments.tool_world.effects import Effect
from openk2.environments.tool_world.moving import TransitionAll
from openk2.environments.tool_world.reading import Find, Get, ListOf, Search
from openk2.environments.tool_world.relations import Related
from openk2.environments.tool_world.summaries import Between, Total
from openk2.environments.tool_world.values import (
    Amount,
    Choice,
    Clock,
    ClockAfter,
    Day,
    DayAfter,
    Email,
    Flag,
    PersonName,
    Phone,
    Place,
    Reference,
    Whole,
    Words,
)
from openk2.environments.tool_world.writing import (
    Postpone,
    Remove,
    SetReference,
    Transfer,
    Transition,
)

__all__ = ["TELECOM"]

ACTIVE = FieldIs("status", ("active",))

PLAN = Entity(
    "plan",
    (
        Field(
            "name", Words(("Basic", "Smart", "Family", "Business", "Travel"), ("S", "M", "L", "XL"))
        ),
        Field("monthly_price", Amount(5, 90)),
        Field("data", Whole(500, 90000, 100), "data volume in megabytes"),
        Field("status", Choice(("offered", "retired"), ("offered", "offered", "retired"))),
        Field("start_date", Day(-900, -30)),
    ),
    (9, 9),
    ("the plan {name}",),
)
SUBSCRIBER = Entity(
    "subscriber",
    (
        Field("name", PersonName()),
        Field("email", Email()),
        Field("contact_number", Phone()),
        Field("address", Place("street")),
        Field("credit", Amount(0, 150)),
        Field("vip", Flag(0.3)),
    ),
    (9, 9),
    ("{email}",),
)
LINE = Entity(
    "line",
    (
        Field("subscriber_id", Reference("subscriber")),
        Field("plan_id", Reference("plan")),
        Field("number", Phone(), "phone number"),
        Field("data_left", Whole(1000, 20000), "remaining data in megabytes"),
        Field("roaming", Flag(0.4)),
        Field("contract_end", Day(-50, 700)),
        Field("status", Choice(("active", "suspended"), ("active", "active", "suspended"))),
    ),
    (2, 3),
    ("my line {number}", "my line with the plan {plan.name}"),
    per="subscriber",
    superlatives=(Superlative("longest running", "contract_end", lowest=False),),
)
OPTION = Entity(
    "option",
    (
        Field("line_id", Reference("line")),
        Field("type", Choice(("music", "video", "travel", "security"))),
        Field("price", Amount(1, 20)),
        Field("renewal_date", Day(0, 30)),
        Field("status", Choice(("active", "ending"), ("active", "active", "ending"))),
    ),
    (0, 2),
    ("the {type} option", "the option that renews on {renewal_date}"),
    per="line",
)
INVOICE = Entity(
    "invoice",
    (
        Field("line_id", Reference("line")),
        Field("amount", Amount(5, 160)),
        Field("date", Day(-120, -1)),
        Field("due_date", DayAfter(10, 60, other="date")),
        Field("status", Choice(("open", "paid", "disputed"), ("open", "open", "paid"))),
    ),
    (1, 2),
    ("the invoice of {date}", "the invoice due on {due_date}"),
    per="line",
    superlatives=(Superlative("highest", "amount", lowest=False),),
)
VISIT = Entity(
    "visit",
    (
        Field("subscriber_id", Reference("subscriber")),
        Field("technician", Words(("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn"))),
        Field("purpose", Choice(("installation", "repair", "inspection"))),
        Field("day", Day(-2, 14)),
        Field("start", Clock(8, 15), "start time"),
        Field("end", ClockAfter(other="start", minutes=(60, 90, 120)), "end time"),
        Field("status", Choice(("planned", "done"), ("planned", "planned", "done"))),
    ),
    (1, 2),
    ("my {purpose} visit", "my visit on {day}"),
    per="subscriber",
)

LINE_WRITES = (
    SetReference(
        entity="line",
        name="change_plan",
        field="plan_id",
        asks=("switch {target} to {value}", "move {target} onto {value}"),
        conditions=(ACTIVE,),
        target_conditions=(FieldIs("status", ("offered",)),),
        effects=(Effect("data_left", value="=plan_id.data"),),
        description="Change the plan of a line; its data volume is filled up.",
    ),
    Transition(
        entity="line",
        name="suspend_line",
        to="suspended",
        asks=("suspend {target}", "block {target} for now"),
        conditions=(
            ACTIVE,
            Related("option", "line_id", "active options", (("status", "active"),), most=1),
        ),
    ),
    Transition(
        entity="line",
        name="resume_line",
        to="active",
        asks=("resume {target}", "put {target} back into service"),
        conditions=(
            FieldIs("status", ("suspended",)),
            Related("invoice", "line_id", "open invoices", (("status", "open"),), most=1),
        ),
    ),
    Transition(
        entity="line",
        name="enable_roaming",
        field="roaming",
        to=True,
        asks=("switch roaming on for {target}", "allow roaming on {target}"),
        conditions=(FieldIs("roaming", (False,)), ACTIVE),
    ),
    Transfer(
        entity="line",
        name="move_data",
        field="data_left",
        parameter="megabytes",
        asks=("move {value}, taking them from {target}",),
        unit="megabytes",
        conditions=(ACTIVE,),
        other_conditions=(ACTIVE,),
        most=900,
        description="Move remaining data from one line to another.",
    ),
    Postpone(
        entity="line",
        name="extend_contract",
        field="contract_end",
        steps=(90, 180, 365),
        most=365,
        furthest=1100,
        asks=("extend the contract of {target} by {value}",),
        conditions=(ACTIVE,),
    ),
    Create(
        entity="option",
        name="add_option",
        given=("line_id", "type"),
        defaults={"price": 4.99, "renewal_date": "today", "status": "active"},
        needs={
            "line_id": (
                ACTIVE,
                Related("option", "line_id", "active options", (("status", "active"),), most=1),
            )
        },
        asks=("add the {type} option to {line_id}", "book the {type} option for {line_id}"),
    ),
    TransitionAll(
        entity="option",
        name="end_all_options",
        of="line_id",
        to="ending",
        where=(("status", "active"),),
        asks=("end every active option of {target}",),
        conditions=(ACTIVE,),
    ),
    Transition(
        entity="option",
        name="end_option",
        to="ending",
        asks=("end {target}", "let {target} run out"),
        conditions=(ACTIVE,),
    ),
)
OTHER_WRITES = (
    Transition(
        entity="invoice",
        name="pay_invoice",
        to="paid",
        asks=("pay {target}", "settle {target}"),
        conditions=(FieldIs("status", ("open",)),),
    ),
    Transition(
        entity="invoice",
        name="dispute_invoice",
        to="disputed",
        asks=("dispute {target}", "lodge an objection to {target}"),
        conditions=(FieldIs("status", ("open",)), AtMost("amount", 150)),
    ),
    Book(
        entity="visit",
        name="book_visit",
        given=("subscriber_id", "technician", "purpose", "day", "start", "end"),
        defaults={"status": "planned"},
        needs={
            "subscriber_id": (
                Related(
                    "visit", "subscriber_id", "planned visits", (("status", "planned"),), most=1
                ),
            )
        },
        holds=("technician", "day"),
        start="start",
        end="end",
        active=(("status", "planned"),),
        asks=("book a visit by {technician} on {day} from {start} to {end} for {purpose}",),
    ),
    Remove(
        entity="visit",
        name="cancel_visit",
        asks=("cancel {target}",),
        conditions=(FieldIs("status", ("planned",)),),
    ),
)

TELECOM = Domain(
    "telecom",
    "a telephone company",
    "telecommunications",
    "subscriber",
    (PLAN, SUBSCRIBER, LINE, OPTION, INVOICE, VISIT),
    (
        Find("subscriber", by=("email",)),
        Search("plan", by=("name", "status"), hidden=("data", "monthly_price")),
        Get("plan"),
        Get("line"),
        ListOf("line", of="subscriber_id", hidden=("data_left", "roaming", "status")),
        ListOf("option", of="line_id"),
        ListOf("invoice", of="line_id"),
        ListOf("visit", of="subscriber_id"),
        Total("invoice", field="amount", of="line_id"),
        Between("invoice", of="line_id", by="date", total="amount"),
        *LINE_WRITES,
        *OTHER_WRITES,
    ),
    (
        Policy(
            "running_contracts",
            ("change_plan", "extend_contract"),
            DaysFromToday("contract_end", 0, 10000),
        ),
        Policy("old_invoices", ("dispute_invoice", "pay_invoice"), DaysFromToday("date", -60, 0)),
        Policy("short_notice", ("cancel_visit",), DaysFromToday("day", 1, 1000)),
        Policy("costly_options", ("end_option",), AtMost("price", 15)),
    ),
)
