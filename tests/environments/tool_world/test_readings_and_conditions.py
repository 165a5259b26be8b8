"""What reading tools show, and what conditions look at."""

import pytest
from hypothesis import given

from openk2.environments.tool_world.conditions import AtLeast, FieldIs
from openk2.environments.tool_world.creating import Create
from openk2.environments.tool_world.domain import Domain, Entity, Field
from openk2.environments.tool_world.relations import Either, NotAbove, Related
from openk2.environments.tool_world.values import Note, Reference, Whole

from .operator_calls import FEW, SEEDS, call, key, refused, world


@given(seed=SEEDS)
@FEW
def test_totals_and_ranges_equal_sums_over_the_rows(seed: str) -> None:
    with world("banking", seed) as (domain, state):
        for account in state.find("account"):
            rows = state.find("transaction", {"account_id": key(account)})
            given_ = {"account_id": key(account)}
            found, _ = call(domain, state, "highest_amount_of_transactions", **given_)
            assert found == {"highest": max(row["amount"] for row in rows), "count": len(rows)}
            dates = sorted(row["date"] for row in rows)
            span = {"from": dates[0], "to": dates[len(dates) // 2]}
            found, _ = call(domain, state, "list_transactions_by_date", **given_, **span)
            kept = [row for row in rows if span["from"] <= row["date"] <= span["to"]]
            assert found["transactions"] == kept and found["count"] == len(kept)
            assert found["total"] == pytest.approx(sum(row["amount"] for row in kept), abs=0.005)
    with world("retail", seed) as (domain, state):
        customer = key(state.find("customer")[0])
        rows = state.find("order", {"customer_id": customer})
        found, _ = call(domain, state, "total_amount_of_orders", customer_id=customer)
        assert found["total"] == pytest.approx(sum(row["amount"] for row in rows), abs=0.005)


@given(seed=SEEDS)
@FEW
def test_readings_show_the_rows_without_what_is_hidden(seed: str) -> None:
    with world("airline", seed) as (domain, state):
        flight = state.find("flight")[0]
        whole, changes = call(domain, state, "get_flight", flight_id=key(flight))
        assert whole == flight and not changes
        found, _ = call(domain, state, "search_flights", number=flight["number"])
        assert {key(row) for row in found["flights"]} == {
            key(row) for row in state.find("flight", {"number": flight["number"]})
        }
        assert all("price" not in row and "origin" in row for row in found["flights"])
        everything, _ = call(domain, state, "search_flights")
        assert everything["count"] == 22 and len(everything["flights"]) == 20
        assert refused(domain, state, "get_flight", flight_id="F-000000") == "flight_not_found"


def test_conditions_over_several_fields_and_rows() -> None:
    with world("files", "3") as (_, state):
        for folder in state.find("folder"):
            count = len(state.find("file", {"folder_id": key(folder)}))
            for bound in range(6):
                most = Related("file", "folder_id", "files", most=bound)
                least = Related("file", "folder_id", "files", least=bound)
                assert most.holds(folder, state) == (count <= bound)
                assert least.holds(folder, state) == (count >= bound)
            locked = Related("file", "folder_id", "locked files", (("locked", True),), most=0)
            rows = state.find("file", {"folder_id": key(folder)})
            assert locked.holds(folder, state) == (not any(row["locked"] for row in rows))
        row = {"x_id": "X", "low": 2, "high": 3, "kind": "a"}
        assert NotAbove("low", "high").holds(row, state)
        assert not NotAbove("high", "low").holds(row, state)
        either = Either(FieldIs("kind", ("b",)), AtLeast("low", 2))
        assert either.holds(row, state) and not either.holds({**row, "low": 1}, state)
        assert either.holds({**row, "low": 1, "kind": "b"}, state)
        assert either.describe("the box") == (
            "the kind of the box must be b, or the low of the box must be at least 2"
        )


def test_a_creation_that_leaves_a_field_open_is_no_tool() -> None:
    box = Entity("box", (Field("size", Whole(1, 9)), Field("note", Note())), (3, 3), ("{size}",))
    operator = Create(entity="box", name="make_box", given=("size",), asks=("make one",))
    domain = Domain("boxes", "boxes", "home", None, (box,), (operator,))
    with pytest.raises(ValueError, match="make_box: no value for note"):
        _ = domain.tools


def test_references_begin_where_they_may() -> None:
    shelf = Entity("shelf", (Field("height", Whole(1, 2)),), (12, 12), ("{height}",))
    high = Reference("shelf", (("height", 2),), distinct=True)
    vase = Entity("vase", (Field("shelf_id", high),), (30, 30), ("it",))
    domain = Domain("vases", "vases", "home", None, (shelf, vase), ())
    for seed in range(20):
        state = domain.world(str(seed))
        fit = {key(row) for row in state.find("shelf", {"height": 2})}
        assert {row["shelf_id"] for row in state.find("vase")} == fit
        assert len(state.find("vase")) == len(fit)
        state.close()
