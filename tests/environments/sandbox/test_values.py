"""Values that travel: back as they were, exact in type; nothing else gets through."""

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openk2.environments.sandbox.values import DEPTH, Unsendable, decode, encode

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
KEYS = SCALARS | st.tuples(SCALARS, SCALARS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner) | st.sets(KEYS)
    ),
    max_leaves=20,
)


def alike(a: Any, b: Any) -> bool:
    """Equal in type and value, all the way down; NaN is like NaN, 0.0 unlike -0.0."""
    if type(a) is not type(b):
        return False
    if type(a) is float:
        return repr(a) == repr(b)
    if type(a) in (list, tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    if type(a) is dict:
        return alike(list(a.items()), list(b.items()))
    if type(a) is set:
        return sorted(map(repr, a)) == sorted(map(repr, b))
    return bool(a == b)


@given(VALUES)
@example([10**400, -(10**400), 2**53, -(2**53), "\ud800", math.nan, -0.0, {(): {(1, b"")}}])
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert alike(decode(encode(value)), value)


@given(VALUES)
def test_the_text_is_canonical_json(value: Any) -> None:
    text = encode(value)
    assert encode(decode(text)) == text
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@given(st.binary() | VALUES.map(encode).map(lambda text: text[:-1]))
@example(b"[" * 100_000)
@example(b"1" * 100_000)
@example(b'{"set":[[]]}')
@example(b'{"int":3}')
@example(b'{"float":[]}')
@example(b'{"tuple":1}')
@example(b'{"dict":[[1]]}')
@example(b'{"a":1,"b":2}')
@example(b"{}")
def test_any_bytes_are_a_value_or_a_value_error(text: bytes) -> None:
    try:
        encode(decode(text))
    except ValueError:
        return


class Int(int):
    pass


class Text(str):
    pass


class Items(list):  # type: ignore[type-arg]
    pass


@pytest.mark.parametrize(
    "value",
    [Int(3), Text("a"), Items(), object(), 1j, frozenset(), range(3), int, len, [Int(3)],
     {Text("a"): 1}, {1: Int(1)}, (Items(),), bytearray(b"a"), iter([])],
)  # fmt: skip
def test_other_types_do_not_travel(value: Any) -> None:
    with pytest.raises(Unsendable):
        encode(value)


def test_depth_is_bounded_and_cycles_end() -> None:
    value: Any = 1
    for _ in range(DEPTH):
        value = [value]
    assert decode(encode(value)) == value
    with pytest.raises(Unsendable):
        encode([value])
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(Unsendable):
        encode(cycle)


def test_keys_chosen_for_their_hash_are_refused() -> None:
    """Thirty thousand of them would take the grader minutes to put into one set."""
    prime = 2**61 - 1
    text = json.dumps({"set": [{"int": hex(prime * i)} for i in range(30_000)]}).encode()
    with pytest.raises(ValueError, match="hash"):
        decode(text)
    assert len(decode(encode({prime * i for i in range(50)}))) == 50
