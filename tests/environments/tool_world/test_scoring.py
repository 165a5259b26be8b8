"""What counts as said and as equal: tolerant where a person would be, and nowhere else."""

from collections.abc import Sequence
from typing import Any

import pytest

from openk2.core.records import Message
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
        (1234.5, " ".join(str(1200 + n / 10) for n in range(400))),
        ("O-AB12CD", " ".join(f"O-AB{n}CD" for n in range(10, 99))),
        ("2026-03-05", " ".join(f"2026-03-{n:02d}" for n in range(1, 31))),
    ],
)
def test_not_said_or_drowned_in_guesses(value: Any, text: str) -> None:
    assert not spoken(value, text)


def test_only_the_assistant_says() -> None:
    assert not said(25, [Message("user", "is it 25?"), Message("tool", "25")])


@pytest.mark.parametrize(
    ("expected", "found", "equal"),
    [
        (25, 25.0, True),
        (0.1 + 0.2, 0.3, True),
        ("Main  St", "main st", True),
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
