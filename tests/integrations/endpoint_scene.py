"""An endpoint before a server that fails: how the tests of both play a scene."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from openk2.core.records import Message
from openk2.integrations.openai_endpoint import OpenAIEndpoint, RetryPolicy

from .faulty_server import FaultyServer, Reply, Request

__all__ = ["HELLO", "QUICK", "play"]

T = TypeVar("T")
HELLO = [Message("user", "hello")]
QUICK = RetryPolicy(attempts=5, first_wait=0.001, longest_wait=0.004, longest_retry_after=0.05)


def play(
    answer: Callable[[Request], Reply],
    scene: Callable[[FaultyServer, OpenAIEndpoint], Coroutine[Any, Any, T]],
    **settings: Any,
) -> T:
    """Run `scene` with a server and an endpoint to it."""

    async def run() -> T:
        async with FaultyServer(answer) as server:
            endpoint = OpenAIEndpoint(server.base_url, "k2", **{"retries": QUICK, **settings})
            try:
                return await scene(server, endpoint)
            finally:
                await endpoint.close()

    return asyncio.run(asyncio.wait_for(run(), 30))
