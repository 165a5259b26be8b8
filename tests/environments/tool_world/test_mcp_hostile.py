"""A hostile server, jailed over real stdio: each attack contained, typed and over in time."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from openk2.environments.tool_world.mcp.session import McpSession
from tests.environments.sandbox.processes import processes_with
from tests.environments.tool_world.mcp_servers import HOSTILE_MARK, LIMITS, hostile

QUICK = replace(LIMITS, call_s=0.5)


@pytest.fixture(autouse=True)
def host_unharmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No process, no state folder and no file of an attack outlives a test."""
    states = tmp_path / "states"
    states.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(states))
    yield
    assert not left_after(5.0, HOSTILE_MARK)
    assert not list(states.iterdir())
    assert not any(Path(place).exists() for place in ("/tmp/k2-escape", "/etc/k2-escape"))


def left_after(seconds: float, mark: str) -> list[int]:
    """The processes with this mark that do not end by themselves within these seconds."""
    deadline = time.monotonic() + seconds
    while (left := processes_with(mark)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ("exit_at_start", "crashed"),
        ("bad_version", "start"),
        ("hang_at_start", "start"),
        ("twice", "start"),
        ("endless_list", "start"),
        ("no_schema", "start"),
    ],
)
def test_a_bad_start_is_a_quarantined_server(behaviour: str, kind: str) -> None:
    begun = time.monotonic()
    limits = replace(LIMITS, start_s=1.0) if behaviour == "hang_at_start" else LIMITS
    with McpSession(hostile(behaviour), limits=limits) as session:
        assert session.fault is not None and session.fault.kind == kind
        assert not session.tools and "\x1b" not in session.fault.detail
        result = session.call("go", {})
        assert (result.status, result.error, result.tainted) == ("quarantined", kind, True)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ("flood_line", "line_too_long"),
        ("flood_lines", "flood"),
        ("flood_junk", "garbage"),
        ("flood_stderr", "flood"),
        ("crash", "crashed"),
        ("exit", "crashed"),
        ("change", "tools_changed"),
        ("fill_disk", "disk"),
        ("fill_disk_below", "disk"),
        ("fill_disk_unseen", "disk"),
        ("nest", "disk"),
    ],
)
def test_a_broken_contract_ends_the_call_and_quarantines(behaviour: str, kind: str) -> None:
    begun = time.monotonic()
    with McpSession(hostile(behaviour), limits=LIMITS) as session:
        result = session.call("go", {})
        assert (result.status, result.error, result.fault) == ("fault", kind, kind)
        assert session.fault is not None and session.fault.kind == kind
        result = session.call("go", {})
        assert (result.status, result.error) == ("quarantined", kind)
        # So says its snapshot.
        session.restore(session.snapshot())
        assert session.call("go", {}).error == kind
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ("rpc_error", "rpc_error"),
        ("schema_lie", "schema_lie"),
        ("schema_missing", "schema_lie"),
        ("no_result", "protocol"),
        ("wrong_ids", "protocol"),
    ],
)
def test_a_bad_answer_is_a_fault_of_that_call(behaviour: str, kind: str) -> None:
    with McpSession(hostile(behaviour), limits=LIMITS) as session:
        for _ in range(2):
            result = session.call("go", {})
            assert (result.status, result.error) == ("fault", kind)
            assert "\u202e" not in result.content and "fine" not in result.content
        assert session.fault is None


@pytest.mark.parametrize("behaviour", ["hang", "ignore_signals"])
def test_a_server_that_hangs_is_given_up(behaviour: str) -> None:
    begun = time.monotonic()
    with McpSession(hostile(behaviour), limits=replace(QUICK, timeouts=2)) as session:
        assert [session.call("go", {}).error for _ in range(3)] == ["timeout", "timeout", "hung"]
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("behaviour", ["storm", "deep_json"])
def test_noise_within_bounds_is_ignored(behaviour: str) -> None:
    with McpSession(hostile(behaviour), limits=LIMITS) as session:
        for _ in range(3):
            assert "after" in session.call("go", {}).content
        assert session.fault is None


def test_a_storm_beyond_bounds_is_a_flood() -> None:
    limits = replace(LIMITS, call_messages=400)
    with McpSession(hostile("storm"), limits=limits) as session:
        assert session.call("go", {}).error == "flood"


@pytest.mark.parametrize("seed", range(6))
def test_nearly_right_messages_do_not_upset_the_client(seed: int) -> None:
    limits = replace(LIMITS, call_s=3.0, junk_lines=1000)
    with McpSession(hostile("fuzz", str(seed)), limits=limits) as session:
        result = session.call("go", {})
        assert result.ok or result.error in {"protocol", "rpc_error"}
        assert session.fault is None
        assert session.call("go", {}).status in {"ok", "fault"}


def test_it_gets_nothing_that_it_asks_for() -> None:
    with McpSession(hostile("ask"), limits=LIMITS) as session:
        assert "[true, true, true]" in session.call("go", {}).content
        assert dict(session._wire.asked) == {
            "sampling/createMessage": 1,
            "elicitation/create": 1,
            "roots/list": 1,
        }


def test_poisoned_descriptions_are_withheld_unless_allowed() -> None:
    with McpSession(hostile("poisoned"), limits=LIMITS) as session:
        assert list(session.tools) == ["go"]
        assert len(session.withheld) == 8 and all(session.withheld.values())
        assert session.call("bad0", {}).status == "unknown_tool"
        pin = session.pin
    allowed = hostile("poisoned", allowed=frozenset({"bad4"}), pin=pin)
    with McpSession(allowed, limits=LIMITS) as session:
        assert list(session.tools) == ["go", "bad4"]


def test_schemas_that_would_fetch_or_explode_are_withheld() -> None:
    begun = time.monotonic()
    everything = frozenset(f"bad{number}" for number in range(6))  # which does not help them
    with McpSession(hostile("schemas", allowed=everything), limits=LIMITS) as session:
        assert list(session.tools) == ["go"] and len(session.withheld) == 6
    assert time.monotonic() - begun < 5


def test_output_cannot_leave_its_marks_or_hide() -> None:
    with McpSession(hostile("inject"), limits=LIMITS) as session:
        content = session.call("go", {}).content
        assert content.lower().count("</tool_output>") == 1 and content.endswith("</tool_output>")
        assert not {"\u200b", "\u202e", "\x1b", "\U000e0041"} & set(content)


def test_binary_content_becomes_a_note() -> None:
    with McpSession(hostile("binary"), limits=LIMITS) as session:
        content = session.call("go", {}).content
        assert "[image/png, 3000 bytes, not shown]" in content and "QUJD" not in content
        assert "more characters]" in content and len(content) < 21_000


def test_no_file_outside_can_be_read_or_written(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("top secret")
    with McpSession(hostile("read_outside", str(secret)), limits=LIMITS) as session:
        content = session.call("go", {}).content
        assert "top secret" not in content and "root:" not in content
    with McpSession(hostile("write_outside", str(secret)), limits=LIMITS) as session:
        session.call("go", {})
    assert secret.read_text() == "top secret"


def test_the_environment_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K2_SECRET_TOKEN", "hush")
    with McpSession(hostile("read_environment"), limits=LIMITS) as session:
        content = session.call("go", {}).content
        assert "hush" not in content
        assert json.loads(content.split("\n")[1])["HOME"] == "/state"


def test_there_is_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        with McpSession(hostile("network", port), limits=LIMITS) as session:
            assert "connected" not in session.call("go", {}).content


def test_children_die_with_the_session() -> None:
    mark = f"k2-child-of-{os.getpid()}"
    with McpSession(hostile("children", mark), limits=LIMITS) as session:
        assert "born" in session.call("go", {}).content
        # The server and two children, one of them in a session of its own.
        assert len(processes_with(mark)) >= 3
    assert not left_after(5.0, mark)


def test_a_server_that_clings_to_life_dies_with_the_session() -> None:
    mark = f"k2-clinging-to-{os.getpid()}"
    with McpSession(hostile("cling", mark), limits=QUICK) as session:
        assert session.call("go", {}).error == "timeout"
        assert len(processes_with(mark)) >= 4
    assert not left_after(5.0, mark)


def test_where_memory_runs_out_the_kernel_ends_the_server_first() -> None:
    with McpSession(hostile("memory_priority"), limits=LIMITS) as session:
        assert "\n1000\n" in session.call("go", {}).content


def test_a_folder_that_nobody_may_enter_is_deleted_too() -> None:
    """For root it is no obstacle; others cannot measure it, which is a fault."""
    with McpSession(hostile("lock_up", state="files"), limits=LIMITS) as session:
        result = session.call("go", {})
        assert "locked" in result.content if os.getuid() == 0 else result.error == "disk"
        assert set(session.snapshot()["files"]) == ({"file"} if os.getuid() == 0 else set())


def test_signals_do_not_reach_us(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        with McpSession(hostile("signal_parent", str(os.getpid())), limits=LIMITS) as session:
            assert "sent" in session.call("go", {}).content
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not received


def test_links_out_of_the_state_folder_are_not_followed() -> None:
    with McpSession(hostile("link_out", state="files"), limits=LIMITS) as session:
        assert "linked" in session.call("go", {}).content
        assert set(session.snapshot()["files"]) <= {"locked", "locked/inside"}
