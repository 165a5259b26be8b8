import pytest
import torch

from openk2.optimizers.coefficients import (
    COEFFICIENTS,
    coefficients,
    singular_value_range,
    slope_at_zero,
)
from openk2.optimizers.newton_schulz import newton_schulz


@pytest.mark.parametrize(
    ("name", "steps", "low", "high", "slope"),
    [
        ("k2", 5, 0.682, 1.134, 485),
        ("quintic", 5, 0.978, 1.032, 493),
        ("polar_express", 5, 0.870, 1.124, 976),
        ("cans", 5, 0.861, 1.113, 998),
        ("deepseek_v4", 10, 1.000, 1.001, 79263),
    ],
)
def test_error_bounds(name: str, steps: int, low: float, high: float, slope: float) -> None:
    sequence = coefficients(name)
    assert len(sequence) == steps
    assert singular_value_range(sequence) == pytest.approx((low, high), abs=5e-4)
    assert slope_at_zero(sequence) == pytest.approx(slope, abs=0.5)


def test_cans_as_published_has_the_published_bounds() -> None:
    published = [(1.01 * a, 1.01**3 * b, 1.01**5 * c) for a, b, c in coefficients("cans")]
    assert singular_value_range(published) == pytest.approx((0.884, 1.120), abs=5e-4)
    assert slope_at_zero(published) == pytest.approx(1049, abs=0.5)


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_the_bounds_are_those_of_the_matrix_iteration(name: str) -> None:
    values = torch.logspace(-4, 0, 200, dtype=torch.float64)
    sequence = coefficients(name)
    normalised = values / values.norm()
    low, high = singular_value_range(sequence, normalised[0].item(), normalised[-1].item())
    mapped = newton_schulz(values.diag(), sequence).diag()
    assert low - 1e-9 < mapped.min() < low + 0.05
    assert high - 0.05 < mapped.max() < high + 1e-9
    tiny = newton_schulz(torch.tensor([1.0, 1e-9], dtype=torch.float64).diag(), sequence)[1, 1]
    assert tiny.item() == pytest.approx(1e-9 * slope_at_zero(sequence), rel=1e-6)


def best_quintic(low: float, high: float) -> torch.Tensor:
    """(a, b, c) closest to one on [low, high], by Remez' exchange."""
    inner = (
        torch.tensor([0.75, 0.25], dtype=torch.float64) * low + torch.tensor([0.25, 0.75]) * high
    )
    for _ in range(100):
        ends = torch.tensor([low, high], dtype=torch.float64)
        points = torch.cat([ends[:1], inner, ends[1:]])
        signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
        system = torch.stack([points, points**3, points**5, signs], dim=1)
        a, b, c, _ = torch.linalg.solve(system, torch.ones(4, dtype=torch.float64))
        root = (9 * b**2 - 20 * a * c).sqrt()
        inner = torch.stack([-3 * b - root, -3 * b + root]).div(10 * c).sqrt()
    return torch.stack([a, b, c])


def test_polar_express_is_the_greedy_minimax_sequence() -> None:
    """Amsel et al., algorithm 1: the best quintic of each interval, with their cushion of 0.024."""
    low, high, sequence = 1e-3, 1.0, []
    for _ in range(7):
        polynomial = best_quintic(max(low, 0.02407327424182761 * high), high)

        def value(s: float, polynomial: torch.Tensor = polynomial) -> float:
            return sum(p * s**k for p, k in zip(polynomial.tolist(), (1, 3, 5), strict=True))

        polynomial = polynomial * (2 / (value(low) + value(high)))
        sequence.append(polynomial)
        low = value(low, polynomial)
        high = 2 - low
    safety = torch.tensor([1.01, 1.01**3, 1.01**5], dtype=torch.float64)
    ours = torch.tensor(coefficients("polar_express", 7), dtype=torch.float64)
    torch.testing.assert_close(torch.stack(sequence) / safety, ours, rtol=1e-5, atol=1e-5)


def test_more_steps() -> None:
    assert coefficients("k2", 3) == coefficients("k2")[:3]
    assert coefficients("k2", 7) == coefficients("k2") + coefficients("k2")[:2]
    assert coefficients("polar_express", 2) == coefficients("polar_express")[:2]
    low, high = singular_value_range(coefficients("polar_express", 9))
    assert 1 - low < 1e-12 and high - 1 < 1e-12
    assert coefficients("cans", 5) == coefficients("cans")


@pytest.mark.parametrize(
    ("name", "steps", "message"),
    [
        ("kimi", None, "'kimi' are none of cans, deepseek_v4, k2, polar_express, quintic"),
        ("deepseek_v4", 5, "10 steps, not 5"),
        ("k2", 0, "at least 1"),
    ],
)
def test_impossible_choices(name: str, steps: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        coefficients(name, steps)
