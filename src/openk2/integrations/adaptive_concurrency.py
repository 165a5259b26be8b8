"""How many requests an endpoint gets at once: found by trying, as TCP finds its window.

Additive increase, multiplicative decrease (Chiu and Jain 1989; TCP's form of it, RFC 5681): while
the limit is in use and requests succeed it grows by one per round trip, and it halves when the
endpoint is overloaded. Before the first such sign it doubles per round trip ("slow start").
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["AdaptiveConcurrency", "AimdLimit", "Slot"]


class AimdLimit:
    """The controller alone: no clock, no tasks.

    value       requests allowed at once, 1 to `ceiling`; fractions add up to whole requests
    decreases   how often it was cut. A request notes it when it begins, so that the answers of a
                burst, all sent under the limit that was too high, cut it once and not once each
    """

    def __init__(self, initial: int = 8, ceiling: int = 256, decrease: float = 0.5) -> None:
        if not (1 <= initial <= ceiling and 0 < decrease < 1):
            raise ValueError(f"need 1 <= {initial} <= {ceiling} and 0 < {decrease} < 1")
        self.value = float(initial)
        self.ceiling = ceiling
        self.decrease = decrease
        self.decreases = 0

    @property
    def allowed(self) -> int:
        return int(self.value)

    def succeeded(self, running: int) -> None:
        """A request succeeded while `running`, itself among them, were under way.

        A limit that was not reached has not been tried, so its success says nothing.
        """
        if running >= self.allowed:
            step = 1 / self.value if self.decreases else 1.0
            self.value = min(self.value + step, float(self.ceiling))

    def overloaded(self, decreases_at_start: int) -> None:
        """A request that began after so many decreases met an overloaded endpoint."""
        if decreases_at_start == self.decreases:
            self.value = max(self.value * self.decrease, 1.0)
            self.decreases += 1


class Slot:
    """The right to have one request under way; says at its end how the endpoint took it."""

    def __init__(self, gate: "AdaptiveConcurrency") -> None:
        self._gate = gate
        self._decreases = gate.limit.decreases

    def succeeded(self) -> None:
        self._gate.limit.succeeded(self._gate.running)

    def overloaded(self, pause: float = 0.0) -> None:
        """Lower the limit; `pause`, seconds: let nobody begin for so long."""
        self._gate.limit.overloaded(self._decreases)
        if pause > 0:
            self._gate.pause(pause)


class AdaptiveConcurrency:
    """Lets tasks of one event loop through, first come first served, up to an AimdLimit."""

    def __init__(self, limit: AimdLimit) -> None:
        self.limit = limit
        self.running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._paused: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return sum(not turn.done() for turn in self._waiting)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Wait for a turn and hold it; a task that is cancelled meanwhile gives it back."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # its turn came in the moment in which it was cancelled
                self._give_back()
            raise
        try:
            yield Slot(self)
        finally:
            self._give_back()

    def pause(self, seconds: float) -> None:
        """Let nobody begin for so long; what is under way goes on."""
        loop = asyncio.get_running_loop()
        if self._paused is not None:
            if self._paused.when() >= loop.time() + seconds:
                return
            self._paused.cancel()
        self._paused = loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._paused = None
        self._admit()

    def _give_back(self) -> None:
        self.running -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._paused is None and self.running < self.limit.allowed:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self.running += 1
