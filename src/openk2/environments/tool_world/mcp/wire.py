"""One server process over stdio, and every byte that passes between it and mcp's client.

mcp's own stdio transport puts no bound on a line (40 MB take it ten seconds, 200 MB minutes) nor on
their number. This one does: a line, an episode and the messages of one call have limits, and a
server that breaks one is killed on the spot and the reason kept. Notifications end here; what the
session must know of them is one flag.
"""

import asyncio
import os
import signal
from asyncio.subprocess import Process, SubprocessStreamProtocol
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import anyio
import mcp_types as types
from mcp.shared.message import SessionMessage

from openk2.environments.tool_world.mcp.screening import plain
from openk2.environments.tool_world.mcp.state import DEPTH

__all__ = ["Fault", "McpLimits", "Wire"]

CHUNK = 1 << 16
KILL_S = 2.0
STDERR_KEPT = 4096
# How often the state folder is measured while a server works.
WATCH_S = 0.25


@dataclass(frozen=True)
class McpLimits:
    """What one server may take in one episode.

    start_s, call_s     seconds until the tools are listed; for one call
    close_s             seconds to leave on its own after its stdin closes
    line_bytes          of one message
    episode_bytes       all that it writes, messages and diagnostics each
    call_messages       messages during one call, of any kind
    junk_lines          lines that are no JSON-RPC (some honest servers print a banner)
    calls               calls in an episode
    timeouts            calls that may run out of time before it counts as hung
    result_characters   of a result that the agent reads
    state_bytes, state_files   in the state folder
    episode_s           seconds for the whole episode
    cpu_s, memory_bytes, processes, open_files, file_bytes   of the jail, see sandbox.Limits
    """

    start_s: float = 30.0
    call_s: float = 30.0
    close_s: float = 0.5
    line_bytes: int = 1 << 20
    episode_bytes: int = 32 << 20
    call_messages: int = 1000
    junk_lines: int = 100
    calls: int = 1000
    timeouts: int = 3
    result_characters: int = 20_000
    state_bytes: int = 64 << 20
    state_files: int = 10_000
    episode_s: float = 3600.0
    cpu_s: float = 300.0
    memory_bytes: int = 2 << 30
    processes: int = 64
    open_files: int = 256
    file_bytes: int = 32 << 20


@dataclass(frozen=True)
class Fault:
    """Why a server is not called again.

    kind     "start", "hung", "crashed", "line_too_long", "flood", "garbage", "protocol",
             "tools_changed", "disk", "budget", "replay"
    detail   one line for people; it may quote the server
    """

    kind: str
    detail: str


class Wire:
    """A transport for mcp's ClientSession: `async with Wire(...) as (read, write)`.

    fault           the first limit that the server broke, or that it ended; None while it lives
    tools_changed   it said since the flag was last cleared that its tool list changed
    asked           what it asked of us, by method; the client refuses all but pings
    """

    def __init__(self, command: Sequence[str], folder: Path, limits: McpLimits) -> None:
        self.fault: Fault | None = None
        self.tools_changed = False
        self.asked: Counter[str] = Counter()
        self.stderr = b""
        self._command, self._folder = command, folder
        self._limits = limits
        self._messages = self._junk = self._read_bytes = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._process: Process
        self._transport: asyncio.SubprocessTransport

    def new_exchange(self) -> None:
        """A call begins: it has the full number of messages."""
        self._messages = 0

    def kill(self) -> None:
        """End the jail and all that is in it; may be called from any thread."""
        if self._process.returncode is None:  # afterwards the number may be another's
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def __aenter__(self) -> tuple[Any, Any]:
        # As create_subprocess_exec does it, which keeps to itself what has to be closed at the end.
        loop = asyncio.get_running_loop()
        self._transport, protocol = await loop.subprocess_exec(
            lambda: SubprocessStreamProtocol(limit=CHUNK, loop=loop),
            *self._command,
            env={},
            cwd=self._folder,
            start_new_session=True,
        )
        self._process = Process(self._transport, protocol, loop)
        inbound, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        write, outbound = anyio.create_memory_object_stream[SessionMessage](0)
        self._streams = (inbound, read, write, outbound)
        for work in (
            self._receive(inbound),
            self._send(outbound),
            self._drain(),
            self._watch(),
        ):
            self._tasks.append(asyncio.create_task(work))
        return read, write

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self.fault is None:
            await self._ended(self._limits.close_s)
        self.kill()
        await self._ended(KILL_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for stream in self._streams:
            stream.close()
        self._transport.close()

    def fail(self, kind: str, detail: str) -> None:
        """Keep the first reason, end the server and with it every wait for an answer."""
        if self.fault is None:
            self.fault = Fault(kind, detail)
        self.kill()
        self._streams[0].close()

    async def _receive(self, inbound: Any) -> None:
        assert self._process.stdout is not None
        rest = b""
        while chunk := await self._process.stdout.read(CHUNK):
            self._read_bytes += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            longest = max(map(len, (rest, *lines)))
            if longest > self._limits.line_bytes:
                return self.fail("line_too_long", f"a line of over {self._limits.line_bytes} bytes")
            if self._read_bytes > self._limits.episode_bytes:
                return self.fail("flood", f"over {self._limits.episode_bytes} bytes in an episode")
            for line in filter(None, map(bytes.strip, lines)):
                message = self._message(line)
                if self.fault is not None:
                    return
                if message is not None:
                    await inbound.send(SessionMessage(message))
        code = await self._ended(KILL_S)
        said = plain(self.stderr.decode("utf-8", "replace")).strip().rpartition("\n")[2]
        self.fail("crashed", f"the server ended (exit code {code}) {said[-300:]}".rstrip())

    def _message(self, line: bytes) -> Any:
        """The request or the response in a line; None for what goes no further."""
        self._messages += 1
        if self._messages > self._limits.call_messages:
            self.fail("flood", f"over {self._limits.call_messages} messages in one call")
        try:
            message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:
            self._junk += 1
            if self._junk > self._limits.junk_lines:
                self.fail("garbage", f"over {self._limits.junk_lines} lines that are no JSON-RPC")
            return None
        if isinstance(message, types.JSONRPCNotification):
            self.tools_changed |= message.method == "notifications/tools/list_changed"
            return None
        if isinstance(message, types.JSONRPCRequest):
            self.asked[message.method[:100]] += 1
        return message

    async def _send(self, outbound: Any) -> None:
        assert self._process.stdin is not None
        async for item in outbound:
            text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
            self._process.stdin.write(text.encode() + b"\n")
            with suppress(ConnectionError):  # its end is the reader's to tell
                await self._process.stdin.drain()

    async def _drain(self) -> None:
        """Keep the end of what it says on the standard error, and bound the rest."""
        assert self._process.stderr is not None
        total = 0
        while chunk := await self._process.stderr.read(CHUNK):
            total += len(chunk)
            self.stderr = (self.stderr + chunk)[-STDERR_KEPT:]
            if total > self._limits.episode_bytes:
                return self.fail("flood", "an endless standard error")

    async def _watch(self) -> None:
        """The jail bounds a file, not their number: measure the state folder."""
        while True:
            await asyncio.sleep(WATCH_S)
            self.measure()

    def measure(self) -> None:
        """Fault "disk" where the state folder has grown beyond its limits, or hides its size."""
        size = files = 0
        left = [(str(self._folder), 0)]
        while left:
            folder, depth = left.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        files += 1
                        if entry.is_dir(follow_symlinks=False):
                            left.append((entry.path, depth + 1))
                        else:
                            size += entry.stat(follow_symlinks=False).st_size
            except (FileNotFoundError, NotADirectoryError):  # gone since it was listed
                continue
            except OSError as error:
                return self.fail("disk", f"state that cannot be measured: {error.strerror}")
            if size > self._limits.state_bytes or files > self._limits.state_files:
                return self.fail("disk", f"{size} bytes in {files} files of state")
            if depth > DEPTH:
                return self.fail("disk", f"state in folders nested deeper than {DEPTH}")

    async def _ended(self, seconds: float) -> int | None:
        """The exit code; None where it still runs after these seconds.

        Not Process.wait, which waits for the pipes too, that a child may hold.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        while self._process.returncode is None:
            if asyncio.get_running_loop().time() > deadline:
                return None
            await asyncio.sleep(0.005)
        return self._process.returncode
