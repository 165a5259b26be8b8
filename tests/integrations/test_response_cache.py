"""The cache of answers: what it holds, who may use it at once, and what kills and damage do."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openk2.core.errors import UserError
from openk2.core.generation import Completion
from openk2.core.records import Message, ToolCall, ToolCallProblem
from openk2.integrations.response_cache import ResponseCache, sample_keys

T = TypeVar("T")
TEXT = st.text(st.characters(codec="utf-8"))
MESSAGES = st.builds(
    Message,
    role=st.just("assistant"),
    content=TEXT,
    reasoning=st.none() | TEXT,
    tool_calls=st.lists(st.builds(ToolCall, TEXT, TEXT, TEXT)).map(tuple),
    problems=st.lists(st.builds(ToolCallProblem, TEXT, TEXT, TEXT)).map(tuple),
)
COMPLETIONS = st.builds(
    Completion,
    text=TEXT,
    finish_reason=TEXT,
    tokens=st.lists(st.integers(0, 2**31)).map(tuple),
    log_probs=st.lists(st.floats(allow_nan=False, allow_infinity=False)).map(tuple),
    message=st.none() | MESSAGES,
    prompt_tokens=st.integers(0, 2**53),
    completion_tokens=st.integers(0, 2**53),
    cached_tokens=st.integers(0, 2**53),
)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 60))


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
)
@given(answers=st.dictionaries(TEXT, COMPLETIONS, max_size=3))
def test_what_is_stored_comes_back_also_after_reopening(
    answers: dict[str, Completion], tmp_path: Path
) -> None:
    async def play() -> None:
        path = tmp_path / "cache"
        path.unlink(missing_ok=True)
        cache = ResponseCache(path)
        assert await cache.put(answers) == answers
        await cache.close()
        cache = ResponseCache(path)
        assert await cache.get([*answers, "\x00 nobody's"]) == answers
        await cache.close()

    run(play())


def test_the_first_answer_stays() -> None:
    async def play() -> None:
        cache = ResponseCache(Path(":memory:"))
        assert await cache.put({"a": Completion("first", "stop")}) == {
            "a": Completion("first", "stop")
        }
        both = {"a": Completion("second", "stop"), "b": Completion("new", "stop")}
        expected = {"a": Completion("first", "stop"), "b": Completion("new", "stop")}
        assert await cache.put(both) == expected
        await cache.close()

    run(play())


def test_a_key_is_all_that_makes_the_answer() -> None:
    keys = [
        *sample_keys("http://a/v1", "/completions", b"{}", 3),
        *sample_keys("http://b/v1", "/completions", b"{}", 3),
        *sample_keys("http://a/v1", "/chat/completions", b"{}", 3),
        *sample_keys("http://a/v1", "/completions", b"[]", 3),
    ]
    assert len(set(keys)) == 12
    assert keys[:2] == sample_keys("http://a/v1", "/completions", b"{}", 2)


WRITER = """
import asyncio, sys
from pathlib import Path
from openk2.core.generation import Completion
from openk2.integrations.response_cache import ResponseCache

async def write(path, name, count):
    cache = ResponseCache(Path(path))
    for number in range(count):
        kept = await cache.put({
            f"{name} {number}": Completion("x" * 500, "stop"),
            f"shared {number}": Completion(name, "stop"),
        })
        print(name, number, kept[f"shared {number}"].text, flush=True)

asyncio.run(write(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def writer(path: Path, name: str, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_that_begin_together_share_one_file(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    lines = []
    for process in [writer(path, name, 30) for name in "abc"]:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        lines += [line.split() for line in out.splitlines()]
    assert len(lines) == 90

    async def check() -> None:
        cache = ResponseCache(path)
        for name, number, shared in lines:
            found = await cache.get([f"{name} {number}", f"shared {number}"])
            assert len(found) == 2
            # Every process went on with the answer that stayed.
            assert found[f"shared {number}"].text == shared
        await cache.close()

    run(check())


def test_kill_9_loses_nothing_that_was_stored(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    stored = []
    for name in "abc":
        process = writer(path, name, 100_000)
        assert process.stdout is not None
        for _ in range(40):
            stored.append(process.stdout.readline().split()[:2])
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()

    async def check() -> None:
        cache = ResponseCache(path)
        found = await cache.get([" ".join(name) for name in stored])
        assert len(found) == len(stored) == 120
        assert all(answer.text == "x" * 500 for answer in found.values())
        await cache.close()

    run(check())


def filled(path: Path) -> None:
    async def fill() -> None:
        cache = ResponseCache(path)
        await cache.put({str(n): Completion("x" * 400, "stop") for n in range(200)})
        await cache.close()

    run(fill())


def use(path: Path) -> None:
    async def read() -> None:
        cache = ResponseCache(path)
        try:
            await cache.get([str(n) for n in range(200)])
        finally:
            await cache.close()

    run(read())


def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    filled(path)
    whole = path.read_bytes()
    for damaged in (b"not a database at all" * 50, whole[:4096] + b"\xa5" * (len(whole) - 4096)):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"cache: the response cache is damaged .*delete it"):
            use(path)
        assert path.read_bytes() == damaged


@pytest.mark.parametrize("answer", ["{", "[]", '{"text": 1}', '{"message": {}}', "null"])
def test_a_row_that_nobody_stored_is_damage(answer: str, tmp_path: Path) -> None:
    path = tmp_path / "cache"
    filled(path)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE answers SET answer = ? WHERE key = '7'", [answer])
    database.close()
    with pytest.raises(UserError, match="is damaged"):
        use(path)


def test_other_files_are_refused_and_kept(tmp_path: Path) -> None:
    foreign = tmp_path / "diary.db"
    with sqlite3.connect(foreign) as database:
        database.execute("CREATE TABLE days (text)")
    database.close()
    before = foreign.read_bytes()
    with pytest.raises(UserError, match=r"diary\.db: is a database of another program"):
        ResponseCache(foreign)
    assert foreign.read_bytes() == before
    for impossible in (tmp_path, tmp_path / "no" / "such" / "folder"):
        with pytest.raises(UserError, match=r"the cache cannot be used: .*name another file"):
            ResponseCache(impossible)


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    filled(path)

    async def read() -> None:
        cache = ResponseCache(path, patience=0.01)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        assert len(await cache.get(["7"])) == 1
        other.close()
        await cache.close()

    run(read())


def test_a_writer_that_never_ends_is_an_error_not_a_hang(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    filled(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UserError, match="cache cannot be used: database is locked"):
        ResponseCache(path, patience=0.01)
    other.close()
