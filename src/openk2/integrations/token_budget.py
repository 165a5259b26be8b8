"""What requests may cost, in tokens and in money: counted before they are sent, so that many at
once cannot run over."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from openk2.core.errors import UserError

__all__ = ["Bill", "Budget", "BudgetExceeded", "Usage"]


class BudgetExceeded(UserError):
    """The next request could cost more than is left; it was not sent."""


@dataclass(frozen=True)
class Usage:
    """Tokens read and tokens written; `estimated` where the server did not say."""

    input: int = 0
    output: int = 0
    estimated: bool = False

    @property
    def tokens(self) -> int:
        return self.input + self.output


class Bill:
    """What one request costs: the most it can until it is settled."""

    def __init__(self, bound: Usage) -> None:
        self.usage = Usage(bound.input, bound.output, estimated=True)

    def settle(self, usage: Usage) -> None:
        self.usage = usage


class Budget:
    """Limits on tokens and on money, shared by all requests that are given it.

    max_tokens, max_cost       None: counted, not limited
    price_per_million_input    money for a million tokens read, in the currency of `max_cost`
    price_per_million_output   and written

    A request reserves the most that it can cost. Where that does not fit beside what others have
    reserved, it waits until they are settled: they rarely cost all of it. A request whose cost
    never becomes known (no answer in time, a connection that broke, a task that was cancelled)
    counts with all that was reserved. For the tasks of one event loop.
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        max_cost: float | None = None,
        price_per_million_input: float = 0.0,
        price_per_million_output: float = 0.0,
    ) -> None:
        """Raises UserError for a limit on money without prices, and for negative figures."""
        prices = (price_per_million_input, price_per_million_output)
        if min(*prices, max_tokens or 0, max_cost or 0.0) < 0:
            raise UserError("budget: limits and prices cannot be negative")
        if max_cost is not None and not any(prices):
            raise UserError(
                "budget: a limit on money needs prices; give price_per_million_input and _output"
            )
        self.max_tokens = max_tokens
        self.max_cost = max_cost
        self.prices = prices
        self.input_tokens = 0
        self.output_tokens = 0
        self.estimated_tokens = 0  # of the two above, those that no server confirmed
        self._reserved = Usage()
        self._waiting: deque[tuple[Usage, asyncio.Future[None]]] = deque()

    @property
    def limited(self) -> bool:
        return self.max_tokens is not None or self.max_cost is not None

    @property
    def tokens(self) -> int:
        """Spent so far."""
        return self.input_tokens + self.output_tokens

    @property
    def cost(self) -> float:
        """Spent so far."""
        return self._cost(Usage(self.input_tokens, self.output_tokens))

    @asynccontextmanager
    async def reserved(self, bound: Usage) -> AsyncIterator[Bill]:
        """Hold `bound` back, waiting for others where need be; at the end spend what the bill says.

        Raises BudgetExceeded once what is spent leaves less than `bound`.
        """
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((bound, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:
                self._release(bound)
            self._admit()  # what waited behind it may be smaller
            raise
        bill = Bill(bound)
        try:
            yield bill
        finally:
            self.input_tokens += bill.usage.input
            self.output_tokens += bill.usage.output
            self.estimated_tokens += bill.usage.tokens if bill.usage.estimated else 0
            self._release(bound)

    def _release(self, bound: Usage) -> None:
        self._reserved = Usage(
            self._reserved.input - bound.input, self._reserved.output - bound.output
        )
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            bound, turn = self._waiting[0]
            if not turn.done():
                if not self._fits(bound):
                    turn.set_exception(self._exceeded(bound))
                elif self._fits(_sum(bound, self._reserved)):
                    self._reserved = _sum(bound, self._reserved)
                    turn.set_result(None)
                else:
                    return
            self._waiting.popleft()

    def _fits(self, more: Usage) -> bool:
        total = _sum(Usage(self.input_tokens, self.output_tokens), more)
        return (self.max_tokens is None or total.tokens <= self.max_tokens) and (
            self.max_cost is None or self._cost(total) <= self.max_cost
        )

    def _cost(self, usage: Usage) -> float:
        return (usage.input * self.prices[0] + usage.output * self.prices[1]) / 1e6

    def _exceeded(self, bound: Usage) -> BudgetExceeded:
        spent = []
        if self.max_tokens is not None:
            spent.append(
                f"{self.tokens:,} of {self.max_tokens:,} tokens are spent and the next request "
                f"may take {bound.tokens:,}"
            )
        if self.max_cost is not None:
            spent.append(
                f"{self.cost:.4g} of {self.max_cost:.4g} in money is spent and the next request "
                f"may take {self._cost(bound):.4g}"
            )
        return BudgetExceeded(
            f"budget: {'; '.join(spent)}; raise the limit or ask for fewer tokens"
        )


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(one.input + other.input, one.output + other.output)
