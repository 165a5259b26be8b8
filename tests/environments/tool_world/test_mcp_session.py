"""A session with an honest server, written with mcp's own server and jailed over real stdio."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from openk2.core.errors import UserError
from openk2.environments.sandbox import SandboxUnavailable
from openk2.environments.tool_world.mcp.session import McpSession
from openk2.environments.tool_world.spec import ToolExecutor, ToolResult
from tests.environments.tool_world.mcp_servers import LIMITS, honest


@pytest.fixture(scope="module")
def shared() -> Iterator[McpSession]:
    """For tests that leave no trace."""
    with McpSession(honest(), limits=LIMITS) as session:
        yield session


def said(result: ToolResult) -> str:
    """What is between the marks."""
    first, *lines, last = result.content.split("\n")
    assert first.startswith('<tool_output server="notebook" tool="') and last == "</tool_output>"
    return "\n".join(lines)


def test_its_tools_are_tool_specs(shared: McpSession) -> None:
    executor: ToolExecutor = shared
    assert list(executor.tools) == [
        *("remember", "recall", "write", "read", "add", "clock", "fail"),
    ]
    add = executor.tools["add"]
    assert add.description == "The sum of two numbers." and add.writes
    assert set(add.parameters["properties"]) == {"a", "b"}
    assert add.returns is not None and not shared.withheld and shared.fault is None


def test_a_call_gives_delimited_tainted_data(shared: McpSession) -> None:
    for arguments in ({"a": 20, "b": 22}, '{"a": 20, "b": 22}'):
        result = shared.call("add", arguments)
        assert result.ok and result.tainted and said(result) == "42"


@pytest.mark.parametrize(
    ("tool", "arguments", "status"),
    [
        ("nothing", {}, "unknown_tool"),
        ("add", {"a": 1}, "invalid_arguments"),
        ("add", {"a": 1, "b": "two"}, "invalid_arguments"),
        ("add", '{"a": 1, "b": NaN}', "invalid_arguments"),
        ("add", "[1, 2]", "invalid_arguments"),
        ("add", "{" * 100_000, "invalid_arguments"),
        ("remember", {"note": "x" * (2 << 20)}, "invalid_arguments"),
        ("remember", {"note": "\x1b[2J"}, "invalid_arguments"),
        ("remember", {"note": "\ud800"}, "invalid_arguments"),
    ],
)
def test_bad_arguments_never_reach_the_server(
    shared: McpSession, tool: str, arguments: dict[str, object] | str, status: str
) -> None:
    made = len(shared.snapshot()["calls"])
    result = shared.call(tool, arguments)
    assert result.status == status and result.tainted
    assert len(shared.snapshot()["calls"]) == made


def test_cyclic_arguments_are_a_mistake(shared: McpSession) -> None:
    cycle: dict[str, object] = {}
    cycle["a"] = cycle
    assert shared.call("add", cycle).status == "invalid_arguments"


def test_a_tool_that_fails_refuses(shared: McpSession) -> None:
    result = shared.call("fail", {})
    assert (result.status, result.error, result.tainted) == ("refused", "tool_error", True)


def test_the_same_tools_have_the_same_pin(shared: McpSession) -> None:
    assert shared.check() is None
    with McpSession(honest(pin=shared.pin), limits=LIMITS) as again:
        assert again.fault is None and again.call("add", {"a": 1, "b": 1}).ok
    with McpSession(honest(pin="0" * 64), limits=LIMITS) as changed:
        result = changed.call("add", {"a": 1, "b": 1})
        assert (result.status, result.error) == ("quarantined", "tools_changed")


def test_a_fresh_state_folder_that_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "given.txt").write_text("from the template")
    with McpSession(honest(state="files"), tmp_path, LIMITS) as first:
        folder = first._folder.path
        assert said(first.call("read", {"path": "/state/given.txt"})) == "from the template"
        first.call("write", {"path": "/state/given.txt", "text": "see /state/given.txt"})
        first.call("remember", {"note": "here"})
        snapshot = first.snapshot()
        first.call("write", {"path": "/state/other.txt", "text": "later"})
        assert (folder / "other.txt").read_text() == "later"
        first.restore(snapshot)
        assert said(first.call("read", {"path": "given.txt"})) == "see /state/given.txt"
        assert first.call("read", {"path": "/state/other.txt"}).status == "refused"
        # Exact for files alone: this server also remembers, and was said not to.
        assert "here" not in first.call("recall", {}).content
        last = first._folder.path
    assert not folder.exists() and not last.exists()
    assert (tmp_path / "given.txt").read_text() == "from the template"


def test_restored_at_every_turn_it_ends_the_same() -> None:
    plan = [
        ("remember", {"note": "one"}),
        ("write", {"path": "/state/a", "text": "1"}),
        ("remember", {"note": "two"}),
        ("read", {"path": "/state/a"}),
        ("recall", {}),
    ]
    with McpSession(honest(), limits=LIMITS) as session:
        snapshots, results = [], []
        for tool, arguments in plan:
            snapshots.append(json.loads(json.dumps(session.snapshot())))
            results.append(session.call(tool, arguments))
        end = session.snapshot()
        assert said(results[-1]) == "one\ntwo"
        for turn in (1, 4):
            session.restore(snapshots[turn])
            assert [session.call(*step) for step in plan[turn:]] == results[turn:]
            assert session.snapshot() == end


def test_a_replay_that_differs_is_quarantined() -> None:
    with McpSession(honest(), limits=LIMITS) as session:
        session.call("clock", {})
        session.restore(session.snapshot())
        assert session.fault is not None and session.fault.kind == "replay"
        assert session.call("recall", {}).status == "quarantined"


def test_snapshots_that_are_not_its_own(shared: McpSession) -> None:
    snapshot = shared.snapshot()
    with pytest.raises(UserError, match="not of notebook"):
        shared.restore({**snapshot, "server": "other"})
    with (
        McpSession(honest(state="files"), limits=LIMITS) as session,
        pytest.raises(UserError, match="not inside"),
    ):
        session.restore({**session.snapshot(), "files": {"../escaped": ""}})


def test_calls_are_budgeted_and_results_cut() -> None:
    limits = replace(LIMITS, calls=2, result_characters=100)
    with McpSession(honest(), limits=limits) as session:
        session.call("remember", {"note": "x" * 1000})
        assert said(session.call("recall", {})) == "x" * 100 + "\n[cut: 900 more characters]"
        result = session.call("recall", {})
        assert (result.status, result.error) == ("quarantined", "budget")


def test_a_closed_session_says_so() -> None:
    session = McpSession(honest(), limits=LIMITS)
    session.close()
    session.close()
    assert session.call("add", {"a": 1, "b": 1}).error == "closed"
    assert session.check() is not None


def test_a_command_that_does_not_exist() -> None:
    with McpSession(replace(honest(), argv=("/nowhere/server",)), limits=LIMITS) as session:
        assert not session.tools
        assert session.fault is not None and "/nowhere/server" in session.fault.detail


def test_sessions_side_by_side() -> None:
    before = threading.active_count()

    def play(number: int) -> str:
        with McpSession(honest(), limits=replace(LIMITS, start_s=60.0)) as session:
            session.call("remember", {"note": f"note {number}"})
            return said(session.call("recall", {}))

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(play, range(3))) == [f"note {number}" for number in range(3)]
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_no_sandbox_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **more: object) -> list[str]:
        raise SandboxUnavailable("this machine has no namespaces")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("openk2.environments.tool_world.mcp.jail.jail_command", refuse)
    with pytest.raises(SandboxUnavailable):
        McpSession(honest(), limits=LIMITS)
    assert not list(tmp_path.iterdir())
