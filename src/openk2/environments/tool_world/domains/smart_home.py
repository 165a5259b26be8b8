"""A smart home: rooms, devices, sensors, scenes with steps, schedules."""

from openk2.environments.tool_world.conditions import (
    AtLeast,
    FieldIs,
    FieldIsNot,
    Policy,
    Through,
)
from openk2.environments.tool_world.creating import Book, Create
from openk2.environments.tool_world.domain import Domain, Entity, Field, Superlative
from openk2.environments.tool_world.moving import TransitionAll
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
    Flag,
    Reference,
    Whole,
    Words,
)
from openk2.environments.tool_world.writing import (
    Adjust,
    Remove,
    SetField,
    SetReference,
    Transition,
)

__all__ = ["SMART_HOME"]

DEVICES = ("lamp", "speaker", "heater", "fan", "blind", "camera", "television", "socket")
NAMES = ("corner", "ceiling", "window", "desk", "shelf", "door", "wall", "bedside", "tall", "small")
ONLINE = FieldIs("connection", ("online",))
ON = FieldIs("power", ("on",))

ROOM = Entity(
    "room",
    (
        Field(
            "name",
            Words(
                ("kitchen", "bedroom", "bathroom", "office", "nursery", "hall", "cellar", "attic")
            ),
        ),
        Field("floor", Choice(("lower", "ground", "upper"))),
        Field("area", Amount(6, 45, "square metres"), "area"),
        Field("target_temperature", Whole(15, 25)),
    ),
    (6, 6),
    ("the {name}", "the {name} on the {floor} floor"),
)
DEVICE = Entity(
    "device",
    (
        Field("room_id", Reference("room")),
        Field("name", Words(NAMES, DEVICES)),
        Field("power", Choice(("on", "off"))),
        Field("level", Whole(0, 100, 5)),
        Field(
            "connection", Choice(("online", "offline"), ("online", "online", "online", "offline"))
        ),
        Field("locked", Flag(0.2)),
        Field("consumption", Amount(0.5, 300, "kWh"), "consumption this year"),
        Field("serial_number", Code("SN-#####-@@")),
        Field("installed", Day(-1500, -5), "installation date"),
    ),
    (3, 5),
    ("the {name}", "the device with the serial number {serial_number}"),
    per="room",
    superlatives=(
        Superlative("hungriest", "consumption", lowest=False),
        Superlative("oldest", "installed"),
    ),
)
SENSOR = Entity(
    "sensor",
    (
        Field("room_id", Reference("room")),
        Field("type", Choice(("temperature", "humidity", "smoke", "motion"))),
        Field("value", Amount(0, 90, "units"), "reading"),
        Field("battery", Whole(1, 100), "battery level"),
        Field("alarm", Choice(("armed", "disarmed", "ringing"))),
        Field("threshold", Whole(10, 80)),
    ),
    (1, 2),
    ("the {type} sensor",),
    per="room",
)
SCENE = Entity(
    "scene",
    (
        Field(
            "name",
            Words(
                ("evening", "morning", "party", "reading", "cinema", "holiday"),
                ("light", "mood", "mode"),
            ),
        ),
        Field("status", Choice(("active", "inactive"))),
        Field("created", Day(-700, -5), "creation date"),
    ),
    (5, 5),
    ('the scene "{name}"',),
)
STEP = Entity(
    "step",
    (
        Field("scene_id", Reference("scene")),
        Field("device_id", Reference("device")),
        Field("power", Choice(("on", "off"))),
        Field("level", Whole(0, 100, 5)),
    ),
    (1, 3),
    ("the step for the device {device.serial_number}",),
    per="scene",
)
SCHEDULE = Entity(
    "schedule",
    (
        Field("scene_id", Reference("scene")),
        Field("day", Day(0, 10)),
        Field("start", Clock(5, 20), "start time"),
        Field("end", ClockAfter(other="start"), "end time"),
        Field("status", Choice(("planned", "paused"))),
    ),
    (1, 2),
    ("the schedule on {day}", "the schedule that starts at {start}"),
    per="scene",
)

DEVICE_WRITES = (
    Transition(
        entity="device",
        name="switch_on",
        field="power",
        to="on",
        asks=("switch on {target}", "turn {target} on"),
        conditions=(FieldIs("power", ("off",)), ONLINE),
    ),
    Transition(
        entity="device",
        name="switch_off",
        field="power",
        to="off",
        asks=("switch off {target}", "turn {target} off"),
        conditions=(ON, ONLINE),
    ),
    SetField(
        entity="device",
        name="set_level",
        field="level",
        asks=("set {target} to {value} percent",),
        conditions=(ON, ONLINE),
    ),
    Transition(
        entity="device",
        name="lock_device",
        field="locked",
        to=True,
        asks=("lock {target} against the children", "put the child lock on for {target}"),
        conditions=(FieldIs("locked", (False,)),),
    ),
    SetReference(
        entity="device",
        name="move_device",
        field="room_id",
        asks=("note that I have moved {target} to {value}", "assign {target} to {value}"),
        conditions=(FieldIs("power", ("off",)),),
        description="Note that a device, which must be off, stands in another room now.",
    ),
    TransitionAll(
        entity="device",
        name="switch_off_room",
        of="room_id",
        field="power",
        to="off",
        where=(("power", "on"), ("connection", "online")),
        asks=("switch off everything that is online in {target}",),
        conditions=(Related("device", "room_id", "locked devices", (("locked", True),), most=0),),
    ),
    SetField(
        entity="room",
        name="set_target_temperature",
        field="target_temperature",
        asks=("set the target temperature of {target} to {value} degrees",),
        conditions=(Related("device", "room_id", "devices", least=4),),
        description="Set the temperature that a room is heated to; it needs four devices for that.",
    ),
    Transition(
        entity="sensor",
        name="arm_sensor",
        field="alarm",
        to="armed",
        asks=("arm {target}", "set {target} to armed"),
        conditions=(FieldIs("alarm", ("disarmed",)), AtLeast("battery", 20)),
    ),
    Transition(
        entity="sensor",
        name="silence_sensor",
        field="alarm",
        to="disarmed",
        asks=("silence {target}", "stop {target} from ringing"),
        conditions=(FieldIs("alarm", ("ringing",)),),
    ),
    Adjust(
        entity="sensor",
        name="raise_threshold",
        field="threshold",
        parameter="points",
        high=90,
        asks=("raise the threshold of {target} by {value}",),
        conditions=(FieldIsNot("alarm", ("ringing",)),),
    ),
)
SCENE_WRITES = (
    Transition(
        entity="scene",
        name="activate_scene",
        to="active",
        asks=("start {target}", "activate {target}"),
        conditions=(FieldIs("status", ("inactive",)),),
    ),
    SetField(
        entity="scene",
        name="rename_scene",
        field="name",
        asks=('rename {target} to "{value}"',),
        conditions=(FieldIs("status", ("inactive",)),),
    ),
    Create(
        entity="step",
        name="add_step",
        given=("scene_id", "device_id", "power", "level"),
        needs={
            "device_id": (FieldIs("locked", (False,)), ONLINE),
            "scene_id": (Related("step", "scene_id", "steps", most=3),),
        },
        asks=("add a step to {scene_id} for {device_id}: power {power}, level {level}",),
    ),
    Remove(
        entity="step",
        name="remove_step",
        asks=("remove {target}", "delete {target}"),
        conditions=(Through("scene_id", FieldIs("status", ("inactive",))),),
    ),
    Book(
        entity="schedule",
        name="schedule_scene",
        given=("scene_id", "day", "start", "end"),
        defaults={"status": "planned"},
        holds=("scene_id", "day"),
        start="start",
        end="end",
        asks=("run {scene_id} on {day} from {start} to {end}",),
    ),
    Transition(
        entity="schedule",
        name="pause_schedule",
        to="paused",
        asks=("pause {target}", "suspend {target}"),
        conditions=(FieldIs("status", ("planned",)),),
    ),
)

SMART_HOME = Domain(
    "smart_home",
    "a household with smart devices",
    "home",
    None,
    (ROOM, DEVICE, SENSOR, SCENE, STEP, SCHEDULE),
    (
        Find("room", by=("name",)),
        Get("device"),
        Search("device", by=("name", "serial_number")),
        Find("scene", by=("name",)),
        ListOf("device", of="room_id", hidden=("level", "connection", "locked")),
        ListOf("sensor", of="room_id"),
        ListOf("step", of="scene_id"),
        ListOf("schedule", of="scene_id"),
        Total("device", field="consumption", of="room_id"),
        *DEVICE_WRITES,
        *SCENE_WRITES,
    ),
    (
        Policy(
            "locked_devices", ("switch_on", "set_level", "move_device"), FieldIs("locked", (False,))
        ),
        Policy(
            "smoke_alarms", ("silence_sensor", "raise_threshold"), FieldIsNot("type", ("smoke",))
        ),
        Policy("lower_floor", ("set_target_temperature",), FieldIsNot("floor", ("lower",))),
    ),
)
