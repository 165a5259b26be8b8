"""A bank: holders, accounts, cards, payees, payments, transactions."""

from openk2.environments.tool_world.conditions import (
    AtLeast,
    AtMost,
    DaysFromToday,
    FieldIs,
    Policy,
)
from openk2.environments.tool_world.creating import Create
from openk2.environments.tool_world.domain import Domain, Entity, Field, Superlative
from openk2.environments.tool_world.effects import Effect, Record
from openk2.environments.tool_world.moving import TransitionAll
from openk2.environments.tool_world.reading import Find, Get, ListOf
from openk2.environments.tool_world.relations import Related
from openk2.environments.tool_world.summaries import Between, Total
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
from openk2.environments.tool_world.writing import Postpone, SetField, Transfer, Transition

__all__ = ["BANKING"]

COMPANIES = (
    *("North", "River", "Summit", "Harbour", "Oak", "Silver", "Prairie", "Metro", "Golden"),
    *("Cedar", "Granite", "Lakeside"),
)
TRADES = ("Power", "Water", "Telecom", "Insurance", "Gym", "Rentals", "Gardening", "Internet")
OPEN = FieldIs("status", ("open",))

HOLDER = Entity(
    "holder",
    (
        Field("name", PersonName()),
        Field("email", Email()),
        Field("phone", Phone(), "phone number"),
        Field("address", Place("street")),
        Field("customer_since", Day(-4000, -100), "date of joining"),
    ),
    (8, 8),
    ("{email}",),
)
ACCOUNT = Entity(
    "account",
    (
        Field("holder_id", Reference("holder")),
        Field("type", Choice(("checking", "savings", "business", "travel"))),
        Field("number", Code("##-####-##"), "account number"),
        Field("balance", Amount(20, 6000)),
        Field("status", Choice(("open", "frozen"), ("open", "open", "open", "frozen"))),
        Field("opening_date", Day(-3000, -30)),
    ),
    (2, 3),
    ("my {type} account", "my account number {number}"),
    per="holder",
    superlatives=(Superlative("newest", "opening_date", lowest=False),),
)
CARD = Entity(
    "card",
    (
        Field("account_id", Reference("account")),
        Field("last_digits", Code("####")),
        Field("type", Choice(("debit", "credit"))),
        Field("daily_limit", Whole(100, 5000, 50)),
        Field("status", Choice(("active", "blocked", "expired"), ("active", "active", "blocked"))),
        Field("expiry_date", Day(10, 1400)),
    ),
    (0, 2),
    ("the card ending in {last_digits}", "the {type} card"),
    per="account",
)
PAYEE = Entity(
    "payee",
    (
        Field("name", Words(COMPANIES, TRADES)),
        Field("account_number", Code("##-####-##")),
        Field("verified", Flag(0.8)),
    ),
    (10, 10),
    ("{name}",),
)
PAYMENT = Entity(
    "payment",
    (
        Field("account_id", Reference("account")),
        Field("payee_id", Reference("payee")),
        Field("amount", Amount(10, 900)),
        Field("due_date", Day(0, 40)),
        Field("status", Choice(("scheduled", "executed", "cancelled"))),
    ),
    (1, 2),
    ("the payment to {payee.name}", "the payment due on {due_date}"),
    per="account",
    superlatives=(Superlative("largest", "amount", lowest=False),),
)
TRANSACTION = Entity(
    "transaction",
    (
        Field("account_id", Reference("account")),
        Field("amount", Amount(3, 700)),
        Field("date", Day(-45, 0)),
        Field("text", Words(COMPANIES, ("Shop", "Cafe", "Hotel", "Market", "Books", "Taxi"))),
        Field("status", Choice(("booked", "disputed"), ("booked", "booked", "disputed"))),
    ),
    (2, 4),
    ("the transaction of {date}", "the transaction with {text}"),
    per="account",
    superlatives=(Superlative("largest", "amount", lowest=False),),
)
PAID = Record(
    "transaction",
    {
        "account_id": "=account_id",
        "amount": "=amount",
        "date": "today",
        "text": "=payee_id.name",
        "status": "booked",
    },
)

WRITES = (
    Transfer(
        entity="account",
        name="move_money",
        field="balance",
        asks=("move {value}, taking it from {target}", "take from {target} and transfer {value}"),
        conditions=(OPEN,),
        other_conditions=(OPEN,),
        most=80,
        description="Move money between two accounts of one holder.",
        same=("holder_id",),
    ),
    Create(
        entity="payment",
        name="pay_bill",
        given=("account_id", "payee_id", "amount"),
        defaults={"due_date": "today", "status": "executed"},
        needs={"account_id": (OPEN,), "payee_id": (FieldIs("verified", (True,)),)},
        limits={"amount": "=account_id.balance"},
        effects=(Effect("balance", add="=amount", sign=-1, reference="account_id"), PAID),
        asks=(
            "pay {amount} to {payee_id} from {account_id} right now",
            "send {payee_id} {amount} today from {account_id}",
        ),
        description="Pay a verified payee at once and write the transaction down.",
    ),
    Create(
        entity="payment",
        name="schedule_payment",
        given=("account_id", "payee_id", "amount", "due_date"),
        defaults={"status": "scheduled"},
        needs={"account_id": (OPEN,)},
        asks=(
            "schedule a payment of {amount} to {payee_id} from {account_id} for {due_date}",
            "have {amount} paid to {payee_id} on {due_date} from {account_id}",
        ),
    ),
    Transition(
        entity="payment",
        name="cancel_payment",
        to="cancelled",
        asks=("cancel {target}", "stop {target}"),
        conditions=(FieldIs("status", ("scheduled",)),),
    ),
    Postpone(
        entity="payment",
        name="postpone_payment",
        field="due_date",
        asks=("delay {target} by {value}", "postpone {target} by {value}"),
        conditions=(FieldIs("status", ("scheduled",)),),
    ),
    TransitionAll(
        entity="payment",
        name="cancel_scheduled_payments",
        of="account_id",
        to="cancelled",
        where=(("status", "scheduled"),),
        conditions=(OPEN,),
        asks=("cancel every payment that is scheduled from {target}",),
    ),
    Transition(
        entity="card",
        name="block_card",
        to="blocked",
        asks=("block {target}", "block {target}, as I have lost it"),
        conditions=(FieldIs("status", ("active",)),),
    ),
    Create(
        entity="card",
        name="order_card",
        given=("account_id", "type", "daily_limit"),
        defaults={"last_digits": "0000", "status": "active", "expiry_date": "today"},
        needs={
            "account_id": (
                OPEN,
                Related("card", "account_id", "active cards", (("status", "active"),), most=1),
            )
        },
        asks=("order a {type} card with a daily limit of {daily_limit} USD for {account_id}",),
        description="Order a card; its digits and expiry date follow when it is printed.",
    ),
    SetField(
        entity="card",
        name="set_daily_limit",
        field="daily_limit",
        asks=("set the daily limit of {target} to {value} USD",),
        conditions=(FieldIs("status", ("active",)),),
    ),
    Transition(
        entity="transaction",
        name="dispute_transaction",
        to="disputed",
        asks=("dispute {target}", "dispute {target}, which I do not recognise"),
        conditions=(FieldIs("status", ("booked",)),),
    ),
    Transition(
        entity="account",
        name="freeze_account",
        to="frozen",
        asks=("freeze {target}", "lock {target} for the time being"),
        conditions=(
            OPEN,
            Related(
                "payment", "account_id", "scheduled payments", (("status", "scheduled"),), most=0
            ),
        ),
    ),
)

BANKING = Domain(
    "banking",
    "a bank",
    "finance",
    "holder",
    (HOLDER, ACCOUNT, CARD, PAYEE, PAYMENT, TRANSACTION),
    (
        Find("holder", by=("email",)),
        Get("account"),
        Find("payee", by=("name",)),
        ListOf("account", of="holder_id", hidden=("balance",)),
        ListOf("card", of="account_id"),
        ListOf("payment", of="account_id"),
        ListOf("transaction", of="account_id"),
        Total("account", field="balance", of="holder_id"),
        Total("transaction", field="amount", of="account_id", measure="highest"),
        Between("transaction", of="account_id", by="date", total="amount"),
        *WRITES,
    ),
    (
        Policy(
            "low_accounts",
            ("move_money", "pay_bill", "schedule_payment"),
            AtLeast("balance", 900),
        ),
        Policy("old_transactions", ("dispute_transaction",), DaysFromToday("date", -30, 0)),
        Policy("credit_limits", ("set_daily_limit",), FieldIs("type", ("debit",))),
        Policy("large_payments", ("cancel_payment", "postpone_payment"), AtMost("amount", 700)),
    ),
)
