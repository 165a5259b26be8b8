"""A small clip target with real weights: the logits of multi-head latent attention."""

import torch
from torch import Tensor, nn

from openk2.core.protocols import HeadMatrices, LogitRows
from openk2.models.attention import latent_head_matrices, latent_logit_rows


class LatentAttentionLogits(nn.Module):
    """Measures S_max from real queries and keys; rotary angles are left out, they change no norm.

    q_b_proj rows of a head: [nope | rope]; kv_b_proj rows of a head: [nope | value]; the rotary
    key comes from k_rope_proj and is shared by all heads. Shape letters: T tokens, H heads.
    """

    def __init__(
        self, heads: int = 3, nope: int = 4, rope: int = 2, value: int = 5, hidden: int = 6
    ) -> None:
        super().__init__()
        self.num_attention_heads = heads
        self.nope, self.rope, self.value = nope, rope, value
        self.q_b_proj = nn.Linear(hidden, heads * (nope + rope), bias=False)
        self.kv_b_proj = nn.Linear(hidden, heads * (nope + value), bias=False)
        self.k_rope_proj = nn.Linear(hidden, rope, bias=False)
        self.observed_threshold: float | None = None
        self.reset_max_logits()

    def forward(self, x_TD: Tensor) -> Tensor:
        """Logits [heads, tokens, tokens]; remembers their maximum per head."""
        q_THD = self.q_b_proj(x_TD).unflatten(-1, (self.num_attention_heads, -1))
        kv_THD = self.kv_b_proj(x_TD).unflatten(-1, (self.num_attention_heads, -1))
        nope_HTT = torch.einsum("ihd,jhd->hij", q_THD[..., : self.nope], kv_THD[..., : self.nope])
        rope_HTT = torch.einsum("ihd,jd->hij", q_THD[..., self.nope :], self.k_rope_proj(x_TD))
        logits_HTT = (nope_HTT + rope_HTT) * (self.nope + self.rope) ** -0.5
        self._max_logits_H = self._max_logits_H.to(logits_HTT.dtype).maximum(
            logits_HTT.detach().amax(dim=(1, 2))
        )
        return logits_HTT

    def observe_max_logits(self, threshold: float) -> None:
        self.observed_threshold = threshold

    def max_logits(self) -> Tensor:
        return self._max_logits_H

    def reset_max_logits(self) -> None:
        self._max_logits_H = torch.full(
            (self.num_attention_heads,), -torch.inf, device=self.q_b_proj.weight.device
        )

    def logit_rows(self) -> list[LogitRows]:
        return latent_logit_rows(*self._projections())

    def head_matrices(self) -> list[HeadMatrices]:
        return latent_head_matrices(*self._projections())

    def _projections(self) -> tuple[nn.Module, nn.Module, int, int, int, int]:
        widths = self.num_attention_heads, self.nope, self.rope, self.value
        return self.q_b_proj, self.kv_b_proj, *widths
