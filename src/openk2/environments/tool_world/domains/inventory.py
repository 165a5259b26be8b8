"""Inventory and logistics: warehouses, products, lots in them, suppliers, purchases, shipments."""

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
from openk2.environments.tool_world.moving import Exchange, TransitionAll
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
    Transfer,
    Transition,
)

__all__ = ["INVENTORY"]

MATERIALS = ("steel", "copper", "oak", "rubber", "glass", "cotton", "plastic", "ceramic", "paper")
GOODS = ("pipes", "boards", "sheets", "bolts", "tubes", "panels", "rolls", "plates", "rings")
RELEASED = FieldIs("quality", ("released",))

WAREHOUSE = Entity(
    "warehouse",
    (
        Field("name", Words(("North", "South", "Harbour", "Airport", "Central", "Valley", "Lake"))),
        Field("city", Place()),
        Field("capacity", Whole(500, 9000, 10), "capacity in pallets"),
        Field("status", Choice(("open", "closed"), ("open", "open", "open", "closed"))),
    ),
    (5, 5),
    ("the {name} warehouse",),
)
PRODUCT = Entity(
    "product",
    (
        Field("title", Words(MATERIALS, GOODS)),
        Field("unit_price", Amount(1, 90)),
        Field("weight", Amount(0.2, 25, "kg"), "weight of a unit"),
        Field("hazardous", Flag(0.2)),
        Field("minimum", Whole(5, 60)),
    ),
    (14, 14),
    ("{title}",),
)
LOT = Entity(
    "lot",
    (
        Field("warehouse_id", Reference("warehouse")),
        Field("product_id", Reference("product")),
        Field("lot_number", Code("L#####")),
        Field("quantity", Whole(0, 400)),
        Field("expiry_date", Day(-20, 400)),
        Field("quality", Choice(("released", "blocked"), ("released", "released", "blocked"))),
        Field("shelf", Code("@@-##")),
    ),
    (5, 8),
    ("the lot {lot_number}", "the lot with {product.title}"),
    per="warehouse",
    superlatives=(
        Superlative("largest", "quantity", lowest=False),
        Superlative("soonest expiring", "expiry_date"),
    ),
)
SUPPLIER = Entity(
    "supplier",
    (
        Field("name", PersonName(), "name"),
        Field("email", Email()),
        Field("rating", Whole(1, 5)),
        Field("delivery_days", Whole(2, 21), "delivery time in days"),
    ),
    (6, 6),
    ("the supplier {name}",),
)
PURCHASE = Entity(
    "purchase",
    (
        Field("supplier_id", Reference("supplier")),
        Field("lot_id", Reference("lot")),
        Field("quantity", Whole(10, 200)),
        Field("cost", Amount(100, 5000)),
        Field("due_date", Day(-5, 30)),
        Field("status", Choice(("ordered", "received", "cancelled"))),
    ),
    (1, 3),
    ("the purchase due on {due_date}", "the purchase for the lot {lot.lot_number}"),
    per="supplier",
    superlatives=(Superlative("most expensive", "cost", lowest=False),),
)
SHIPMENT = Entity(
    "shipment",
    (
        Field("lot_id", Reference("lot", where=(("quality", "released"),))),
        Field("tracking_number", Code("TR######")),
        Field("destination", Place("street")),
        Field("quantity", Whole(1, 40)),
        Field("dock", Whole(1, 30)),
        Field("ship_date", Day(-4, 12)),
        Field("status", Choice(("planned", "dispatched", "delivered"))),
    ),
    (14, 14),
    (
        "the shipment {tracking_number}",
        "the shipment to {destination}",
        "the shipment of the lot {lot.lot_number} on {ship_date}",
    ),
)
PLANNED = FieldIs("status", ("planned",))

LOT_WRITES = (
    Transfer(
        entity="lot",
        name="move_units",
        field="quantity",
        parameter="units",
        asks=("move {value}, taking them from {target}", "take from {target} and move {value}"),
        unit="units",
        conditions=(RELEASED,),
        other_conditions=(RELEASED,),
        same=("product_id",),
        most=30,
        description="Move units of a product from one lot to another lot of the same product.",
    ),
    Adjust(
        entity="lot",
        name="write_off_units",
        field="quantity",
        parameter="units",
        sign=-1,
        asks=("write off {value} units of {target}",),
        conditions=(AtLeast("quantity", 20),),
    ),
    Transition(
        entity="lot",
        name="block_lot",
        field="quality",
        to="blocked",
        asks=("block {target}", "block {target} until it has been checked"),
        conditions=(
            RELEASED,
            Related("shipment", "lot_id", "planned shipments", (("status", "planned"),), most=0),
        ),
    ),
    Transition(
        entity="lot",
        name="release_lot",
        field="quality",
        to="released",
        asks=("release {target}",),
        conditions=(FieldIs("quality", ("blocked",)), DaysFromToday("expiry_date", 0, 1000)),
    ),
    SetField(
        entity="lot",
        name="set_shelf",
        field="shelf",
        asks=("note that {target} stands on shelf {value} now",),
        conditions=(Through("warehouse_id", FieldIs("status", ("open",))),),
    ),
    SetReference(
        entity="lot",
        name="relocate_lot",
        field="warehouse_id",
        asks=("relocate {target} to {value}", "bring {target} to {value}"),
        conditions=(RELEASED,),
        target_conditions=(FieldIs("status", ("open",)),),
    ),
    TransitionAll(
        entity="lot",
        name="block_all_lots",
        of="warehouse_id",
        field="quality",
        to="blocked",
        where=(("quality", "released"),),
        asks=("block every released lot of {target}",),
        conditions=(FieldIs("status", ("closed",)),),
    ),
)
ORDER_WRITES = (
    Create(
        entity="purchase",
        name="order_goods",
        given=("supplier_id", "lot_id", "quantity", "cost", "due_date"),
        defaults={"status": "ordered"},
        needs={"lot_id": (AtMost("quantity", 300),), "supplier_id": (AtLeast("rating", 2),)},
        asks=(
            "order {quantity} units from {supplier_id} for {lot_id}, for {cost}, due on {due_date}",
        ),
    ),
    Transition(
        entity="purchase",
        name="receive_purchase",
        to="received",
        asks=("record that {target} has come in", "mark {target} as received"),
        conditions=(FieldIs("status", ("ordered",)),),
        effects=(Effect("quantity", add="=quantity", reference="lot_id"),),
        description="Receive a purchase: its units are added to its lot.",
    ),
    Transition(
        entity="purchase",
        name="cancel_purchase",
        to="cancelled",
        asks=("cancel {target}", "call off {target}"),
        conditions=(FieldIs("status", ("ordered",)),),
    ),
    Postpone(
        entity="purchase",
        name="postpone_purchase",
        field="due_date",
        asks=("postpone {target} by {value}",),
        conditions=(FieldIs("status", ("ordered",)),),
    ),
    Create(
        entity="shipment",
        name="plan_shipment",
        given=("lot_id", "destination", "quantity", "ship_date"),
        defaults={"tracking_number": "pending", "dock": 0, "status": "planned"},
        needs={"lot_id": (RELEASED,)},
        limits={"quantity": "=lot_id.quantity"},
        effects=(Effect("quantity", add="=quantity", sign=-1, reference="lot_id"),),
        asks=(
            "plan a shipment of {quantity} units of {lot_id} to {destination} for {ship_date}",
            "have {quantity} units of {lot_id} sent to {destination} on {ship_date}",
        ),
        description="Plan a shipment; its units leave the lot at once.",
    ),
    Transition(
        entity="shipment",
        name="dispatch_shipment",
        to="dispatched",
        asks=("dispatch {target}", "let {target} leave the house"),
        conditions=(PLANNED, AtLeast("dock", 4)),
    ),
    Remove(
        entity="shipment",
        name="drop_shipment",
        asks=("drop {target}", "delete {target}"),
        conditions=(PLANNED,),
        effects=(Effect("quantity", add="=quantity", reference="lot_id"),),
        description="Delete a planned shipment; its units return to the lot.",
    ),
    Exchange(
        entity="shipment",
        name="swap_docks",
        fields=("dock",),
        asks=("swap the docks of {target} and {value}",),
        conditions=(PLANNED,),
        other_conditions=(PLANNED,),
    ),
)

INVENTORY = Domain(
    "inventory",
    "a wholesaler's warehouses",
    "logistics",
    None,
    (WAREHOUSE, PRODUCT, LOT, SUPPLIER, PURCHASE, SHIPMENT),
    (
        Find("warehouse", by=("name",)),
        Search("product", by=("title",), hidden=("weight", "unit_price")),
        Get("product"),
        Get("lot"),
        Search("lot", by=("lot_number", "product_id"), hidden=("quantity", "quality", "shelf")),
        ListOf("lot", of="warehouse_id", hidden=("shelf", "quality")),
        Find("supplier", by=("name",)),
        ListOf("purchase", of="supplier_id"),
        Search("shipment", by=("tracking_number", "destination", "lot_id", "ship_date")),
        Total("purchase", field="cost", of="supplier_id"),
        *LOT_WRITES,
        *ORDER_WRITES,
    ),
    (
        Policy("large_purchases", ("cancel_purchase", "postpone_purchase"), AtMost("cost", 4000)),
        Policy(
            "hazardous_goods",
            ("relocate_lot", "move_units"),
            Through("product_id", FieldIs("hazardous", (False,))),
        ),
        Policy("small_shipments", ("drop_shipment",), AtMost("quantity", 30)),
    ),
)
