"""An online shop: customers, products, orders, refunds, gift cards, wishes."""

from openk2.environments.tool_world.conditions import (
    AtLeast,
    AtMost,
    DaysFromToday,
    FieldIs,
    Policy,
    Through,
)
from openk2.environments.tool_world.creating import Create
from openk2.environments.tool_world.domain import Domain, Entity, Field, Superlative
from openk2.environments.tool_world.effects import Effect
from openk2.environments.tool_world.reading import Find, Get, ListOf, Search
from openk2.environments.tool_world.relations import Related
from openk2.environments.tool_world.summaries import Between, Total
from openk2.environments.tool_world.values import (
    Amount,
    AmountOf,
    Choice,
    Code,
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
from openk2.environments.tool_world.writing import (
    Adjust,
    Remove,
    SetField,
    SetReference,
    Transfer,
    Transition,
)

__all__ = ["RETAIL"]

COLOURS = ("black", "white", "blue", "green", "red", "grey", "yellow", "brown")
THINGS = (
    *("desk lamp", "backpack", "kettle", "office chair", "headset", "keyboard"),
    *("raincoat", "yoga mat", "water bottle", "bookshelf", "coffee grinder", "tent"),
)
PENDING = FieldIs("status", ("pending",))

CUSTOMER = Entity(
    "customer",
    (
        Field("name", PersonName()),
        Field("email", Email()),
        Field("phone", Phone(), "phone number"),
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
        Field("price", Amount(5, 200)),
        Field("stock", Whole(0, 40)),
        Field("category", Choice(("home", "sports", "office", "outdoor"))),
        Field("item_code", Code("@@-####"), "item code"),
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
        Field("amount", AmountOf(5, 900, source="product_id.price", times="quantity")),
        Field("status", Choice(("pending", "shipped", "delivered", "cancelled"))),
        Field("order_date", Day(-60, 0)),
        Field("shipping_address", Place("street")),
        Field("gift_note", Note(("Happy birthday!", "With love", "Enjoy!", "Good luck!"))),
    ),
    (2, 5),
    ("my order of {order_date}", "my order for the {product.title}"),
    per="customer",
    superlatives=(
        Superlative("most expensive", "amount", lowest=False),
        Superlative("cheapest", "amount"),
        Superlative("latest", "order_date", lowest=False),
    ),
)
REFUND = Entity(
    "refund",
    (
        Field("order_id", Reference("order", where=(("status", "delivered"),))),
        Field("amount", AmountOf(5, 900, source="order_id.amount")),
        Field("status", Choice(("requested", "approved", "paid"))),
        Field("reason", Choice(("damaged", "late", "wrong_item", "changed_mind"))),
        Field("request_date", Day(-30, 0)),
    ),
    (0, 1),
    ("the refund",),
    per="order",
)
GIFT_CARD = Entity(
    "gift_card",
    (
        Field("customer_id", Reference("customer")),
        Field("number", Code("#### ####")),
        Field("balance", Amount(10, 150)),
        Field("expiry_date", Day(-20, 300)),
    ),
    (1, 3),
    ("my gift card with the number {number}",),
    per="customer",
    superlatives=(
        Superlative("fullest", "balance", lowest=False),
        Superlative("soonest expiring", "expiry_date"),
    ),
)
WISH = Entity(
    "wish",
    (
        Field("customer_id", Reference("customer")),
        Field("product_id", Reference("product")),
        Field("quantity", Whole(1, 3)),
        Field("since", Day(-90, 0), "date"),
    ),
    (0, 3),
    ("the {product.title} on my wish list",),
    per="customer",
    plural="wishes",
)

ORDER_WRITES = (
    Transition(
        entity="order",
        name="cancel_order",
        to="cancelled",
        asks=("cancel {target}", "call off {target}", "stop {target}, as I no longer want it"),
        conditions=(PENDING,),
        effects=(Effect("stock", add="=quantity", reference="product_id"),),
        description="Cancel an order and put its goods back into stock.",
    ),
    SetField(
        entity="order",
        name="change_shipping_address",
        field="shipping_address",
        asks=("send {target} to {value} instead", "change the address of {target} to {value}"),
        conditions=(PENDING,),
    ),
    SetField(
        entity="order",
        name="set_gift_note",
        field="gift_note",
        asks=('put a gift note on {target} that says "{value}"',),
        conditions=(PENDING,),
    ),
    SetReference(
        entity="order",
        name="exchange_product",
        field="product_id",
        asks=("change {target} to {value}", "have {value} sent for {target} instead"),
        conditions=(PENDING,),
        target_conditions=(AtLeast("stock", 5),),
        effects=(
            Effect("stock", add="=quantity", reference="product_id", previous=True),
            Effect("stock", add="=quantity", sign=-1, reference="product_id"),
            Effect("amount", value="=product_id.price*quantity"),
        ),
        description="Replace the product of an order; its amount follows the price.",
    ),
    Create(
        entity="order",
        name="place_order",
        given=("customer_id", "product_id", "quantity", "shipping_address"),
        defaults={
            "amount": "=product_id.price*quantity",
            "status": "pending",
            "order_date": "today",
            "gift_note": "",
        },
        needs={"product_id": (AtLeast("stock", 1),)},
        limits={"quantity": "=product_id.stock"},
        effects=(Effect("stock", add="=quantity", sign=-1, reference="product_id"),),
        asks=(
            "order {quantity} of {product_id}, to be sent to {shipping_address}",
            "place an order for {product_id}, quantity {quantity}, shipped to {shipping_address}",
        ),
    ),
)
OTHER_WRITES = (
    Create(
        entity="refund",
        name="request_refund",
        given=("order_id", "reason"),
        defaults={"amount": "=order_id.amount", "status": "requested", "request_date": "today"},
        needs={
            "order_id": (
                FieldIs("status", ("delivered",)),
                Related("refund", "order_id", "refunds", most=0),
            )
        },
        asks=(
            "request a refund for {order_id}, giving as the reason: {reason}",
            "get me my money back for {order_id}; the reason is: {reason}",
        ),
    ),
    Transition(
        entity="refund",
        name="pay_out_refund",
        field="status",
        to="paid",
        asks=("have {target} paid out now", "pay out {target}"),
        conditions=(FieldIs("status", ("approved",)),),
        description="Pay an approved refund out to the customer.",
    ),
    Adjust(
        entity="customer",
        name="redeem_points",
        field="loyalty_points",
        parameter="points",
        sign=-1,
        least=10,
        most=300,
        asks=("redeem {value} of my loyalty points", "use up {value} of my loyalty points"),
    ),
    SetField(
        entity="customer",
        name="change_address",
        field="address",
        asks=("change my own address to {value}", "note that I now live at {value}"),
    ),
    Transfer(
        entity="gift_card",
        name="merge_gift_cards",
        field="balance",
        asks=("move {value}, taking it from {target}", "take from {target} and shift {value}"),
        conditions=(DaysFromToday("expiry_date", 0, 1000),),
        other_conditions=(DaysFromToday("expiry_date", 0, 1000),),
        most=40,
        description="Move a part of the balance of a gift card to another one.",
    ),
    Create(
        entity="wish",
        name="add_to_wish_list",
        given=("customer_id", "product_id", "quantity"),
        defaults={"since": "today"},
        needs={"customer_id": (Related("wish", "customer_id", "wishes", most=2),)},
        asks=("put {quantity} of {product_id} on my wish list",),
    ),
    Remove(
        entity="wish",
        name="remove_from_wish_list",
        asks=("delete {target}", "remove {target}, I have it already"),
    ),
)

RETAIL = Domain(
    "retail",
    "an online shop",
    "e-commerce",
    "customer",
    (CUSTOMER, PRODUCT, ORDER, REFUND, GIFT_CARD, WISH),
    (
        Find("customer", by=("email",)),
        Get("product"),
        Get("order"),
        Search("product", by=("title", "category", "item_code"), hidden=("stock", "price")),
        ListOf("order", of="customer_id", hidden=("shipping_address", "gift_note", "quantity")),
        ListOf("refund", of="order_id"),
        ListOf("gift_card", of="customer_id"),
        ListOf("wish", of="customer_id"),
        Total("order", field="amount", of="customer_id"),
        Between("order", of="customer_id", by="order_date", total="amount"),
        *ORDER_WRITES,
        *OTHER_WRITES,
    ),
    (
        Policy("costly_cancellation", ("cancel_order",), AtMost("amount", 400)),
        Policy("late_refund", ("request_refund",), DaysFromToday("order_date", -45, 0)),
        Policy("few_points", ("redeem_points",), AtLeast("loyalty_points", 1000)),
        Policy(
            "costly_goods_stay",
            ("change_shipping_address",),
            Through("product_id", AtMost("price", 150)),
        ),
    ),
)
