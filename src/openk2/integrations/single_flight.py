"""Work that several tasks want at the same time is done once."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

__all__ = ["SingleFlight"]

T = TypeVar("T")


class _Flight(Generic[T]):
    def __init__(self, keys: list[str], task: asyncio.Task[dict[str, T]]) -> None:
        self.keys = keys
        self.task = task
        self.passengers = 0


class SingleFlight(Generic[T]):
    """Results by key, of which those being made are waited for instead of made again.

    The work is a task of its own: it survives the cancellation of the task that began it as long as
    another one waits, and is cancelled when nobody does. For the tasks of one event loop.
    """

    def __init__(self) -> None:
        self._flights: dict[str, _Flight[T]] = {}
        self.shared = 0  # keys that were wanted while they were being made

    async def get(
        self,
        keys: Sequence[str],
        make: Callable[[list[str]], Coroutine[Any, Any, dict[str, T]]],
    ) -> dict[str, T]:
        """The results of all keys; `make` is called once, with the keys that nobody is making."""
        new = [key for key in keys if key not in self._flights]
        self.shared += len(keys) - len(new)
        if new:
            flight = _Flight(new, asyncio.create_task(make(new)))
            self._flights.update(dict.fromkeys(new, flight))
            flight.task.add_done_callback(lambda _: self._land(flight))
        flights = list(dict.fromkeys(self._flights[key] for key in keys))
        for flight in flights:
            flight.passengers += 1
        try:
            results = await asyncio.gather(*(asyncio.shield(flight.task) for flight in flights))
        finally:
            for flight in flights:
                self._leave(flight)
        made = {key: value for result in results for key, value in result.items()}
        return {key: made[key] for key in keys}

    async def close(self) -> None:
        """Cancel all work and wait until it has stopped."""
        tasks = {flight.task for flight in self._flights.values()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _leave(self, flight: _Flight[T]) -> None:
        flight.passengers -= 1
        if flight.passengers == 0 and not flight.task.done():
            flight.task.cancel()
            self._land(flight)  # whoever comes now must not board a flight that ends nowhere

    def _land(self, flight: _Flight[T]) -> None:
        for key in flight.keys:
            if self._flights.get(key) is flight:
                del self._flights[key]
