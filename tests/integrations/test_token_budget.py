"""Budgets: what is spent never exceeds them, whatever the order of events."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.core.errors import UserError
from openk2.integrations.token_budget import Budget, BudgetExceeded, Usage

REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 40),  # input reserved
        st.integers(0, 40),  # output reserved
        st.floats(0, 1),  # the share of it that it takes
        st.integers(0, 3),  # turns of the event loop that it takes
        st.sampled_from(["settled", "settled", "never known", "cancelled"]),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(REQUESTS, st.integers(0, 200), st.booleans())
def test_no_interleaving_runs_over(
    requests: list[tuple[int, int, float, int, str]], maximum: int, money: bool
) -> None:
    async def play() -> None:
        budget = Budget(None, maximum / 1e6, 1.0, 2.0) if money else Budget(maximum)
        sent = []

        async def one(read: int, written: int, share: float, turns: int, end: str) -> None:
            bound = Usage(read, written)
            async with budget.reserved(bound) as bill:
                sent.append(bound)
                for _ in range(turns):
                    await asyncio.sleep(0)
                if end == "settled":
                    bill.settle(Usage(int(read * share), int(written * share)))
                if end == "cancelled":
                    raise asyncio.CancelledError

        tasks = [asyncio.create_task(one(*request)) for request in requests]
        for task, request in zip(tasks, requests, strict=True):
            if request[4] == "cancelled" and request[3] == 2:
                task.cancel()  # while it waits
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert budget.tokens <= maximum or money
        assert budget.cost <= maximum / 1e6 or not money
        assert budget.estimated_tokens <= budget.tokens
        refused = sum(isinstance(result, BudgetExceeded) for result in results)
        cancelled = sum(isinstance(result, asyncio.CancelledError) for result in results)
        assert len(sent) + refused <= len(requests) <= len(sent) + refused + cancelled
        # All reservations are gone: what is left can be spent to the last token.
        left = Usage(maximum - budget.tokens, 0)
        if not money:
            async with budget.reserved(left):
                pass
            assert budget.tokens == maximum

    asyncio.run(asyncio.wait_for(play(), 20))


def test_a_request_waits_for_what_others_may_leave_over() -> None:
    async def play() -> None:
        budget = Budget(100)
        order = []

        async def one(name: str) -> None:
            async with budget.reserved(Usage(60, 20)) as bill:
                order.append(name)
                await asyncio.sleep(0.01)
                bill.settle(Usage(5, 5))

        await asyncio.gather(one("a"), one("b"), one("c"))
        assert order == ["a", "b", "c"]
        assert budget.tokens == 30
        with pytest.raises(BudgetExceeded, match=r"30 of 100 tokens are spent .* may take 80; r"):
            await one("d")
        assert order == ["a", "b", "c"]

    asyncio.run(asyncio.wait_for(play(), 20))


def test_who_is_cancelled_holds_nothing_back() -> None:
    async def play() -> None:
        budget = Budget(100)
        begun = []

        async def one(name: str, tokens: int) -> None:
            async with budget.reserved(Usage(tokens)) as bill:
                begun.append(name)
                await asyncio.sleep(0.001)
                bill.settle(Usage())

        async with budget.reserved(Usage(60)) as bill:
            bill.settle(Usage(1))
            large = asyncio.create_task(one("large", 80))
            small = asyncio.create_task(one("small", 30))
            await asyncio.sleep(0)
            large.cancel()  # while it waits: what waited behind it fits
            await small
            assert begun == ["small"]
            next_one = asyncio.create_task(one("next", 80))
            await asyncio.sleep(0)
        next_one.cancel()  # its turn is set and it has not run since
        await asyncio.gather(large, next_one, return_exceptions=True)
        assert begun == ["small"]
        await one("all that is left", 99)

    asyncio.run(asyncio.wait_for(play(), 20))


def test_money_is_counted_by_kind() -> None:
    async def play() -> None:
        budget = Budget(max_cost=1.0, price_per_million_input=2.0, price_per_million_output=10.0)
        async with budget.reserved(Usage(100_000, 50_000)) as bill:
            bill.settle(Usage(50_000, 50_000, estimated=True))
        assert budget.cost == pytest.approx(0.6)
        assert (budget.tokens, budget.estimated_tokens) == (100_000, 100_000)
        with pytest.raises(BudgetExceeded, match=r"0\.6 of 1 in money .* take 0\.5;"):
            async with budget.reserved(Usage(0, 50_000)):
                pass

    asyncio.run(play())


def test_limits_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(UserError, match="a limit on money needs prices"):
        Budget(max_cost=1.0)
    with pytest.raises(UserError, match="cannot be negative"):
        Budget(max_tokens=-1)
