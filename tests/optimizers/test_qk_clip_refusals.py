"""What QK-Clip refuses: weights that it could not scale rightly, and setups that never clip."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from openk2.optimizers import MuonClipOptimizer
from openk2.optimizers.qk_clip import QKClip, scale_logits

from .plain_attention import PlainAttention


def with_parametrization() -> list[PlainAttention]:
    attention = PlainAttention()
    nn.utils.parametrizations.weight_norm(attention.q_proj)
    return [attention]


def with_flat_parameter() -> list[PlainAttention]:
    """As FSDP1 and ZeRO-3 leave it between two forward passes."""
    attention = PlainAttention()
    attention.q_proj.weight = nn.Parameter(torch.ones(7))
    return [attention]


def with_shared_weights() -> list[PlainAttention]:
    first, second = PlainAttention(), PlainAttention()
    second.k_proj.weight = first.k_proj.weight
    return [first, second]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (with_parametrization, r"the weight of ParametrizedLinear is no nn.Parameter of 12 rows"),
        (with_flat_parameter, r"the weight of Linear is no .* but Parameter \[7\].*FSDP2"),
        (with_shared_weights, r"weight of Linear twice, for attention layers 0 and 1; .* share"),
    ],
)
def test_weights_that_could_not_be_scaled_rightly_are_refused(build: Any, message: str) -> None:
    """Scaling them would do nothing, hit the wrong elements, or clip twice."""
    layers = build()
    with pytest.raises(ValueError, match=message):
        QKClip(None, nn.ModuleList(layers), 1.0)
    if len(layers) == 1:
        with pytest.raises(ValueError, match=message):
            scale_logits(layers[0].qk_clip.logit_rows(), torch.ones(4))


def test_one_qk_clip_after_an_optimizer() -> None:
    """A second would find the maxima read and forgotten, and so never clip at its own tau."""
    attention = PlainAttention(dtype=torch.float32)
    adamw = torch.optim.AdamW(attention.parameters())
    QKClip(adamw, attention, 1.0)
    with pytest.raises(ValueError, match="this AdamW is followed by QK-Clip already"):
        QKClip(adamw, attention, 1.0)
    with pytest.raises(ValueError, match=r"MuonClipOptimizer is .* qk_clip_threshold=None"):
        QKClip(MuonClipOptimizer.from_model(attention), attention, 1.0)
    muon = MuonClipOptimizer.from_model(attention, qk_clip_threshold=None)
    clip = QKClip(muon, attention, 1.0)
    attention(torch.ones(1, 2, 6)).sum().backward()
    muon.step()
    assert clip.last_max_logits is not None and clip.last_max_logits.isfinite().all()


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan])
def test_a_threshold_must_be_positive(threshold: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        QKClip(None, PlainAttention(), threshold)


def test_nothing_to_clip_is_an_error_where_the_clip_is_all_there_is() -> None:
    optimizer = torch.optim.AdamW(nn.Linear(2, 2).parameters())
    with pytest.raises(ValueError, match="no ClipTargets"):
        QKClip(optimizer, [])
    with pytest.raises(ValueError, match="no attention layer was found"):
        QKClip(optimizer, nn.Linear(2, 2))
    QKClip(None, []).clip()
