"""Files and folders: a tree, files in it, people and what is shared with them."""

from openk2.environments.tool_world.conditions import (
    AtMost,
    DaysFromToday,
    FieldIs,
    FieldIsNot,
    Policy,
)
from openk2.environments.tool_world.creating import Create
from openk2.environments.tool_world.domain import Domain, Entity, Field, Superlative
from openk2.environments.tool_world.effects import Cascade, Removal
from openk2.environments.tool_world.moving import MoveInTree, TransitionAll
from openk2.environments.tool_world.reading import Find, Get, ListOf, Search
from openk2.environments.tool_world.relations import Related
from openk2.environments.tool_world.summaries import Total
from openk2.environments.tool_world.values import (
    Choice,
    Day,
    Email,
    Flag,
    Note,
    PersonName,
    Reference,
    Whole,
    Words,
)
from openk2.environments.tool_world.writing import (
    Append,
    Postpone,
    Remove,
    SetField,
    SetReference,
    Transition,
)

__all__ = ["FILES"]

TOPICS = ("budget", "holiday", "kitchen", "thesis", "garden", "tax", "wedding", "travel", "music")
PARTS = ("drafts", "photos", "letters", "plans", "notes", "receipts", "archive", "scans")
ACTIVE = FieldIs("status", ("active",))
UNLOCKED = FieldIs("locked", (False,))

PERSON = Entity(
    "person",
    (
        Field("name", PersonName()),
        Field("email", Email()),
        Field("company", Choice(("our own", "partner", "other"))),
    ),
    (8, 8),
    ("{name}",),
    plural="people",
)
FOLDER = Entity(
    "folder",
    (
        Field("parent_id", Reference("folder")),
        Field("name", Words(TOPICS, PARTS)),
        Field("creation_date", Day(-900, -10)),
        Field("quota", Whole(100, 9000), "quota in megabytes"),
    ),
    (12, 12),
    ('the folder "{name}"', 'the folder "{name}" that was created on {creation_date}'),
)
FILE = Entity(
    "file",
    (
        Field("folder_id", Reference("folder")),
        Field(
            "name",
            Words(
                ("summary", "list", "letter", "invoice", "sketch", "report", "table", "map"),
                tuple(f"{number:02d}" for number in range(1, 31)),
                (".txt", ".pdf", ".docx", ".png"),
                joint="",
            ),
        ),
        Field("size", Whole(3, 40000), "size in kilobytes"),
        Field("change_date", Day(-400, 0), "date of the last change"),
        Field("locked", Flag(0.25)),
        Field("confidential", Flag(0.25)),
        Field("status", Choice(("active", "trashed"), ("active", "active", "trashed"))),
        Field("remarks", Note(("Needs a check", "Final version", "See the other one", "Ask Tom"))),
    ),
    (2, 4),
    ("the file {name}", "the file changed on {change_date}"),
    per="folder",
    superlatives=(
        Superlative("largest", "size", lowest=False),
        Superlative("smallest", "size"),
        Superlative("newest", "change_date", lowest=False),
    ),
)
SHARE = Entity(
    "share",
    (
        Field("file_id", Reference("file", where=(("status", "active"),))),
        Field("person_id", Reference("person")),
        Field("access", Choice(("read", "comment", "write"))),
        Field("expiry_date", Day(-5, 50)),
    ),
    (0, 2),
    ("the share with {person.name}", "the share that expires on {expiry_date}"),
    per="file",
)

FOLDER_WRITES = (
    MoveInTree(
        entity="folder",
        name="move_folder",
        field="parent_id",
        asks=("move {target} into {value}", "put {target} inside {value}"),
        description="Move a folder with all that is in it into another one.",
    ),
    SetField(
        entity="folder",
        name="rename_folder",
        field="name",
        asks=('rename {target} to "{value}"', 'call {target} "{value}" from now on'),
    ),
    Create(
        entity="folder",
        name="create_folder",
        given=("parent_id", "name"),
        defaults={"creation_date": "today", "quota": 1000},
        asks=(
            'create a folder "{name}" inside {parent_id}',
            'make "{name}", a folder in {parent_id}',
        ),
    ),
    Remove(
        entity="folder",
        name="delete_folder",
        asks=("delete {target}", "remove {target} for good"),
        conditions=(
            Related("folder", "parent_id", "folders inside", most=0),
            Related("file", "folder_id", "locked files", (("locked", True),), most=0),
        ),
        effects=(Removal("file", "folder_id", below=(Removal("share", "file_id"),)),),
        description="Delete a folder with its files and what is shared of them.",
    ),
    TransitionAll(
        entity="file",
        name="trash_all_files",
        of="folder_id",
        to="trashed",
        where=(("status", "active"), ("locked", False)),
        asks=(
            "put all files of {target} that are not locked into the trash",
            "clear {target} by putting its files that are not locked into the trash",
        ),
        conditions=(
            Related("file", "folder_id", "confidential files", (("confidential", True),), most=0),
        ),
    ),
)
FILE_WRITES = (
    SetReference(
        entity="file",
        name="move_file",
        field="folder_id",
        asks=("move {target} to {value}", "put {target} into {value}"),
        conditions=(UNLOCKED, ACTIVE),
    ),
    SetField(
        entity="file",
        name="rename_file",
        field="name",
        asks=("rename {target} to {value}", "give {target} the name {value}"),
        conditions=(UNLOCKED,),
    ),
    Transition(
        entity="file",
        name="trash_file",
        to="trashed",
        asks=("put {target} into the trash", "throw {target} away"),
        conditions=(UNLOCKED, ACTIVE),
        effects=(Cascade("share", "file_id", "access", "read"),),
        description="Put a file into the trash; what was shared of it can only be read.",
    ),
    Transition(
        entity="file",
        name="restore_file",
        to="active",
        asks=("restore {target}", "get {target} back out of the trash"),
        conditions=(FieldIs("status", ("trashed",)),),
    ),
    Remove(
        entity="file",
        name="delete_file",
        asks=("delete {target} for good", "erase {target} completely"),
        conditions=(
            FieldIs("status", ("trashed",)),
            Related("share", "file_id", "shares", most=0),
        ),
    ),
    Transition(
        entity="file",
        name="lock_file",
        field="locked",
        to=True,
        asks=("lock {target}", "lock {target} so that nobody changes it"),
        conditions=(UNLOCKED,),
    ),
    Append(
        entity="file",
        name="add_remark",
        field="remarks",
        asks=('add the remark "{value}" to {target}',),
        conditions=(ACTIVE,),
    ),
    Create(
        entity="share",
        name="share_file",
        given=("file_id", "person_id", "access", "expiry_date"),
        needs={"file_id": (ACTIVE, Related("share", "file_id", "shares", most=2))},
        asks=(
            "share {file_id} with {person_id} for {access} access until {expiry_date}",
            "give {person_id} {access} access to {file_id}, ending on {expiry_date}",
        ),
    ),
    SetField(
        entity="share",
        name="change_access",
        field="access",
        asks=("change the access of {target} to {value}",),
        conditions=(DaysFromToday("expiry_date", 0, 1000),),
    ),
    Postpone(
        entity="share",
        name="extend_share",
        field="expiry_date",
        asks=("extend {target} by {value}", "keep {target} open {value} longer"),
        conditions=(DaysFromToday("expiry_date", 0, 1000),),
    ),
    Remove(
        entity="share",
        name="revoke_share",
        asks=("revoke {target}", "end {target}"),
    ),
)

FILES = Domain(
    "files",
    "a person's file store",
    "productivity",
    None,
    (PERSON, FOLDER, FILE, SHARE),
    (
        Find("person", by=("name",)),
        Find("file", by=("name",), hidden=("size", "change_date", "locked", "confidential")),
        Get("file"),
        Search("folder", by=("name", "creation_date", "parent_id"), hidden=("quota",)),
        Get("folder"),
        ListOf("file", of="folder_id", hidden=("confidential", "remarks")),
        ListOf("share", of="file_id"),
        Total("file", field="size", of="folder_id"),
        *FOLDER_WRITES,
        *FILE_WRITES,
    ),
    (
        Policy("confidential", ("share_file",), FieldIs("confidential", (False,))),
        Policy("keep_large", ("delete_file", "trash_file"), AtMost("size", 30000)),
        Policy("confidential_names", ("rename_file",), FieldIs("confidential", (False,))),
        Policy("open_shares", ("revoke_share",), FieldIsNot("access", ("write",))),
    ),
)
