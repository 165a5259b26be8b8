"""Faults: labelled, repeatable, of the kind they say, and never silent harm."""

import json
from collections import Counter

import pytest

from openk2.environments.tool_world import DOMAINS, ToolSimulator, make_task
from openk2.environments.tool_world.faults import FAULTS, FaultPlan
from openk2.environments.tool_world.spec import ToolResult


def simulator_with(kind: str, rate: float = 1.0) -> ToolSimulator:
    return ToolSimulator(make_task("retail", 0), 3, faults=FaultPlan(rate, (kind,)))


def orders(simulator: ToolSimulator) -> dict[str, str]:
    return {"customer_id": simulator.state.find("order")[0]["customer_id"]}


def clean(simulator: ToolSimulator, tool: str, arguments: dict[str, str]) -> ToolResult:
    return ToolSimulator(simulator.task).call(tool, arguments)


@pytest.mark.parametrize("kind", ["timeout", "rate_limit", "permission"])
def test_a_call_that_failed_did_nothing(kind: str) -> None:
    simulator = simulator_with(kind)
    order = simulator.state.find("order", {"status": "pending"})[0]
    result = simulator.call("cancel_order", {"order_id": order["order_id"]})
    assert result.status == "fault" and result.fault == kind
    assert not simulator.state_diff()


def test_a_lost_reply_did_something() -> None:
    simulator = simulator_with("lost_reply")
    order = simulator.state.find("order", {"status": "pending"})[0]
    result = simulator.call("cancel_order", {"order_id": order["order_id"]})
    assert result.status == "fault" and result.fault == "lost_reply"
    assert simulator.state.get("order", order["order_id"])["status"] == "cancelled"  # type: ignore[index]
    plain = simulator_with("timeout").call("cancel_order", {"order_id": order["order_id"]})
    assert plain.content == result.content, "an agent cannot tell the two apart"


def test_a_limited_rate_lets_the_next_one_through() -> None:
    simulator = simulator_with("rate_limit")
    assert simulator.call("search_products", {}).error == "rate_limited"
    assert simulator.call("search_products", {}).ok


def test_a_partial_result_says_so() -> None:
    simulator = simulator_with("partial_result")
    whole = json.loads(clean(simulator, "list_orders_of_customer", orders(simulator)).content)
    result = simulator.call("list_orders_of_customer", orders(simulator))
    part = json.loads(result.content)
    assert result.ok and result.fault == "partial_result" and part["truncated"]
    assert part["orders"] == whole["orders"][: len(whole["orders"]) // 2]


def test_drifted_names_hold_the_same_values() -> None:
    simulator = simulator_with("schema_drift")
    whole = json.loads(clean(simulator, "list_orders_of_customer", orders(simulator)).content)
    drifted = json.loads(simulator.call("list_orders_of_customer", orders(simulator)).content)
    assert "orderId" in drifted["orders"][0] and "order_id" not in drifted["orders"][0]
    assert [list(row.values()) for row in drifted["orders"]] == [
        list(row.values()) for row in whole["orders"]
    ]


def test_a_wrong_unit_is_told() -> None:
    simulator = simulator_with("wrong_unit")
    order = simulator.state.find("order")[0]
    found = json.loads(simulator.call("get_order", {"order_id": order["order_id"]}).content)
    assert found["amount"] == round(100 * order["amount"])
    assert found["units"] == {"amount": "hundredths"}


def test_a_stale_read_shows_what_was() -> None:
    simulator = simulator_with("stale_read")
    order = simulator.state.find("order", {"status": "pending"})[0]
    simulator.call("cancel_order", {"order_id": order["order_id"]})
    result = simulator.call("get_order", {"order_id": order["order_id"]})
    assert result.fault == "stale_read" and json.loads(result.content)["status"] == "pending"


def test_a_denied_tool_stays_denied_and_says_under_which_number() -> None:
    plan = FaultPlan(denied=("cancel_order",))
    simulator = ToolSimulator(make_task("retail", 0), 3, faults=plan)
    order = simulator.state.find("order")[0]["order_id"]
    answers = {simulator.call("cancel_order", {"order_id": order}).content for _ in range(5)}
    assert len(answers) == 1 and "incident" in answers.pop()
    assert simulator.call("get_order", {"order_id": order}).ok


def test_faults_are_repeatable_and_every_kind_happens() -> None:
    seen: Counter[str | None] = Counter()
    for seed in range(40):
        labels = []
        for _ in range(2):
            task = make_task("retail", seed % 8, difficulty=0.9)
            simulator = ToolSimulator(task, seed, faults=FaultPlan(0.5, tuple(FAULTS)))
            for call in (*task.plan, *task.plan):
                simulator.call(call.tool, call.arguments)
            labels.append([event.fault for event in simulator.events])
        assert labels[0] == labels[1]
        seen.update(labels[0])
    assert set(FAULTS) <= set(seen), set(FAULTS) - set(seen)


def test_results_without_a_fault_are_untouched() -> None:
    task = make_task("retail", 2, difficulty=0.9)
    faulty, plain = ToolSimulator(task, 1, faults=FaultPlan(0.4)), ToolSimulator(task, 1)
    for call in task.plan:
        found, expected = (s.call(call.tool, call.arguments) for s in (faulty, plain))
        if found.fault is None and found.ok:
            assert found == expected
            continue
        break


@pytest.mark.parametrize("bad", [{"rate": 1.5}, {"rate": -0.1}, {"kinds": ("earthquake",)}])
def test_impossible_plans_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"earthquake|lies between"):
        FaultPlan(**bad)  # type: ignore[arg-type]


def test_every_domain_can_be_troubled() -> None:
    for name in DOMAINS:
        task = make_task(name, 1, difficulty=0.9)
        simulator = ToolSimulator(task, 0, faults=FaultPlan(1.0))
        for call in task.plan:
            simulator.call(call.tool, call.arguments)
        assert any(event.fault for event in simulator.events)


def test_no_tool_can_be_called_until_it_refuses_for_good() -> None:
    """Else whoever does not want to do the work breaks the tool and reports an incident."""
    broken = 0
    for seed in range(30):
        task = make_task("retail", 0)
        simulator = ToolSimulator(task, seed, faults=FaultPlan(0.5, tuple(FAULTS)))
        answers = [simulator.call("cancel_order", {"order_id": "O-NONE"}) for _ in range(40)]
        refused = [answer.fault == "permission" for answer in answers]
        assert all(refused) or not any(refused)
        broken += all(refused)
    assert 0 < broken < 15
