"""A public library: branches, books, copies, readers, loans, reservations, fees."""

from openk2.environments.tool_world.conditions import (
    AtMost,
    DaysFromToday,
    FieldIs,
    FieldIsNot,
    Policy,
    Through,
)
from openk2.environments.tool_world.creating import Create
from openk2.environments.tool_world.domain import Domain, Entity, Field, Superlative
from openk2.environments.tool_world.effects import Effect
from openk2.environments.tool_world.reading import Find, Get, ListOf, Search
from openk2.environments.tool_world.relations import Related
from openk2.environments.tool_world.summaries import Total
from openk2.environments.tool_world.values import (
    Amount,
    Choice,
    Code,
    Day,
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
    SetField,
    SetReference,
    Transition,
)

__all__ = ["LIBRARY"]

FIRST = (
    "The Silent",
    "The Last",
    "A Distant",
    "The Hidden",
    "An Ordinary",
    "The Broken",
    "A Golden",
)
SECOND = ("River", "Garden", "Winter", "Letter", "Harbour", "Summer", "Mirror", "Journey", "Window")
ACTIVE = FieldIs("status", ("active",))

BRANCH = Entity(
    "branch",
    (
        Field("name", Words(("Central", "Riverside", "Hilltop", "Market", "Station"))),
        Field("phone", Phone(), "phone number"),
        Field("address", Place("street")),
        Field("open_on_sundays", Flag(0.4), "open on Sundays"),
    ),
    (4, 4),
    ("the {name} branch",),
    plural="branches",
)
BOOK = Entity(
    "book",
    (
        Field("title", Words(FIRST, SECOND)),
        Field("author", PersonName()),
        Field("pages", Whole(80, 900), "number of pages"),
        Field("purchase_date", Day(-3000, -20)),
        Field("genre", Choice(("novel", "history", "science", "children"))),
    ),
    (14, 14),
    ('"{title}"', "the book by {author}", '"{title}" by {author}'),
)
COPY = Entity(
    "copy",
    (
        Field("book_id", Reference("book")),
        Field("branch_id", Reference("branch")),
        Field("barcode", Code("########")),
        Field("shelf", Code("@##")),
        Field(
            "status",
            Choice(
                ("available", "on_loan", "in_repair"),
                ("available", "on_loan", "on_loan", "in_repair"),
            ),
        ),
        Field("reference_only", Flag(0.15), "for reference only"),
    ),
    (1, 3),
    ("the {branch.name} copy", "the copy with the barcode {barcode}"),
    per="book",
    plural="copies",
)
READER = Entity(
    "reader",
    (
        Field("name", PersonName()),
        Field("card_number", Code("R####-###")),
        Field("phone", Phone(), "phone number"),
        Field("email", Email()),
        Field("balance", Amount(0, 60), "balance of fees"),
        Field("card_expiry", Day(-60, 400), "card's expiry date"),
    ),
    (8, 8),
    ("{card_number}",),
)
LOAN = Entity(
    "loan",
    (
        Field("reader_id", Reference("reader")),
        Field("copy_id", Reference("copy", (("status", "on_loan"),), distinct=True)),
        Field("loan_date", Day(-40, -1)),
        Field("due_date", Day(-8, 25)),
        Field("renewals", Whole(0, 3), "number of renewals"),
        Field("status", Choice(("active", "overdue"))),
    ),
    (1, 3),
    (
        "my loan of {loan_date}",
        "my loan of the copy with the barcode {copy.barcode}",
        "my loan that is due on {due_date}",
    ),
    per="reader",
)
RESERVATION = Entity(
    "reservation",
    (
        Field("reader_id", Reference("reader")),
        Field("book_id", Reference("book")),
        Field("branch_id", Reference("branch")),
        Field("date", Day(-30, 0)),
        Field("pickup_until", Day(1, 20), "last day for pickup"),
        Field("status", Choice(("waiting", "ready", "expired"))),
    ),
    (1, 3),
    ('my reservation of "{book.title}"', "my reservation made on {date}"),
    per="reader",
    superlatives=(Superlative("oldest", "date"),),
)
FEE = Entity(
    "fee",
    (
        Field("reader_id", Reference("reader")),
        Field("amount", Amount(1, 30)),
        Field("cause", Choice(("overdue", "damage", "lost_card"))),
        Field("date", Day(-90, 0)),
        Field("status", Choice(("open", "paid", "waived"))),
    ),
    (1, 3),
    ("my fee of {date}", "my {cause} fee"),
    per="reader",
    superlatives=(Superlative("highest", "amount", lowest=False),),
)

WRITES = (
    Create(
        entity="loan",
        name="borrow_copy",
        given=("copy_id", "reader_id"),
        defaults={"loan_date": "today", "due_date": "today", "renewals": 0, "status": "active"},
        needs={
            "copy_id": (FieldIs("status", ("available",)), FieldIs("reference_only", (False,))),
            "reader_id": (Related("loan", "reader_id", "loans", most=2),),
        },
        effects=(Effect("status", value="on_loan", reference="copy_id"),),
        asks=("lend me {copy_id}", "check out {copy_id} for me"),
        description="Lend a copy to a reader; the due date follows at the desk.",
    ),
    Remove(
        entity="loan",
        name="return_loan",
        asks=("take back {target}, which I have handed in", "book the return of {target}"),
        conditions=(AtMost("renewals", 2),),
        effects=(Effect("status", value="available", reference="copy_id"),),
        description="Take a loan back; its copy becomes available.",
    ),
    Postpone(
        entity="loan",
        name="renew_loan",
        field="due_date",
        steps=(7, 14),
        furthest=45,
        asks=("renew {target} by {value}", "extend {target} by {value}"),
        conditions=(AtMost("renewals", 1), ACTIVE),
        effects=(Effect("renewals", add=1),),
    ),
    Create(
        entity="reservation",
        name="reserve_book",
        given=("reader_id", "book_id", "branch_id"),
        defaults={"date": "today", "pickup_until": "today", "status": "waiting"},
        needs={
            "book_id": (
                Related("copy", "book_id", "available copies", (("status", "available"),), most=0),
            ),
            "branch_id": (),
        },
        asks=("reserve {book_id} for me, to be picked up at {branch_id}",),
        description="Reserve a book of which no copy is available.",
    ),
    SetReference(
        entity="reservation",
        name="change_pickup_branch",
        field="branch_id",
        asks=("have {target} sent to {value} instead", "change the pickup of {target} to {value}"),
        conditions=(FieldIs("status", ("waiting",)),),
    ),
    Remove(
        entity="reservation",
        name="cancel_reservation",
        asks=("cancel {target}", "drop {target}"),
        conditions=(FieldIs("status", ("waiting", "ready")),),
    ),
    Postpone(
        entity="reservation",
        name="extend_pickup",
        field="pickup_until",
        steps=(2, 3, 5),
        most=7,
        asks=("hold {target} {value} longer", "extend the pickup of {target} by {value}"),
        conditions=(FieldIs("status", ("ready",)),),
    ),
    Transition(
        entity="fee",
        name="pay_fee",
        to="paid",
        asks=("pay {target} from my balance", "settle {target}"),
        conditions=(FieldIs("status", ("open",)),),
        effects=(Effect("balance", add="=amount", sign=-1, reference="reader_id"),),
        description="Pay a fee; what the reader owes goes down by it.",
    ),
    Transition(
        entity="fee",
        name="waive_fee",
        to="waived",
        asks=("waive {target}", "let me off {target}"),
        conditions=(FieldIs("status", ("open",)),),
    ),
    Transition(
        entity="copy",
        name="report_damage",
        to="in_repair",
        asks=("report {target} as damaged", "note that {target} needs repair"),
        conditions=(FieldIs("status", ("available",)),),
    ),
    Postpone(
        entity="reader",
        name="renew_card",
        field="card_expiry",
        steps=(90, 180, 365),
        most=365,
        furthest=800,
        asks=("renew my card by {value}", "extend my library card by {value}"),
        conditions=(AtMost("balance", 40),),
    ),
    SetField(
        entity="reader",
        name="change_phone",
        field="phone",
        asks=("change my phone number to {value}",),
        conditions=(DaysFromToday("card_expiry", 0, 10000),),
    ),
)

LIBRARY = Domain(
    "library",
    "a public library",
    "education",
    "reader",
    (BRANCH, BOOK, COPY, READER, LOAN, RESERVATION, FEE),
    (
        Find("reader", by=("card_number",)),
        Find("branch", by=("name",)),
        Search("book", by=("title", "author", "genre"), hidden=("pages", "purchase_date")),
        Get("book"),
        ListOf("copy", of="book_id", hidden=("shelf",)),
        Search("copy", by=("barcode",), hidden=("shelf",)),
        Get("copy"),
        ListOf("loan", of="reader_id"),
        ListOf("reservation", of="reader_id"),
        ListOf("fee", of="reader_id"),
        Total("fee", field="amount", of="reader_id"),
        *WRITES,
    ),
    (
        Policy("overdue_only", ("waive_fee",), FieldIs("cause", ("overdue",))),
        Policy("late_renewals", ("renew_loan",), DaysFromToday("due_date", 0, 1000)),
        Policy(
            "childrens_books",
            ("report_damage",),
            Through("book_id", FieldIsNot("genre", ("children",))),
        ),
        Policy("ready_books", ("cancel_reservation",), FieldIs("status", ("waiting",))),
    ),
)
