"""A thousand random tasks of every domain: who is paid."""

import pytest

from openk2.environments.baselines import measure
from openk2.environments.tool_world import DOMAINS

TASKS = 1000
LUCKY = 5


@pytest.mark.slow
@pytest.mark.parametrize("name", DOMAINS)
def test_only_the_oracle_is_paid(name: str) -> None:
    paid = {row.player: row for row in measure(f"tool_world.{name}", TASKS)}
    assert paid["honest"].paid == paid["honest"].n == TASKS
    for player in ("null", "talk only"):
        assert paid[player].n == TASKS and paid[player].paid == 0, paid[player]
    # A random call with a key that was seen may be the very one: luck, and rare.
    assert paid["random calls"].n == TASKS and paid["random calls"].paid <= LUCKY
