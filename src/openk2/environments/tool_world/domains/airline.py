"""An airline: passengers, flights, bookings, baggage claims, vouchers."""

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
from openk2.environments.tool_world.moving import Exchange
from openk2.environments.tool_world.reading import Find, Get, ListOf, Search
from openk2.environments.tool_world.relations import Either, Related
from openk2.environments.tool_world.summaries import Total
from openk2.environments.tool_world.values import (
    Amount,
    AmountOf,
    Choice,
    Clock,
    Code,
    Day,
    Email,
    PersonName,
    Phone,
    Reference,
    Whole,
    Words,
)
from openk2.environments.tool_world.writing import (
    Remove,
    SetField,
    SetReference,
    Transition,
)

__all__ = ["AIRLINE"]

CITIES = (
    *("Lisbon", "Oslo", "Vienna", "Prague", "Athens", "Dublin", "Madrid", "Rome", "Zurich"),
    *("Geneva", "Milan", "Porto"),
)
ROWS = tuple(str(number) for number in range(1, 31))
CONFIRMED = FieldIs("status", ("confirmed",))
FLYING = Through("flight_id", FieldIs("status", ("scheduled", "delayed")))

PASSENGER = Entity(
    "passenger",
    (
        Field("name", PersonName()),
        Field("email", Email()),
        Field("phone", Phone(), "phone number"),
        Field("tier", Choice(("basic", "silver", "gold"))),
        Field("miles", Whole(0, 60000), "number of miles"),
    ),
    (10, 10),
    ("{email}",),
)
FLIGHT = Entity(
    "flight",
    (
        Field("number", Code("@@###"), "flight number"),
        Field("origin", Words(CITIES[:6])),
        Field("destination", Words(CITIES[6:])),
        Field("departure_date", Day(-3, 30)),
        Field("departure_time", Clock(6, 22)),
        Field("price", Amount(60, 700)),
        Field("seats_left", Whole(0, 9), "number of free seats"),
        Field("status", Choice(("scheduled", "delayed", "cancelled", "departed"))),
    ),
    (22, 22),
    (
        "flight {number}",
        "the flight from {origin} to {destination}",
        "the flight from {origin} to {destination} on {departure_date}",
    ),
)
BOOKING = Entity(
    "booking",
    (
        Field("passenger_id", Reference("passenger")),
        Field("flight_id", Reference("flight")),
        Field("cabin", Choice(("economy", "business"))),
        Field("fare", AmountOf(60, 700, source="flight_id.price")),
        Field("status", Choice(("confirmed", "checked_in", "cancelled"))),
        Field("seat", Words(ROWS, tuple("ABCDEF"), joint="")),
        Field("bags", Whole(0, 3), "number of bags"),
        Field("meal", Choice(("standard", "vegetarian", "vegan", "none"))),
    ),
    (2, 4),
    ("my booking on flight {flight.number}", "my booking with seat {seat}"),
    per="passenger",
    superlatives=(
        Superlative("most expensive", "fare", lowest=False),
        Superlative("cheapest", "fare"),
    ),
)
CLAIM = Entity(
    "claim",
    (
        Field("booking_id", Reference("booking")),
        Field("cause", Choice(("delay", "lost_bag", "damaged_bag", "cancellation"))),
        Field("amount", Amount(30, 600)),
        Field("status", Choice(("filed", "accepted", "paid", "rejected"))),
        Field("filing_date", Day(-40, 0)),
    ),
    (0, 1),
    ("the claim",),
    per="booking",
)
VOUCHER = Entity(
    "voucher",
    (
        Field("passenger_id", Reference("passenger")),
        Field("number", Code("V####")),
        Field("worth", Whole(20, 400), "worth in USD"),
        Field("expiry_date", Day(-30, 200)),
        Field("status", Choice(("open", "used"))),
    ),
    (1, 2),
    ("my voucher {number}", "my voucher that expires on {expiry_date}"),
    per="passenger",
    superlatives=(Superlative("most valuable", "worth", lowest=False),),
)

BOOKING_WRITES = (
    Transition(
        entity="booking",
        name="cancel_booking",
        to="cancelled",
        asks=("cancel {target}", "call off {target}", "drop {target}, as I cannot travel"),
        conditions=(CONFIRMED, FLYING),
        effects=(Effect("seats_left", add=1, reference="flight_id"),),
        description="Cancel a booking; its seat becomes free.",
    ),
    Transition(
        entity="booking",
        name="check_in",
        to="checked_in",
        asks=("check me in for {target}", "do the check-in for {target}"),
        conditions=(CONFIRMED, FLYING),
    ),
    SetReference(
        entity="booking",
        name="change_flight",
        field="flight_id",
        asks=("move {target} to {value}", "rebook {target} onto {value}"),
        conditions=(CONFIRMED,),
        target_conditions=(
            AtLeast("seats_left", 1),
            FieldIs("status", ("scheduled",)),
        ),
        effects=(
            Effect("seats_left", add=1, reference="flight_id", previous=True),
            Effect("seats_left", add=-1, reference="flight_id"),
            Effect("fare", value="=flight_id.price"),
        ),
        description="Move a booking to another flight; the fare becomes that flight's price.",
    ),
    SetField(
        entity="booking",
        name="change_seat",
        field="seat",
        asks=("put me into seat {value} for {target}", "change the seat of {target} to {value}"),
        conditions=(CONFIRMED,),
    ),
    SetField(
        entity="booking",
        name="set_meal",
        field="meal",
        asks=("set the meal of {target} to {value}", "change the meal to {value} for {target}"),
        conditions=(FieldIs("cabin", ("business",)),),
        description="Choose the meal of a booking in business class.",
    ),
    SetField(
        entity="booking",
        name="set_bags",
        field="bags",
        asks=("set the number of bags of {target} to {value}",),
        conditions=(FieldIsNot("status", ("cancelled",)),),
    ),
    Transition(
        entity="booking",
        name="upgrade_with_miles",
        field="cabin",
        to="business",
        asks=(
            "upgrade {target} to business class with my miles",
            "use my miles to upgrade {target}",
        ),
        conditions=(
            FieldIs("cabin", ("economy",)),
            Through("passenger_id", AtLeast("miles", 15000)),
        ),
        effects=(Effect("miles", add=-15000, reference="passenger_id"),),
        description="Upgrade a booking to business class for 15000 miles.",
    ),
    Exchange(
        entity="booking",
        name="swap_seats",
        fields=("seat",),
        asks=("swap the seats of {target} and {value}",),
        conditions=(CONFIRMED,),
        other_conditions=(CONFIRMED,),
        description="Give each of two bookings the seat of the other.",
    ),
    Create(
        entity="booking",
        name="book_flight",
        given=("passenger_id", "flight_id", "cabin", "bags"),
        defaults={
            "fare": "=flight_id.price",
            "status": "confirmed",
            "seat": "unassigned",
            "meal": "standard",
        },
        needs={
            "flight_id": (AtLeast("seats_left", 1), FieldIs("status", ("scheduled", "delayed")))
        },
        effects=(Effect("seats_left", add=-1, reference="flight_id"),),
        asks=(
            "book {flight_id} for me, {cabin} class, number of bags: {bags}",
            "get me a place on {flight_id} in {cabin} class; number of bags: {bags}",
        ),
    ),
)
OTHER_WRITES = (
    Create(
        entity="claim",
        name="file_claim",
        given=("booking_id", "cause", "amount"),
        defaults={"status": "filed", "filing_date": "today"},
        needs={
            "booking_id": (
                FieldIs("status", ("checked_in",)),
                Related("claim", "booking_id", "claims", most=0),
            )
        },
        asks=(
            "file a claim of {amount} over {booking_id}; the cause is: {cause}",
            "claim {amount} back over {booking_id}, the cause being: {cause}",
        ),
    ),
    Remove(
        entity="claim",
        name="withdraw_claim",
        asks=("withdraw {target}", "take back {target}"),
        conditions=(FieldIs("status", ("filed",)),),
    ),
    Transition(
        entity="voucher",
        name="turn_voucher_into_miles",
        to="used",
        asks=("turn {target} into miles", "convert {target} to miles"),
        conditions=(FieldIs("status", ("open",)), DaysFromToday("expiry_date", 0, 1000)),
        effects=(Effect("miles", add="=worth*50", reference="passenger_id"),),
        description="Use up a voucher: 50 miles for each USD that it is worth.",
    ),
    SetField(
        entity="passenger",
        name="change_phone",
        field="phone",
        asks=("change my phone number to {value}", "note {value} as my new phone number"),
    ),
)

AIRLINE = Domain(
    "airline",
    "an airline",
    "travel",
    "passenger",
    (PASSENGER, FLIGHT, BOOKING, CLAIM, VOUCHER),
    (
        Find("passenger", by=("email",), hidden=("miles", "tier")),
        Get("passenger"),
        Get("flight"),
        Get("booking"),
        Search(
            "flight",
            by=("number", "origin", "destination", "departure_date"),
            hidden=("price", "seats_left"),
        ),
        ListOf("booking", of="passenger_id", hidden=("meal", "bags", "cabin")),
        ListOf("claim", of="booking_id"),
        ListOf("voucher", of="passenger_id"),
        Total("booking", field="fare", of="passenger_id"),
        *BOOKING_WRITES,
        *OTHER_WRITES,
    ),
    (
        Policy(
            "late_changes",
            ("cancel_booking", "change_flight"),
            Either(
                FieldIs("cabin", ("business",)),
                Through("flight_id", DaysFromToday("departure_date", 2, 1000)),
            ),
        ),
        Policy("bags_before_check_in", ("set_bags",), FieldIs("status", ("confirmed",))),
        Policy("fair_prices", ("book_flight",), AtMost("price", 600)),
        Policy("long_claims", ("withdraw_claim",), AtMost("amount", 400)),
    ),
)
