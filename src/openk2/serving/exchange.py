"""A client's request at the engine: queue bound, deadline, abort."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from openk2.inference.requests import GenerationRequest, Update
from openk2.serving.api_errors import ApiError, bad_request, overloaded
from openk2.serving.delivery import Delivery
from openk2.serving.metrics import Metrics

if TYPE_CHECKING:
    from openk2.inference.engine_process import EngineProcess

__all__ = ["Desk", "Exchange"]


class Desk:
    """Where requests are handed in; at most `capacity` sequences are with the engine at a time.

    timeout   seconds that a request may take, from here to its last token
    """

    def __init__(
        self, engine: "EngineProcess", capacity: int, timeout: float, metrics: Metrics
    ) -> None:
        self.engine, self.capacity, self.timeout, self.metrics = engine, capacity, timeout, metrics
        self.delivery = Delivery()
        self.open: set[Exchange] = set()
        self.closed: ApiError | None = None

    @property
    def sequences(self) -> int:
        """Samples that run or wait."""
        return sum(exchange.sequences for exchange in self.open)

    def submit(self, requests: Sequence[GenerationRequest]) -> "Exchange":
        """Send to the engine; the caller closes what it gets. ApiError 429, 503 or 400."""
        if self.closed is not None:
            raise self.closed
        wanted = sum(request.samples for request in requests)
        if wanted > self.capacity:
            message = f"{wanted} sequences in one request; this server takes {self.capacity}"
            raise bad_request(message, code="too_many_sequences")
        waiting = self.sequences
        if waiting + wanted > self.capacity:
            raise overloaded(f"{waiting} sequences run or wait already; try again in a second")
        return Exchange(self, requests)

    def close(self, reason: ApiError) -> None:
        """No more requests; those that are open end with `reason`."""
        self.closed = reason
        for exchange in list(self.open):
            exchange.fail(reason)


class Exchange:
    """The engine's updates for the prompts of one request, each with the prompt's position."""

    def __init__(self, desk: Desk, requests: Sequence[GenerationRequest]) -> None:
        loop = asyncio.get_running_loop()
        self._desk = desk
        self._inbox: list[tuple[int, Update]] = []
        self._wakeup = asyncio.Event()
        self._failure: ApiError | None = None
        self._undecided = len(requests)
        self._started = loop.time()
        self._clocks: dict[tuple[int, int], _Clock] = {
            (position, sample): _Clock()
            for position, request in enumerate(requests)
            for sample in range(request.samples)
        }
        self._running = set(self._clocks)
        desk.open.add(self)
        self._deadline = loop.call_later(desk.timeout, self.fail, _timed_out(desk.timeout))
        self._numbers = [
            desk.engine.submit(request, partial(desk.delivery.post, self, position))
            for position, request in enumerate(requests)
        ]

    @property
    def sequences(self) -> int:
        return len(self._running)

    def put(self, updates: Sequence[tuple[int, Update]]) -> None:
        """`Delivery` brings updates."""
        if self not in self._desk.open:
            return
        now = asyncio.get_running_loop().time()
        for position, update in updates:
            self._undecided -= update.accepted
            if update.refused is not None:
                self.fail(bad_request(update.refused, code="refused_by_engine"))
            clock = self._clocks.get((position, update.sample))
            if clock is None:
                continue
            if update.tokens:
                if clock.tokens == 0:
                    clock.first = now
                    self._desk.metrics.time_to_first_token.observe(now - self._started)
                clock.tokens += len(update.tokens)
            if update.finish_reason is not None:
                self._running.discard((position, update.sample))
                if update.finish_reason in ("aborted", "failed"):
                    self.fail(ApiError(503, "the engine could not go on", code="engine_failed"))
                if clock.tokens > 1:
                    pause = (now - clock.first) / (clock.tokens - 1)
                    self._desk.metrics.time_per_token.observe(pause)
        self._inbox += updates
        self._wakeup.set()

    def fail(self, failure: ApiError) -> None:
        """The client gets `failure` instead of what would still come."""
        if self._failure is None:
            self._failure = failure
            self._wakeup.set()
            self.close()

    async def accepted(self) -> None:
        """Return when the engine has checked and queued every prompt; ApiError if it refused."""
        while self._undecided:
            await self._news()

    async def updates(self) -> list[tuple[int, Update]]:
        """(position, update) of what has come since; empty at the end. Raises ApiError."""
        while not self._inbox and self._running:
            await self._news()
        if self._failure is not None:
            raise self._failure
        inbox, self._inbox = self._inbox, []
        return inbox

    async def _news(self) -> None:
        await self._wakeup.wait()
        self._wakeup.clear()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Give lanes and blocks back; whatever still runs is aborted."""
        self._deadline.cancel()
        self._desk.open.discard(self)
        for position in {position for position, _ in self._running}:
            self._desk.engine.abort(self._numbers[position])
        self._running.clear()


class _Clock:
    """When a sample's first token came, and how many have."""

    def __init__(self) -> None:
        self.first, self.tokens = 0.0, 0


def _timed_out(seconds: float) -> ApiError:
    message = f"not finished within {seconds:g} seconds; ask for fewer tokens or raise --timeout"
    return ApiError(504, message, code="timeout")
