"""Answers that come in pieces: server-sent events, as OpenAI's clients read them."""

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from openk2.serving.api_errors import ApiError
from openk2.serving.exchange import Exchange

__all__ = ["EventStream", "event"]

# Proxies are not to gather the pieces.
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
DONE = b"data: [DONE]\n\n"


def event(content: dict[str, Any]) -> bytes:
    """One server-sent event; JSON has no line breaks, so its data is one line."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode()


class EventStream(StreamingResponse):
    """Sends `pieces`, each of whole events, and closes the exchange whatever happens."""

    def __init__(self, exchange: Exchange, pieces: AsyncIterator[bytes]) -> None:
        super().__init__(_to_the_end(pieces), media_type="text/event-stream", headers=HEADERS)
        self._exchange = exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._exchange.close()


async def _to_the_end(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            yield piece
    except ApiError as error:
        # The status has been sent: an error is now one more event, and the stream ends without
        # the mark of a complete answer.
        yield event(error.body())
    else:
        yield DONE
