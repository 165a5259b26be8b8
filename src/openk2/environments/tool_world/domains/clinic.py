"""A clinic: doctors, slots, patients, appointments, prescriptions, invoices."""

from openk2.environments.tool_world.conditions import (
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
    Choice,
    Clock,
    Code,
    Day,
    DayAfter,
    Flag,
    PersonName,
    Phone,
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
    Transition,
)

__all__ = ["CLINIC"]

BOOKED = FieldIs("status", ("booked",))
DRUGS = ("Amoxil", "Brufen", "Cortef", "Daraprim", "Eliquis", "Famvir", "Glucotrol", "Humira")

DOCTOR = Entity(
    "doctor",
    (
        Field("name", PersonName()),
        Field(
            "specialty", Choice(("cardiology", "dermatology", "paediatrics", "general_practice"))
        ),
        Field("office", Code("@-##")),
        Field("phone", Phone(), "phone number"),
        Field("new_patients", Flag(0.7), "taking new patients"),
    ),
    (6, 6),
    ("Dr {name}",),
)
SLOT = Entity(
    "slot",
    (
        Field("doctor_id", Reference("doctor")),
        Field("day", Day(0, 14)),
        Field("time", Clock(8, 17)),
        Field("minutes", Choice(("15", "30", "45"))),
        Field("status", Choice(("free", "taken"))),
    ),
    (6, 8),
    ("the slot on {day} at {time}", "the slot on {day}"),
    per="doctor",
)
PATIENT = Entity(
    "patient",
    (
        Field("name", PersonName()),
        Field("birth_date", Day(-30000, -7000)),
        Field("phone", Phone(), "phone number"),
        Field("insurance_number", Code("@@########")),
        Field("insured", Flag(0.8)),
        Field("address", Place("street")),
    ),
    (9, 9),
    ("{insurance_number}",),
)
APPOINTMENT = Entity(
    "appointment",
    (
        Field("patient_id", Reference("patient")),
        Field("slot_id", Reference("slot", (("status", "taken"),), distinct=True)),
        Field("reason", Choice(("check_up", "vaccination", "pain", "follow_up"))),
        Field(
            "status",
            Choice(
                ("booked", "attended", "cancelled"), ("booked", "booked", "attended", "cancelled")
            ),
        ),
        Field("booking_date", Day(-30, 0)),
        Field("number", Code("A####"), "appointment number"),
    ),
    (1, 3),
    ("my {reason} appointment", "my appointment number {number}"),
    per="patient",
)
PRESCRIPTION = Entity(
    "prescription",
    (
        Field("patient_id", Reference("patient")),
        Field("doctor_id", Reference("doctor")),
        Field("drug", Words(DRUGS)),
        Field("dose", Whole(5, 500, 5), "dose in milligrams"),
        Field("refills", Whole(0, 5), "number of refills"),
        Field("expiry_date", Day(-20, 200)),
        Field("status", Choice(("active", "stopped"), ("active", "active", "stopped"))),
    ),
    (1, 3),
    ("my prescription for {drug}", "my prescription from Dr {doctor.name}"),
    per="patient",
)
INVOICE = Entity(
    "invoice",
    (
        Field("patient_id", Reference("patient")),
        Field("amount", Amount(20, 900)),
        Field("date", Day(-90, 0)),
        Field("due_date", DayAfter(10, 40, other="date")),
        Field("status", Choice(("open", "paid", "contested"))),
    ),
    (1, 3),
    ("my invoice of {date}", "my invoice that is due on {due_date}"),
    per="patient",
    superlatives=(Superlative("largest", "amount", lowest=False),),
)
REFERRAL = Entity(
    "referral",
    (
        Field("appointment_id", Reference("appointment")),
        Field("doctor_id", Reference("doctor")),
        Field("urgency", Choice(("routine", "urgent"))),
        Field("date", Day(-20, 0)),
    ),
    (0, 1),
    ("the referral",),
    per="appointment",
)

FREE = FieldIs("status", ("free",))
WRITES = (
    Create(
        entity="appointment",
        name="book_appointment",
        given=("patient_id", "slot_id", "reason"),
        defaults={"status": "booked", "booking_date": "today", "number": "pending"},
        needs={
            "slot_id": (FREE, Through("doctor_id", FieldIs("new_patients", (True,)))),
        },
        effects=(Effect("status", value="taken", reference="slot_id"),),
        asks=(
            "book me into {slot_id}; the reason is: {reason}",
            "make me an appointment in {slot_id}, the reason being: {reason}",
        ),
        description="Book a free slot of a doctor who takes new patients.",
    ),
    Transition(
        entity="appointment",
        name="cancel_appointment",
        to="cancelled",
        asks=("cancel {target}", "call off {target}"),
        conditions=(BOOKED,),
        effects=(Effect("status", value="free", reference="slot_id"),),
        description="Cancel an appointment; its slot becomes free.",
    ),
    SetReference(
        entity="appointment",
        name="reschedule_appointment",
        field="slot_id",
        asks=("move {target} to {value}", "reschedule {target} to {value}"),
        conditions=(BOOKED,),
        target_conditions=(FREE,),
        effects=(
            Effect("status", value="free", reference="slot_id", previous=True),
            Effect("status", value="taken", reference="slot_id"),
        ),
    ),
    Transition(
        entity="appointment",
        name="confirm_attendance",
        to="attended",
        asks=("record that I came to {target}", "mark {target} as attended"),
        conditions=(BOOKED,),
    ),
    Adjust(
        entity="prescription",
        name="refill_prescription",
        field="refills",
        parameter="packs",
        sign=-1,
        least=1,
        most=3,
        asks=("refill {target}; number of packs: {value}",),
        conditions=(
            FieldIs("status", ("active",)),
            DaysFromToday("expiry_date", 0, 1000),
        ),
        description="Hand out packs against the refills that are left.",
    ),
    Postpone(
        entity="prescription",
        name="extend_prescription",
        field="expiry_date",
        steps=(30, 60, 90),
        most=90,
        furthest=300,
        asks=("extend {target} by {value}",),
        conditions=(FieldIs("status", ("active",)),),
    ),
    Transition(
        entity="prescription",
        name="stop_prescription",
        to="stopped",
        asks=("stop {target}", "end {target}, which I no longer take"),
        conditions=(FieldIs("status", ("active",)),),
    ),
    Transition(
        entity="invoice",
        name="pay_invoice",
        to="paid",
        asks=("pay {target}", "settle {target}"),
        conditions=(FieldIs("status", ("open",)),),
    ),
    Transition(
        entity="invoice",
        name="contest_invoice",
        to="contested",
        asks=("contest {target}", "lodge an objection to {target}"),
        conditions=(FieldIs("status", ("open",)),),
    ),
    Postpone(
        entity="invoice",
        name="defer_invoice",
        field="due_date",
        steps=(7, 14),
        asks=("give me {value} longer to pay {target}", "defer {target} by {value}"),
        conditions=(FieldIs("status", ("open",)),),
    ),
    Create(
        entity="referral",
        name="request_referral",
        given=("appointment_id", "doctor_id", "urgency"),
        defaults={"date": "today"},
        needs={
            "appointment_id": (
                FieldIs("status", ("attended",)),
                Related("referral", "appointment_id", "referrals", most=0),
            )
        },
        asks=(
            "get me a referral to {doctor_id} on the basis of {appointment_id}; it is {urgency}",
        ),
    ),
    Remove(
        entity="referral",
        name="drop_referral",
        asks=("drop {target}", "cancel {target}"),
        conditions=(FieldIs("urgency", ("routine",)),),
    ),
    SetField(
        entity="patient",
        name="change_address",
        field="address",
        asks=("change my address to {value}", "note that I live at {value} now"),
    ),
)

CLINIC = Domain(
    "clinic",
    "a clinic",
    "health",
    "patient",
    (DOCTOR, SLOT, PATIENT, APPOINTMENT, PRESCRIPTION, INVOICE, REFERRAL),
    (
        Find("patient", by=("insurance_number",)),
        Search("doctor", by=("name", "specialty"), hidden=("office", "phone")),
        Get("doctor"),
        ListOf("slot", of="doctor_id"),
        Get("appointment"),
        ListOf("appointment", of="patient_id", hidden=("slot_id", "booking_date")),
        ListOf("prescription", of="patient_id"),
        ListOf("invoice", of="patient_id"),
        ListOf("referral", of="appointment_id"),
        Total("invoice", field="amount", of="patient_id"),
        Between("invoice", of="patient_id", by="date", total="amount"),
        *WRITES,
    ),
    (
        Policy(
            "short_notice",
            ("cancel_appointment", "reschedule_appointment"),
            Through("slot_id", DaysFromToday("day", 2, 1000)),
        ),
        Policy("large_invoices", ("defer_invoice",), AtMost("amount", 600)),
        Policy("high_doses", ("extend_prescription", "refill_prescription"), AtMost("dose", 400)),
        Policy("old_invoices", ("contest_invoice",), DaysFromToday("date", -60, 0)),
    ),
)
