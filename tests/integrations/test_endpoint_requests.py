"""Requests against real servers that fail: how often they are sent, how many at once, the cost."""

import asyncio
import gzip
import time
from email.utils import formatdate

import pytest

from openk2.core.errors import UserError
from openk2.core.generation import SamplingOptions
from openk2.integrations.openai_endpoint import (
    AimdLimit,
    Budget,
    BudgetExceeded,
    EndpointUnavailable,
    OpenAIEndpoint,
    RetryPolicy,
)

from .endpoint_scene import HELLO, QUICK, play
from .faulty_server import FaultyServer, Reply, Request, chat_answer, error, in_turn, text_answer

PASSING = [
    error(429, retry_after="0"),
    error(500),
    error(502),
    error(503, retry_after=formatdate(usegmt=True)),
    error(408),
    Reply(b"<html>oops</html>"),
    Reply({"choices": []}),
    Reply({"error": {"message": "busy"}}),
    Reply(b'{"choices": [{"message": {"content": "half an ans', cut=30),
    Reply(b"0123456789", headers={"content-length": "5000"}, cut=10),
    Reply(drop=True),
    Reply(b"\x1f\x8b broken", headers={"content-encoding": "gzip"}),
]


@pytest.mark.parametrize("reply", PASSING, ids=[f"{r.status} {r.body!r:.25}" for r in PASSING])
def test_what_may_pass_is_tried_again(reply: Reply) -> None:
    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        (completion,) = await endpoint.chat(HELLO)
        assert completion.text == "None/0"
        assert len(server.requests) == 3
        statistics = endpoint.statistics()
        assert (statistics.requests, statistics.retries) == (3, 2)
        assert (statistics.running, statistics.waiting) == (0, 0)

    play(in_turn([reply, reply]), scene)


@pytest.mark.parametrize(
    ("status", "fix"),
    [
        (400, "change the request"),
        (401, "check the API key"),
        (403, "check the API key"),
        (404, "check the base URL and the model's name"),
        (413, "change the request"),
        (422, "change the request"),
    ],
)
def test_what_will_not_pass_is_asked_once(status: int, fix: str) -> None:
    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        with pytest.raises(UserError) as refused:
            await endpoint.chat(HELLO)
        assert str(refused.value).startswith(
            f"{server.base_url}: model 'k2': the request is refused: HTTP {status}: no way; {fix}"
        )
        assert not isinstance(refused.value, EndpointUnavailable)
        assert len(server.requests) == 1
        assert endpoint.statistics().tokens == 0

    play(lambda _: error(status, "no\n  way"), scene)


def test_an_empty_account_is_not_waited_for() -> None:
    body = {"error": {"message": "quota", "code": "insufficient_quota"}}

    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        with pytest.raises(UserError, match="HTTP 429: quota; pay, or use another API key"):
            await endpoint.chat(HELLO)
        assert len(server.requests) == 1

    play(lambda _: Reply(body, 429), scene)


def test_the_error_after_the_last_attempt_says_how_many_and_why() -> None:
    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        last = r"model 'k2': no answer after 5 attempts, .*; the last: HTTP 503: \x1b\[31m tired"
        with pytest.raises(EndpointUnavailable, match=last.replace(r"\x1b", "␛")):
            await endpoint.chat(HELLO)
        assert len(server.requests) == 5

    play(lambda _: error(503, "\x1b[31m tired"), scene)


def test_an_endpoint_that_is_not_there() -> None:
    async def run() -> None:
        async with FaultyServer() as server:
            url = server.base_url
        budget = Budget(1000)
        endpoint = OpenAIEndpoint(url, "k2", retries=QUICK, budget=budget)
        with pytest.raises(EndpointUnavailable, match=r"5 attempts.*ConnectError"):
            await endpoint.complete("x", SamplingOptions(max_tokens=9))
        assert budget.tokens == 0  # nothing was ever sent
        await endpoint.close()

    asyncio.run(asyncio.wait_for(run(), 30))


def test_the_total_time_ends_it_before_the_attempts_do() -> None:
    policy = RetryPolicy(attempts=1000, total_time=0.1, first_wait=0.02, longest_wait=0.02)

    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        started = time.monotonic()
        with pytest.raises(EndpointUnavailable):
            await endpoint.chat(HELLO)
        assert 3 <= len(server.requests) < 100
        assert time.monotonic() - started < 5

    play(lambda _: error(500), scene, retries=policy)


def test_an_attempt_has_a_time_limit_even_if_bytes_drip() -> None:
    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        with pytest.raises(EndpointUnavailable, match=r"2 attempts.*no answer within 0\.05 sec"):
            await endpoint.chat(HELLO)
        assert endpoint.statistics().concurrency == 2  # 8, cut twice

    policy = RetryPolicy(attempts=2, first_wait=0.001)
    play(lambda _: Reply(b" " * 100_000, drip=0.005), scene, timeout=0.05, retries=policy)


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("packing", [None, "gzip", "gzip, gzip", "br"])
def test_a_body_beyond_the_limit_is_not_read(status: int, packing: str | None) -> None:
    size = 50 << 20
    body = b"\x00" * size if packing is None else gzip.compress(b"\x00" * size, 1)
    headers = {} if packing is None else {"content-encoding": packing}

    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        with pytest.raises(EndpointUnavailable, match=r"longer than 1,048,576 bytes|is packed as"):
            await endpoint.chat(HELLO)

    policy = RetryPolicy(attempts=1)
    play(lambda _: Reply(body, status, headers), scene, max_answer_bytes=1 << 20, retries=policy)


def test_a_packed_answer_is_read() -> None:
    def answer(request: Request) -> Reply:
        packed = gzip.compress(chat_answer(request).encoded())
        return Reply(packed, headers={"content-encoding": "gzip"})

    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        assert (await endpoint.chat(HELLO))[0].text == "None/0"

    play(answer, scene)


# --- how many at once


def test_a_burst_of_429_is_one_sign_and_pauses_all() -> None:
    limit = AimdLimit(8)
    refusal = error(429, retry_after="0.05")
    refusal.delay = 0.02  # until all eight are there

    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        await asyncio.gather(*(endpoint.complete(str(n)) for n in range(20)))
        assert server.most_running == 8
        assert len(server.requests) == 28
        burst, later = server.requests[:8], server.requests[8:]
        assert later[0].arrived - burst[-1].arrived > 0.045
        assert limit.decreases == 1

    play(in_turn([refusal] * 8, text_answer), scene, limit=limit)


@pytest.mark.parametrize("status", [429, 500])
def test_a_retry_after_beyond_the_limit_is_cut_short(status: int) -> None:
    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        started = time.monotonic()
        await endpoint.chat(HELLO)
        assert 0.045 < time.monotonic() - started < 5

    play(in_turn([error(status, retry_after="86400")]), scene)


def test_the_limit_falls_to_what_the_server_bears_and_climbs_back() -> None:
    bears = 4

    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        nonlocal bears

        def answer(request: Request) -> Reply:
            if server.running > bears:
                return error(429)
            reply = text_answer(request)
            reply.delay = 0.003
            return reply

        server.answer = answer
        await asyncio.gather(*(endpoint.complete(str(n)) for n in range(150)))
        low = endpoint.statistics().concurrency
        assert low <= 6
        bears, before = 1000, endpoint.statistics().requests
        server.most_running = 0
        await asyncio.gather(*(endpoint.complete(str(n)) for n in range(250)))
        statistics = endpoint.statistics()
        assert statistics.requests - before == 250  # no attempt failed
        assert statistics.concurrency > 2 * low
        assert statistics.concurrency - 1 <= server.most_running <= 40

    policy = RetryPolicy(attempts=100, first_wait=0.002, longest_wait=0.01)
    play(text_answer, scene, limit=AimdLimit(32, 40), retries=policy)


def test_requests_go_out_in_the_order_in_which_they_came() -> None:
    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        await asyncio.gather(*(endpoint.complete(str(n)) for n in range(30)))
        assert [request.body["prompt"] for request in server.requests] == [
            str(n) for n in range(30)
        ]
        assert server.most_running == 1

    play(text_answer, scene, limit=AimdLimit(1, 1))


def test_a_cancelled_call_leaves_the_server_and_gives_its_turn_back() -> None:
    def answer(request: Request) -> Reply:
        reply = text_answer(request)
        reply.delay = 20.0 if request.body["prompt"] == "slow" else 0.0
        return reply

    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        slow = asyncio.create_task(endpoint.complete("slow"))
        waiting = [asyncio.create_task(endpoint.complete(str(n))) for n in range(4)]
        while not server.requests:
            await asyncio.sleep(0.001)
        waiting[1].cancel()
        await asyncio.sleep(0.001)
        slow.cancel()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(results[1], asyncio.CancelledError)
        assert [r.body["prompt"] for r in server.requests] == ["slow", "0", "2", "3"]
        assert server.requests[0].abandoned
        assert (endpoint.statistics().running, endpoint.statistics().waiting) == (0, 0)

    play(answer, scene, limit=AimdLimit(1, 1))


# --- what it costs


def test_fifty_at_once_never_run_over_the_budget() -> None:
    budget = Budget(max_tokens=1000)
    options = SamplingOptions(max_tokens=40)
    sent_with_spent: list[int] = []

    def answer(request: Request) -> Reply:
        sent_with_spent.append(budget.tokens)
        usage = {"prompt_tokens": len(request.raw) // 2, "completion_tokens": 40}
        return Reply({"choices": [{"text": "x"}], "usage": usage}, delay=0.002)

    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        calls = (endpoint.complete(f"{n:03}", options) for n in range(50))
        results = await asyncio.gather(*calls, return_exceptions=True)
        refused = [result for result in results if isinstance(result, BudgetExceeded)]
        size = len(server.requests[0].raw)
        assert len(refused) + len(server.requests) == 50
        assert budget.tokens == len(server.requests) * (size // 2 + 40) <= 1000
        # It stopped no sooner than the next request could have run over.
        assert budget.tokens + size + 40 > 1000
        assert server.most_running > 1
        with pytest.raises(BudgetExceeded, match="of 1,000 tokens are spent"):
            await endpoint.complete("more", options)
        assert len(server.requests) == len(sent_with_spent)

    play(answer, scene, budget=budget, limit=AimdLimit(50, 50))


def test_what_no_server_confirmed_counts_as_estimated() -> None:
    budget = Budget()
    options = SamplingOptions(max_tokens=16)

    async def scene(server: FaultyServer, endpoint: OpenAIEndpoint) -> None:
        await endpoint.complete("x", options)
        size = len(server.requests[0].raw)
        # The first attempt may have cost all that it was allowed; the second 8 letters or 2 tokens.
        expected = (size + 16) + (-(-size // 4) + 2)
        assert budget.tokens == budget.estimated_tokens == expected
        assert endpoint.statistics().estimated_tokens == expected

    replies = [Reply(drop=True), Reply({"choices": [{"text": "12345678"}]})]
    play(in_turn(replies), scene, budget=budget)
