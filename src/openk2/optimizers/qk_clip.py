"""QK-Clip: after the update, shrink the query and key weights of heads whose logits grew too large.

Why: under Muon the product W_q W_k^T of a few heads grows without bound and the loss spikes.
Rescaling those heads after the step keeps their logits at tau and never touches the forward pass.

    S_max^h  = max over the batch and the visible pairs (i, j) of q_i^h . k_j^h * softmax_scale
    gamma^h  = tau / S_max^h   if S_max^h > tau, else 1
    W_qc^h *= sqrt(gamma^h);  W_kc^h *= sqrt(gamma^h);  W_qr^h *= gamma^h;  W_kr stays

so both parts of the logit, q_c . k_c and q_r . k_r, scale by gamma^h although all heads share k_r.
The layer that owns the weights applies the last line (`ClipTarget.scale_attention_logits`).

Source: paper section 2.1, Algorithm 1. Shape letters: L layers, H heads.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from openk2.core.protocols import ClipTarget

__all__ = ["apply_clip_factors", "clip_factors"]


def clip_factors(max_logits_LH: Tensor, threshold: float) -> Tensor:
    """gamma per head, of the shape of `max_logits_LH`, in (0, 1]; `threshold` is tau > 0.

    A selection and not a clamp of tau / S_max: a maximum at or below zero makes that ratio negative
    or infinite, and its square root turns the weights of the head into NaN.
    """
    return torch.where(max_logits_LH > threshold, threshold / max_logits_LH, 1.0)


def apply_clip_factors(targets: Sequence[ClipTarget], factors_LH: Tensor) -> None:
    """Scale the logits of each layer's heads by its row of `factors_LH` [layers, heads].

    Every layer is visited, since asking which ones need it would make the host wait for the device;
    a factor of one leaves the weights bit-identical.
    """
    for target, factor_H in zip(targets, factors_LH, strict=True):
        target.scale_attention_logits(factor_H)
