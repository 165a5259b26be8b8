"""Synchronous code waits for a generator; the calls of many threads still run together."""

import asyncio
import concurrent.futures
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import pytest

from openk2.core.errors import UserError
from openk2.core.generation import Completion
from openk2.core.records import Message
from openk2.environments.blocking import BlockingGenerator, in_threads
from tests.environments.judge_models import RuleModel

HELLO = [Message("user", "hello")]


def echo() -> RuleModel:
    return RuleModel(lambda messages, schema: messages[-1].content.upper())


def test_chat_complete_and_close() -> None:
    model = echo()
    with BlockingGenerator(model) as generator:
        assert generator.chat(HELLO)[0].text == "HELLO"
        assert [one.text for one in generator.complete("ab", samples=2)] == ["AB", "AB"]
        assert not model.closed
    assert model.closed
    with pytest.raises(RuntimeError, match="closed"):
        generator.chat(HELLO)
    generator.close()


class Meeting(RuleModel):
    """Answers nobody before `expected` calls are under way."""

    def __init__(self, expected: int) -> None:
        super().__init__(lambda messages, schema: messages[-1].content)
        self.expected, self.present, self.all_here = expected, 0, asyncio.Event()

    async def chat(  # type: ignore[override]
        self, messages: Sequence[Message], *rest: object, **more: object
    ) -> list[Completion]:
        self.present += 1
        if self.present == self.expected:
            self.all_here.set()
        await self.all_here.wait()
        return [Completion(messages[-1].content, "stop")]


def test_calls_of_many_threads_run_at_the_same_time() -> None:
    with BlockingGenerator(Meeting(16), timeout_s=20) as generator:
        said = in_threads(
            lambda number: generator.chat([Message("user", str(number))])[0].text, range(16), 16
        )
    assert said == [str(number) for number in range(16)]


def test_a_timeout_cancels_the_call_and_the_next_one_works() -> None:
    slow = RuleModel(lambda messages, schema: "late", delay_s=30)
    with BlockingGenerator(slow, timeout_s=0.05) as generator:
        with pytest.raises(TimeoutError):
            generator.chat(HELLO)
        slow.delay_s = 0
        generator.timeout_s = 5
        assert generator.chat(HELLO)[0].text == "late"


def test_exceptions_propagate() -> None:
    def refuse(messages: object, schema: object) -> str:
        raise UserError("the prompt is longer than the context")

    with (
        BlockingGenerator(RuleModel(refuse)) as generator,
        pytest.raises(UserError, match="longer than the context"),
    ):
        generator.chat(HELLO)


def test_a_call_from_the_loop_itself_is_refused() -> None:
    with BlockingGenerator(echo(), timeout_s=5) as generator:

        async def inside() -> None:
            generator.chat(HELLO)

        with pytest.raises(RuntimeError, match="wait for itself"):
            generator.run(inside())


def test_closing_ends_calls_that_are_under_way() -> None:
    generator = BlockingGenerator(RuleModel(lambda messages, schema: "late", delay_s=30))
    ended: list[BaseException] = []

    def call() -> None:
        try:
            generator.chat(HELLO)
        except concurrent.futures.CancelledError as error:
            ended.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    while not generator.generator.calls:  # type: ignore[attr-defined]
        time.sleep(0.001)
    generator.close()
    caller.join(5)
    assert not caller.is_alive() and len(ended) == 1


def test_a_forgotten_generator_lets_the_interpreter_go() -> None:
    script = (
        "from openk2.environments.blocking import BlockingGenerator\n"
        "from tests.environments.judge_models import RuleModel\n"
        "from openk2.core.records import Message\n"
        "import threading\n"
        "one = BlockingGenerator(RuleModel(lambda m, s: 'x', delay_s=0))\n"
        "print(one.chat([Message('user', 'a')])[0].text)\n"
        "one.generator.delay_s = 60\n"
        "call = threading.Thread(target=one.chat, args=([],), daemon=True)\n"
        "call.start()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "x\n")
    assert "Task was destroyed" not in ended.stderr


def test_threads_keep_the_order_and_pass_on_the_first_exception() -> None:
    assert in_threads(lambda number: number**2, range(50), 4) == [n**2 for n in range(50)]
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda number: 1 // number, [1, 0, 2], 1)
