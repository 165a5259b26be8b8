"""IT support: employees, teams, technicians, devices, tickets, comments."""

from openk2.environments.tool_world.conditions import (
    AtMost,
    DaysFromToday,
    FieldIs,
    FieldIsNot,
    Policy,
)
from openk2.environments.tool_world.creating import Create
from openk2.environments.tool_world.domain import Domain, Entity, Field, Superlative
from openk2.environments.tool_world.effects import Effect, Record
from openk2.environments.tool_world.reading import Find, Get, ListOf, Search
from openk2.environments.tool_world.relations import Related
from openk2.environments.tool_world.summaries import Between, Total
from openk2.environments.tool_world.values import (
    Choice,
    Code,
    Day,
    Email,
    Note,
    PersonName,
    Phone,
    Reference,
    Whole,
    Words,
)
from openk2.environments.tool_world.writing import (
    Postpone,
    SetField,
    SetReference,
    Transition,
)

__all__ = ["SUPPORT"]

TROUBLES = (
    *("printer", "laptop", "network", "password", "screen", "mail", "phone", "keyboard", "backup"),
    *("scanner", "projector"),
)
SIGNS = ("is slow", "does not start", "keeps freezing", "makes noise", "shows an error", "is lost")
OPEN = FieldIsNot("status", ("resolved", "closed"))

EMPLOYEE = Entity(
    "employee",
    (
        Field("name", PersonName()),
        Field("email", Email()),
        Field("phone", Phone(), "phone number"),
        Field("office", Code("@-###")),
        Field("grade", Choice(("junior", "senior", "manager"))),
    ),
    (9, 9),
    ("{email}",),
)
TEAM = Entity(
    "team",
    (
        Field("name", Words(("Hardware", "Network", "Accounts", "Software", "Security"))),
        Field("hotline", Phone()),
        Field("capacity", Whole(0, 6)),
    ),
    (4, 4),
    ("the {name} team",),
)
TECHNICIAN = Entity(
    "technician",
    (
        Field("team_id", Reference("team")),
        Field("name", PersonName()),
        Field("open_tickets", Whole(0, 9), "number of open tickets"),
        Field("duty", Choice(("on_call", "off_duty"), ("on_call", "on_call", "off_duty"))),
        Field("extension", Code("4####")),
    ),
    (2, 3),
    ("{name}",),
    per="team",
)
ASSET = Entity(
    "asset",
    (
        Field("employee_id", Reference("employee")),
        Field(
            "model",
            Words(("Orion", "Vega", "Lyra", "Atlas"), ("laptop", "phone", "tablet", "screen")),
        ),
        Field("tag", Code("IT-#####"), "inventory tag"),
        Field("warranty_end", Day(-300, 700), "warranty end"),
        Field("status", Choice(("in_use", "in_repair", "lost"), ("in_use", "in_use", "in_repair"))),
    ),
    (1, 3),
    ("my {model}", "my device with the inventory tag {tag}"),
    per="employee",
    superlatives=(Superlative("longest covered", "warranty_end", lowest=False),),
)
TICKET = Entity(
    "ticket",
    (
        Field("employee_id", Reference("employee")),
        Field("technician_id", Reference("technician", where=(("duty", "on_call"),))),
        Field("title", Words(TROUBLES, SIGNS)),
        Field("priority", Choice(("low", "normal", "high"))),
        Field("status", Choice(("open", "waiting", "resolved", "closed"))),
        Field("filing_date", Day(-40, 0)),
        Field("due_date", Day(0, 20)),
        Field("effort", Whole(10, 900), "effort in minutes"),
    ),
    (2, 4),
    ('my ticket "{title}"', "my ticket of {filing_date}", "my ticket that {technician.name} has"),
    per="employee",
    superlatives=(
        Superlative("newest", "filing_date", lowest=False),
        Superlative("most urgent", "due_date"),
    ),
)
COMMENT = Entity(
    "comment",
    (
        Field("ticket_id", Reference("ticket")),
        Field("text", Note(("It happened again.", "The restart did not help.", "Any news?"))),
        Field("visibility", Choice(("public", "internal"))),
        Field("date", Day(-30, 0)),
        Field("reference", Code("C/####")),
    ),
    (0, 2),
    ("the comment of {date}", "the comment {reference}"),
    per="ticket",
)

WRITES = (
    Create(
        entity="ticket",
        name="open_ticket",
        given=("employee_id", "technician_id", "title", "priority"),
        defaults={"status": "open", "filing_date": "today", "due_date": "today", "effort": 0},
        needs={"technician_id": (FieldIs("duty", ("on_call",)), AtMost("open_tickets", 7))},
        effects=(
            Effect("open_tickets", add=1, reference="technician_id"),
            Record(
                "comment",
                {
                    "ticket_id": "=key",
                    "text": "opened",
                    "visibility": "internal",
                    "date": "today",
                    "reference": "opened",
                },
            ),
        ),
        asks=(
            'open a ticket for {technician_id} that says "{title}", with {priority} priority',
            'file a {priority} priority ticket, "{title}", with {technician_id}',
        ),
        description="Open a ticket and write its first, internal comment.",
    ),
    Transition(
        entity="ticket",
        name="resolve_ticket",
        to="resolved",
        asks=("mark {target} as resolved", "set {target} to resolved"),
        conditions=(FieldIs("status", ("open", "waiting")),),
        effects=(Effect("open_tickets", add=-1, reference="technician_id"),),
        description="Resolve a ticket; its technician has one ticket less.",
    ),
    Transition(
        entity="ticket",
        name="reopen_ticket",
        to="open",
        asks=("reopen {target}", "open {target} once more"),
        conditions=(FieldIs("status", ("resolved",)),),
        effects=(Effect("open_tickets", add=1, reference="technician_id"),),
    ),
    Transition(
        entity="ticket",
        name="close_ticket",
        to="closed",
        asks=("close {target}", "close {target} for good"),
        conditions=(
            FieldIs("status", ("resolved",)),
            Related(
                "comment", "ticket_id", "internal comments", (("visibility", "internal"),), most=0
            ),
        ),
    ),
    SetField(
        entity="ticket",
        name="set_priority",
        field="priority",
        asks=("set the priority of {target} to {value}",),
        conditions=(OPEN,),
    ),
    SetReference(
        entity="ticket",
        name="reassign_ticket",
        field="technician_id",
        asks=("hand {target} over to {value}", "give {target} to {value}"),
        conditions=(OPEN,),
        target_conditions=(FieldIs("duty", ("on_call",)), AtMost("open_tickets", 8)),
        effects=(
            Effect("open_tickets", add=-1, reference="technician_id", previous=True),
            Effect("open_tickets", add=1, reference="technician_id"),
        ),
    ),
    Postpone(
        entity="ticket",
        name="extend_deadline",
        field="due_date",
        steps=(1, 3, 5),
        furthest=24,
        asks=("push the due date of {target} back by {value}",),
        conditions=(OPEN,),
    ),
    Create(
        entity="comment",
        name="add_comment",
        given=("ticket_id", "text"),
        defaults={"visibility": "public", "date": "today", "reference": "new"},
        needs={"ticket_id": (FieldIsNot("status", ("closed",)),)},
        asks=('add the comment "{text}" to {ticket_id}',),
    ),
    Transition(
        entity="comment",
        name="hide_comment",
        field="visibility",
        to="internal",
        asks=("hide {target}", "make {target} internal"),
        conditions=(FieldIs("visibility", ("public",)),),
    ),
    Transition(
        entity="asset",
        name="send_to_repair",
        to="in_repair",
        asks=("send {target} in for repair", "have {target} repaired"),
        conditions=(FieldIs("status", ("in_use",)),),
    ),
    Transition(
        entity="asset",
        name="report_lost",
        to="lost",
        asks=("report {target} as lost", "note that I have lost {target}"),
        conditions=(FieldIsNot("status", ("lost",)),),
    ),
    Postpone(
        entity="asset",
        name="extend_warranty",
        field="warranty_end",
        steps=(30, 60, 90),
        most=90,
        furthest=700,
        asks=("extend the warranty of {target} by {value}",),
        conditions=(DaysFromToday("warranty_end", 0, 10000), FieldIs("status", ("in_use",))),
    ),
    SetField(
        entity="employee",
        name="change_office",
        field="office",
        asks=("note that my office is {value} now", "change my office to {value}"),
    ),
)

SUPPORT = Domain(
    "support",
    "a company's IT support",
    "ticketing",
    "employee",
    (EMPLOYEE, TEAM, TECHNICIAN, ASSET, TICKET, COMMENT),
    (
        Find("employee", by=("email",)),
        Get("ticket"),
        Get("technician"),
        Get("team"),
        Find("team", by=("name",)),
        Search("technician", by=("name", "duty"), hidden=("open_tickets", "extension")),
        ListOf("technician", of="team_id"),
        ListOf("asset", of="employee_id"),
        ListOf("ticket", of="employee_id", hidden=("priority", "effort")),
        ListOf("comment", of="ticket_id"),
        Total("ticket", field="effort", of="employee_id"),
        Between("ticket", of="employee_id", by="filing_date", total="effort"),
        *WRITES,
    ),
    (
        Policy(
            "high_priority", ("resolve_ticket", "set_priority"), FieldIsNot("priority", ("high",))
        ),
        Policy("old_tickets", ("reopen_ticket",), DaysFromToday("filing_date", -21, 0)),
        Policy("warranty", ("send_to_repair",), DaysFromToday("warranty_end", 0, 10000)),
    ),
)
