"""What counts as said and as equal: tolerant where a person would be, and nowhere else."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openk2.core.records import Message, ToolCall
from openk2.environments.tool_world.domain import Field
from openk2.environments.tool_world.scoring import collateral, missing, said, same_value
from openk2.environments.tool_world.state import Change
from openk2.environments.tool_world.values import Words


def spoken(value: Any, text: str) -> bool:
    return said(value, [Message("assistant", text)])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.5, "The total is $1,234.50."),
        (1234.5, "It comes to 1234.5 USD"),
        (25, "There are 25.0 of them"),
        (-3.25, "The balance is -3.25."),
        ("2026-03-05", "It was placed on 2026-03-05."),
        ("2026-03-05", "It was placed on March 5, 2026."),
        ("2026-03-05", "It was placed on 5 March 2026"),
        ("2026-03-05", "on March 5th, 2026"),
        ("O-AB12CD", "Your order O-AB12CD is on its way"),
        ("out_for_delivery", "It is out for delivery."),
        ("12 Main Street, Springfield", "Sent to 12 main street,  Springfield."),
        ("12 Main St.", "12 Main St, as you wished"),
        ("555-123-4567", "Call (555) 123-4567."),
        ("checked_in", "It is checked-in"),
        ("2026-03-05", "on the 5th of March 2026"),
        ("2026-03-05", "on Mar. 5, 2026"),
        ("2026-03-05", "on 5 March"),
        (-3.25, "The balance is -$3.25"),
        (12.5, "USD 12.50"),
        (250, "It weighs 250kg"),
        (0, "There are no places left."),
        (2, "You have two of them."),
        (7.25, "1. 7.25 for the first of 5 March 2026 and 12 May 2026\n2. 9.50\n3. nothing\n4. -"),
        (True, "The message is starred."),
        (False, "The account isn't frozen."),
    ],
)
def test_said_in_any_usual_form(value: Any, text: str) -> None:
    assert spoken(value, text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.5, "The total is 12345."),
        (25, "There are 250 or 2.5"),
        (5, "on 2026-05-05"),
        (25, ""),
        (25, "twenty"),
        (12, "O-12 and x12"),
        ("2026-03-05", "on 2026-03-06"),
        ("2026-03-05", "in March 2026"),
        ("O-AB12CD", "order O-AB12CE"),
        ("shipped", "unshipped"),
        ("2026-03-05", "on 6 March"),
        ("2026-03-05", "on 5 March 2025"),
        ("2026-03-05", "in May"),
        (1, "1. nothing was found"),
        (True, "It is not starred"),
        (True, "It isn't"),
        (1234.5, " ".join(str(1200 + n / 10) for n in range(400))),
        ("O-AB12CD", " ".join(f"O-AB{n}CD" for n in range(10, 99))),
        ("2026-03-05", " ".join(f"2026-03-{n:02d}" for n in range(1, 31))),
    ],
)
def test_not_said_or_drowned_in_guesses(value: Any, text: str) -> None:
    assert not spoken(value, text)


def test_only_the_assistant_says() -> None:
    assert not said(25, [Message("user", "is it 25?"), Message("tool", "25")])


def test_what_stands_beside_a_call_is_not_said() -> None:
    call = ToolCall("functions.x:0", "x", "{}")
    assert not said(25, [Message("assistant", "It is 25.", tool_calls=(call,))])


def test_values_of_the_same_column_are_guesses_in_one_message_or_many() -> None:
    names = [f"name {letter}" for letter in "abcdefghijkl"]
    others = set(names[1:])
    assert said(names[0], [Message("assistant", "name b or rather name a")], 1, others)
    assert not said(names[0], [Message("assistant", ", ".join(names[:6]))], 1, others)
    assert not said(names[0], [Message("assistant", name) for name in names], 1, others)
    listed = Message("assistant", f"I found {', '.join(names[:6])}: which one?")
    assert said(names[0], [listed, Message("assistant", "It is name a.")], 1, others)


@given(st.text(), st.sampled_from([25, 1.5, "2026-03-05", "O-AB12CD", "some words", "...", True]))
def test_any_text_is_judged(text: str, value: Any) -> None:
    assert said(value, [Message("assistant", text)]) in (True, False)
    assert same_value(text, text)


@pytest.mark.parametrize(
    ("expected", "found", "equal"),
    [
        (25, 25.0, True),
        (0.1 + 0.2, 0.3, True),
        ("Main  St", "main st", True),
        ("12 Main St., Springfield", "12 Main St Springfield", True),
        ("!", "?", False),
        (25, 26, False),
        (1, True, False),
        ("a", "b", False),
        (25, "25", False),
        (None, None, True),
    ],
)
def test_values_are_compared_normalised(expected: Any, found: Any, equal: bool) -> None:
    assert same_value(expected, found) is equal


ORDER = {
    "order_id": "O-AAAAAA",
    "customer_id": "C-AAAAAA",
    "product_id": "P-AAAAAA",
    "quantity": 2,
    "amount": 10.0,
    "status": "pending",
}


class Plain:
    """An entity as far as scoring looks at one."""

    def __init__(self, name: str, fields: Sequence[str]) -> None:
        self.key = f"{name}_id"
        self.by_name = {field: Field(field, Words(("x",))) for field in fields}


ENTITIES: Any = {
    "order": Plain("order", tuple(ORDER)[1:]),
    "refund": Plain("refund", ("order_id", "amount", "reason")),
}
ROW = {"refund_id": "R-AAAAAA", "order_id": "O-BBBBBB", "amount": 10.0, "reason": "late"}


def test_a_new_row_may_have_any_key_but_no_other_content() -> None:
    expected = [Change("refund", "R-AAAAAA", None, ROW)]
    same = [Change("refund", "R-BBBBBB", None, {**ROW, "refund_id": "R-BBBBBB", "amount": 10})]
    assert not missing(ENTITIES, expected, same) and not collateral(ENTITIES, expected, same)
    twice = [*same, Change("refund", "R-CCCCCC", None, {**ROW, "refund_id": "R-CCCCCC"})]
    assert collateral(ENTITIES, expected, twice) == [twice[1]]
    other = [Change("refund", "R-BBBBBB", None, {**ROW, "amount": 11.0})]
    assert missing(ENTITIES, expected, other) == expected
    assert collateral(ENTITIES, expected, other) == other


def test_a_row_that_must_go_must_be_that_row() -> None:
    expected = [Change("refund", "R-AAAAAA", ROW, None)]
    assert not missing(ENTITIES, expected, expected)
    assert missing(ENTITIES, expected, [Change("refund", "R-BBBBBB", ROW, None)]) == expected
    kept = [Change("refund", "R-AAAAAA", ROW, {**ROW, "reason": "damaged"})]
    assert missing(ENTITIES, expected, kept) == expected
    assert not collateral(ENTITIES, expected, kept), "the right row in the wrong way is missing"


def test_rows_that_refer_to_new_rows_are_compared_under_their_keys() -> None:
    expected = [
        Change("order", "O-AAAAAA", None, ORDER),
        Change("refund", "R-AAAAAA", None, {**ROW, "order_id": "O-AAAAAA"}),
    ]
    found = [
        Change("order", "O-CCCCCC", None, {**ORDER, "order_id": "O-CCCCCC"}),
        Change("refund", "R-CCCCCC", None, {**ROW, "order_id": "O-CCCCCC"}),
    ]
    assert not missing(ENTITIES, expected, found) and not collateral(ENTITIES, expected, found)
    astray = [found[0], Change("refund", "R-CCCCCC", None, {**ROW, "order_id": "O-DDDDDD"})]
    assert missing(ENTITIES, expected, astray) == [expected[1]]
