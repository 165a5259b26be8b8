"""The state of one episode: rows in SQLite, and the log of every call that touched them.

The log is the truth: a state is its initial rows plus the row changes of its events, in order. So a
snapshot is the list of events, a diff is what they sum to, and a replay applies them without
running any tool: it is exact for tools that are code, models or servers alike.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from openk2.environments.tool_world.values import KEY_ALPHABET

if TYPE_CHECKING:
    from openk2.environments.tool_world.domain import Entity

__all__ = ["Change", "Event", "Row", "State"]

Row = dict[str, Any]
NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Change:
    """One row before and after: before is None for a new row, after for a deleted one."""

    entity: str
    key: str
    before: Row | None
    after: Row | None


@dataclass(frozen=True)
class Event:
    """One tool call and what it did.

    number        counted from 0 over the episode
    status        as in ToolResult; `fault` is the label of an injected fault
    violations    policies that the call broke, by name
    """

    number: int
    tool: str
    arguments: Mapping[str, Any]
    status: str
    content: str
    changes: tuple[Change, ...] = ()
    fault: str | None = None
    violations: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The event as plain JSON."""
        found = dict(vars(self))
        found["arguments"] = dict(self.arguments)
        found["changes"] = [dict(vars(change)) for change in self.changes]
        found["violations"] = list(self.violations)
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Event":
        """The event that `to_json` wrote."""
        changes = tuple(Change(**change) for change in found["changes"])
        return cls(**{**found, "changes": changes, "violations": tuple(found["violations"])})


class State:
    """The rows of all entities of a world, and its events.

    Rows are dicts of plain JSON values, the key first. Writes happen inside `recording` and are
    undone when it is left by an exception.
    """

    def __init__(
        self,
        image: bytes,
        entities: Mapping[str, "Entity"],
        rows: Mapping[str, Sequence[tuple[Any, ...]]],
        today: date,
        seed: str,
    ) -> None:
        self.entities = entities
        self.today = today
        self.seed = seed
        self.events: list[Event] = []
        self._changes: list[Change] = []
        self._drawn = 0
        self._select = {
            name: f'SELECT * FROM "{name}" WHERE "{entity.key}" = ?'
            for name, entity in entities.items()
        }
        self._flags = {
            name: tuple(f.name for f in entity.fields if f.kind.sql == "BOOLEAN")
            for name, entity in entities.items()
        }
        self._database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._database.deserialize(image)
        self._database.execute("BEGIN")
        for name, made in rows.items():
            marks = ", ".join("?" * len(entities[name].columns))
            self._database.executemany(f'INSERT INTO "{name}" VALUES ({marks})', made)
        self._database.execute("COMMIT")

    @staticmethod
    def create_tables(database: sqlite3.Connection, entities: Iterable["Entity"]) -> None:
        """One table an entity, with an index on each reference, and the event log."""
        for entity in entities:
            columns = [f'"{entity.key}" TEXT PRIMARY KEY']
            columns += [f'"{field.name}" {field.kind.sql}' for field in entity.fields]
            database.execute(f'CREATE TABLE "{entity.name}" ({", ".join(columns)})')
            for field in entity.references:
                index = f"{entity.name}_{field}"
                database.execute(f'CREATE INDEX "{index}" ON "{entity.name}" ("{field}")')
        database.execute("CREATE TABLE event_log (number INTEGER PRIMARY KEY, event TEXT)")

    def close(self) -> None:
        """Give the memory back."""
        self._database.close()

    # Reading

    def get(self, entity: str, key: Any) -> Row | None:
        """The row with this key, None where there is none."""
        found = self._database.execute(self._select[entity], (key,)).fetchone()
        return None if found is None else self._row(entity, found)

    def find(self, entity: str, equal: Mapping[str, Any] = NOTHING) -> list[Row]:
        """Rows whose fields equal these values, in the order in which they were made."""
        query = f'SELECT * FROM "{entity}"'
        if equal:
            query += " WHERE " + " AND ".join(f'"{name}" = ?' for name in equal)
        query += " ORDER BY rowid"
        found = self._database.execute(query, tuple(equal.values())).fetchall()
        return [self._row(entity, values) for values in found]

    def _row(self, entity: str, values: tuple[Any, ...]) -> Row:
        row = dict(zip(self.entities[entity].columns, values, strict=True))
        for name in self._flags[entity]:
            row[name] = bool(row[name])
        return row

    # Writing

    @contextmanager
    def recording(self) -> Iterator[list[Change]]:
        """Collects the changes made inside; an exception undoes them. May be nested."""
        outer, changes = self._changes, list[Change]()
        self._changes = changes
        self._drawn = 0
        self._database.execute("SAVEPOINT call")
        try:
            yield changes
        except BaseException:
            self._database.execute("ROLLBACK TO call")
            raise
        finally:
            self._database.execute("RELEASE call")
            self._changes = outer

    def new_key(self, entity: str) -> str:
        """A key that no row has: a function of the world, the call's number and nothing else."""
        prefix = "".join(word[0] for word in entity.split("_")).upper()
        while True:
            self._drawn += 1
            text = f"{self.seed}\0{entity}\0{len(self.events)}\0{self._drawn}"
            digest = hashlib.sha256(text.encode()).digest()
            key = prefix + "-" + "".join(KEY_ALPHABET[byte % 32] for byte in digest[:6])
            if self.get(entity, key) is None:
                return key

    def insert(self, entity: str, row: Row) -> Row:
        """Add a row; without its key it gets a new one. Returns the whole row."""
        known = self.entities[entity]
        if known.key not in row:
            row = {known.key: self.new_key(entity), **row}
        whole = {name: row[name] for name in known.columns}
        self._apply(Change(entity, whole[known.key], None, whole))
        return whole

    def update(self, entity: str, row: Row, **fields: Any) -> Row:
        """Change fields of a row that was read; returns the row as it is now."""
        after = {**row, **fields}
        if after != row:
            self._apply(Change(entity, row[self.entities[entity].key], row, after))
        return after

    def delete(self, entity: str, row: Row) -> None:
        """Remove a row that was read."""
        self._apply(Change(entity, row[self.entities[entity].key], row, None))

    def _apply(self, change: Change) -> None:
        entity, key = change.entity, self.entities[change.entity].key
        if change.after is None:
            self._database.execute(f'DELETE FROM "{entity}" WHERE "{key}" = ?', (change.key,))
        elif change.before is None:
            marks = ", ".join("?" * len(change.after))
            values = tuple(change.after.values())
            self._database.execute(f'INSERT INTO "{entity}" VALUES ({marks})', values)
        else:
            changed = [n for n, value in change.after.items() if value != change.before[n]]
            query = f'UPDATE "{entity}" SET ' + ", ".join(f'"{name}" = ?' for name in changed)
            values = (*(change.after[name] for name in changed), change.key)
            self._database.execute(f'{query} WHERE "{key}" = ?', values)
        self._changes.append(change)

    # The log

    def log(self, event: Event) -> None:
        """Append an event whose changes are in the rows already."""
        self.events.append(event)
        text = json.dumps(event.to_json())
        self._database.execute("INSERT INTO event_log VALUES (?, ?)", (event.number, text))

    def replay(self, events: Iterable[Event]) -> None:
        """Apply the changes of events that another episode of this world logged."""
        for event in events:
            with self.recording():
                for change in event.changes:
                    self._apply(change)
            self.log(event)

    def diff(self) -> list[Change]:
        """What all events together changed; rows that ended as they began are left out."""
        first: dict[tuple[str, str], Row | None] = {}
        last: dict[tuple[str, str], Row | None] = {}
        for event in self.events:
            for change in event.changes:
                place = (change.entity, change.key)
                first.setdefault(place, change.before)
                last[place] = change.after
        return [
            Change(*place, before, last[place])
            for place, before in first.items()
            if before != last[place]
        ]

    def dump(self) -> bytes:
        """All rows and events as canonical JSON: equal states give equal bytes."""
        rows = {name: sorted(self.find(name), key=str) for name in self.entities}
        events = [event.to_json() for event in self.events]
        found = {"today": self.today.isoformat(), "rows": rows, "events": events}
        return json.dumps(found, sort_keys=True).encode()
