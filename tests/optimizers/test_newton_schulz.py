import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from openk2.optimizers.coefficients import COEFFICIENTS, Coefficients, coefficients
from openk2.optimizers.newton_schulz import (
    Form,
    choose_form,
    iteration_dtype,
    newton_schulz,
    newton_schulz_flops,
)

from . import reference

DTYPES = [torch.float32, torch.bfloat16, torch.float64]


def random_matrices(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def ill_conditioned(matrices: int, short: int, long: int, decades: float) -> torch.Tensor:
    """Matrices with singular values log-uniform in [10^-decades, 1]."""
    left, _ = torch.linalg.qr(random_matrices(matrices, short, short))
    right, _ = torch.linalg.qr(random_matrices(matrices, long, short, seed=1))
    generator = torch.Generator().manual_seed(2)
    exponents = decades * torch.rand(matrices, short, generator=generator, dtype=torch.float64)
    return left @ (10 ** -exponents[..., None] * right.mT)


def textbook(M: torch.Tensor, steps: Coefficients) -> torch.Tensor:
    X = M / M.norm() if M.shape[0] <= M.shape[1] else M.T / M.norm()
    for a, b, c in steps:
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X if M.shape[0] <= M.shape[1] else X.T


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
def test_equals_the_textbook_iteration(rows: int, columns: int, seed: int) -> None:
    matrix = random_matrices(rows, columns, seed=seed)
    torch.testing.assert_close(
        newton_schulz(matrix), reference.newton_schulz(matrix), rtol=0, atol=1e-11
    )


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(COEFFICIENTS)),
    st.integers(1, 12),
    st.integers(1, 40),
    st.integers(0, 1000),
)
def test_both_forms_equal_the_textbook_iteration(
    name: str, rows: int, columns: int, seed: int
) -> None:
    matrix, steps = random_matrices(rows, columns, seed=seed), coefficients(name)
    expected = textbook(matrix, steps)
    for form in ("standard", "gram"):
        result = newton_schulz(matrix, steps, form=form)
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-10)


def test_keeps_singular_vectors_and_lifts_singular_values_to_about_one() -> None:
    left, _ = torch.linalg.qr(random_matrices(16, 16))
    right, _ = torch.linalg.qr(random_matrices(40, 16, seed=1))
    values = torch.logspace(-1.7, 0, 16, dtype=torch.float64)
    rotated = left.T @ newton_schulz(left @ values.diag() @ right.T) @ right
    assert rotated.diag().min() > 0.65 and rotated.diag().max() < 1.2
    torch.testing.assert_close(rotated - rotated.diag().diag(), torch.zeros_like(rotated))


@pytest.mark.parametrize(("dtype", "exponent"), [(d, 100) for d in DTYPES] + [(DTYPES[2], 900)])
def test_a_power_of_two_of_scale_changes_no_bit(dtype: torch.dtype, exponent: int) -> None:
    matrix = random_matrices(7, 11, dtype=torch.float32).to(dtype)
    expected = newton_schulz(matrix, dtype=dtype)
    for power in (-exponent, -40, 40, exponent):
        assert torch.equal(newton_schulz(matrix * 2.0**power, dtype=dtype), expected)


@settings(max_examples=40, deadline=None)
@given(st.floats(-30, 30), st.integers(0, 1000))
def test_the_scale_of_a_gradient_does_not_matter(exponent: float, seed: int) -> None:
    matrix = random_matrices(6, 9, seed=seed, dtype=torch.float32)
    scaled = newton_schulz(matrix * 10**exponent, dtype=torch.float32)
    expected = newton_schulz(matrix, dtype=torch.float32)
    torch.testing.assert_close(scaled, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("dtype", "smallest"), [(torch.float32, 149), (torch.bfloat16, 133)])
def test_a_matrix_of_subnormal_numbers(dtype: torch.dtype, smallest: int) -> None:
    matrix = torch.arange(-7.0, 8.0).reshape(3, 5)
    tiny = (matrix.double() * 2.0**-smallest).to(dtype)
    assert torch.equal(newton_schulz(tiny, dtype=dtype), newton_schulz(matrix, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_scales_meet_in_one_batch(dtype: torch.dtype) -> None:
    matrices = random_matrices(3, 5, 8, dtype=torch.float32)
    scales = torch.tensor([2.0**-110, 1.0, 2.0**110])[:, None, None]
    together = newton_schulz(matrices * scales, dtype=dtype)
    assert torch.equal(together, newton_schulz(matrices, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_stays_zero_beside_other_matrices(dtype: torch.dtype) -> None:
    matrices = random_matrices(3, 5, 4, dtype=torch.float32)
    matrices[1] = 0
    result = newton_schulz(matrices, dtype=dtype)
    assert torch.equal(result[1], torch.zeros(5, 4, dtype=dtype))
    assert result.isfinite().all() and result[[0, 2]].abs().amax(dim=(1, 2)).min() > 0.1


@pytest.mark.parametrize("form", ["standard", "gram"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_broken_matrix_is_nan_alone(dtype: torch.dtype, value: float, form: Form) -> None:
    matrices = random_matrices(3, 6, 9, dtype=torch.float32)
    expected = newton_schulz(matrices, dtype=dtype, form=form)
    matrices[1, 2, 3] = value
    result = newton_schulz(matrices, dtype=dtype, form=form)
    assert result[1].isnan().all()
    assert torch.equal(result[[0, 2]], expected[[0, 2]])


@pytest.mark.parametrize("shape", [(4, 6, 9), (4, 9, 6), (2, 3, 5, 5)])
def test_leading_dimensions_are_a_batch(shape: tuple[int, ...]) -> None:
    matrices = random_matrices(*shape)
    flat = matrices.reshape(-1, *shape[-2:])
    one_by_one = torch.stack([reference.newton_schulz(matrix) for matrix in flat]).reshape(shape)
    torch.testing.assert_close(newton_schulz(matrices), one_by_one, rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", [(0, 3, 4), (0, 4, 3), (2, 0, 3, 4), (2, 0, 4), (3, 0), (0, 0)])
def test_nothing_gives_nothing(shape: tuple[int, ...]) -> None:
    for form in ("auto", "gram"):
        assert newton_schulz(torch.empty(shape), form=form).shape == shape


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1.0, 2.0**-100])
def test_the_input_is_not_changed(dtype: torch.dtype, scale: float) -> None:
    matrices = (random_matrices(3, 6, 4) * scale).to(dtype).requires_grad_()
    before = matrices.detach().clone()
    assert not newton_schulz(matrices, dtype=dtype).requires_grad
    assert torch.equal(matrices, before)


@pytest.mark.parametrize(
    ("source", "dtype"),
    [
        (torch.float32, torch.bfloat16),
        (torch.float64, torch.bfloat16),
        (torch.float64, torch.float32),
        (torch.float16, torch.float32),
        (torch.float16, torch.bfloat16),
    ],
)
def test_what_is_sent_in_the_dtype_of_the_iteration_loses_nothing(
    source: torch.dtype, dtype: torch.dtype
) -> None:
    matrices = random_matrices(3, 10, 17).mul(2000).to(source)
    sent = matrices.to(dtype)
    assert torch.equal(newton_schulz(matrices, dtype=dtype), newton_schulz(sent, dtype=dtype))


@pytest.mark.parametrize("form", ["standard", "gram"])
@pytest.mark.parametrize("shape", [(7, 5, 8), (7, 8, 5)])
def test_a_stack_in_parts_is_the_same_stack(
    shape: tuple[int, ...], form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrices = random_matrices(*shape)
    for steps in (coefficients("k2"), coefficients("deepseek_v4")):
        expected = newton_schulz(matrices, steps, form=form)
        for elements in (1, 3 * 40):
            with monkeypatch.context() as patch:
                patch.setattr(sys.modules[newton_schulz.__module__], "CPU_ELEMENTS", elements)
                result = newton_schulz(matrices, steps, form=form)
            torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)


def test_layout_in_memory_does_not_matter() -> None:
    matrices = random_matrices(2, 3, 6, 10)
    expected = newton_schulz(matrices)
    for strided in (
        matrices.mT.contiguous().mT,
        matrices.transpose(0, 1).contiguous().transpose(0, 1),
    ):
        torch.testing.assert_close(newton_schulz(strided), expected, rtol=0, atol=1e-12)


def test_iteration_dtype() -> None:
    cpu, cuda, other = torch.device("cpu"), torch.device("cuda"), torch.device("meta")
    assert iteration_dtype(cpu, torch.float64) == torch.float64
    assert iteration_dtype(cuda, torch.float32) == torch.bfloat16
    assert iteration_dtype(other, torch.bfloat16) == torch.float32
    assert iteration_dtype(cpu, torch.float16) in (torch.bfloat16, torch.float32)
    assert newton_schulz(torch.ones(2, 2)).dtype == iteration_dtype(cpu, torch.float32)
    with pytest.raises(ValueError, match="float16"):
        newton_schulz(torch.ones(2, 2), dtype=torch.float16)


def test_bfloat16_differs_from_float64_by_bfloat16_noise_only() -> None:
    matrices = random_matrices(4, 48, 64)
    exact = newton_schulz(matrices)
    low = newton_schulz(matrices, dtype=torch.bfloat16).double()
    assert (low - exact).norm() / exact.norm() < 0.03


@pytest.mark.parametrize("name", COEFFICIENTS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_rank_one_does_not_diverge(name: str, dtype: torch.dtype) -> None:
    """Its singular value is one before the first step: rounding can only lift it above."""
    for rows, columns in ((1, 1), (3, 3), (16, 64), (64, 16), (64, 64)):
        constant = torch.linspace(1, 2, 20)[:, None, None].expand(20, rows, columns)
        outer = random_matrices(20, rows, 1) @ random_matrices(20, 1, columns, seed=1)
        for matrices in (constant, outer, outer.sign()):
            result = newton_schulz(matrices, coefficients(name), dtype=dtype).double()
            assert torch.linalg.matrix_norm(result, 2).max() < 1.25


@pytest.mark.parametrize("name", COEFFICIENTS)
@pytest.mark.parametrize("decades", [2.0, 4.0, 6.0])
def test_the_gram_form_is_as_orthogonal_as_the_standard_form(name: str, decades: float) -> None:
    matrices, steps = ill_conditioned(2, 48, 160, decades), coefficients(name)
    for dtype in (torch.float32, torch.bfloat16):
        standard, gram = (
            newton_schulz(matrices, steps, dtype, form).double() for form in ("standard", "gram")
        )
        if dtype == torch.bfloat16:
            assert torch.equal(gram, standard)
        else:
            assert orthogonality_error(gram) < orthogonality_error(standard) + 2e-4
            assert (gram - standard).norm() / standard.norm() < 1e-2


def orthogonality_error(X_NSL: torch.Tensor) -> float:
    S = X_NSL.shape[-2]
    identity = torch.eye(S, dtype=X_NSL.dtype)
    return (X_NSL @ X_NSL.mT - identity).square().sum(dim=(-2, -1)).div(S).sqrt().mean().item()


def test_the_form_is_chosen_by_operations_and_accuracy() -> None:
    k2 = coefficients("k2")
    assert choose_form(128, 128, k2, torch.float32) == "standard"
    assert choose_form(128, 352, k2, torch.float32) == "gram"
    assert choose_form(128, 128 * 64, k2, torch.bfloat16) == "standard"
    gentle = ((0.5, 0.4, 0.1),) * 5
    assert choose_form(128, 128 * 64, gentle, torch.bfloat16) == "standard"
    # A single step has nothing to save.
    assert choose_form(128, 128 * 64, k2[:1], torch.float32) == "standard"


def test_float32_that_is_computed_in_less_counts_as_less() -> None:
    settings = torch.backends.mkldnn.matmul
    before = settings.fp32_precision
    try:
        settings.fp32_precision = "bf16"
        assert choose_form(128, 352, coefficients("k2"), torch.float32) == "standard"
    finally:
        settings.fp32_precision = before
    assert choose_form(128, 352, coefficients("k2"), torch.float32) == "gram"


def test_auto_takes_the_chosen_form() -> None:
    matrices = random_matrices(2, 8, 64, dtype=torch.float32)
    results = {
        form: newton_schulz(matrices, dtype=torch.float32, form=form)
        for form in ("auto", "standard", "gram")
    }
    assert torch.equal(results["auto"], results["gram"])
    assert not torch.equal(results["standard"], results["gram"])


@pytest.mark.parametrize("name", ["k2", "deepseek_v4"])
@pytest.mark.parametrize(("rows", "columns"), [(5, 5), (4, 24), (24, 4)])
def test_flops_are_those_that_torch_counts(name: str, rows: int, columns: int) -> None:
    matrices, steps = random_matrices(3, rows, columns, dtype=torch.float32), coefficients(name)
    # In float32 ten steps with K2's slope need one restart (`RESTART_NOISE`), five need none.
    for form, restarts in (("standard", 0), ("gram", len(steps) // 10)):
        with FlopCounterMode(display=False) as counter:
            newton_schulz(matrices, steps, torch.float32, form)
        expected = newton_schulz_flops(rows, columns, len(steps), form, restarts)
        assert counter.get_total_flops() == 3 * expected


@pytest.mark.parametrize(
    ("form", "restarts", "symmetric", "wide", "square"),
    [
        ("standard", 0, False, 20, 10),
        ("standard", 0, True, 15, 5),
        ("gram", 1, False, 8, 28),
        ("gram", 1, True, 6, 14),
        ("gram", 0, True, 3, 17),
    ],
)
def test_flops_by_formula(
    form: Form, restarts: int, symmetric: bool, wide: int, square: int
) -> None:
    m, n = 3, 7
    expected = wide * m**2 * n + square * m**3
    assert newton_schulz_flops(n, m, 5, form, restarts, symmetric) == expected
