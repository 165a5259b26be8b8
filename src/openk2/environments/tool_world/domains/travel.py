"""Travel: hotels, rooms, travellers, stays, tours, tickets for tours, reviews."""

from openk2.environments.tool_world.conditions import (
    AtLeast,
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
    AmountOf,
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
    Adjust,
    Postpone,
    SetField,
    SetReference,
    Transition,
)

__all__ = ["TRAVEL"]

CITIES = ("Lisbon", "Vienna", "Prague", "Athens", "Dublin", "Seville", "Bergen", "Krakow")
BOOKED = FieldIs("status", ("booked",))

HOTEL = Entity(
    "hotel",
    (
        Field(
            "name",
            Words(
                ("Grand", "Royal", "Little", "Old", "New", "Blue"),
                ("Lion", "Swan", "Anchor", "Crown", "Garden", "Bridge"),
                ("Hotel", "Inn"),
            ),
        ),
        Field("city", Words(CITIES)),
        Field("stars", Whole(2, 5)),
        Field("phone", Phone(), "phone number"),
    ),
    (7, 7),
    ("the {name}", "the {name} in {city}"),
)
ROOM = Entity(
    "room",
    (
        Field("hotel_id", Reference("hotel")),
        Field("type", Choice(("single", "double", "family", "panorama"))),
        Field("price", Amount(40, 420), "price of a night"),
        Field("free_rooms", Whole(0, 6), "number of free rooms"),
        Field("view", Choice(("sea", "garden", "street", "courtyard"))),
        Field("size", Amount(9, 60, "square metres")),
    ),
    (2, 4),
    ("the {type} room", "the {type} room with a view of the {view}"),
    per="hotel",
    superlatives=(
        Superlative("cheapest", "price"),
        Superlative("largest", "size", lowest=False),
    ),
)
TRAVELLER = Entity(
    "traveller",
    (
        Field("name", PersonName()),
        Field("email", Email()),
        Field("passport", Code("@#######"), "passport number"),
        Field("points", Whole(0, 4000), "number of bonus points"),
        Field("diet", Choice(("none", "vegetarian", "vegan", "kosher", "halal"))),
    ),
    (9, 9),
    ("{email}",),
)
STAY = Entity(
    "stay",
    (
        Field("traveller_id", Reference("traveller")),
        Field("room_id", Reference("room")),
        Field("check_in", Day(-4, 40), "check-in date"),
        Field("nights", Whole(1, 7), "number of nights"),
        Field("price", AmountOf(40, 3000, source="room_id.price", times="nights")),
        Field("board", Choice(("none", "breakfast", "half_board"))),
        Field("code", Code("ST-####"), "booking code"),
        Field(
            "status",
            Choice(
                ("booked", "checked_out", "cancelled"),
                ("booked", "booked", "checked_out", "cancelled"),
            ),
        ),
    ),
    (2, 3),
    ("my stay from {check_in}", "my stay with the booking code {code}"),
    per="traveller",
    superlatives=(
        Superlative("most expensive", "price", lowest=False),
        Superlative("longest", "nights", lowest=False),
    ),
)
TOUR = Entity(
    "tour",
    (
        Field(
            "title",
            Words(
                ("evening", "morning", "hidden", "historic"),
                ("river", "wine", "castle", "food", "museum", "street art"),
                ("tour", "walk"),
            ),
        ),
        Field("city", Words(CITIES)),
        Field("day", Day(-2, 25)),
        Field("price", Amount(10, 150)),
        Field("places_left", Whole(0, 9), "number of free places"),
        Field(
            "status", Choice(("confirmed", "cancelled"), ("confirmed", "confirmed", "cancelled"))
        ),
    ),
    (14, 14),
    ("the {title} in {city}", "the {title} on {day}"),
)
TICKET = Entity(
    "tour_ticket",
    (
        Field("traveller_id", Reference("traveller")),
        Field("tour_id", Reference("tour")),
        Field("persons", Whole(1, 4), "number of persons"),
        Field("price", AmountOf(10, 600, source="tour_id.price", times="persons")),
        Field("number", Code("T###-@"), "ticket number"),
        Field("status", Choice(("booked", "cancelled"), ("booked", "booked", "cancelled"))),
    ),
    (1, 3),
    ("my tour ticket {number}", "my ticket for the {tour.title}"),
    per="traveller",
    superlatives=(Superlative("cheapest", "price"),),
)
REVIEW = Entity(
    "review",
    (
        Field("stay_id", Reference("stay", (("status", "checked_out"),))),
        Field("stars", Whole(1, 5)),
        Field("text", Note(("Very clean.", "Too noisy at night.", "Friendly staff."))),
        Field("date", Day(-4, 0)),
    ),
    (0, 1),
    ("the review",),
    per="stay",
)

WRITES = (
    Create(
        entity="stay",
        name="book_stay",
        given=("traveller_id", "room_id", "check_in", "nights", "board"),
        defaults={"price": "=room_id.price*nights", "code": "pending", "status": "booked"},
        needs={"room_id": (AtLeast("free_rooms", 1),)},
        effects=(Effect("free_rooms", add=-1, reference="room_id"),),
        asks=(
            "book {room_id} from {check_in}; number of nights: {nights}; board: {board}",
            "reserve {room_id} for me from {check_in}, nights: {nights}, board: {board}",
        ),
    ),
    Transition(
        entity="stay",
        name="cancel_stay",
        to="cancelled",
        asks=("cancel {target}", "call off {target}"),
        conditions=(BOOKED,),
        effects=(Effect("free_rooms", add=1, reference="room_id"),),
    ),
    SetReference(
        entity="stay",
        name="change_room",
        field="room_id",
        asks=("change {target} to {value}", "put me into {value} for {target}"),
        conditions=(BOOKED,),
        target_conditions=(AtLeast("free_rooms", 1),),
        effects=(
            Effect("free_rooms", add=1, reference="room_id", previous=True),
            Effect("free_rooms", add=-1, reference="room_id"),
            Effect("price", value="=room_id.price*nights"),
        ),
        description="Change the room of a stay; the price is worked out again.",
    ),
    Postpone(
        entity="stay",
        name="postpone_stay",
        field="check_in",
        asks=("postpone {target} by {value}", "let {target} begin {value} later"),
        conditions=(BOOKED,),
    ),
    SetField(
        entity="stay",
        name="set_board",
        field="board",
        asks=("set the board of {target} to {value}",),
        conditions=(BOOKED,),
    ),
    Adjust(
        entity="stay",
        name="add_nights",
        field="nights",
        parameter="more",
        least=1,
        most=4,
        high=10,
        asks=("make {target} longer; additional nights: {value}",),
        conditions=(BOOKED,),
        effects=(Effect("price", value="=room_id.price*nights"),),
        description="Add nights to a stay, up to ten; the price follows.",
    ),
    Create(
        entity="tour_ticket",
        name="book_tour",
        given=("traveller_id", "tour_id", "persons"),
        defaults={"price": "=tour_id.price*persons", "number": "pending", "status": "booked"},
        needs={"tour_id": (FieldIs("status", ("confirmed",)), AtLeast("places_left", 1))},
        limits={"persons": "=tour_id.places_left"},
        effects=(Effect("places_left", add="=persons", sign=-1, reference="tour_id"),),
        asks=("book {tour_id}; number of persons: {persons}",),
    ),
    Transition(
        entity="tour_ticket",
        name="cancel_ticket",
        to="cancelled",
        asks=("cancel {target}", "give {target} back"),
        conditions=(BOOKED,),
        effects=(Effect("places_left", add="=persons", reference="tour_id"),),
    ),
    Create(
        entity="review",
        name="write_review",
        given=("stay_id", "stars", "text"),
        defaults={"date": "today"},
        needs={
            "stay_id": (
                FieldIs("status", ("checked_out",)),
                Related("review", "stay_id", "reviews", most=0),
            )
        },
        asks=('write a review of {stay_id} that says "{text}"; number of stars: {stars}',),
    ),
    SetField(
        entity="review",
        name="change_stars",
        field="stars",
        asks=("change the number of stars of {target} to {value}",),
    ),
    SetField(
        entity="traveller",
        name="change_passport",
        field="passport",
        asks=("note that my new passport number is {value}", "change my passport to {value}"),
    ),
    Adjust(
        entity="traveller",
        name="redeem_points",
        field="points",
        parameter="points_used",
        sign=-1,
        least=50,
        most=500,
        asks=("redeem {value} of my bonus points",),
        conditions=(AtLeast("points", 500),),
    ),
)

TRAVEL = Domain(
    "travel",
    "a travel agency",
    "travel",
    "traveller",
    (HOTEL, ROOM, TRAVELLER, STAY, TOUR, TICKET, REVIEW),
    (
        Find("traveller", by=("email",), hidden=("points", "passport")),
        Get("traveller"),
        Search("hotel", by=("name", "city"), hidden=("phone", "stars")),
        Get("hotel"),
        ListOf("room", of="hotel_id", hidden=("free_rooms",)),
        Get("room"),
        Search("tour", by=("title", "city", "day"), hidden=("price", "places_left")),
        Get("tour"),
        ListOf("stay", of="traveller_id"),
        ListOf("tour_ticket", of="traveller_id"),
        ListOf("review", of="stay_id"),
        Total("stay", field="price", of="traveller_id"),
        *WRITES,
    ),
    (
        Policy(
            "late_cancellation",
            ("cancel_stay", "postpone_stay"),
            DaysFromToday("check_in", 3, 1000),
        ),
        Policy(
            "family_rooms",
            ("change_room",),
            Through("room_id", FieldIsNot("type", ("family",))),
        ),
        Policy("large_groups", ("cancel_ticket",), AtMost("persons", 3)),
        Policy("full_reviews", ("change_stars",), AtMost("stars", 4)),
    ),
)
