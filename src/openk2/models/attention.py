"""Multi-head latent attention, with the per-head maximum logit that QK-Clip needs.

Queries and keys/values pass through low-rank latents; position enters by a rotary part that every
head's key shares (paper section 2.3; DeepSeek-V2). Head h's logit is

    (q_nope_h . k_nope_h + rotate(q_rope_h) . rotate(k_rope)) * softmax_scale.

B batch rows, T positions, H heads, D hidden width, P = qk_nope_head_dim, R = qk_rope_head_dim,
Q = P + R, V = v_head_dim.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openk2.core.protocols import HeadMatrices, LogitRows
from openk2.kernels.attention_logits import (
    MaxLogitRecorder,
    attention_with_log_sum_exp,
    exact_max_logits,
)
from openk2.models.config import KimiK2Config
from openk2.models.documents import PackedDocuments
from openk2.models.layers import Linear, RMSNorm, rotate, softmax_scale

__all__ = [
    "MultiHeadLatentAttention",
    "latent_head_matrices",
    "latent_logit_rows",
    "packed_max_logits",
]

# The released code gives the latent norms this eps whatever rms_norm_eps says.
LATENT_NORM_EPS = 1e-6


class MultiHeadLatentAttention(nn.Module):
    """MLA over packed documents; a `core.protocols.ClipTarget`."""

    def __init__(self, config: KimiK2Config) -> None:
        super().__init__()
        self.num_attention_heads = heads = config.num_attention_heads
        self.nope, self.rope = config.qk_nope_head_dim, config.qk_rope_head_dim
        self.value = config.v_head_dim
        self.kv_lora_rank = config.kv_lora_rank
        self.scale = softmax_scale(config)
        hidden, query = config.hidden_size, heads * config.qk_head_dim
        self.q_lora_rank = config.q_lora_rank
        if config.q_lora_rank is None:
            self.q_proj = Linear(hidden, query)
        else:
            self.q_a_proj = Linear(hidden, config.q_lora_rank)
            self.q_a_layernorm = RMSNorm(config.q_lora_rank, LATENT_NORM_EPS)
            self.q_b_proj = Linear(config.q_lora_rank, query)
        self.kv_a_proj_with_mqa = Linear(hidden, config.kv_lora_rank + self.rope)
        self.kv_a_layernorm = RMSNorm(config.kv_lora_rank, LATENT_NORM_EPS)
        self.kv_b_proj = Linear(config.kv_lora_rank, heads * (self.nope + self.value))
        self.o_proj = Linear(heads * self.value, hidden)
        self.measure_exactly = False  # in every forward pass, whatever mode or threshold
        self._recorder = MaxLogitRecorder(heads)

    def forward(self, x_BTD: Tensor, turns: Tensor, documents: PackedDocuments) -> Tensor:
        """Attention within each document, [B, T, D]; `turns` from `rotary_turns`, [B, T, R/2]."""
        batch, length, _ = x_BTD.shape
        if self.q_lora_rank is None:
            q = self.q_proj(x_BTD)
        else:
            q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x_BTD)))
        latent, k_rope_BTR = self.kv_a_proj_with_mqa(x_BTD).split(
            [self.kv_lora_rank, self.rope], -1
        )
        kv = self.kv_b_proj(self.kv_a_layernorm(latent))
        q_BTHQ = q.view(batch, length, self.num_attention_heads, -1)
        kv_BTHX = kv.view(batch, length, self.num_attention_heads, -1)
        inputs = (q_BTHQ, kv_BTHX, k_rope_BTR, turns)
        on_cpu = x_BTD.device.type == "cpu"
        attend = _FlashLatentAttention.apply if on_cpu else latent_attention
        out_BTHV, q_BTHQ, k_BTHQ, bound_BHT = attend(*inputs, self.scale, documents)
        training = self.training and torch.is_grad_enabled()
        if self.measure_exactly or (training and self._recorder.threshold is not None):
            # The log-sum-exp bounds a row's maximum, so that heads below tau need no measuring.
            bound_BHT = None if self.measure_exactly else bound_BHT
            threshold = self._recorder.threshold
            self._recorder.record(
                packed_max_logits(q_BTHQ, k_BTHQ, self.scale, documents, bound_BHT, threshold)
            )
        return self.o_proj(out_BTHV.flatten(2))  # type: ignore[no-any-return]

    def observe_max_logits(self, threshold: float) -> None:
        """See `core.protocols.ClipTarget`."""
        self._recorder.observe(threshold)

    def max_logits(self) -> Tensor:
        """S_max per head since the last reset, float32 [H]."""
        return self._recorder.max_logits(self.o_proj.weight.device)

    def reset_max_logits(self) -> None:
        """Forget what was measured."""
        self._recorder.reset()

    def logit_rows(self) -> list[LogitRows]:
        """W_qc and W_kc by sqrt(g), W_qr by g, head by head (Algorithm 1, lines 11 to 17)."""
        widths = self.num_attention_heads, self.nope, self.rope, self.value
        return latent_logit_rows(self._query, self.kv_b_proj, *widths)

    def head_matrices(self) -> list[HeadMatrices]:
        """The up-projections, whose rows fall into heads."""
        widths = self.num_attention_heads, self.nope, self.rope, self.value
        return latent_head_matrices(self._query, self.kv_b_proj, *widths)

    @property
    def _query(self) -> nn.Module:
        return self.q_proj if self.q_lora_rank is None else self.q_b_proj


def latent_logit_rows(
    query: nn.Module, key_value: nn.Module, heads: int, nope: int, rope: int, value: int
) -> list[LogitRows]:
    """The rows of latent attention's up-projections that make its logits, biases included.

    `query` has rows [heads * (nope + rope), in], `key_value` [heads * (nope + value), in], each
    head's parts in this order. The rotary key serves all heads and stays, so the rotary query
    takes the whole factor; values stay; the down-projections stay too, for the norms behind them
    would undo a scaling.
    """
    # On the CPU also where a model is built on the meta device, whose tensors have no values.
    query_power = torch.tensor([0.5] * nope + [1.0] * rope, device="cpu").repeat(heads)
    key_power = torch.tensor([0.5] * nope + [0.0] * value, device="cpu").repeat(heads)
    head_H1 = torch.arange(heads, device="cpu")[:, None]
    return [
        LogitRows(module, name, head_H1.repeat_interleave(len(power) // heads, 0), power)
        for module, power in ((query, query_power), (key_value, key_power))
        for name in ("weight", "bias")
    ]


def latent_head_matrices(
    query: nn.Module, key_value: nn.Module, heads: int, nope: int, rope: int, value: int
) -> list[HeadMatrices]:
    """How the rows of latent attention's up-projections fall into heads: see `latent_logit_rows`.

    A head's keys and values come from matrices of their own that are stored as one.
    """
    query_rows, key_value_rows = heads * (nope + rope), heads * (nope + value)
    return [
        HeadMatrices(query, "weight", (query_rows,), (nope + rope,) * heads),
        HeadMatrices(key_value, "weight", (key_value_rows,), (nope, value) * heads),
    ]


def _assemble(
    q_BTHQ: Tensor, kv_BTHX: Tensor, k_rope_BTR: Tensor, turns: Tensor
) -> tuple[Tensor, Tensor]:
    """Queries and keys [B, T, H, Q], their rotary parts turned; all heads share the key's."""
    nope = q_BTHQ.shape[-1] - k_rope_BTR.shape[-1]
    q_rope = rotate(q_BTHQ[..., nope:], turns[:, :, None])
    k_rope = rotate(k_rope_BTR, turns)[:, :, None].expand_as(q_rope)
    q = torch.cat([q_BTHQ[..., :nope], q_rope], dim=-1)
    return q, torch.cat([kv_BTHX[..., :nope], k_rope], dim=-1)


def latent_attention(
    q_BTHQ: Tensor,
    kv_BTHX: Tensor,
    k_rope_BTR: Tensor,
    turns: Tensor,
    scale: float,
    documents: PackedDocuments,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Attention on any device: output [B, T, H, V], queries, keys, log-sum-exp of the logits.

    The last, [B, H, T], is None where no kernel of the device returns it.
    """
    q, k = _assemble(q_BTHQ, kv_BTHX, k_rope_BTR, turns)
    v = kv_BTHX[..., q.shape[-1] - k_rope_BTR.shape[-1] :]
    out = torch.empty_like(v)
    parts: list[tuple[Tensor, ...]] = []
    for rectangle in documents.rectangles:
        where = rectangle.rows, rectangle.positions
        q_part, k_part, v_part = (x[where].transpose(1, 2) for x in (q, k, v))
        attended, log_sum_exp = attention_with_log_sum_exp(
            q_part, k_part, v_part, scale, is_causal=True
        )
        out[where] = attended.transpose(1, 2)
        if log_sum_exp is not None:
            parts.append((log_sum_exp,))
    complete = len(parts) == len(documents.rectangles)
    return out, q, k, _join(documents, parts)[0] if complete else None


class _FlashLatentAttention(torch.autograd.Function):
    """The same through a CPU's flash kernel, which also returns log Σ exp of each row's logits.

    The kernel wants values as wide as keys, so they are padded with zeros; otherwise torch takes a
    path three times slower. Rotation and padding are part of this one node: a rotation's backward
    is the rotation back, so nothing is kept but what the kernel needs.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q_BTHQ: Tensor,
        kv_BTHX: Tensor,
        k_rope_BTR: Tensor,
        turns: Tensor,
        scale: float,
        documents: PackedDocuments,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        nope = q_BTHQ.shape[-1] - k_rope_BTR.shape[-1]
        width = kv_BTHX.shape[-1] - nope
        q, k = _assemble(q_BTHQ, kv_BTHX, k_rope_BTR, turns)
        v = F.pad(kv_BTHX[..., nope:], (0, q.shape[-1] - width))
        parts = []
        for rectangle in documents.rectangles:
            where = rectangle.rows, rectangle.positions
            parts.append(
                torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                    *(x[where].transpose(1, 2) for x in (q, k, v)), 0.0, True, scale=scale
                )
            )
        out, lse_BHT = _join(documents, parts)
        out = out.transpose(1, 2)
        ctx.save_for_backward(q, k, v, out, lse_BHT, turns)
        ctx.scale, ctx.documents, ctx.widths = scale, documents, (nope, width)
        ctx.mark_non_differentiable(q, k, lse_BHT)
        return out[..., :width], q, k, lse_BHT

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        q, k, v, out, lse_BHT, turns = ctx.saved_tensors
        nope, width = ctx.widths
        dout = F.pad(gradients[0], (0, q.shape[-1] - width))
        parts = []
        for rectangle in ctx.documents.rectangles:
            where = rectangle.rows, rectangle.positions
            parts.append(
                torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                    *(x[where].transpose(1, 2) for x in (dout, q, k, v, out)),
                    lse_BHT[rectangle.rows, :, rectangle.positions],
                    0.0,
                    True,
                    scale=ctx.scale,
                )
            )
        dq, dk, dv = (x.transpose(1, 2) for x in _join(ctx.documents, parts))
        back = turns.conj()
        dq[..., nope:] = rotate(dq[..., nope:], back[:, :, None])
        d_k_rope = rotate(dk[..., nope:].sum(2), back)
        d_kv = torch.cat([dk[..., :nope], dv[..., :width]], dim=-1)
        return dq, d_kv, d_k_rope, None, None, None


def _join(documents: PackedDocuments, parts: list[tuple[Tensor, ...]]) -> list[Tensor]:
    """Per rectangle the same few tensors [b, H, t, ...] -> each of them whole, [B, H, T, ...]."""
    if len(parts) == 1:
        return list(parts[0])
    joined = []
    for pieces in zip(*parts, strict=True):
        _, heads, _, *rest = pieces[0].shape
        # Laid out as [B, T, H, ...], as the kernel does, so that heads merge without a copy.
        whole = pieces[0].new_empty((documents.batch, documents.length, heads, *rest))
        whole = whole.transpose(1, 2)
        for rectangle, piece in zip(documents.rectangles, pieces, strict=True):
            whole[rectangle.rows, :, rectangle.positions] = piece
        joined.append(whole)
    return joined


@torch.no_grad()
def packed_max_logits(
    q_BTHQ: Tensor,
    k_BTHQ: Tensor,
    scale: float,
    documents: PackedDocuments,
    bound_BHT: Tensor | None = None,
    threshold: float | None = None,
) -> Tensor:
    """max over the batch and the visible pairs j <= i of one document of q_i.k_j * scale: [H].

    Given an upper bound of each query's logits, exact only where that exceeds the threshold.
    """
    if bound_BHT is not None and threshold is not None and bound_BHT.device.type == "cpu":
        bound_H = bound_BHT.amax((0, 2)).float()
        if bool((bound_H <= threshold).all()):  # reading a CPU tensor makes nobody wait
            return bound_H
    largest = []
    for rectangle in documents.rectangles:
        rows, positions = rectangle.rows, rectangle.positions
        q, k = (x[rows, positions].transpose(1, 2) for x in (q_BTHQ, k_BTHQ))
        bound = None if bound_BHT is None else bound_BHT[rows, :, positions].amax((0, 2)).float()
        largest.append(
            exact_max_logits(q, k, scale, is_causal=True, bound_H=bound, threshold=threshold)
        )
    return torch.stack(largest).amax(0)
