"""Each kind of operator: it runs, it refuses and then changes nothing, and its effects follow."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openk2.environments.tool_world.conditions import DaysFromToday
from openk2.environments.tool_world.moving import within
from openk2.environments.tool_world.state import Row

from .operator_calls import FEW, SEEDS, call, first, key, refused, world


@given(seed=SEEDS)
@FEW
def test_transition_with_an_effect_over_a_reference(seed: str) -> None:
    with world("retail", seed) as (domain, state):
        for order in state.find("order"):
            if order["status"] != "pending":
                code = refused(domain, state, "cancel_order", order_id=key(order))
                assert code == "status_is_not_pending"
                continue
            stock = state.get("product", order["product_id"])["stock"]
            after, changes = call(domain, state, "cancel_order", order_id=key(order))
            assert after == {**order, "status": "cancelled"}
            assert state.get("product", order["product_id"])["stock"] == stock + order["quantity"]
            assert len(changes) == 2


@given(seed=SEEDS, quantity=st.integers(1, 60))
@FEW
def test_create_respects_its_limit_and_keeps_the_books(seed: str, quantity: int) -> None:
    with world("retail", seed) as (domain, state):
        product, customer = state.find("product")[0], state.find("customer")[0]
        given_ = {
            "customer_id": key(customer),
            "product_id": key(product),
            "quantity": quantity,
            "shipping_address": "1 Main Street",
        }
        if product["stock"] < quantity:
            expected = "stock_too_low" if product["stock"] < 1 else "quantity_too_high"
            assert refused(domain, state, "place_order", **given_) == expected
            return
        made, _ = call(domain, state, "place_order", **given_)
        assert made["amount"] == pytest.approx(product["price"] * quantity, abs=0.005)
        assert made["order_date"] == state.today.isoformat()
        assert state.get("product", key(product))["stock"] == product["stock"] - quantity
        assert state.get("order", key(made)) == made


@given(seed=SEEDS)
@FEW
def test_set_reference_moves_what_the_old_and_the_new_row_count(seed: str) -> None:
    with world("airline", seed) as (domain, state):
        seats = sum(flight["seats_left"] for flight in state.find("flight"))
        for booking in state.find("booking", {"status": "confirmed"}):
            for number in range(10):
                flight = state.find("flight")[number]
                given_ = {"booking_id": key(booking), "flight_id": key(flight)}
                if key(flight) == booking["flight_id"]:
                    assert refused(domain, state, "change_flight", **given_) == "same_as_before"
                elif flight["seats_left"] < 1 or flight["status"] != "scheduled":
                    refused(domain, state, "change_flight", **given_)
                else:
                    booking, _ = call(domain, state, "change_flight", **given_)
                    assert booking["fare"] == flight["price"]
        assert sum(flight["seats_left"] for flight in state.find("flight")) == seats


@given(seed=SEEDS, amount=st.floats(0.01, 9000).map(lambda x: round(x, 2)))
@FEW
def test_transfer_keeps_the_sum(seed: str, amount: float) -> None:
    with world("banking", seed) as (domain, state):
        rows = state.find("account", {"status": "open"})
        source = rows[0]
        assert (
            refused(
                domain,
                state,
                "move_money",
                account_id=key(source),
                to_account_id=key(source),
                amount=amount,
            )
            == "same_row"
        )
        for other in rows[1:]:
            total = source["balance"] + state.get("account", key(other))["balance"]
            given_ = {
                "account_id": key(source),
                "to_account_id": key(other),
                "amount": amount,
            }
            if other["holder_id"] != source["holder_id"]:
                assert refused(domain, state, "move_money", **given_) == "different_holder_id"
            elif source["balance"] < amount:
                assert refused(domain, state, "move_money", **given_) == "balance_too_low"
            else:
                source, _ = call(domain, state, "move_money", **given_)
                now = source["balance"] + state.get("account", key(other))["balance"]
                assert now == pytest.approx(total, abs=0.005)
                assert source["balance"] >= 0


@given(seed=SEEDS)
@FEW
def test_record_writes_a_linked_row(seed: str) -> None:
    with world("banking", seed) as (domain, state):
        account = first(state, "account", status="open")
        payee = first(state, "payee", verified=1)
        given_ = {"account_id": key(account), "payee_id": key(payee)}
        made, changes = call(domain, state, "pay_bill", **given_, amount=5.0)
        assert [change.entity for change in changes] == ["payment", "account", "transaction"]
        line = changes[-1].after
        assert line is not None and line["account_id"] == key(account) and line["amount"] == 5.0
        assert line["text"] == payee["name"] and made["status"] == "executed"
        assert refused(domain, state, "pay_bill", **given_, amount=1e6) == "amount_too_high"


def test_record_can_refer_to_the_new_row() -> None:
    with world("support", "1") as (domain, state):
        technician = next(
            row for row in state.find("technician", {"duty": "on_call"}) if row["open_tickets"] < 8
        )
        ticket, changes = call(
            domain,
            state,
            "open_ticket",
            employee_id=key(state.find("employee")[0]),
            technician_id=key(technician),
            title="printer is slow",
            priority="low",
        )
        (comment,) = [c.after for c in changes if c.entity == "comment"]
        assert comment is not None and comment["ticket_id"] == key(ticket)


@given(seed=SEEDS, data=st.data())
@FEW
def test_a_tree_stays_a_tree(seed: str, data: st.DataObject) -> None:
    with world("files", seed) as (domain, state):
        entity = domain.entity["folder"]
        folders = state.find("folder")
        root = next(row for row in folders if row["parent_id"] == key(row))
        assert sum(row["parent_id"] == key(row) for row in folders) == 1
        for _ in range(8):
            moved, target = (
                state.get("folder", key(data.draw(st.sampled_from(folders)))) for _ in range(2)
            )
            given_ = {"folder_id": key(moved), "parent_id": key(target)}
            if key(moved) == key(root):
                assert refused(domain, state, "move_folder", **given_) == "is_the_root"
            elif within(state, entity, "parent_id", key(target), key(moved)):
                assert refused(domain, state, "move_folder", **given_) == "inside_itself"
            elif moved["parent_id"] == key(target):
                assert refused(domain, state, "move_folder", **given_) == "same_as_before"
            else:
                call(domain, state, "move_folder", **given_)
            for row in state.find("folder"):
                assert within(state, entity, "parent_id", key(row), key(root))


@given(seed=SEEDS)
@FEW
def test_removal_takes_what_is_below(seed: str) -> None:
    with world("files", seed) as (domain, state):
        for folder in state.find("folder"):
            files = state.find("file", {"folder_id": key(folder)})
            empty = not state.find("folder", {"parent_id": key(folder)})
            if not empty or any(file["locked"] for file in files):
                refused(domain, state, "delete_folder", folder_id=key(folder))
                continue
            call(domain, state, "delete_folder", folder_id=key(folder))
            assert state.get("folder", key(folder)) is None
            assert not state.find("file", {"folder_id": key(folder)})
        left = {key(file) for file in state.find("file")}
        assert {share["file_id"] for share in state.find("share")} <= left


@given(seed=SEEDS)
@FEW
def test_exchange_twice_changes_nothing(seed: str) -> None:
    with world("calendar", seed) as (domain, state):
        ahead = DaysFromToday("day", 0, 1000)
        meetings = [
            row
            for row in state.find("meeting")
            if row["status"] != "cancelled" and ahead.holds(row, state)
        ]
        one, other = meetings[0], meetings[1]
        given_ = {"meeting_id": key(one), "other_meeting_id": key(other)}
        after, _ = call(domain, state, "swap_meetings", **given_)
        assert [after[n] for n in ("day", "start", "end")] == [
            other[n] for n in ("day", "start", "end")
        ]
        assert after["title"] == one["title"]
        call(domain, state, "swap_meetings", **given_)
        assert state.get("meeting", key(one)) == one
        assert state.get("meeting", key(other)) == other
        same = {"meeting_id": key(one), "other_meeting_id": key(one)}
        assert refused(domain, state, "swap_meetings", **same) == "same_row"


@given(seed=SEEDS)
@FEW
def test_transition_of_all_rows_of_an_owner(seed: str) -> None:
    with world("banking", seed) as (domain, state):
        others = len(state.find("payment", {"status": "scheduled"}))
        account = first(state, "account", status="open")
        wanted = state.find("payment", {"account_id": key(account), "status": "scheduled"})
        if not wanted:
            code = refused(domain, state, "cancel_scheduled_payments", account_id=key(account))
            assert code == "no_such_payments"
            return
        found, changes = call(domain, state, "cancel_scheduled_payments", account_id=key(account))
        assert found == {"changed": [key(row) for row in wanted], "count": len(wanted)}
        assert {change.key for change in changes} == set(found["changed"])
        assert len(state.find("payment", {"status": "scheduled"})) == others - len(wanted)


CLOCKS = st.integers(0, 2 * 24 - 1).map(lambda half: f"{half // 2:02d}:{30 * (half % 2):02d}")


@given(times=st.lists(st.tuples(CLOCKS, CLOCKS), min_size=2, max_size=12))
@FEW
def test_bookings_never_overlap(times: list[tuple[str, str]]) -> None:
    with world("university", "1") as (domain, state):
        students = [
            row
            for row in state.find("student")
            if not state.find("study_session", dict([_own(row)]))
        ]
        day = (state.today + timedelta(days=300)).isoformat()
        held: list[tuple[str, str]] = []
        for number, (start, end) in enumerate(times):
            given_ = {
                "student_id": key(students[number % len(students)]),
                "desk": "D00",
                "day": day,
                "start": start,
                "end": end,
            }
            free = all(end <= other[0] or other[1] <= start for other in held)
            owned = len(state.find("study_session", {"student_id": given_["student_id"]}))
            if owned > 1:
                code = refused(domain, state, "book_study_session", **given_)
                assert code == "too_many_study_sessions"
            elif start >= end:
                code = refused(domain, state, "book_study_session", **given_)
                assert code == "ends_before_it_starts"
            elif not free:
                assert refused(domain, state, "book_study_session", **given_) == "conflict"
            else:
                call(domain, state, "book_study_session", **given_)
                held.append((start, end))
        found = state.find("study_session", {"desk": "D00", "day": day})
        assert sorted((row["start"], row["end"]) for row in found) == sorted(held)


def _own(student: Row) -> tuple[str, str]:
    return "student_id", key(student)


@given(seed=SEEDS, days=st.integers(1, 30))
@FEW
def test_postpone_stops_at_its_bound(seed: str, days: int) -> None:
    with world("banking", seed) as (domain, state):
        for payment in state.find("payment", {"status": "scheduled"}):
            moved = date.fromisoformat(payment["due_date"]) + timedelta(days=days)
            given_ = {"payment_id": key(payment), "days": days}
            if (moved - state.today).days > 60:
                code = refused(domain, state, "postpone_payment", **given_)
                assert code == "due_date_outside_the_allowed_days"
            else:
                after, _ = call(domain, state, "postpone_payment", **given_)
                assert after["due_date"] == moved.isoformat()


def test_adjust_append_remove_and_cascade() -> None:
    with world("calendar", "2") as (domain, state):
        meeting = next(row for row in state.find("meeting") if row["status"] != "cancelled")
        after, _ = call(domain, state, "add_to_agenda", meeting_id=key(meeting), line="Tea")
        assert after["agenda"].splitlines() == [*meeting["agenda"].splitlines(), "Tea"]
    with world("retail", "2") as (domain, state):
        customer = state.find("customer")[0]
        points = customer["loyalty_points"]
        given_ = {"customer_id": key(customer)}
        after, _ = call(domain, state, "redeem_points", **given_, points=points)
        assert after["loyalty_points"] == 0
        code = refused(domain, state, "redeem_points", **given_, points=1)
        assert code == "loyalty_points_out_of_bounds"
        wish = state.find("wish")[0]
        call(domain, state, "remove_from_wish_list", wish_id=key(wish))
        assert (
            refused(domain, state, "remove_from_wish_list", wish_id=key(wish)) == "wish_not_found"
        )
    with world("files", "2") as (domain, state):
        share = next(
            row
            for row in state.find("share", {"access": "write"})
            if not state.get("file", row["file_id"])["locked"]
        )
        call(domain, state, "trash_file", file_id=share["file_id"])
        assert state.get("share", key(share))["access"] == "read"
