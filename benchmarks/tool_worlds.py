"""Tool calls and episode resets a second of the procedural worlds, on one core.

Ours does on every call what an episode needs: the arguments checked against the schema, policies,
rows read and written in SQLite, the change recorded and the event logged. The peer is the same
look-up as a tool of an MCP server in the same process, which is how others serve tools to an agent.
"""

import asyncio
import json
import random
from collections.abc import Callable
from functools import partial

from benchmarks.table import Table, verdict
from benchmarks.timing import Timing, interleaved
from openk2.environments.registry import VerifiableEnvironments
from openk2.environments.tool_world import DOMAINS, ToolSimulator, make_task

__all__ = ["run"]

CALLS_TARGET, RESETS_TARGET = 10_000, 500
EPISODES, RESETS, MCP_CALLS = 40, 100, 1000


def run(rounds: int, episodes: int = EPISODES, resets: int = RESETS) -> list[Table]:
    """A row for each domain, and the peer's."""
    works: dict[str, Callable[[], object]] = {}
    calls: dict[str, int] = {}
    for name in DOMAINS:
        simulators = [ToolSimulator(make_task(name, index)) for index in range(episodes)]
        calls[name] = sum(len(simulator.task.plan) for simulator in simulators) * REPEATS
        works[f"{name} calls"] = partial(_play, simulators)
        works[f"{name} resets"] = partial(_reset, name, episodes, resets)
    peer = _McpLookUps()
    works["mcp"] = partial(peer.call, MCP_CALLS)
    timings = interleaved(works, rounds)
    mcp_rate = MCP_CALLS / timings["mcp"].median
    rows = []
    for name in DOMAINS:
        called, reset = timings[f"{name} calls"], timings[f"{name} resets"]
        rate, fresh = calls[name] / called.median, resets / reset.median
        met = rate >= CALLS_TARGET and fresh >= RESETS_TARGET
        rows.append(
            [name, str(len(DOMAINS[name].tools)), str(called.n), f"{rate:,.0f}",
             f"{called.spread:.1%}", f"{rate / mcp_rate:.1f}", f"{fresh:,.0f}",
             f"{reset.spread:.1%}", verdict(float(met), 1.0)]
        )  # fmt: skip
    columns = ("domain", "tools", "n", "calls/s", "spread", "ratio to MCP", "resets/s", "spread",
               f"target {CALLS_TARGET:,} and {RESETS_TARGET}")  # fmt: skip
    note = f"MCP server in process, the same look-up: {_rate(timings['mcp'], MCP_CALLS)}"
    return [Table("Procedural tool worlds, one core", columns, rows, [note])]


REPEATS = 25  # a plan again on the state it left: later writes are refused, reads are not


def _play(simulators: list[ToolSimulator]) -> None:
    for simulator in simulators:
        simulator.restore()
        for _ in range(REPEATS):
            for call in simulator.task.plan:
                simulator.call(call.tool, call.arguments)


def _reset(name: str, episodes: int, count: int) -> None:
    """Whole episodes: a world, its tools, a user's first message."""
    world = VerifiableEnvironments()[f"tool_world.{name}"]
    tasks = [world.task(index) for index in range(episodes)]  # made before, and remembered
    for number in range(count):
        world.reset(tasks[number % episodes], number)


def _rate(timing: Timing, count: int) -> str:
    return f"{count / timing.median:,.0f} calls/s, n {timing.n}, spread {timing.spread:.1%}"


class _McpLookUps:
    """get_order of a retail world behind an MCP server and client in this process.

    A session is opened and closed by the task that uses it, as the protocol's client demands; that
    is a small part of so many calls.
    """

    def __init__(self) -> None:
        from mcp.server import MCPServer

        state = ToolSimulator(make_task("retail", 0)).state
        self._keys = [row["order_id"] for row in state.find("order")]
        self._server = MCPServer("retail")

        async def get_order(order_id: str) -> str:
            """Look up an order by its key."""
            return json.dumps(state.get("order", order_id))

        self._server.tool()(get_order)

    def call(self, count: int) -> None:
        """So many look-ups, one after the other."""
        asyncio.run(self._calls(count))

    async def _calls(self, count: int) -> None:
        from mcp import Client

        rng = random.Random(0)
        async with Client(self._server) as client:
            for _ in range(count):
                await client.call_tool("get_order", {"order_id": rng.choice(self._keys)})
