"""The endpoint as a Generator: what it sends, samples, and answers that are there already."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

from openk2.core.errors import UserError
from openk2.core.generation import JsonSchemaFormat, SamplingOptions
from openk2.core.protocols import Generator
from openk2.core.records import Message, ToolCall, ToolSpec
from openk2.integrations.openai_endpoint import Budget, EndpointUnavailable, OpenAIEndpoint

from .endpoint_scene import HELLO, play
from .faulty_server import FaultyServer, Reply, Request, chat_answer, error, in_turn, text_answer


@pytest.fixture(autouse=True)
def no_key_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_a_chat_is_what_the_openai_package_sends() -> None:
    dialog = [
        Message("user", "weather?"),
        Message("assistant", "I look", tool_calls=(ToolCall("c1", "weather", '{ "in":"Łódź"}'),)),
        Message("tool", "rain", tool_call_id="c1"),
    ]
    tool = ToolSpec("weather", "tells it", {"type": "object", "properties": {"in": {}}})
    schema = {"type": "object", "properties": {"z": {}, "a": {}}}
    options = SamplingOptions(temperature=0.5, max_tokens=9, seed=3, stop=("x",), top_k=4)

    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        generator: Generator = endpoint
        await generator.chat(
            dialog,
            [tool],
            options,
            samples=2,
            tool_choice="weather",
            response_format=JsonSchemaFormat(schema),
        )
        function: Any = {"name": "weather", "arguments": '{ "in":"Łódź"}'}
        client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none")
        await client.chat.completions.create(
            model="k2",
            messages=[
                {"role": "user", "content": "weather?"},
                {
                    "role": "assistant",
                    "content": "I look",
                    "tool_calls": [{"id": "c1", "type": "function", "function": function}],
                },
                {"role": "tool", "content": "rain", "tool_call_id": "c1"},
            ],
            tools=[tool.to_openai()],
            tool_choice={"type": "function", "function": {"name": "weather"}},
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": schema, "strict": True},
            },
            temperature=0.5,
            max_tokens=9,
            seed=3,
            stop=["x"],
            n=2,
            extra_body={"top_k": 4},
        )
        await client.close()
        ours, theirs = server.requests
        assert (ours.path, ours.body) == (theirs.path, theirs.body)
        # A model sees the order of a schema's keys.
        assert json.dumps(ours.body["response_format"]) == json.dumps(
            theirs.body["response_format"]
        )

    play(chat_answer, scene)


def test_completions_take_their_own_route() -> None:
    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        (completion,) = await endpoint.complete("<|im_end|> as text")
        assert completion.text == " after <|im_end|> as text"
        assert (completion.prompt_tokens, completion.completion_tokens) == (2, 5)
        assert (completion.finish_reason, completion.message) == ("length", None)
        assert server.requests[0].path == "/v1/completions"
        assert server.requests[0].body == {"model": "k2", "prompt": "<|im_end|> as text"}

    play(text_answer, scene)


def test_the_key_goes_to_the_endpoint_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-environment")
    cache = tmp_path / "cache"

    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        await endpoint.chat(HELLO)
        assert server.requests[0].headers["authorization"] == "Bearer sk-from-environment"
        server.answer = lambda _: error(401, "wrong key sk-from-environment here")
        with pytest.raises(UserError, match=r"wrong key \*\*\* here; check the API key"):
            await endpoint.complete("x")

    play(chat_answer, scene, cache=cache)
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"hello" not in written  # nor the question: only its hash
    assert b"sk-from" not in written

    monkeypatch.delenv("OPENAI_API_KEY")

    async def anonymous(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        await endpoint.chat(HELLO)
        assert "authorization" not in server.requests[0].headers

    play(chat_answer, anonymous)


@pytest.mark.parametrize(
    ("url", "key", "complaint"),
    [
        ("localhost:8000/v1", None, "'localhost:8000/v1': is not a base URL; give one such as"),
        ("http://[::1/v1", None, "is not a base URL"),
        ("http://a:port/v1", None, "is not a base URL"),
        ("http://me:secret@host/v1", None, "holds a password; give it as the API key"),
        ("http://host/v1", "sk-1\n", "the API key holds spaces, line ends"),
        ("http://host/v1", "schlüssel", "the API key holds"),
    ],
)
def test_settings_that_cannot_work_are_refused(url: str, key: str | None, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as refused:
        OpenAIEndpoint(url, "k2", key)
    assert "secret" not in str(refused.value)


def test_calls_that_cannot_work_are_refused_unsent() -> None:
    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        with pytest.raises(UserError, match="samples is 0; it must be at least 1"):
            await endpoint.chat(HELLO, samples=0)
        with pytest.raises(UserError, match="a budget needs requests whose cost is bounded; set"):
            await endpoint.chat(HELLO)
        assert server.requests == []

    play(chat_answer, scene, budget=Budget(10_000))


def test_importing_it_imports_no_openai() -> None:
    program = (
        "import sys, openk2.integrations.openai_endpoint as _;"
        "print([name for name in ('openai', 'tenacity', 'httpx2', 'torch') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("[]\n", "")


def texts(found: list[Any]) -> list[str]:
    return [completion.text for completion in found]


def test_a_server_that_ignores_n_is_asked_one_by_one_from_then_on() -> None:
    def answer(request: Request) -> Reply:
        return chat_answer(request, choices=1)

    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        options = SamplingOptions(seed=5)
        first = texts(await endpoint.chat(HELLO, options=options, samples=4))
        assert [request.body.get("n") for request in server.requests] == [4, None, None, None]
        assert len(set(first)) == 4  # each with a seed of its own
        assert first[0] == "5/0"
        assert texts(await endpoint.chat(HELLO, options=options, samples=4)) == first
        assert [request.body.get("n") for request in server.requests[4:]] == [None] * 4

    play(answer, scene)


def test_samples_can_be_asked_one_by_one_from_the_start() -> None:
    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        assert len(await endpoint.chat(HELLO, samples=3)) == 3
        assert ["n" in request.body for request in server.requests] == [False] * 3

    play(chat_answer, scene, several_choices=False)


def test_more_samples_later_reuse_those_that_are_there(tmp_path: Path) -> None:
    options = SamplingOptions(seed=1)

    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        two = texts(await endpoint.chat(HELLO, options=options, samples=2))
        five = texts(await endpoint.chat(HELLO, options=options, samples=5))
        assert five[:2] == two
        assert len(set(five)) == 5
        assert [request.body["n"] for request in server.requests] == [2, 3]
        assert texts(await endpoint.chat(HELLO, options=options, samples=3)) == five[:3]
        before = endpoint.statistics()
        assert (before.requests, before.cache_hits, before.tokens) == (2, 5, 7 + 6 + 7 + 9)
        # Anything that makes the answer another one asks anew.
        await endpoint.chat(HELLO, options=SamplingOptions(seed=2))
        await endpoint.chat(HELLO, [ToolSpec("t")], options)
        await endpoint.chat([Message("user", "hello!")], options=options)
        assert len(server.requests) == 5

    play(chat_answer, scene, cache=tmp_path / "cache")


def test_a_cached_answer_costs_nothing_and_is_the_same(tmp_path: Path) -> None:
    options = SamplingOptions(max_tokens=3)
    calls = [{"id": "c", "type": "function", "function": {"name": "t", "arguments": "{"}}]

    def answer(request: Request) -> Reply:
        return chat_answer(request, content=None, reasoning_content="hm", tool_calls=calls)

    async def run() -> None:
        async with FaultyServer(answer) as server:
            found = []
            for budget in (Budget(1000), Budget(0)):
                endpoint = OpenAIEndpoint(
                    server.base_url, "k2", budget=budget, cache=tmp_path / "cache"
                )
                found.append(await endpoint.chat(HELLO, options=options, samples=2))
                await endpoint.close()
            assert found[0] == found[1]
            assert found[0][0].message is not None
            assert found[0][0].message.problems[0].kind == "arguments"
            assert len(server.requests) == 1

    asyncio.run(asyncio.wait_for(run(), 30))


def test_errors_are_not_cached(tmp_path: Path) -> None:
    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        for failure in (UserError, EndpointUnavailable):
            with pytest.raises(failure):
                await endpoint.chat(HELLO)
        assert texts(await endpoint.chat(HELLO)) == ["None/0"]
        assert endpoint.statistics().cache_hits == 0

    replies = [error(400), *[Reply({"choices": []})] * 5]
    play(in_turn(replies), scene, cache=tmp_path / "cache")


def test_what_is_paid_for_is_kept_although_a_sibling_fails(tmp_path: Path) -> None:
    def slow(request: Request) -> Reply:
        reply = chat_answer(request)
        reply.delay = 0.01
        return reply

    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        with pytest.raises(UserError, match="HTTP 400"):
            await endpoint.chat(HELLO, samples=4)
        assert (len(server.requests), endpoint.statistics().running) == (4, 0)
        assert len(await endpoint.chat(HELLO, samples=4)) == 4
        assert len(server.requests) == 5

    play(in_turn([error(400)], slow), scene, cache=tmp_path / "cache", several_choices=False)


def test_the_same_request_in_flight_is_sent_once(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        reply = chat_answer(request)
        reply.delay = 0.02
        return reply

    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        async def ask(samples: int) -> list[str]:
            return texts(await endpoint.chat(HELLO, samples=samples))

        tasks = [asyncio.create_task(ask(samples)) for samples in (2, 1, 3, 2)]
        await asyncio.sleep(0.005)
        tasks[0].cancel()  # others wait for what it began
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert found[1] == found[2][:1]
        assert found[3] == found[2][:2]
        assert [request.body.get("n", 1) for request in server.requests] == [2, 1]
        assert endpoint.statistics().shared == 1 + 2 + 2

    play(answer, scene, cache=tmp_path / "cache")


def test_without_a_cache_every_call_is_a_draw_of_its_own() -> None:
    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        await asyncio.gather(endpoint.chat(HELLO), endpoint.chat(HELLO))
        assert len(server.requests) == 2

    play(chat_answer, scene)


ASKER = """
import asyncio, sys
from pathlib import Path
from openk2.core.records import Message
from openk2.integrations.openai_endpoint import OpenAIEndpoint

async def ask(url, cache):
    endpoint = OpenAIEndpoint(url, "k2", cache=Path(cache))
    for number in range(3):
        (found,) = await endpoint.chat([Message("user", str(number))])
        print(found.text, flush=True)
    await endpoint.close()

asyncio.run(ask(*sys.argv[1:]))
"""


def test_another_process_finds_the_answers(tmp_path: Path) -> None:
    async def ask(server: FaultyServer) -> list[bytes]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", ASKER, server.base_url, str(tmp_path / "cache")),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        return out.splitlines()

    async def run() -> None:
        numbers = iter(range(100))
        async with FaultyServer(lambda r: chat_answer(r, content=f"{next(numbers)}")) as server:
            first = await ask(server)
            assert len(set(first)) == len(server.requests) == 3
            assert await ask(server) == first
            assert len(server.requests) == 3

    asyncio.run(asyncio.wait_for(run(), 60))


def test_closing_stops_what_is_under_way(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        return Reply({}, delay=20.0)

    async def run() -> None:
        async with FaultyServer(answer) as server:
            endpoint = OpenAIEndpoint(server.base_url, "k2", cache=tmp_path / "cache")
            task = asyncio.create_task(endpoint.chat(HELLO))
            while not server.requests:
                await asyncio.sleep(0.001)
            await endpoint.close()
            with pytest.raises(asyncio.CancelledError):
                await task
            while not server.requests[0].abandoned:
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(run(), 30))
