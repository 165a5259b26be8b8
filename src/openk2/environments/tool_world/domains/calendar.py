"""A calendar and a mailbox: contacts, rooms, meetings, invitations, labels, messages, reminders."""

from openk2.environments.tool_world.conditions import (
    AtLeast,
    DaysFromToday,
    FieldIs,
    FieldIsNot,
    Policy,
)
from openk2.environments.tool_world.creating import Book, Create
from openk2.environments.tool_world.domain import Domain, Entity, Field, Superlative
from openk2.environments.tool_world.effects import Cascade
from openk2.environments.tool_world.moving import Exchange, TransitionAll
from openk2.environments.tool_world.reading import Find, Get, ListOf, Search
from openk2.environments.tool_world.relations import Related
from openk2.environments.tool_world.values import (
    Choice,
    Clock,
    ClockAfter,
    Code,
    Day,
    Email,
    Flag,
    Note,
    PersonName,
    Phone,
    Reference,
    Whole,
    Words,
)
from openk2.environments.tool_world.writing import (
    Append,
    Postpone,
    Remove,
    SetReference,
    Transition,
)

__all__ = ["CALENDAR"]

SUBJECTS = (
    *("budget", "hiring", "roadmap", "design", "quarterly", "safety", "launch", "customer"),
    *("training", "research"),
)
MEETINGS = ("review", "planning", "workshop", "briefing", "retrospective", "interview", "demo")
SETTLED = FieldIsNot("status", ("cancelled",))
AHEAD = DaysFromToday("day", 0, 1000)

CONTACT = Entity(
    "contact",
    (
        Field("name", PersonName()),
        Field("email", Email()),
        Field("phone", Phone(), "phone number"),
        Field("company", Choice(("internal", "client", "supplier"))),
        Field("muted", Flag(0.2)),
    ),
    (10, 10),
    ("{name}",),
)
ROOM = Entity(
    "room",
    (
        Field("name", Words(("Maple", "Birch", "Cedar", "Willow", "Aspen", "Elm", "Pine", "Oak"))),
        Field("seats", Whole(2, 24)),
        Field("projector", Choice(("none", "fixed", "portable"))),
        Field("extension", Code("7###"), "telephone extension"),
    ),
    (5, 5),
    ("the room {name}",),
)
MEETING = Entity(
    "meeting",
    (
        Field("title", Words(SUBJECTS, MEETINGS)),
        Field("room_id", Reference("room")),
        Field("day", Day(-5, 14)),
        Field("start", Clock(8, 16), "start time"),
        Field("end", ClockAfter(other="start"), "end time"),
        Field("status", Choice(("tentative", "confirmed", "cancelled"))),
        Field("agenda", Note(("Bring the figures", "Discuss the delay", "Vote on the plan"))),
    ),
    (18, 18),
    ("the {title}", "the {title} on {day}", "the meeting on {day} at {start}"),
)
INVITATION = Entity(
    "invitation",
    (
        Field("meeting_id", Reference("meeting")),
        Field("contact_id", Reference("contact")),
        Field("answer", Choice(("pending", "accepted", "declined"))),
        Field("role", Choice(("required", "optional", "presenter"))),
    ),
    (0, 3),
    ("the invitation of {contact.name}",),
    per="meeting",
)
LABEL = Entity(
    "label",
    (
        Field("name", Words(("Clients", "Invoices", "Newsletters", "Team", "Travel", "Family"))),
        Field("colour", Choice(("red", "green", "blue", "yellow"))),
        Field("created", Day(-900, -10), "creation date"),
    ),
    (4, 4),
    ("the label {name}",),
)
MESSAGE = Entity(
    "message",
    (
        Field("contact_id", Reference("contact")),
        Field("label_id", Reference("label")),
        Field("subject", Words(SUBJECTS, ("question", "offer", "update", "request", "summary"))),
        Field("date", Day(-40, 0)),
        Field("size", Whole(1, 9000), "size in kilobytes"),
        Field(
            "folder", Choice(("inbox", "archive", "trash"), ("inbox", "inbox", "archive", "trash"))
        ),
        Field("starred", Flag(0.3)),
    ),
    (1, 4),
    ('the message "{subject}"', "the message of {date}"),
    per="contact",
    superlatives=(
        Superlative("latest", "date", lowest=False),
        Superlative("largest", "size", lowest=False),
    ),
)
REMINDER = Entity(
    "reminder",
    (
        Field(
            "text",
            Words(
                ("call", "pay", "visit", "write to", "thank"),
                (
                    "the dentist",
                    "Anna",
                    "the landlord",
                    "the school",
                    "the bank",
                    "Uncle Bob",
                    "the plumber",
                ),
            ),
        ),
        Field("due_date", Day(-3, 25)),
        Field("status", Choice(("open", "done"), ("open", "open", "done"))),
        Field("repeat", Choice(("never", "daily", "weekly"))),
    ),
    (8, 8),
    ('the reminder "{text}"', "the reminder for {due_date}"),
)

MEETING_WRITES = (
    Book(
        entity="meeting",
        name="book_meeting",
        given=("title", "room_id", "day", "start", "end"),
        defaults={"status": "tentative", "agenda": ""},
        needs={"room_id": (FieldIsNot("projector", ("none",)),)},
        holds=("room_id", "day"),
        start="start",
        end="end",
        active=(("status", "confirmed"),),
        asks=(
            'set up a "{title}" in {room_id} on {day} from {start} to {end}',
            'book {room_id} on {day} from {start} to {end} for a "{title}"',
        ),
        description="Put a meeting into a room with a projector.",
    ),
    Transition(
        entity="meeting",
        name="confirm_meeting",
        to="confirmed",
        asks=("confirm {target}", "make {target} definite"),
        conditions=(
            FieldIs("status", ("tentative",)),
            Related("invitation", "meeting_id", "invitations", least=1),
        ),
    ),
    Transition(
        entity="meeting",
        name="cancel_meeting",
        to="cancelled",
        asks=("cancel {target}", "call off {target}"),
        conditions=(SETTLED, AHEAD),
        effects=(Cascade("invitation", "meeting_id", "answer", "declined"),),
        description="Cancel a meeting; all its invitations count as declined.",
    ),
    SetReference(
        entity="meeting",
        name="change_room",
        field="room_id",
        asks=("move {target} to {value}", "hold {target} in {value} instead"),
        conditions=(SETTLED,),
        target_conditions=(AtLeast("seats", 6),),
    ),
    Exchange(
        entity="meeting",
        name="swap_meetings",
        fields=("day", "start", "end"),
        asks=("swap the times of {target} and {value}",),
        conditions=(SETTLED, AHEAD),
        other_conditions=(SETTLED, AHEAD),
        description="Each of two meetings takes place when the other one was to.",
    ),
    Postpone(
        entity="meeting",
        name="postpone_meeting",
        field="day",
        steps=(1, 2, 7),
        asks=("move {target} back by {value}", "postpone {target} by {value}"),
        conditions=(SETTLED, AHEAD),
    ),
    Append(
        entity="meeting",
        name="add_to_agenda",
        field="agenda",
        asks=('add "{value}" to the agenda of {target}',),
        conditions=(SETTLED,),
    ),
    Create(
        entity="invitation",
        name="invite",
        given=("meeting_id", "contact_id", "role"),
        defaults={"answer": "pending"},
        needs={
            "meeting_id": (SETTLED, Related("invitation", "meeting_id", "invitations", most=2)),
            "contact_id": (FieldIs("muted", (False,)),),
        },
        asks=("invite {contact_id} to {meeting_id}; the role is: {role}",),
    ),
    Remove(
        entity="invitation",
        name="withdraw_invitation",
        asks=("withdraw {target}", "take back {target}"),
        conditions=(FieldIs("answer", ("pending", "declined")),),
    ),
)
MAIL_WRITES = (
    SetReference(
        entity="message",
        name="label_message",
        field="label_id",
        asks=("file {target} under {value}", "give {target} {value}"),
        conditions=(FieldIs("folder", ("inbox", "archive")),),
    ),
    Transition(
        entity="message",
        name="archive_message",
        field="folder",
        to="archive",
        asks=("archive {target}", "move {target} to the archive"),
        conditions=(FieldIs("folder", ("inbox",)),),
    ),
    TransitionAll(
        entity="message",
        name="archive_all_from",
        of="contact_id",
        field="folder",
        to="archive",
        where=(("folder", "inbox"),),
        asks=("archive everything in the inbox that came from {target}",),
        conditions=(FieldIs("muted", (False,)),),
    ),
    Remove(
        entity="message",
        name="delete_message",
        asks=("delete {target} for good", "erase {target}"),
        conditions=(FieldIs("folder", ("trash",)),),
    ),
    Transition(
        entity="contact",
        name="mute_contact",
        field="muted",
        to=True,
        asks=("mute {target}", "stop messages of {target} from ringing"),
        conditions=(FieldIs("muted", (False,)),),
    ),
    Create(
        entity="reminder",
        name="add_reminder",
        given=("text", "due_date", "repeat"),
        defaults={"status": "open"},
        asks=(
            'add a reminder for {due_date} that says "{text}"; repeat: {repeat}',
            'remind me on {due_date}: "{text}"; repeat: {repeat}',
        ),
    ),
    Transition(
        entity="reminder",
        name="complete_reminder",
        to="done",
        asks=("tick off {target}", "mark {target} as done"),
        conditions=(FieldIs("status", ("open",)),),
    ),
)

CALENDAR = Domain(
    "calendar",
    "a person's calendar and mailbox",
    "productivity",
    None,
    (CONTACT, ROOM, MEETING, INVITATION, LABEL, MESSAGE, REMINDER),
    (
        Find("contact", by=("name",), hidden=("phone", "muted")),
        Get("contact"),
        Find("room", by=("name",)),
        Find("label", by=("name",)),
        Get("meeting"),
        Search("meeting", by=("title", "day", "start"), hidden=("agenda", "status", "end")),
        Search("reminder", by=("text", "due_date")),
        ListOf("invitation", of="meeting_id"),
        ListOf("message", of="contact_id"),
        *MEETING_WRITES,
        *MAIL_WRITES,
    ),
    (
        Policy("clients_first", ("mute_contact",), FieldIsNot("company", ("client",))),
        Policy("starred_stay", ("archive_message", "delete_message"), FieldIs("starred", (False,))),
        Policy("confirmed_rooms", ("change_room",), FieldIs("status", ("tentative",))),
        Policy("small_rooms", ("book_meeting",), AtLeast("seats", 4)),
    ),
)
