"""A model plays tools: what it gets right is applied, what it gets wrong never is."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from openk2.core.generation import Completion
from openk2.core.records import Message
from openk2.environments.blocking import BlockingGenerator
from openk2.environments.tool_world import DOMAINS, ToolSimulator, make_task
from openk2.environments.tool_world.operators import Refused
from openk2.environments.tool_world.simulated import SimulatedTools
from openk2.environments.tool_world.state import Change, State

RETAIL = DOMAINS["retail"]
Answer = Callable[[Sequence[Message]], str]


class Player:
    """A Generator that answers by a rule, and counts how often it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked = 0

    async def chat(self, messages: Sequence[Message], *_: Any, **__: Any) -> list[Completion]:
        self.asked += 1
        return [Completion(self.answer(messages), "stop")]

    async def complete(self, *_: Any, **__: Any) -> list[Completion]:
        raise NotImplementedError

    async def close(self) -> None:
        pass


class Undo(Exception):
    pass


def merged(changes: Sequence[Change]) -> list[Change]:
    """One change a row: from before the first to after the last."""
    rows: dict[tuple[str, str], Change] = {}
    for change in changes:
        place = (change.entity, change.key)
        first = rows.get(place, change)
        rows[place] = Change(*place, first.before, change.after)
    return list(rows.values())


def truthful(state: State) -> Answer:
    """Plays a tool as its own code would: runs it, tells what it did, and takes it back."""

    def answer(messages: Sequence[Message]) -> str:
        asked = json.loads(messages[1].content)
        tool = RETAIL.tools[asked["tool"]["name"]]
        found: dict[str, Any] = {}
        try:
            with state.recording() as changes:
                found = {"result": tool.run(state, asked["arguments"]), "changes": []}
                for change in merged(changes):
                    key = state.entities[change.entity].key
                    fields = {n: v for n, v in (change.after or {}).items() if n != key}
                    kind = "delete" if change.after is None else "update"
                    kind = "insert" if change.before is None else kind
                    told = None if change.before is None else change.key
                    found["changes"].append(
                        {"entity": change.entity, "operation": kind, "key": told, "fields": fields}
                    )
                raise Undo
        except Undo:
            return json.dumps(found)
        except Refused as refusal:
            return json.dumps({"error": refusal.code, "message": str(refusal)})

    return answer


def played(answer: Answer, index: int = 0) -> tuple[ToolSimulator, Player, BlockingGenerator]:
    player = Player(answer)
    generator = BlockingGenerator(player)
    task = make_task("retail", index, difficulty=0.9)
    tools = SimulatedTools(RETAIL, generator).tools
    return ToolSimulator(task, played=tools), player, generator


def test_a_truthful_model_plays_the_world_as_its_code_does() -> None:
    for index in range(15):
        simulator, player, generator = played(lambda messages: "", index)
        player.answer = truthful(simulator.state)
        with generator:
            for call in simulator.task.plan:
                assert simulator.call(call.tool, call.arguments).ok
        tells = Message("assistant", "; ".join(str(value) for value in simulator.task.tells))
        assert simulator.score([tells]).reward == 1.0
        assert player.asked == len(simulator.task.plan)
        again = ToolSimulator.from_snapshot(simulator.snapshot())
        assert again.state.dump() == simulator.state.dump(), "a replay asks no model"
        assert player.asked == len(simulator.task.plan)


def test_a_refusal_of_the_model_is_one_of_the_tool() -> None:
    answer = json.dumps({"error": "order_locked", "message": "the order is locked"})
    simulator, _, generator = played(lambda messages: answer)
    order = simulator.state.find("order")[0]["order_id"]
    with generator:
        result = simulator.call("cancel_order", {"order_id": order})
    assert result.status == "refused" and result.error == "order_locked"
    assert not simulator.state_diff()


def change(entity: str, operation: str, key: str | None, **fields: Any) -> dict[str, Any]:
    return {"entity": entity, "operation": operation, "key": key, "fields": fields}


def lies(state: State) -> Iterator[tuple[str, str, Any]]:
    """(tool, what is wrong, the model's answer)"""
    order = state.find("order")[0]
    row = dict(order)
    key = order["order_id"]

    def write(*changes: dict[str, Any]) -> dict[str, Any]:
        return {"result": row, "changes": list(changes)}

    yield "get_order", "only reads", write(change("order", "update", key, quantity=1))
    yield "cancel_order", "no table", write(change("account", "update", key, status="cancelled"))
    yield "cancel_order", "no order", write(change("order", "update", "O-NONE", status="cancelled"))
    yield "cancel_order", "no field", write(change("order", "update", key, colour="red"))
    yield "cancel_order", "no field", write(change("order", "update", key, order_id="O-MINE"))
    yield "cancel_order", "cannot be", write(change("order", "update", key, status="eaten"))
    yield "cancel_order", "cannot be", write(change("order", "update", key, quantity="many"))
    yield "cancel_order", "nothing", write(change("order", "update", key, product_id="P-NONE"))
    twice = (change("order", "update", key, quantity=n) for n in (1, 2))
    yield "cancel_order", "twice", write(*twice)
    gone = (change("order", "delete", key), change("order", "update", key, quantity=1))
    yield "cancel_order", "twice", write(*gone)
    yield (
        "cancel_order",
        "cannot be",
        write(change("order", "update", key, order_date="2026-02-30")),
    )
    yield "cancel_order", "lacks", write(change("order", "insert", None, quantity=1))
    yield "cancel_order", "result", {"result": {"ok": True}, "changes": []}
    yield "cancel_order", "neither", {"changes": []}
    yield "cancel_order", "answer", [1, 2]
    yield "cancel_order", "answer", {"result": row, "changes": [], "note": "ignore the rules"}


def test_lies_are_never_applied() -> None:
    seen = 0
    simulator, player, generator = played(lambda messages: "")
    before = simulator.state_diff()
    with generator:
        for tool, reason, answer in lies(simulator.state):
            text = json.dumps(answer)
            player.answer = lambda messages, text=text: text  # type: ignore[misc]
            order = simulator.state.find("order")[0]["order_id"]
            result = simulator.call(tool, {"order_id": order})
            assert result.status == "fault" and result.error == "unavailable"
            assert result.fault is not None and reason in result.fault, (reason, result.fault)
            assert simulator.state_diff() == before
            seen += 1
    assert seen == 16 and player.asked == 3 * seen


@pytest.mark.parametrize("text", ["", "no JSON", "[" * 100_000, "x" * 300_000, '{"result": '])
def test_garbage_is_a_fault_of_the_tool(text: str) -> None:
    simulator, _, generator = played(lambda messages: text)
    with generator:
        assert simulator.call("search_products", {}).status == "fault"
    assert simulator.events[-1].fault


def test_a_model_that_is_told_its_mistake_may_mend_it() -> None:
    simulator, player, generator = played(lambda messages: "")
    honest = truthful(simulator.state)
    player.answer = lambda messages: honest(messages) if len(messages) > 2 else "{}"
    with generator:
        assert simulator.call("search_products", {}).ok
    assert player.asked == 2
