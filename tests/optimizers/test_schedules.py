from itertools import pairwise
from math import pi, sin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openk2.optimizers.schedules import warmup_stable_decay


def rates(steps: int, warmup_steps: int, decay_steps: int) -> list[float]:
    return [
        warmup_stable_decay(step, steps, 2e-4, 2e-5, warmup_steps, decay_steps)
        for step in range(1, steps + 1)
    ]


def test_the_three_phases() -> None:
    curve = rates(20, 5, 10)
    assert curve[:5] == pytest.approx([4e-5, 8e-5, 1.2e-4, 1.6e-4, 2e-4])
    assert curve[4:10] == [2e-4] * 6
    assert curve[14] == pytest.approx((2e-4 + 2e-5) / 2)
    assert curve[12] == pytest.approx(1.1e-4 + 0.9e-4 * sin(pi * 0.2))
    assert curve[19] == 2e-5


def test_without_warmup_or_decay_it_is_flat() -> None:
    assert rates(7, 0, 0) == [2e-4] * 7


@given(st.data())
def test_never_above_peak_and_falls_only_in_the_decay(data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, 60))
    warmup_steps = data.draw(st.integers(0, steps))
    decay_steps = data.draw(st.integers(0, steps - warmup_steps))
    curve = rates(steps, warmup_steps, decay_steps)
    assert min(curve) > 0 and max(curve) <= 2e-4
    differences = [after - before for before, after in pairwise(curve)]
    for step, difference in enumerate(differences, start=2):
        if step <= warmup_steps:
            assert difference > 0
        elif step <= steps - decay_steps:
            assert difference == 0
        else:
            assert difference < 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 10, 1.0, 0.1, 2, 2), "step 0 is outside 1..10"),
        ((11, 10, 1.0, 0.1, 2, 2), "step 11 is outside 1..10"),
        ((1, 10, 1.0, 0.1, 6, 5), "fit into 10 steps"),
        ((1, 10, 1.0, 0.1, -1, 5), "at least 0"),
        ((1, 10, 1.0, 0.1, 1, -5), "at least 0"),
        ((1, 10, 1.0, 1.5, 1, 5), "final 1.5 <= peak 1.0"),
        ((1, 10, 1.0, -0.5, 1, 5), "0 <= final -0.5"),
    ],
)
def test_impossible_schedules(
    arguments: tuple[int, int, float, float, int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        warmup_stable_decay(*arguments)
