"""A university: professors, courses, students, enrolments, submissions, fees, books of rooms."""

from openk2.environments.tool_world.conditions import (
    AtLeast,
    AtMost,
    DaysFromToday,
    FieldIs,
    FieldIsNot,
    Policy,
)
from openk2.environments.tool_world.creating import Book, Create
from openk2.environments.tool_world.domain import Domain, Entity, Field, Superlative
from openk2.environments.tool_world.effects import Effect
from openk2.environments.tool_world.reading import Find, Get, ListOf, Search
from openk2.environments.tool_world.relations import Related
from openk2.environments.tool_world.summaries import Total
from openk2.environments.tool_world.values import (
    Amount,
    Choice,
    Clock,
    ClockAfter,
    Code,
    Day,
    Email,
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
    SetReference,
    Transition,
)

__all__ = ["UNIVERSITY"]

SUBJECTS = ("Algebra", "Botany", "Chemistry", "Drawing", "Economics", "French", "Geology", "Logic")
KINDS = ("Basics", "Seminar", "Lab", "Theory", "Project")
ENROLLED = FieldIs("status", ("enrolled",))

PROFESSOR = Entity(
    "professor",
    (
        Field("name", PersonName()),
        Field("email", Email()),
        Field("office", Code("@-###")),
        Field("supervises", Whole(0, 8), "number of theses"),
    ),
    (6, 6),
    ("Professor {name}",),
)
COURSE = Entity(
    "course",
    (
        Field("professor_id", Reference("professor")),
        Field("title", Words(SUBJECTS, KINDS)),
        Field("credits", Whole(2, 12)),
        Field("places_left", Whole(0, 6), "number of free places"),
        Field("room", Code("H###")),
        Field("exam_date", Day(5, 60)),
        Field("status", Choice(("open", "closed"), ("open", "open", "closed"))),
    ),
    (12, 12),
    ("the course {title}", "the course {title} of Professor {professor.name}"),
)
STUDENT = Entity(
    "student",
    (
        Field("professor_id", Reference("professor"), "supervisor"),
        Field("name", PersonName()),
        Field("number", Code("########"), "student number"),
        Field("email", Email()),
        Field("credits", Whole(0, 240)),
        Field("address", Place("street")),
        Field("card_balance", Amount(0, 80), "balance of the student card"),
    ),
    (9, 9),
    ("{number}",),
)
ENROLMENT = Entity(
    "enrolment",
    (
        Field("student_id", Reference("student")),
        Field("course_id", Reference("course")),
        Field(
            "status", Choice(("enrolled", "passed", "failed"), ("enrolled", "enrolled", "passed"))
        ),
        Field("date", Day(-60, 0)),
        Field("attempts", Whole(1, 3), "number of attempts"),
    ),
    (2, 4),
    ("my enrolment of {date}", "my enrolment in the course {course.title}"),
    per="student",
    superlatives=(Superlative("latest", "date", lowest=False),),
)
SUBMISSION = Entity(
    "submission",
    (
        Field("enrolment_id", Reference("enrolment")),
        Field(
            "title", Words(("first", "second", "third", "final"), ("essay", "report", "exercise"))
        ),
        Field("pages", Whole(1, 60)),
        Field("due_date", Day(-6, 20)),
        Field("extensions", Whole(0, 2), "number of extensions"),
        Field("status", Choice(("draft", "submitted", "graded"))),
    ),
    (0, 2),
    ("the {title}", "the submission due on {due_date}"),
    per="enrolment",
)
FEE = Entity(
    "fee",
    (
        Field("student_id", Reference("student")),
        Field("cause", Choice(("tuition", "housing", "printing", "sports"))),
        Field("amount", Amount(10, 900)),
        Field("due_date", Day(-10, 40)),
        Field("status", Choice(("open", "paid", "deferred"), ("open", "open", "paid"))),
    ),
    (1, 3),
    ("my {cause} fee", "my fee that is due on {due_date}"),
    per="student",
    superlatives=(Superlative("highest", "amount", lowest=False),),
)
STUDY = Entity(
    "study_session",
    (
        Field("student_id", Reference("student")),
        Field("desk", Code("D##")),
        Field("day", Day(0, 10)),
        Field("start", Clock(8, 18), "start time"),
        Field("end", ClockAfter(other="start"), "end time"),
    ),
    (0, 2),
    ("my study session on {day}", "my study session at the desk {desk}"),
    per="student",
)

COURSE_WRITES = (
    Create(
        entity="enrolment",
        name="enrol",
        given=("student_id", "course_id"),
        defaults={"status": "enrolled", "date": "today", "attempts": 1},
        needs={"course_id": (FieldIs("status", ("open",)), AtLeast("places_left", 1))},
        effects=(Effect("places_left", add=-1, reference="course_id"),),
        asks=("enrol me in {course_id}", "sign me up for {course_id}"),
    ),
    Remove(
        entity="enrolment",
        name="drop_course",
        asks=("drop {target}", "cancel {target}"),
        conditions=(
            ENROLLED,
            Related("submission", "enrolment_id", "submissions", most=0),
        ),
        effects=(Effect("places_left", add=1, reference="course_id"),),
        description="Take an enrolment back; its place becomes free.",
    ),
    SetReference(
        entity="enrolment",
        name="switch_course",
        field="course_id",
        asks=("switch {target} to {value}", "change {target} to {value}"),
        conditions=(ENROLLED,),
        target_conditions=(FieldIs("status", ("open",)), AtLeast("places_left", 1)),
        effects=(
            Effect("places_left", add=1, reference="course_id", previous=True),
            Effect("places_left", add=-1, reference="course_id"),
        ),
    ),
    Adjust(
        entity="enrolment",
        name="register_attempt",
        field="attempts",
        parameter="more",
        least=1,
        most=1,
        high=3,
        asks=("register {value} more attempt for {target}",),
        conditions=(ENROLLED,),
    ),
    Create(
        entity="submission",
        name="start_submission",
        given=("enrolment_id", "title", "pages", "due_date"),
        defaults={"extensions": 0, "status": "draft"},
        needs={"enrolment_id": (ENROLLED,)},
        asks=("start the {title} for {enrolment_id}, due on {due_date}; number of pages: {pages}",),
    ),
    Transition(
        entity="submission",
        name="hand_in",
        to="submitted",
        asks=("hand in {target}", "submit {target}"),
        conditions=(FieldIs("status", ("draft",)), DaysFromToday("due_date", 0, 1000)),
    ),
    Postpone(
        entity="submission",
        name="extend_deadline",
        field="due_date",
        steps=(2, 5, 7),
        most=7,
        asks=("extend {target} by {value}", "get me {value} more for {target}"),
        conditions=(FieldIs("status", ("draft",)), AtMost("extensions", 1)),
        effects=(Effect("extensions", add=1),),
    ),
    Remove(
        entity="submission",
        name="discard_submission",
        asks=("discard {target}", "throw away {target}"),
        conditions=(FieldIs("status", ("draft", "submitted")),),
    ),
)
OTHER_WRITES = (
    Transition(
        entity="fee",
        name="pay_fee",
        to="paid",
        asks=("pay {target}", "settle {target}"),
        conditions=(FieldIs("status", ("open", "deferred")),),
    ),
    Transition(
        entity="fee",
        name="defer_fee",
        to="deferred",
        asks=("defer {target}", "put off {target}"),
        conditions=(FieldIs("status", ("open",)), DaysFromToday("due_date", 0, 1000)),
        effects=(),
    ),
    Book(
        entity="study_session",
        name="book_study_session",
        given=("student_id", "desk", "day", "start", "end"),
        holds=("desk", "day"),
        start="start",
        end="end",
        needs={"student_id": (Related("study_session", "student_id", "study sessions", most=1),)},
        asks=("book the desk {desk} for me on {day} from {start} to {end}",),
    ),
    Remove(
        entity="study_session",
        name="cancel_study_session",
        asks=("cancel {target}", "give up {target}"),
        conditions=(DaysFromToday("day", 1, 1000),),
    ),
    SetReference(
        entity="student",
        name="change_supervisor",
        field="professor_id",
        asks=("make {value} my supervisor", "change my supervisor to {value}"),
        conditions=(AtMost("credits", 180),),
        target_conditions=(AtMost("supervises", 6),),
        effects=(
            Effect("supervises", add=-1, reference="professor_id", previous=True),
            Effect("supervises", add=1, reference="professor_id"),
        ),
    ),
)

UNIVERSITY = Domain(
    "university",
    "a university's student office",
    "education",
    "student",
    (PROFESSOR, COURSE, STUDENT, ENROLMENT, SUBMISSION, FEE, STUDY),
    (
        Find("student", by=("number",), hidden=("credits", "card_balance")),
        Get("student"),
        Find("professor", by=("name",)),
        Search("course", by=("title", "professor_id"), hidden=("room", "exam_date")),
        Get("course"),
        ListOf("enrolment", of="student_id"),
        ListOf("submission", of="enrolment_id"),
        ListOf("fee", of="student_id"),
        ListOf("study_session", of="student_id"),
        Total("fee", field="amount", of="student_id"),
        *COURSE_WRITES,
        *OTHER_WRITES,
    ),
    (
        Policy("last_attempt", ("drop_course", "switch_course"), AtMost("attempts", 2)),
        Policy("tuition", ("defer_fee",), FieldIsNot("cause", ("tuition",))),
        Policy("long_papers", ("discard_submission", "extend_deadline"), AtMost("pages", 40)),
        Policy("heavy_courses", ("enrol",), AtMost("credits", 10)),
    ),
)
