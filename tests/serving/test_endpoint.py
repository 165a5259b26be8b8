"""Our server as an endpoint of `integrations.openai_endpoint`."""

import asyncio

from openk2.integrations.openai_endpoint import OpenAIEndpoint
from tests.inference.test_engine_generator import exercise


def test_our_server_is_a_generator(server) -> None:
    endpoint = OpenAIEndpoint(f"{server.url}/v1", "tiny", api_key="none")
    asyncio.run(exercise(endpoint))
