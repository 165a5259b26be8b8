"""An online shop: customers, products, orders, returns."""

from openk2.environments.tool_world.conditions import (
    AtLeast,
    AtMost,
    DaysFromToday,
    FieldIs,
    Policy,
)
from openk2.environments.tool_world.creating import Create
from openk2.environments.tool_world.domain import Domain, Entity, Field, Superlative
from openk2.environments.tool_world.reading import Find, Get, ListOf, Search, Total
from openk2.environments.tool_world.values import (
    Amount,
    Choice,
    Day,
    Email,
    Note,
    PersonName,
    Phone,
    Place,
    Reference,
    Whole,
    Words,
)
from openk2.environments.tool_world.writing import Adjust, Effect, SetField, Transition

__all__ = ["RETAIL"]

COLOURS = ("black", "white", "blue", "green", "red", "grey", "yellow", "brown")
THINGS: tuple[str, ...] = (
    "desk lamp",
    "backpack",
    "kettle",
    "office chair",
    "headphones",
    "keyboard",
    "raincoat",
)
THINGS += ("yoga mat", "water bottle", "bookshelf", "coffee grinder", "running shoes", "tent")

CUSTOMER = Entity(
    "customer",
    (
        Field("name", PersonName()),
        Field("email", Email()),
        Field("phone", Phone()),
        Field("address", Place("street")),
        Field("loyalty_points", Whole(0, 5000), "number of loyalty points"),
    ),
    (12, 12),
    ("{email}",),
)
PRODUCT = Entity(
    "product",
    (
        Field("title", Words(COLOURS, THINGS)),
        Field("price", Amount(5, 400)),
        Field("stock", Whole(0, 40)),
        Field("category", Choice(("home", "sports", "office", "outdoor"))),
    ),
    (20, 20),
    ("the {title}",),
)
ORDER = Entity(
    "order",
    (
        Field("customer_id", Reference("customer")),
        Field("product_id", Reference("product")),
        Field("quantity", Whole(1, 5)),
        Field("amount", Amount(5, 900)),
        Field("status", Choice(("pending", "shipped", "delivered", "cancelled"))),
        Field("placed_on", Day(-60, 0), "date"),
        Field("shipping_address", Place("street")),
        Field("gift_note", Note()),
    ),
    (2, 5),
    ("my order of {placed_on}", "my order of the {product.title}"),
    per="customer",
    superlatives=(
        Superlative("most expensive", "amount", lowest=False),
        Superlative("latest", "placed_on", lowest=False),
    ),
)
REFUND = Entity(
    "refund",
    (
        Field("order_id", Reference("order")),
        Field("amount", Amount(5, 900)),
        Field("status", Choice(("requested", "paid"))),
        Field("reason", Choice(("damaged", "late", "wrong_item", "changed_mind"))),
        Field("requested_on", Day(-30, 0)),
    ),
    (4, 8),
    ("the refund of {requested_on}",),
)
PENDING = FieldIs("status", ("pending",))

RETAIL = Domain(
    "retail",
    "an online shop",
    "e-commerce",
    "customer",
    (CUSTOMER, PRODUCT, ORDER, REFUND),
    (
        Find("customer", by=("email",)),
        Find("customer", by=("name", "phone")),
        Get("customer"),
        Get("product"),
        Get("order"),
        Get("refund"),
        Search("product", by=("title", "category")),
        ListOf("order", of="customer_id"),
        ListOf("refund", of="order_id"),
        Total("order", field="amount", of="customer_id"),
        Transition(
            entity="order",
            name="cancel_order",
            to="cancelled",
            asks=("cancel {target}", "I no longer want {target}, so cancel it"),
            conditions=(PENDING,),
            effects=(Effect("stock", add="quantity", reference="product_id"),),
        ),
        SetField(
            entity="order",
            name="change_shipping_address",
            field="shipping_address",
            asks=("send {target} to {value} instead",),
            conditions=(PENDING,),
        ),
        SetField(
            entity="order",
            name="add_gift_note",
            field="gift_note",
            asks=("put a gift note on {target}",),
            conditions=(PENDING,),
        ),
        SetField(
            entity="customer",
            name="change_phone",
            field="phone",
            asks=("change my phone number to {value}",),
        ),
        SetField(
            entity="customer",
            name="change_address",
            field="address",
            asks=("I have moved; my address is now {value}",),
        ),
        Adjust(
            entity="customer",
            name="redeem_points",
            field="loyalty_points",
            sign=-1,
            least=10,
            most=300,
            asks=("redeem {value} of my loyalty points",),
        ),
        Create(
            entity="order",
            name="place_order",
            given=("customer_id", "product_id", "quantity", "shipping_address"),
            defaults={
                "amount": "=product_id.price",
                "status": "pending",
                "placed_on": "today",
                "gift_note": "",
            },
            needs={"product_id": (AtLeast("stock", 6),)},
            effects=(Effect("stock", add="quantity", sign=-1, reference="product_id"),),
            asks=("order {quantity} of {product_id}, to be sent to {shipping_address}",),
        ),
        Create(
            entity="refund",
            name="request_refund",
            given=("order_id", "reason"),
            defaults={"amount": "=order_id.amount", "status": "requested", "requested_on": "today"},
            needs={"order_id": (FieldIs("status", ("delivered",)),)},
            asks=("I want a refund for {order_id}; the reason is: {reason}",),
        ),
    ),
    (
        Policy("costly_cancellation", ("cancel_order",), AtMost("amount", 600)),
        Policy("late_refund", ("request_refund",), DaysFromToday("placed_on", -30, 0)),
    ),
)
