"""Attention as a user writes it, in every layout of its projections, and its logits."""

from typing import Literal

import torch
from torch import Tensor, nn

from openk2.optimizers.clip_targets import (
    AttentionClipTarget,
    fused_head_matrices,
    fused_query_key_value_rows,
    query_key_rows,
)


class PlainAttention(nn.Module):
    """Causal attention with H query and G key heads; float64 unless told, random weights.

    `fused`: None for three projections, "blocks" for one with rows [queries | keys | values],
    "interleaved" for one with rows [queries, key, value] of each key head in turn.
    """

    def __init__(
        self,
        heads: int = 4,
        key_heads: int | None = None,
        width: int = 3,
        hidden: int = 6,
        bias: bool = False,
        gqa: Literal["per_head", "group"] = "per_head",
        fused: Literal["blocks", "interleaved"] | None = None,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.heads, self.key_heads, self.width = heads, key_heads or heads, width
        self.fused, self.scale = fused, width**-0.5
        if fused is None:
            self.q_proj = nn.Linear(hidden, heads * width, bias)
            self.k_proj = nn.Linear(hidden, self.key_heads * width, bias)
            self.v_proj = nn.Linear(hidden, self.key_heads * width, bias)
            rows = query_key_rows(self.q_proj, self.k_proj, heads, key_heads, gqa=gqa)
            self.qk_clip = AttentionClipTarget(heads, rows)
        else:
            self.qkv = nn.Linear(hidden, (heads + 2 * self.key_heads) * width, bias)
            interleaved = fused == "interleaved"
            rows = fused_query_key_value_rows(
                self.qkv, heads, key_heads, width, gqa=gqa, interleaved=interleaved
            )
            matrices = fused_head_matrices(self.qkv, heads, key_heads, interleaved=interleaved)
            self.qk_clip = AttentionClipTarget(heads, rows, [matrices])
        for parameter in self.parameters():
            nn.init.normal_(parameter)
        self.to(dtype)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The last dimension of a fused result as that of queries, keys and values."""
        size = self.heads // self.key_heads
        if self.fused == "blocks":
            counts = [self.heads, self.key_heads, self.key_heads]
            q, k, v = x.split([count * self.width for count in counts], -1)
            return q, k, v
        groups = x.unflatten(-1, (self.key_heads, size + 2, self.width))
        parts = groups.split([size, 1, 1], -2)
        q, k, v = (part.flatten(-3) for part in parts)
        return q, k, v

    def queries_keys_values(self, x_BTD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.fused is None:
            made = self.q_proj(x_BTD), self.k_proj(x_BTD), self.v_proj(x_BTD)
        else:
            made = self.split(self.qkv(x_BTD))
        q, k, v = (x.unflatten(-1, (-1, self.width)).transpose(1, 2) for x in made)
        return q, k, v

    def forward(self, x_BTD: Tensor) -> Tensor:
        q, k, v = self.queries_keys_values(x_BTD)
        self.qk_clip.report(q, k, self.scale, is_causal=True)
        out = nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=self.scale, enable_gqa=True
        )
        return out.transpose(1, 2).flatten(2)

    @torch.no_grad()
    def logits(self, x_BTD: Tensor) -> Tensor:
        """[B, H, T, T], -inf where hidden, from the definition."""
        q, k, _ = self.queries_keys_values(x_BTD)
        k = k.repeat_interleave(self.heads // self.key_heads, 1)
        hidden = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).triu(1)
        return (q @ k.mT * self.scale).masked_fill(hidden, -torch.inf)

    def s_max(self, x_BTD: Tensor) -> Tensor:
        return self.logits(x_BTD).amax((0, 2, 3))
