"""An OpenAI-compatible server on a real socket that fails as it is told to."""

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FaultyServer", "Reply", "Request", "chat_answer", "error", "in_turn", "text_answer"]


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    raw: bytes
    arrived: float
    abandoned: bool = False  # the client left before the answer

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw)
        return found


@dataclass
class Reply:
    """An answer and its fault.

    cut     close the connection after so many bytes of the body
    drop    close it before any byte
    drip    send the body byte by byte, so many seconds apart
    """

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None
    drop: bool = False
    drip: float = 0.0

    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def chat_answer(request: Request, choices: int | None = None, **message: Any) -> Reply:
    """As many turns as asked for, each with the request's number of samples and its seed in it."""
    body = request.body
    count = body.get("n", 1) if choices is None else choices
    turns = [
        {
            "index": index,
            "message": {"role": "assistant", "content": f"{body.get('seed')}/{index}", **message},
            "finish_reason": "stop",
        }
        for index in range(count)
    ]
    usage = {"prompt_tokens": 7, "completion_tokens": 3 * count, "total_tokens": 7 + 3 * count}
    return Reply({"object": "chat.completion", "choices": turns, "usage": usage})


def text_answer(request: Request) -> Reply:
    choice = {"text": f" after {request.body['prompt']}", "index": 0, "finish_reason": "length"}
    return Reply({"choices": [choice], "usage": {"prompt_tokens": 2, "completion_tokens": 5}})


def error(status: int, message: str = "no", **headers: str) -> Reply:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply({"error": {"message": message, "type": "x", "code": None}}, status, names)


def in_turn(
    replies: Iterable[Reply], then: Callable[[Request], Reply] = chat_answer
) -> Callable[[Request], Reply]:
    """One reply after the other, then answers."""
    left = iter(replies)

    def answer(request: Request) -> Reply:
        reply = next(left, None)
        return then(request) if reply is None else reply

    return answer


class FaultyServer:
    """Serves while entered; remembers the requests and how many it had at once."""

    def __init__(self, answer: Callable[[Request], Reply] = chat_answer) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.running = 0
        self.most_running = 0

    async def __aenter__(self) -> "FaultyServer":
        self._connections: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await self._read(reader)) is not None:
                self.requests.append(request)
                self.running += 1
                self.most_running = max(self.most_running, self.running)
                try:
                    whole = await self._reply(request, reader, writer)
                finally:
                    self.running -= 1
                if not whole:
                    break
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Request | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.splitlines()
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        body = await reader.readexactly(int(headers["content-length"]))
        # The headers as sent: lower case would hide a key.
        sent = dict(line.split(": ", 1) for line in lines if line)
        arrived = asyncio.get_running_loop().time()
        return Request(first.split()[1], {k.lower(): v for k, v in sent.items()}, body, arrived)

    async def _reply(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Whether the connection can go on."""
        reply = self.answer(request)
        if reply.delay:
            gone = asyncio.ensure_future(reader.read(1))
            await asyncio.wait([gone], timeout=reply.delay)
            if gone.done():
                request.abandoned = True
                return False
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
        if reply.drop:
            return False
        body = reply.encoded()
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        headers |= reply.headers
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {reply.status} Said\r\n{lines}\r\n".encode())
        if reply.drip:
            for byte in body:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(reply.drip)
        else:
            writer.write(body[: reply.cut])
        await writer.drain()
        return reply.cut is None
