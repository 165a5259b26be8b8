"""The fused head and cross-entropy equal torch's, value and gradients."""

import pytest
import torch
import torch.nn.functional as F

from openk2.training import loss as loss_module
from openk2.training.loss import IGNORED, linear_cross_entropy


@pytest.mark.parametrize("chunk", [1, 40, 1 << 20])
def test_equals_torch_in_float64(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_module, "CHUNK_ELEMENTS", chunk)
    torch.manual_seed(0)
    hidden = torch.randn(23, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 5, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(11, (23,))
    targets[[0, 7, 22]] = IGNORED
    ours = linear_cross_entropy(hidden, weight, targets)
    theirs = F.cross_entropy(hidden @ weight.T, targets, ignore_index=IGNORED, reduction="sum")
    assert torch.allclose(ours, theirs, rtol=1e-12)
    for mine, expected in zip(
        torch.autograd.grad(3 * ours, (hidden, weight)),
        torch.autograd.grad(3 * theirs, (hidden, weight)),
        strict=True,
    ):
        assert torch.allclose(mine, expected, rtol=1e-10, atol=1e-12)


def test_nothing_scored_costs_nothing() -> None:
    hidden = torch.randn(4, 5, requires_grad=True)
    weight = torch.randn(7, 5, requires_grad=True)
    ours = linear_cross_entropy(hidden, weight, torch.full((4,), IGNORED))
    ours.backward()
    assert ours.item() == 0 and not hidden.grad.any() and not weight.grad.any()


def test_bfloat16_sums_in_float32() -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(3000, 16), torch.randn(50, 16)
    targets = torch.randint(50, (3000,))
    exact = F.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    ours = linear_cross_entropy(hidden.bfloat16(), weight, targets)
    assert ours.dtype == torch.float32 and abs(ours / exact - 1) < 2e-3
