"""The small layers: linear, RMSNorm, SwiGLU, rotary embedding with YaRN.

Parameters stay in float32; activations carry the compute dtype. Each layer casts its weight to the
dtype of what comes in, so the embedding's output alone decides the precision of a forward pass.

B batch rows, T positions, N = B*T tokens, D hidden width, F feed-forward width, R rotary width.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openk2.models.config import KimiK2Config

__all__ = [
    "FeedForwardExpert",
    "Linear",
    "RMSNorm",
    "rotary_turns",
    "rotate",
    "softmax_scale",
    "swiglu",
]


class Linear(nn.Module):
    """y = x Wᵀ without bias; W [out, in] is cast to x's dtype."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


class RMSNorm(nn.Module):
    """x / RMS(x) * gain over the last dimension; statistics in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = _RMSNorm.apply(x, self.weight, self.eps)
        return normed


class _RMSNorm(torch.autograd.Function):
    """y = x r w with r = 1/RMS(x).  With t = dy x:  dw = tᵀ r,  dx = r (dy w - x r² (t w) / D).

    Both sums over t are matrix-vector products, so the backward pass reads its inputs few times.
    The forward pass is in float32; in the backward pass only the statistics are.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        statistics = torch.promote_types(x.dtype, torch.float32)
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=statistics)
        reciprocal = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight_D, reciprocal)
        normed: Tensor = (x * reciprocal).mul_(weight_D)
        return normed.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight_D, reciprocal = ctx.saved_tensors
        width = x.shape[-1]
        weight, r = weight_D.to(x.dtype), reciprocal.to(x.dtype)
        (dy,) = gradients
        t_ND = (dy * x).view(-1, width)
        d_weight = t_ND.T @ r.view(-1)
        projection = (t_ND @ weight).view(reciprocal.shape) * reciprocal.square() / width
        dx = (dy * weight).addcmul_(x, projection.to(x.dtype), value=-1).mul_(r)
        return dx, d_weight.to(weight_D.dtype), None


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up."""
    return F.silu(gate) * up


class FeedForwardExpert(nn.Module):
    """down(silu(gate(x)) * up(x)): a dense layer's feed-forward, or the shared expert."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = Linear(hidden_size, intermediate_size)
        self.up_proj = Linear(hidden_size, intermediate_size)
        self.down_proj = Linear(intermediate_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(swiglu(self.gate_proj(x), self.up_proj(x)))  # type: ignore[no-any-return]


def _mscale(factor: float, coefficient: float) -> float:
    return 0.1 * coefficient * math.log(factor) + 1.0


def softmax_scale(config: KimiK2Config) -> float:
    """qk_head_dim^-1/2, times YaRN's mscale² where the context is stretched."""
    scale: float = config.qk_head_dim**-0.5
    yarn = config.rope_scaling
    if yarn is not None and yarn.mscale_all_dim:
        scale *= _mscale(yarn.factor, yarn.mscale_all_dim) ** 2
    return scale


def _inverse_frequencies(config: KimiK2Config) -> Tensor:
    """theta^(-2i/R) for i < R/2; YaRN divides the slow ones by its factor, with a ramp between.

    With K2's beta_fast = beta_slow = 1 the ramp is a step: indices up to 19 of 32 stay as they are.
    """
    width, yarn = config.qk_rope_head_dim, config.rope_scaling
    exponents = torch.arange(0, width, 2, dtype=torch.float32) / width
    frequencies = 1.0 / config.rope_theta**exponents
    if yarn is None:
        return frequencies

    def correction_dimension(rotations: float) -> float:
        positions = yarn.original_max_position_embeddings / (rotations * 2 * math.pi)
        return width * math.log(positions) / (2 * math.log(config.rope_theta))

    low = max(math.floor(correction_dimension(yarn.beta_fast)), 0)
    high = min(math.ceil(correction_dimension(yarn.beta_slow)), width - 1)
    steps = torch.arange(width // 2, dtype=torch.float32)
    ramp = ((steps - low) / ((high - low) or 0.001)).clamp(0, 1)
    return frequencies / yarn.factor * ramp + frequencies * (1 - ramp)


def rotary_turns(config: KimiK2Config, positions_BT: Tensor) -> Tensor:
    """Each position's rotations as complex numbers, complex64 [B, T, R/2]."""
    frequencies = _inverse_frequencies(config).to(positions_BT.device)
    angles = positions_BT[..., None].float() * frequencies
    yarn, attention_factor = config.rope_scaling, 1.0
    if yarn is not None and yarn.mscale and yarn.mscale_all_dim:
        scales = _mscale(yarn.factor, yarn.mscale), _mscale(yarn.factor, yarn.mscale_all_dim)
        attention_factor = scales[0] / scales[1]
    elif yarn is not None:
        attention_factor = _mscale(yarn.factor, 1.0)
    return torch.polar(torch.full_like(angles, attention_factor), angles)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turn the pairs (x_0, x_1), (x_2, x_3), ... of the last dimension, in float32.

    `turns` broadcasts against the pairs. Turning by the conjugate is the backward pass.
    """
    pairs = x.to(torch.promote_types(x.dtype, torch.float32)).contiguous().unflatten(-1, (-1, 2))
    return torch.view_as_real(torch.view_as_complex(pairs) * turns).flatten(-2).to(x.dtype)
