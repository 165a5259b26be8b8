"""Whatever an agent sends as arguments, it gets a typed result and nothing runs."""

import json
import math
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openk2.core.records import ToolSpec
from openk2.environments.tool_world.spec import ArgumentChecker, ToolResult

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "count": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}
CHECKER = ArgumentChecker({"add": ToolSpec("add", "adds", SCHEMA), "any": ToolSpec("any")})

CYCLE: dict[str, Any] = {"name": "x"}
CYCLE["again"] = CYCLE
DEEP: dict[str, Any] = {}
for _ in range(100_000):
    DEEP = {"deeper": DEEP}


def test_good_arguments_come_back_as_an_object() -> None:
    assert CHECKER.check("add", '{"name": "x", "count": 3}') == {"name": "x", "count": 3}
    assert CHECKER.check("add", {"name": "x"}) == {"name": "x"}


@pytest.mark.parametrize(
    ("name", "arguments", "status"),
    [
        ("sub", "{}", "unknown_tool"),
        ("sub\x1b[31m" * 1000, "{}", "unknown_tool"),
        ("add", "{}", "invalid_arguments"),
        ("add", '{"name": 3}', "invalid_arguments"),
        ("add", '{"name": "x", "extra": 1}', "invalid_arguments"),
        ("add", '{"name": "x"', "invalid_arguments"),
        ("add", "[]", "invalid_arguments"),
        ("add", "null", "invalid_arguments"),
        ("add", "", "invalid_arguments"),
        ("any", '{"a": NaN}', "invalid_arguments"),
        ("any", '{"a": Infinity}', "invalid_arguments"),
        ("any", {"a": math.nan}, "invalid_arguments"),
        ("any", {"a": -math.inf}, "invalid_arguments"),
        ("any", {"a": 1 << 70}, "invalid_arguments"),
        ("any", '{"a": ' + "9" * 5000 + "}", "invalid_arguments"),
        ("any", {"a": "\x00"}, "invalid_arguments"),
        ("any", {"a": "\x1b[2J"}, "invalid_arguments"),
        ("any", {"a": "\ud800"}, "invalid_arguments"),
        ("any", {"a": b"bytes"}, "invalid_arguments"),
        ("any", {1: "number as a key"}, "invalid_arguments"),
        ("any", CYCLE, "invalid_arguments"),
        ("any", DEEP, "invalid_arguments"),
        ("any", '{"a":' * 100_000, "invalid_arguments"),
        ("any", "[" * 100_000, "invalid_arguments"),
        ("any", json.dumps({"a": "x" * (1 << 20)}), "invalid_arguments"),
        ("any", {"a": ["x" * 1000] * 2000}, "invalid_arguments"),
    ],
    ids=lambda value: (
        None if isinstance(value, dict) else str(value)[:30].encode("ascii", "replace").decode()
    ),
)
def test_bad_arguments_get_a_typed_result(name: str, arguments: Any, status: str) -> None:
    result = CHECKER.check(name, arguments)
    assert isinstance(result, ToolResult) and not result.ok
    assert result.status == status == result.error
    assert len(result.content) < 5000
    assert json.loads(result.content)["error"] == status


@given(st.text())
def test_any_text_is_checked(text: str) -> None:
    found = CHECKER.check("any", text)
    assert isinstance(found, dict | ToolResult)


@given(st.dictionaries(st.text(), st.integers(-(2**62), 2**62) | st.booleans() | st.none()))
def test_plain_arguments_survive_the_way(arguments: dict[str, Any]) -> None:
    found = CHECKER.check("any", json.dumps(arguments))
    expected = CHECKER.check("any", arguments)
    assert found == expected


DAY = {"type": "object", "properties": {"day": {"type": "string", "format": "date"}}}
DAYS = ArgumentChecker({"on": ToolSpec("on", "", DAY)}, formats=True)


@given(st.dates(date(1900, 1, 1), date(2199, 12, 31)))
def test_days_of_the_calendar_are_dates(day: date) -> None:
    assert DAYS.check("on", {"day": day.isoformat()}) == {"day": day.isoformat()}


@pytest.mark.parametrize(
    "day", ["2026-02-30", "2026-13-01", "0000-01-01", "9999-12-31", "20260301", "2026-W01-1", ""]
)
def test_no_other_days_are_dates(day: str) -> None:
    assert isinstance(DAYS.check("on", {"day": day}), ToolResult)


def test_a_schema_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="tool broken"):
        ArgumentChecker({"broken": ToolSpec("broken", "", {"type": "no such type"})})
