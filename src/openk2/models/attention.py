"""Multi-head latent attention, with the per-head maximum logit that QK-Clip needs.

Queries and keys/values pass through low-rank latents; position enters by a rotary part that every
head's key shares (paper section 2.3; DeepSeek-V2). Head h's logit is

    (q_nope_h . k_nope_h + rotate(q_rope_h) . rotate(k_rope)) * softmax_scale.

B batch rows, T positions, H heads, D hidden width, P = qk_nope_head_dim, R = qk_rope_head_dim,
Q = P + R, V = v_head_dim.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openk2.models.config import KimiK2Config
from openk2.models.documents import PackedDocuments
from openk2.models.layers import Linear, RMSNorm, rotate, softmax_scale

__all__ = ["MultiHeadLatentAttention", "exact_max_logits"]

# The released code gives the latent norms this eps whatever rms_norm_eps says.
LATENT_NORM_EPS = 1e-6
LOGITS_HELD = 1 << 24  # elements held at once when S_max is measured exactly: 64 MiB


class MultiHeadLatentAttention(nn.Module):
    """MLA over packed documents; a `core.protocols.ClipTarget`."""

    _max_logits_H: Tensor

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
        self._threshold = math.inf
        self._observes = False
        self.measure_exactly = False  # in every forward pass, whatever mode or threshold
        self.register_buffer("_max_logits_H", torch.full((heads,), -torch.inf), persistent=False)

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
        if x_BTD.device.type == "cpu":
            out_BTHV, q_BTHQ, k_BTHQ, bound_BHT = _FlashLatentAttention.apply(
                *inputs, self.scale, documents
            )
        else:
            out_BTHV, q_BTHQ, k_BTHQ, bound_BHT = latent_attention(*inputs, self.scale, documents)
        training = self.training and torch.is_grad_enabled()
        if self.measure_exactly or (training and self._observes):
            self._observe(q_BTHQ.detach(), k_BTHQ.detach(), bound_BHT, documents)
        return self.o_proj(out_BTHV.flatten(2))  # type: ignore[no-any-return]

    @torch.no_grad()
    def _observe(
        self, q_BTHQ: Tensor, k_BTHQ: Tensor, bound_BHT: Tensor | None, documents: PackedDocuments
    ) -> None:
        """Bound, then exact: max_j s_ij <= log Σ_j exp s_ij, which flash attention returns anyway.

        Only heads whose bound exceeds the threshold pay for the exact maximum.
        """
        if bound_BHT is None or self.measure_exactly:
            largest_H = exact_max_logits(q_BTHQ, k_BTHQ, self.scale, documents)
        else:
            largest_H = bound_BHT.amax((0, 2)).float()
            exceeding = (largest_H > self._threshold).nonzero().flatten()
            if len(exceeding):
                q, k = q_BTHQ[:, :, exceeding], k_BTHQ[:, :, exceeding]
                largest_H[exceeding] = exact_max_logits(q, k, self.scale, documents)
        torch.maximum(self._max_logits_H, largest_H, out=self._max_logits_H)

    def observe_max_logits(self, threshold: float) -> None:
        """See `core.protocols.ClipTarget`."""
        self._threshold = threshold
        self._observes = True

    def max_logits(self) -> Tensor:
        """S_max per head since the last reset, float32 [H]."""
        return self._max_logits_H

    def reset_max_logits(self) -> None:
        self._max_logits_H.fill_(-torch.inf)

    @torch.no_grad()
    def scale_attention_logits(self, factor_H: Tensor) -> None:
        """W_qc *= sqrt(g), W_kc *= sqrt(g), W_qr *= g, head by head (Algorithm 1, lines 11 to 17).

        Both parts of the logit then scale by g. The shared rotary key, the values and the
        down-projections (whose scale the latent norms would undo) stay as they are.
        """
        root_H11 = factor_H.sqrt()[:, None, None]
        heads = self.num_attention_heads
        query = self.q_proj if self.q_lora_rank is None else self.q_b_proj
        query_HQI = query.weight.view(heads, self.nope + self.rope, -1)
        query_HQI[:, : self.nope].mul_(root_H11)
        query_HQI[:, self.nope :].mul_(factor_H[:, None, None])
        key_value_HXI = self.kv_b_proj.weight.view(heads, self.nope + self.value, -1)
        key_value_HXI[:, : self.nope].mul_(root_H11)


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
) -> tuple[Tensor, Tensor, Tensor, None]:
    """Attention in plain operations, for any device: output [B, T, H, V], queries and keys."""
    q, k = _assemble(q_BTHQ, kv_BTHX, k_rope_BTR, turns)
    v = kv_BTHX[..., q.shape[-1] - k_rope_BTR.shape[-1] :]
    out = torch.empty_like(v)
    for rectangle in documents.rectangles:
        where = rectangle.rows, rectangle.positions
        q_part, k_part, v_part = (x[where].transpose(1, 2) for x in (q, k, v))
        attended = F.scaled_dot_product_attention(
            q_part, k_part, v_part, is_causal=True, scale=scale
        )
        out[where] = attended.transpose(1, 2)
    return out, q, k, None


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
def exact_max_logits(
    q_BTHQ: Tensor, k_BTHQ: Tensor, scale: float, documents: PackedDocuments
) -> Tensor:
    """max over the batch and the visible pairs j <= i of one document of q_i.k_j * scale: [H]."""
    precision = torch.promote_types(q_BTHQ.dtype, torch.float32)
    largest_H = torch.full((q_BTHQ.shape[2],), -torch.inf, device=q_BTHQ.device)
    for rectangle in documents.rectangles:
        q, k = (
            x[rectangle.rows, rectangle.positions].transpose(1, 2).to(precision)
            for x in (q_BTHQ, k_BTHQ)
        )
        rows = max(1, LOGITS_HELD // (q.shape[0] * q.shape[1] * q.shape[2]))
        for start in range(0, q.shape[2], rows):
            stop = min(start + rows, q.shape[2])
            logits = q[:, :, start:stop] @ k[:, :, :stop].transpose(2, 3)
            hidden = torch.ones(logits.shape[-2:], dtype=torch.bool, device=q.device).triu(
                start + 1
            )
            logits = logits.masked_fill_(hidden, -torch.inf)
            largest_H = torch.maximum(largest_H, (logits.amax((0, 2, 3)) * scale).float())
    return largest_H
