"""Real servers, installed by hash, run in the jail without a network (minutes the first time).

They are installed into OPENK2_MCP or the user's cache, and taken from there when they are there.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from openk2.environments.tool_world.mcp.catalogue import CATALOGUE
from openk2.environments.tool_world.mcp.install import command_of, install
from openk2.environments.tool_world.mcp.session import McpSession
from tests.environments.tool_world.mcp_servers import hostile

pytestmark = pytest.mark.slow


@pytest.fixture(params=list(CATALOGUE))
def name(request: pytest.FixtureRequest) -> str:
    install([request.param], progress=lambda line: None)
    return str(request.param)


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield
    assert not list(tmp_path.iterdir())


def test_it_lists_what_was_taken_in_and_works_offline(name: str) -> None:
    entry = CATALOGUE[name]
    with McpSession(command_of(name)) as session:
        assert session.fault is None and session.pin == entry.pin
        assert len(session.tools) == entry.tools and not session.withheld.keys() - entry.allowed
        for probe in entry.probes:
            result = session.call(probe.tool, probe.arguments)
            assert result.ok and result.tainted and probe.expected in result.content, result
            assert str(Path.home()) not in result.content
        assert session.check() is None


def test_a_snapshot_brings_its_state_back(name: str) -> None:
    entry = CATALOGUE[name]
    *before, last = entry.probes
    with McpSession(command_of(name)) as session:
        for probe in before:
            session.call(probe.tool, probe.arguments)
        snapshot = session.snapshot()
        first = session.call(last.tool, last.arguments)
    with McpSession(command_of(name)) as fresh:
        if before:
            # The state matters: without it the last call is answered otherwise.
            assert last.expected not in fresh.call(last.tool, last.arguments).content
        fresh.restore(snapshot)
        again = fresh.call(last.tool, last.arguments)
    assert last.expected in again.content and again.ok
    if name != "recipes":  # which draws its dishes at random
        assert again == first


def test_a_server_that_became_another_is_quarantined() -> None:
    install(["time"], progress=lambda line: None)
    changed = replace(hostile("go"), pin=CATALOGUE["time"].pin)
    with McpSession(changed) as session:
        assert session.fault is not None and session.fault.kind == "tools_changed"


def test_an_install_cannot_be_written_by_its_server() -> None:
    install(["command-line"], progress=lambda line: None)
    command = command_of("command-line")
    environment = {**command.environment, "ALLOWED_COMMANDS": "all", "ALLOWED_FLAGS": "all"}
    home = os.path.dirname(command.readable[0])
    with McpSession(replace(command, environment=environment, pin=None)) as session:
        result = session.call("run_command", {"command": f"touch {home}/command-line/escaped"})
        assert not (Path(home) / "command-line" / "escaped").exists(), result
        assert (
            "escaped" in session.call("run_command", {"command": "touch escaped"}).content
            or (session._folder.path / "escaped").exists()
        )
