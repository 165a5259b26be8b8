"""A Generator for synchronous code: worlds, simulated users and tools play in plain threads.

One event loop in one daemon thread does all the waiting, so that calls from many threads run at
the same time and the generator underneath batches or limits them as it always does.
"""

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from openk2.core.generation import DEFAULT_SAMPLING, Completion, Constraint, SamplingOptions
from openk2.core.protocols import Generator
from openk2.core.records import Message, ToolSpec

__all__ = ["BlockingGenerator", "in_threads"]

T = TypeVar("T")
R = TypeVar("R")
STOP_S = 5.0  # how long a stop waits for the loop to cancel what runs on it


class BlockingGenerator:
    """`generator` as seen by a thread that waits; a context manager that closes it.

    timeout_s   of one call, in seconds; None waits for ever. TimeoutError afterwards, and the call
                is cancelled

    Exceptions of the generator propagate. A call that is under way when another thread closes
    raises concurrent.futures.CancelledError; a later one raises RuntimeError. A generator that is
    never closed is stopped when the interpreter exits.
    """

    def __init__(self, generator: Generator, timeout_s: float | None = 600.0) -> None:
        self.generator = generator
        self.timeout_s = timeout_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=_serve, args=(self._loop,), name="blocking-generator", daemon=True
        )
        self._thread.start()
        # Refers to the loop, not to self: it also runs when self is collected or at exit.
        self._stop = weakref.finalize(self, _stop, self._loop, self._thread)

    def chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec] = (),
        options: SamplingOptions = DEFAULT_SAMPLING,
        *,
        samples: int = 1,
        tool_choice: str = "auto",
        response_format: Constraint | None = None,
    ) -> list[Completion]:
        """`Generator.chat`, waited for."""
        return self.run(
            self.generator.chat(
                messages,
                tools,
                options,
                samples=samples,
                tool_choice=tool_choice,
                response_format=response_format,
            )
        )

    def complete(
        self,
        prompt: str,
        options: SamplingOptions = DEFAULT_SAMPLING,
        *,
        samples: int = 1,
        response_format: Constraint | None = None,
    ) -> list[Completion]:
        """`Generator.complete`, waited for."""
        return self.run(
            self.generator.complete(
                prompt, options, samples=samples, response_format=response_format
            )
        )

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Any coroutine that uses `generator`, waited for: a judge's comparison, for one."""
        if threading.current_thread() is self._thread or not self._stop.alive:
            work.close()
            raise RuntimeError(
                "the generator is closed"
                if not self._stop.alive
                else "a blocking call from the generator's own event loop would wait for itself"
            )
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(self.timeout_s)
        except BaseException:  # a timeout, or Ctrl-C in this thread
            future.cancel()
            raise

    def close(self) -> None:
        """Close the generator and stop the loop; a second call does nothing."""
        if self._stop.alive:
            try:
                self.run(self.generator.close())
            finally:
                self._stop()

    def __enter__(self) -> "BlockingGenerator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def in_threads(play: Callable[[T], R], items: Iterable[T], threads: int = 32) -> list[R]:
    """[play(item) for item in items], so many at a time; for episodes that wait for a generator.

    The first exception propagates; what has not begun by then is not played.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="episode") as pool:
        futures = [pool.submit(play, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.run_until_complete(_settled(loop))
    loop.close()


async def _settled(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel every task and give it its turn to clean up."""
    others = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=STOP_S)
    await loop.shutdown_asyncgens()


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    if threading.current_thread() is not thread:
        thread.join(2 * STOP_S)
