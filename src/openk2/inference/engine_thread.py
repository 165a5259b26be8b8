"""An engine that works by itself: many callers at once, each told of its own request's updates.

`run_engine` is the loop; `EngineThread` runs it in a thread of this process, where a trainer shares
its weights, `engine_process.EngineProcess` in a process of its own, which no web server slows down.
"""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

from openk2.inference.engine import Engine, EngineStatistics
from openk2.inference.requests import GenerationRequest, Update

__all__ = ["Command", "EngineThread", "Receivers", "run_engine"]

# Tokens wait so long for company, in seconds: whoever receives them wakes up less often.
DELIVER_EVERY = 0.004

Receiver = Callable[[list[Update]], None]


@dataclass(frozen=True)
class Command:
    """What a caller wants: to run a request under its number, to abort that number, or the end."""

    number: int
    request: GenerationRequest | None = None
    close: bool = False


def run_engine(
    engine: Engine,
    inbox: "SimpleQueue[Command]",
    deliver: Callable[[list[Update], EngineStatistics], None],
) -> None:
    """Serve commands until one says close."""
    pending: list[Update] = []
    delivered = time.monotonic()
    while True:
        while engine.idle or not inbox.empty():
            if engine.idle and pending:
                deliver(pending, engine.statistics())
                pending = []
            command = inbox.get()
            if command.close:
                return
            if command.request is None:
                engine.abort(command.number)
            else:
                engine.submit(command.request, command.number)
        pending += engine.step()
        now = time.monotonic()
        if pending and now - delivered >= DELIVER_EVERY:
            deliver(pending, engine.statistics())
            pending, delivered = [], now


class Receivers:
    """Who waits for the updates of which request; for any thread."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[Receiver, set[int]]] = {}  # with the samples still open

    def add(self, request: GenerationRequest, receive: Receiver) -> int:
        """A number for the request, under which `receive` gets its updates."""
        number = next(self._numbers)
        with self._lock:
            self._waiting[number] = receive, set(range(request.samples))
        return number

    def deliver(self, updates: list[Update]) -> None:
        """Hand updates to their receivers, one call for each request."""
        by_request: dict[int, list[Update]] = {}
        for update in updates:
            by_request.setdefault(update.request, []).append(update)
        for number, own in by_request.items():
            receive, open_samples = self._waiting[number]
            open_samples.difference_update(u.sample for u in own if u.finish_reason is not None)
            if not open_samples or own[-1].refused is not None:
                with self._lock:
                    del self._waiting[number]
            receive(own)

    def fail(self) -> None:
        """Tell everybody that nothing more will come."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for number, (receive, samples) in waiting.items():
            receive([Update(number, s, finish_reason="failed") for s in sorted(samples)])


class EngineThread:
    """An engine running in a thread of its own.

    The weights may be trained while nothing runs here; a step that overlaps with an update of the
    weights mixes old and new ones.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._inbox: SimpleQueue[Command] = SimpleQueue()
        self._receivers = Receivers()
        self._statistics = engine.statistics()
        self._thread = threading.Thread(target=self._run, name="openk2-engine", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            run_engine(self.engine, self._inbox, self._deliver)
        finally:
            self._receivers.fail()

    def _deliver(self, updates: list[Update], statistics: EngineStatistics) -> None:
        self._statistics = statistics
        self._receivers.deliver(updates)

    def submit(self, request: GenerationRequest, receive: Receiver) -> int:
        """Queue a request; `receive` is called from the engine's thread with its updates."""
        number = self._receivers.add(request, receive)
        self._inbox.put(Command(number, request))
        return number

    def abort(self, number: int) -> None:
        """End the request's open samples."""
        self._inbox.put(Command(number))

    def statistics(self) -> EngineStatistics:
        """The newest figures."""
        return self._statistics

    @property
    def alive(self) -> bool:
        """Whether requests are served."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop after the step in flight; open samples end as failed."""
        self._inbox.put(Command(0, close=True))
        self._thread.join()
        self.engine.close()
