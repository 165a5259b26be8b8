"""How many requests at once: the controller as a state machine, the gate under cancellation."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.integrations.adaptive_concurrency import AdaptiveConcurrency, AimdLimit, Slot

EVENTS = st.lists(st.tuples(st.sampled_from(["start", "success", "overload"]), st.integers(0, 99)))


@given(EVENTS, st.integers(1, 40), st.integers(0, 60), st.floats(0.05, 0.95))
def test_the_limit_stays_in_its_bounds_and_a_burst_cuts_it_once(
    events: list[tuple[str, int]], initial: int, above: int, decrease: float
) -> None:
    limit = AimdLimit(initial, initial + above, decrease)
    running: list[int] = []  # the number of cuts that each request under way saw when it began
    for event, which in events:
        before, cuts = limit.value, limit.decreases
        if event == "start":
            if len(running) < limit.allowed:
                running.append(limit.decreases)
            continue
        if not running:
            continue
        seen = running[which % len(running)]
        if event == "success":
            limit.succeeded(len(running))
            used = len(running) >= int(before)
            step = (1 / before if cuts else 1) if used else 0
            assert limit.value == min(before + step, initial + above)
        else:
            limit.overloaded(seen)
            cut = seen == cuts
            assert limit.value == (max(before * decrease, 1) if cut else before)
            assert limit.decreases == cuts + cut
        running.remove(seen)
        assert 1 <= limit.allowed <= initial + above


def test_a_round_trip_of_successes_adds_one_after_the_first_cut_and_doubles_before() -> None:
    limit = AimdLimit(8, 100)
    for _ in range(8):
        limit.succeeded(running=100)
    assert limit.allowed == 16
    limit.overloaded(0)
    assert limit.allowed == 8
    for _ in range(9):  # 1/8 + 1/8.125 + ... reaches one within nine
        limit.succeeded(running=100)
    assert limit.allowed == 9


@pytest.mark.parametrize("wrong", [(0, 5, 0.5), (6, 5, 0.5), (1, 5, 1.0), (1, 5, 0.0)])
def test_a_controller_that_could_not_work_is_refused(wrong: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="need 1 <="):
        AimdLimit(*wrong)


class Crowd:
    """Tasks that hold a slot of a gate until they are let go."""

    def __init__(self, limit: AimdLimit) -> None:
        self.gate = AdaptiveConcurrency(limit)
        self.slots: dict[int, Slot] = {}
        self.leave: dict[int, asyncio.Event] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}

    def add(self, name: int) -> None:
        self.leave[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._hold(name))

    async def _hold(self, name: int) -> None:
        async with self.gate.slot() as self.slots[name]:
            await self.leave[name].wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 20))


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["add", "leave", "cancel", "cancel at once"]),
                          st.integers(0, 99)), max_size=40), st.integers(1, 4))  # fmt: skip
def test_turns_come_in_order_and_none_is_lost_whoever_is_cancelled(
    steps: list[tuple[str, int]], allowed: int
) -> None:
    async def play() -> None:
        crowd = Crowd(AimdLimit(allowed, allowed))
        cancelled: set[int] = set()
        for number, (step, which) in enumerate(steps):
            alive = [name for name, task in crowd.tasks.items() if not task.done()]
            if step == "add" or not alive:
                crowd.add(number)
            elif step == "leave":
                crowd.leave[alive[which % len(alive)]].set()
            else:
                crowd.tasks[alive[which % len(alive)]].cancel()
                cancelled.add(alive[which % len(alive)])
                if step == "cancel at once":  # before a turn just given is taken
                    continue
            await settle()
            waiting = [
                n for n, task in crowd.tasks.items() if not (task.done() or n in crowd.slots)
            ]
            assert len(waiting) == crowd.gate.waiting
            assert crowd.gate.running == allowed if waiting else crowd.gate.running <= allowed
            assert not waiting or max(crowd.slots, default=-1) < min(waiting)
        for event in crowd.leave.values():
            event.set()
        await asyncio.gather(*crowd.tasks.values(), return_exceptions=True)
        assert set(crowd.slots) | cancelled == set(crowd.tasks)
        assert crowd.gate.running == crowd.gate.waiting == 0

    run(play())


def test_a_turn_that_comes_in_the_moment_of_a_cancellation_is_given_back() -> None:
    async def play() -> None:
        crowd = Crowd(AimdLimit(1, 1))
        async with crowd.gate.slot():
            crowd.add(0)
            crowd.add(1)
            await settle()
        crowd.tasks[0].cancel()  # its turn is set and it has not run since
        await settle()
        assert list(crowd.slots) == [1]
        assert crowd.gate.running == 1
        crowd.leave[1].set()
        await crowd.tasks[1]

    run(play())


def test_nobody_begins_in_a_pause_and_everybody_after_it() -> None:
    async def play() -> None:
        crowd = Crowd(AimdLimit(4, 4))
        crowd.add(0)
        await settle()
        crowd.slots[0].overloaded(pause=0.05)
        crowd.gate.pause(0.01)  # does not shorten the longer one
        began = asyncio.get_running_loop().time()
        crowd.leave[0].set()
        crowd.add(1)
        await asyncio.sleep(0.03)
        assert list(crowd.slots) == [0]
        crowd.leave[1].set()
        await crowd.tasks[1]
        assert asyncio.get_running_loop().time() - began > 0.045

    run(play())
