"""From the engine's thread to the event loop: many updates, few wake-ups.

The engine brings updates for every running request some hundred times a second. Waking the loop
and writing to a socket for each would cost more than a small model's forward pass, so updates are
gathered, and handed over at most once in `interval` seconds; less often when the clients' tasks
take so long that the loop would be busy for more than a quarter of the time.
"""

import asyncio
import threading
from collections.abc import Sequence
from typing import Protocol

from openk2.inference.requests import Update

__all__ = ["Delivery", "Receiver"]

INTERVAL = 0.01  # seconds: no eye sees the difference, and a hundred writes a second are cheap
SHARE = 0.25  # of the loop's time


class Receiver(Protocol):
    """Whom updates are for; called on the event loop."""

    def put(self, updates: Sequence[tuple[int, Update]]) -> None: ...


class Delivery:
    """Made on the event loop that the receivers live on."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self._loop = asyncio.get_running_loop()
        self._interval = interval
        self._lock = threading.Lock()
        self._pending: dict[Receiver, list[tuple[int, Update]]] = {}
        self._scheduled = False
        self._not_before = 0.0

    def post(self, receiver: Receiver, position: int, updates: Sequence[Update]) -> None:
        """Called on any thread: `updates` for the prompt number `position` of `receiver`."""
        with self._lock:
            self._pending.setdefault(receiver, []).extend((position, u) for u in updates)
            if self._scheduled:
                return
            self._scheduled = True
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._loop.call_at(max(self._not_before, self._loop.time()), self._hand_over)

    def _hand_over(self) -> None:
        start = self._loop.time()
        with self._lock:
            pending, self._pending = self._pending, {}
            self._scheduled = False
        self._not_before = start + self._interval
        for receiver, updates in pending.items():
            receiver.put(updates)
        # Runs after the tasks that these updates wake, which do their work without waiting.
        self._loop.call_soon(self._measure, start)

    def _measure(self, start: float) -> None:
        busy = self._loop.time() - start
        self._not_before = max(self._not_before, start + busy / SHARE)
