"""Updates from another thread: all of them, in order, in few hand-overs."""

import asyncio
import threading
import time

from openk2.inference.requests import Update
from openk2.serving.delivery import Delivery


class Mailbox:
    """Keeps what it gets."""

    def __init__(self):
        self.updates, self.times = [], []

    def put(self, updates):
        self.updates += updates
        self.times.append(time.monotonic())


def test_everything_arrives_in_order_and_seldom():
    steps, boxes = 300, [Mailbox() for _ in range(20)]

    async def main():
        delivery = Delivery(interval=0.02)

        def engine():
            for step in range(steps):
                for box in boxes:
                    delivery.post(box, 0, [Update(1, 0, (step,))])
                time.sleep(0.001)

        thread = threading.Thread(target=engine)
        thread.start()
        while thread.is_alive() or any(len(box.updates) < steps for box in boxes):
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 30))
    for box in boxes:
        assert [update.tokens[0] for _, update in box.updates] == list(range(steps))
        pauses = [after - before for before, after in zip(box.times, box.times[1:], strict=False)]
        assert min(pauses) > 0.019
        assert len(box.times) < steps / 5


def test_what_comes_alone_comes_at_once():
    """The interval is a limit on the rate, not a delay."""
    box = Mailbox()

    async def main():
        delivery = Delivery(interval=30.0)
        delivery.post(box, 3, [Update(1, accepted=True)])
        while not box.updates:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(main(), 10))
    assert box.updates == [(3, Update(1, accepted=True))]
