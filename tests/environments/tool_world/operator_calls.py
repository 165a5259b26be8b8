"""Tools of a domain called directly, beside a state that is looked at."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from openk2.environments.tool_world import DOMAINS
from openk2.environments.tool_world.domain import Domain
from openk2.environments.tool_world.operators import Refused
from openk2.environments.tool_world.state import Change, Row, State

SEEDS = st.integers(0, 10_000).map(str)
FEW = settings(max_examples=25, deadline=None)


@contextmanager
def world(name: str, seed: str) -> Iterator[tuple[Domain, State]]:
    domain = DOMAINS[name]
    state = domain.world(seed)
    yield domain, state
    state.close()


def call(domain: Domain, state: State, tool: str, **arguments: Any) -> tuple[Row, list[Change]]:
    with state.recording() as changes:
        return domain.tools[tool].run(state, arguments), changes


def refused(domain: Domain, state: State, tool: str, **arguments: Any) -> str:
    """The code of the refusal; the rows are what they were."""
    before = state.dump()
    with pytest.raises(Refused) as refusal:
        call(domain, state, tool, **arguments)
    assert state.dump() == before
    assert str(refusal.value)
    return refusal.value.code


def key(row: Mapping[str, Any]) -> str:
    return next(iter(row.values()))


def first(state: State, entity: str, **equal: Any) -> Row:
    return state.find(entity, equal)[0]
