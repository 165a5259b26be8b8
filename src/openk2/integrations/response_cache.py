"""Answers that were paid for once, in one SQLite file that many processes may use."""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from openk2.core.errors import UserError
from openk2.core.generation import Completion
from openk2.core.records import Message, ToolCall, ToolCallProblem

__all__ = ["ResponseCache", "sample_keys"]

T = TypeVar("T")

# "OK2C" in the file's header says whose database it is.
APPLICATION_ID = 0x4F4B3243
VERSION = 1
# What reading a row raises that nobody stored.
NOT_AN_ANSWER = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


def sample_keys(base_url: str, route: str, payload: bytes, samples: int) -> list[str]:
    """A name for each sample of a request: SHA-256 over all that makes the answer what it is.

    `payload` is the request's JSON, the model among it. The order of its keys counts: a model sees
    a tool's schema in the order in which it was written.
    """
    request = hashlib.sha256(payload).hexdigest()
    parts = ([base_url, route, request, number] for number in range(samples))
    return [hashlib.sha256(json.dumps(part).encode()).hexdigest() for part in parts]


class ResponseCache:
    """Completions by key, in a file.

    What `put` has returned survives kill -9 of every process that has the file open. Write-ahead
    logging lets readers read while another process writes. All work happens on one thread, because
    SQLite blocks. Raises UserError for a file that is damaged, unwritable or something else.
    """

    def __init__(self, path: Path, patience: float = 60.0) -> None:
        """`patience`: seconds to wait for other processes that are writing."""
        self.path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="response-cache")
        try:
            self._database = self._thread.submit(self._open, patience).result()
        except BaseException:
            self._thread.shutdown()
            raise

    async def get(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Those of `keys` that are there."""
        return await self._on_thread(lambda: self._get(keys))

    async def put(self, answers: Mapping[str, Completion]) -> dict[str, Completion]:
        """Store each answer unless its key has one, and return what is stored.

        So processes that asked the same at the same time go on with the same answer.
        """
        return await self._on_thread(lambda: self._put(answers))

    async def close(self) -> None:
        await self._on_thread(self._database.close)
        self._thread.shutdown()

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _get(self, keys: Sequence[str]) -> dict[str, Completion]:
        found = {}
        with self._errors():
            for key in keys:
                rows = self._database.execute("SELECT answer FROM answers WHERE key = ?", [key])
                for (answer,) in rows:
                    found[key] = _decode(answer)
        return found

    def _put(self, answers: Mapping[str, Completion]) -> dict[str, Completion]:
        rows = [(key, json.dumps(asdict(answer))) for key, answer in answers.items()]
        with self._errors(), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                "INSERT INTO answers VALUES (?, ?) ON CONFLICT DO NOTHING", rows
            )
        return self._get(list(answers))

    def _open(self, patience: float) -> sqlite3.Connection:
        with self._errors():
            database = sqlite3.connect(self.path, timeout=patience, isolation_level=None)
            try:
                self._prepare(database)
            except BaseException:
                database.close()
                raise
            return database

    def _prepare(self, database: sqlite3.Connection) -> None:
        # The lock comes first: of processes that begin together one makes the table.
        with database:
            database.execute("BEGIN IMMEDIATE")
            (identity,) = database.execute("PRAGMA application_id").fetchone()
            (version,) = database.execute("PRAGMA user_version").fetchone()
            (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if tables == 0:
                database.execute(
                    "CREATE TABLE answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)"
                )
                database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                database.execute(f"PRAGMA user_version = {VERSION}")
            elif (identity, version) != (APPLICATION_ID, VERSION):
                raise UserError(
                    f"{self.path}: is a database of another program or another version; name "
                    "another file for the cache"
                )
        database.execute("PRAGMA journal_mode = WAL")
        # A commit outlives the process; only a crash of the whole machine may lose the last ones.
        database.execute("PRAGMA synchronous = NORMAL")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, *NOT_AN_ANSWER) as error:
            fault = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT")
            if fault.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
                raise UserError(
                    f"{self.path}: the response cache is damaged ({error}); delete it and ask again"
                ) from error
            raise UserError(
                f"{self.path}: the cache cannot be used: {error}; name another file"
            ) from error


def _decode(text: str) -> Completion:
    fields = json.loads(text)
    fields["tokens"] = tuple(fields["tokens"])
    fields["log_probs"] = tuple(fields["log_probs"])
    message = fields["message"]
    if message is not None:
        message["tool_calls"] = tuple(ToolCall(**call) for call in message["tool_calls"])
        message["problems"] = tuple(ToolCallProblem(**each) for each in message["problems"])
        fields["message"] = Message(**message)
    return Completion(**fields)
