"""The event log: whole lines whatever happens, and numbers that any JSON reader takes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openk2.core.errors import UserError
from openk2.core.events import EventLog, read_events


def strict_json(text: str) -> Any:
    """JSON as the standard has it: no NaN, no Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def write(path: Path, *steps: int) -> None:
    log = EventLog(path)
    for step in steps:
        log.append("step", step=step)
    log.close()


def steps(path: Path) -> list[int]:
    return [event["step"] for event in read_events(path, "step")]


def test_an_event_is_one_line_with_kind_and_time(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    returned = log.append("sample", text="zwei\nZeilen  \u2028 月 😀", step=1)
    log.append("step", step=1)
    lines = (tmp_path / "events.jsonl").read_bytes().split(b"\n")
    assert len(lines) == 3
    assert lines[2] == b""
    assert strict_json(lines[0].decode()) == returned
    assert returned["kind"] == "sample"
    assert returned["time"] > 1.7e9
    assert list(read_events(tmp_path / "events.jsonl", "step")) == [strict_json(lines[1].decode())]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text("abc"), inner)
    ),
)


@given(value=VALUES)
def test_whatever_is_logged_is_strict_json(
    value: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.unlink(missing_ok=True)
    log = EventLog(path)
    event = log.append("any", value=value)
    log.close()
    assert strict_json(path.read_text(encoding="utf-8")) == event
    assert next(read_events(path)) == event


def test_numbers_that_are_not_finite_are_null_at_any_depth(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    inf, nan = float("inf"), float("nan")
    event = log.append("step", loss=nan, max_logits=[[1.5, -inf], (inf, 0)], nested={"a": [nan]})
    assert event["loss"] is None
    assert event["max_logits"] == [[1.5, None], [None, 0]]
    assert event["nested"] == {"a": [None]}


def test_observers_see_what_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    seen: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    log = EventLog(path, [lambda event: seen.append((event, list(read_events(path))))])
    log.append("step", step=1)
    log.append("step", step=2)
    # Each event is in the file when its observer is called, and the event is the one in the file.
    assert [event["step"] for event, _ in seen] == [1, 2]
    assert all(in_file[-1] == event for event, in_file in seen)


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_is_no_event_and_goes_when_the_log_is_opened(
    cut: int, tmp_path: Path
) -> None:
    path = tmp_path / "events.jsonl"
    write(path, 1, 2)
    os.truncate(path, path.stat().st_size - cut)
    assert steps(path) == [1]
    write(path, 3)
    assert steps(path) == [1, 3]


def test_a_log_that_is_nothing_but_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"kind": "st')
    assert list(read_events(path)) == []
    write(path, 1)
    assert steps(path) == [1]


def test_cut_back_drops_exactly_what_came_after_the_sync(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.append("step", step=1)
    size = log.sync()
    assert size == path.stat().st_size
    kept = path.read_bytes()
    log.append("step", step=2)
    log.append("step", step=3)
    log.close()
    again = EventLog(path)
    again.cut_back(size)
    assert path.read_bytes() == kept
    again.append("step", step=2)
    again.close()
    assert steps(path) == [1, 2]


def test_cut_back_within_the_process_that_wrote(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.append("step", step=1)
    log.cut_back(0)
    log.append("step", step=2)
    assert steps(tmp_path / "events.jsonl") == [2]
    assert log.sync() == (tmp_path / "events.jsonl").stat().st_size


def test_cut_back_to_more_than_there_is_is_refused(tmp_path: Path) -> None:
    # Extending the file would fill it with NUL bytes and make every later line unreadable.
    path = tmp_path / "events.jsonl"
    write(path, 1)
    before = path.read_bytes()
    log = EventLog(path)
    with pytest.raises(UserError, match=r"events\.jsonl"):
        log.cut_back(len(before) + 100)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "line", [b"not json", b"\xff\xfe", b"[1, 2]", b'{"step": 1}', b"\0\0\0", b"", b"[" * 100_000]
)
def test_a_damaged_line_names_the_file_and_the_line(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path, 1)
    with path.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(UserError, match=r"events\.jsonl:2: ") as caught:
        list(read_events(path))
    assert len(str(caught.value)) < 500 + len(str(path))


def test_a_killed_writer_leaves_whole_events(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    script = (
        "import sys; from pathlib import Path; from openk2.core.events import EventLog\n"
        "log = EventLog(Path(sys.argv[1])); step = 0\n"
        "while True:\n"
        "    step += 1; log.append('step', step=step, text='x' * 5000)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, str(path)])
    while not path.exists() or path.stat().st_size < 500_000:
        assert writer.poll() is None
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    found = steps(path)
    assert len(found) > 90
    assert found == list(range(1, len(found) + 1))
    write(path, len(found) + 1)
    assert steps(path) == list(range(1, len(found) + 2))
