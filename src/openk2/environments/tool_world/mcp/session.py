"""One MCP server, jailed, for one episode: synchronous, typed, and total whatever the server does.

The whole life of the connection is one task on one thread of its own (mcp's client must be closed
by the task that opened it); everybody else hands that task work and waits a bounded time. A server
that breaks its contract is quarantined: `fault` says why, and so does every later call.
"""

import asyncio
import contextlib
import hashlib
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import anyio
import mcp_types as types
from mcp import ClientSession, MCPError

from openk2.core.errors import UserError
from openk2.core.records import ToolSpec
from openk2.environments.sandbox import SandboxUnavailable
from openk2.environments.tool_world.mcp.command import ServerCommand
from openk2.environments.tool_world.mcp.jail import jailed
from openk2.environments.tool_world.mcp.results import failed, rendered
from openk2.environments.tool_world.mcp.screening import (
    ListedTool,
    defects,
    pin,
    plain,
    suspicions,
)
from openk2.environments.tool_world.mcp.state import StateFolder
from openk2.environments.tool_world.mcp.wire import KILL_S, Fault, McpLimits, Wire
from openk2.environments.tool_world.schemas import compiled_schema, node_count
from openk2.environments.tool_world.spec import ArgumentChecker, ToolResult

__all__ = ["McpSession"]

MAX_PAGES, MAX_TOOLS = 50, 500
# What the owner may need beyond the time of a call, to give up and say so.
SLACK_S = 2 * KILL_S + 1

Work = Callable[[ClientSession], Awaitable[Any]]


class McpSession:
    """A ToolExecutor over a real server: `with McpSession(command) as session`.

    fault      why the server is quarantined, None while it is not
    pin        the hash of its tool list
    withheld   tools that are not offered, with the objections to each

    The constructor raises SandboxUnavailable where this machine cannot jail it; nothing that a
    server does raises.
    """

    def __init__(
        self,
        server: ServerCommand,
        template: Path | None = None,
        limits: McpLimits = McpLimits(),  # noqa: B008 (frozen)
    ) -> None:
        self.server, self.limits = server, limits
        self._folder = StateFolder(template, server.initial)
        self._initial = {} if server.state == "files" else self._folder.archive()
        self.fault: Fault | None = None
        self.pin = ""
        self.withheld: dict[str, list[str]] = {}
        self._log: list[Any] = []
        self._calls = self._timeouts = 0
        try:
            self._start()
        except SandboxUnavailable:
            self._folder.remove()
            raise

    @property
    def tools(self) -> Mapping[str, ToolSpec]:
        """The tools by name; none of a server that never came up."""
        return self._tools

    def call(self, name: str, arguments: Mapping[str, Any] | str) -> ToolResult:
        """One call; the content of what comes back was written by the server, never by us."""
        if self.fault is None and self._calls >= self.limits.calls:
            self.fault = Fault("budget", f"the episode's {self.limits.calls} calls are spent")
        if self.fault is not None:
            return failed("quarantined", self.fault.kind, self.fault.detail)
        checked = self._checker.check(name, arguments)
        if isinstance(checked, ToolResult):
            return replace(checked, tainted=True)
        self._calls += 1
        result = self._exchange(name, self._folder.inward(checked))
        result = replace(result, content=self._folder.outward(result.content))
        self._log.append([name, checked, _digest(result)])
        return result

    def check(self) -> Fault | None:
        """List the tools again: the fault where they are no longer those that were pinned."""
        if self.fault is None:
            answer = self._ask(self._compare, self.limits.call_s)
            self.fault = self._wire.fault or (answer if isinstance(answer, Fault) else None)
        return self.fault

    def close(self) -> None:
        """End the server with all its processes and delete its state; again does nothing."""
        self._stop()
        self._folder.remove()

    def snapshot(self) -> dict[str, Any]:
        """The episode as JSON: exact for a server without state, for one whose state is its files,
        and for one whose answers depend on the calls alone.
        """
        return {
            "server": self.server.name,
            "pin": self.pin,
            "files": self._folder.archive() if self.server.state == "files" else self._initial,
            "calls": list(self._log),
            "made": self._calls,
            "fault": asdict(self.fault) if self.fault else None,
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot, in a new folder with a new process.

        A server with its state in memory makes all calls again; where one answers otherwise than it
        did, the session is quarantined (fault "replay"). UserError for another server's snapshot.
        """
        if snapshot["server"] != self.server.name:
            raise UserError(
                f"snapshot: of {snapshot['server']}, not of {self.server.name}; give its own"
            )
        self.close()
        self._folder = StateFolder()
        self._initial = dict(snapshot["files"])
        self._folder.unpack(self._initial)
        self._start()
        if self.fault is None and self.pin != snapshot["pin"]:
            self.fault = Fault("tools_changed", "its tools are not those of the snapshot")
        if self.server.state == "memory" and snapshot["fault"] is None:
            for number, (name, arguments, digest) in enumerate(snapshot["calls"]):
                if self.fault is None and _digest(self.call(name, arguments)) != digest:
                    self.fault = Fault("replay", f"call {number} ({name}) was answered otherwise")
        self._log, self._calls = list(snapshot["calls"]), snapshot["made"]
        if snapshot["fault"] is not None:
            self.fault = Fault(**snapshot["fault"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self) -> None:
        # mcp logs, with the server's own words, to whatever terminal there is.
        logging.getLogger("mcp").addHandler(logging.NullHandler())
        self.fault = None
        self._log, self._calls, self._timeouts = [], 0, 0
        command = jailed(self.server, self._folder.path, self.limits)
        self._wire = Wire(command, self._folder.path, self.limits)
        self._answer: Future[Any] = Future()
        self._owner = threading.Thread(target=self._own, daemon=True)
        opened = self._answer
        self._owner.start()
        listed = self._wait(opened, self.limits.start_s)
        if isinstance(listed, Fault):
            self.fault = self._wire.fault or Fault("start", f"{listed.kind}: {listed.detail}")
            listed = []
        self._admit(listed)

    def _stop(self) -> None:
        if self._owner.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop ended between the two lines
                self._loop.call_soon_threadsafe(self._inbox.put_nowait, None)
            self._owner.join(self.limits.close_s + SLACK_S)
            self._wire.kill()
        if self.fault is None:
            self.fault = Fault("closed", "the session is closed")

    def _admit(self, listed: list[ListedTool]) -> None:
        """Pin the list, and offer the tools that nobody objects to."""
        self.pin = pin(listed)
        if self.fault is None and self.server.pin not in (None, self.pin):
            self.fault = Fault("tools_changed", "its tools are not those that were taken in")
        tools: dict[str, ToolSpec] = {}
        self.withheld = {}
        self._returns: dict[str, tuple[Any, int]] = {}
        for tool in listed:
            found = defects(tool)
            if not found and tool.name not in self.server.allowed:
                found = suspicions(tool)
            if found:
                self.withheld[plain(tool.name)[:100]] = found
                continue
            tools[tool.name] = ToolSpec(
                tool.name, plain(tool.description), tool.parameters, tool.returns, not tool.reads
            )
            if tool.returns is not None:
                self._returns[tool.name] = compiled_schema(tool.returns), node_count(tool.returns)
        self._tools = MappingProxyType(tools)
        self._checker = ArgumentChecker(tools)

    def _exchange(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        answer = self._ask(lambda client: self._called(client, name, arguments), self.limits.call_s)
        self.fault = self._wire.fault
        if self.fault is not None:
            return failed("fault", self.fault.kind, self.fault.detail)
        if isinstance(answer, Fault):
            self._timeouts += answer.kind == "timeout"
            if self._timeouts >= self.limits.timeouts:
                self.fault = Fault("hung", f"{self._timeouts} calls ran out of time")
            return failed("fault", answer.kind, answer.detail)
        returns, nodes = self._returns.get(name, (None, 0))
        limit = self.limits.result_characters
        return rendered(self.server.name, name, answer, returns, nodes, limit)

    def _ask(self, work: Work, seconds: float) -> Any:
        """Have the owner do something; what came of it, or the Fault that it met."""
        answer: Future[Any] = Future()
        try:
            self._loop.call_soon_threadsafe(self._inbox.put_nowait, (work, seconds, answer))
        except RuntimeError:  # the owner's loop has ended, and said why
            return self._wire.fault
        return self._wait(answer, seconds)

    def _wait(self, answer: "Future[Any]", seconds: float) -> Any:
        try:
            return answer.result(seconds + SLACK_S)
        except TimeoutError:
            self._wire.kill()
            return Fault("timeout", f"no answer within {seconds:g} s")

    # What follows runs on the owner's thread.

    def _own(self) -> None:
        try:
            asyncio.run(self._live())
        except Exception as error:
            # mcp's client failed, at something that the server sent: whoever waits must hear of it.
            self._wire.fault = self._wire.fault or Fault("protocol", _line(error))
        finally:
            if not self._answer.done():
                self._answer.set_result(self._wire.fault or Fault("closed", "it was closed"))

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._inbox: asyncio.Queue[tuple[Work, float, Future[Any]] | None] = asyncio.Queue()
        async with self._wire as (read, write), ClientSession(read, write) as client:
            self._answer.set_result(await self._bounded(self._open(client), self.limits.start_s))
            while (item := await self._inbox.get()) is not None:
                work, seconds, self._answer = item
                self._answer.set_result(await self._bounded(work(client), seconds))

    async def _bounded(self, work: Awaitable[Any], seconds: float) -> Any:
        """What the work gives, or the Fault that ended it."""
        self._wire.new_exchange()
        try:
            with anyio.fail_after(seconds):
                return await work
        except TimeoutError:
            return Fault("timeout", f"no answer within {seconds:g} s")
        except MCPError as error:
            return Fault("rpc_error", _line(error))
        except (ValueError, RuntimeError) as error:  # what mcp raises of an answer that is none
            return Fault("protocol", _line(error))

    async def _open(self, client: ClientSession) -> list[ListedTool]:
        await client.initialize()
        return await self._listed(client)

    async def _called(self, client: ClientSession, name: str, arguments: dict[str, Any]) -> Any:
        request = types.CallToolRequest(
            params=types.CallToolRequestParams(name=name, arguments=arguments)
        )
        # Not client.call_tool: it checks results with patterns of the server's own, unbounded.
        result = await client.send_request(request, types.CallToolResult)
        if self._wire.tools_changed:
            await self._compare(client)
        self._wire.measure()
        return result

    async def _compare(self, client: ClientSession) -> None:
        self._wire.tools_changed = False
        if pin(await self._listed(client)) != self.pin:
            self._wire.fail("tools_changed", "its tools changed during the episode")

    async def _listed(self, client: ClientSession) -> list[ListedTool]:
        """All tools, page by page; ValueError where they have no end or a name comes twice."""
        tools: dict[str, ListedTool] = {}
        cursor = None
        for _ in range(MAX_PAGES):
            request = types.ListToolsRequest(params=types.PaginatedRequestParams(cursor=cursor))
            page = await client.send_request(request, types.ListToolsResult)
            for tool in page.tools:
                if tool.name in tools or len(tools) == MAX_TOOLS:
                    raise ValueError(f"tool {tool.name[:100]!r} is one too many")
                tools[tool.name] = ListedTool(
                    tool.name,
                    self._folder.outward(tool.description or ""),
                    tool.input_schema,
                    tool.output_schema,
                    bool(tool.annotations and tool.annotations.read_only_hint),
                )
            cursor = page.next_cursor
            if cursor is None:
                return list(tools.values())
        raise ValueError(f"its tool list has more than {MAX_PAGES} pages")


def _line(error: Exception) -> str:
    return plain(str(error)).strip().partition("\n")[0][:300]


def _digest(result: ToolResult) -> str:
    return hashlib.sha256(f"{result.status}\0{result.content}".encode()).hexdigest()
