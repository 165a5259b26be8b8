"""Work that several tasks want at once: done once, for as long as anybody waits for it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from openk2.integrations.single_flight import SingleFlight


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 20))


def test_one_flight_serves_all_and_dies_with_its_last_passenger() -> None:
    async def play() -> None:
        flights = SingleFlight[int]()
        made: list[list[str]] = []
        stopped: list[str] = []
        go = asyncio.Event()

        async def make(keys: list[str]) -> dict[str, int]:
            made.append(keys)
            try:
                await go.wait()
            except asyncio.CancelledError:
                stopped.extend(keys)
                await asyncio.sleep(0.01)
                raise
            return {key: ord(key) for key in keys}

        first = asyncio.create_task(flights.get(["a", "b"], make))
        second = asyncio.create_task(flights.get(["b", "c"], make))
        alone = asyncio.create_task(flights.get(["d"], make))
        await asyncio.sleep(0.001)
        assert made == [["a", "b"], ["c"], ["d"]]
        first.cancel()  # the second still wants b
        alone.cancel()
        await asyncio.sleep(0.001)
        assert stopped == ["d"]
        fresh = asyncio.create_task(flights.get(["d"], make))  # not the flight that was cancelled
        await asyncio.sleep(0.001)
        go.set()
        assert await second == {"b": 98, "c": 99}
        assert await fresh == {"d": 100}
        assert await flights.get(["b"], make) == {"b": 98}
        assert made[3:] == [["d"], ["b"]]
        assert flights.shared == 1

    run(play())


def test_a_failed_flight_fails_for_all_and_is_forgotten() -> None:
    async def play() -> None:
        flights = SingleFlight[int]()
        outcomes = [ValueError("no"), None]

        async def make(keys: list[str]) -> dict[str, int]:
            await asyncio.sleep(0.001)
            outcome = outcomes.pop(0)
            if outcome:
                raise outcome
            return dict.fromkeys(keys, 1)

        both = [flights.get(["a"], make), flights.get(["a"], make)]
        results = await asyncio.gather(*both, return_exceptions=True)
        assert [type(result) for result in results] == [ValueError, ValueError]
        assert await flights.get(["a"], make) == {"a": 1}

    run(play())
