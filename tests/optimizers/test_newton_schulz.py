import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.optimizers.newton_schulz import iteration_dtype, newton_schulz

from . import reference


def random_matrices(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
def test_equals_the_textbook_iteration(rows: int, columns: int, seed: int) -> None:
    matrix = random_matrices(rows, columns, seed=seed)
    torch.testing.assert_close(
        newton_schulz(matrix), reference.newton_schulz(matrix), rtol=0, atol=1e-11
    )


def test_keeps_singular_vectors_and_lifts_singular_values_to_about_one() -> None:
    left, _ = torch.linalg.qr(random_matrices(16, 16))
    right, _ = torch.linalg.qr(random_matrices(40, 16, seed=1))
    values = torch.logspace(-1.7, 0, 16, dtype=torch.float64)
    rotated = left.T @ newton_schulz(left @ values.diag() @ right.T) @ right
    assert rotated.diag().min() > 0.65 and rotated.diag().max() < 1.2
    torch.testing.assert_close(rotated - rotated.diag().diag(), torch.zeros_like(rotated))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_power_of_two_of_scale_changes_no_bit(dtype: torch.dtype) -> None:
    matrix = random_matrices(7, 11, dtype=torch.float32)
    expected = newton_schulz(matrix, dtype=dtype)
    for exponent in (-100, -40, 40, 100):
        assert torch.equal(newton_schulz(matrix * 2.0**exponent, dtype=dtype), expected)


@settings(max_examples=40, deadline=None)
@given(st.floats(-30, 30), st.integers(0, 1000))
def test_the_scale_of_a_gradient_does_not_matter(exponent: float, seed: int) -> None:
    matrix = random_matrices(6, 9, seed=seed, dtype=torch.float32)
    scaled = newton_schulz(matrix * 10**exponent, dtype=torch.float32)
    expected = newton_schulz(matrix, dtype=torch.float32)
    torch.testing.assert_close(scaled, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_zero_stays_zero_beside_other_matrices(dtype: torch.dtype) -> None:
    matrices = random_matrices(3, 5, 4, dtype=torch.float32)
    matrices[1] = 0
    result = newton_schulz(matrices, dtype=dtype)
    assert torch.equal(result[1], torch.zeros(5, 4, dtype=dtype))
    assert result.isfinite().all() and result[[0, 2]].abs().amax(dim=(1, 2)).min() > 0.1


@pytest.mark.parametrize("shape", [(4, 6, 9), (4, 9, 6), (2, 3, 5, 5)])
def test_leading_dimensions_are_a_batch(shape: tuple[int, ...]) -> None:
    matrices = random_matrices(*shape)
    flat = matrices.reshape(-1, *shape[-2:])
    one_by_one = torch.stack([reference.newton_schulz(matrix) for matrix in flat]).reshape(shape)
    torch.testing.assert_close(newton_schulz(matrices), one_by_one, rtol=0, atol=1e-11)


def test_the_input_is_not_changed() -> None:
    matrices = random_matrices(3, 6, 4, dtype=torch.float32)
    before = matrices.clone()
    newton_schulz(matrices, dtype=torch.float32)
    assert torch.equal(matrices, before)


def test_float16_input_is_normalised_in_float32() -> None:
    matrix = random_matrices(8, 8, dtype=torch.float32).mul(2000).half()
    expected = newton_schulz(matrix.float(), dtype=torch.float32)
    assert torch.equal(newton_schulz(matrix, dtype=torch.float32), expected)


def test_iteration_dtype() -> None:
    cpu, cuda, other = torch.device("cpu"), torch.device("cuda"), torch.device("meta")
    assert iteration_dtype(cpu, torch.float64) == torch.float64
    assert iteration_dtype(cuda, torch.float32) == torch.bfloat16
    assert iteration_dtype(other, torch.bfloat16) == torch.float32
    assert iteration_dtype(cpu, torch.float16) in (torch.bfloat16, torch.float32)
    assert newton_schulz(torch.ones(2, 2)).dtype == iteration_dtype(cpu, torch.float32)


def test_bfloat16_differs_from_float64_by_bfloat16_noise_only() -> None:
    matrices = random_matrices(4, 48, 64)
    exact = newton_schulz(matrices)
    low = newton_schulz(matrices, dtype=torch.bfloat16).double()
    assert (low - exact).norm() / exact.norm() < 0.03
