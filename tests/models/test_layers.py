"""The small layers against float64 definitions."""

import math

import pytest
import torch

from openk2.models import KimiK2Config, YarnScaling
from openk2.models.layers import RMSNorm, _inverse_frequencies, rotary_turns, rotate, softmax_scale


def test_rms_norm_forward_and_backward() -> None:
    torch.manual_seed(0)
    module = RMSNorm(6, 1e-3).double()
    torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    x = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt() * module.weight
    assert torch.allclose(module(x), expected, rtol=1e-12)
    assert torch.autograd.gradcheck(module, (x,))
    direction = torch.randn(2, 3, 6, dtype=torch.float64)
    (ours,) = torch.autograd.grad(module(x), module.weight, direction)
    (theirs,) = torch.autograd.grad(expected, module.weight, direction)
    assert torch.allclose(ours, theirs, rtol=1e-12)


def test_rms_norm_in_bfloat16_keeps_float32_statistics() -> None:
    torch.manual_seed(0)
    x = (torch.randn(50, 512) * 30).bfloat16()
    exact = RMSNorm(512, 1e-6)(x.float())
    error = (RMSNorm(512, 1e-6)(x).float() - exact).abs() / exact.abs().clamp(min=1e-3)
    assert error.max() < 2**-6


def test_released_yarn_is_a_step_between_two_frequencies() -> None:
    """With beta_fast = beta_slow = 1 the first 20 of 32 frequencies stay, the rest divide by 32."""
    config = KimiK2Config.preset("kimi-k2")
    plain = 1 / 50000 ** (torch.arange(0, 64, 2) / 64)
    ratio = plain / _inverse_frequencies(config)
    assert torch.allclose(ratio[:20], torch.ones(20)) and torch.allclose(
        ratio[20:], torch.full((12,), 32.0)
    )


def test_released_softmax_scale() -> None:
    config = KimiK2Config.preset("kimi-k2")
    mscale = 0.1 * math.log(32) + 1
    assert mscale**2 == pytest.approx(1.8133, abs=1e-4)
    assert softmax_scale(config) == pytest.approx(192**-0.5 * mscale**2)
    assert softmax_scale(KimiK2Config.preset("moonlight-16b")) == 192**-0.5


def test_rotation_is_the_interleaved_one_and_its_conjugate_undoes_it() -> None:
    config = KimiK2Config.preset("nano", rope_scaling=YarnScaling(factor=2.0))
    turns = rotary_turns(config, torch.tensor([[0, 5]]))
    assert (turns[0, 0] == 1).all()
    x = torch.randn(1, 2, config.qk_rope_head_dim)
    turned = rotate(x, turns)
    angle = turns[0, 1, 3].angle().item()
    first, second = x[0, 1, 6].item(), x[0, 1, 7].item()
    assert turned[0, 1, 6].item() == pytest.approx(
        first * math.cos(angle) - second * math.sin(angle), abs=1e-5
    )
    assert torch.allclose(rotate(turned, turns.conj()), x, atol=1e-6)
