"""The router: sigmoid scores, a bias that only selects, top-k renormalised and scaled.

Paper section 2.3 with the released config: no expert groups, no softmax. Balance comes without an
auxiliary loss: after each optimizer step the bias of every expert moves by a fixed rate against
the sign of its load violation (Moonlight report; DeepSeek-V3).

N tokens, D hidden width, E experts, K experts per token.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openk2.models.config import KimiK2Config

__all__ = ["Router", "routed_scaling_factor", "sequence_balance_loss"]


class Router(nn.Module):
    """Chooses K experts a token and their weights, in float32 whatever the compute dtype."""

    e_score_correction_bias: Tensor
    expert_counts_E: Tensor

    def __init__(self, config: KimiK2Config) -> None:
        super().__init__()
        self.experts_per_token = config.num_experts_per_tok
        self.renormalise = config.norm_topk_prob
        self.scaling_factor = config.routed_scaling_factor
        self.balance_weight = config.aux_loss_alpha
        experts = config.n_routed_experts
        self.weight = nn.Parameter(torch.empty(experts, config.hidden_size))
        self.register_buffer("e_score_correction_bias", torch.zeros(experts))
        # Assignments seen in training since the last bias update, over all micro-batches.
        self.register_buffer(
            "expert_counts_E", torch.zeros(experts, dtype=torch.int64), persistent=False
        )
        self.balance_loss: Tensor | None = None

    def forward(self, x_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Weights [N, K] (float32) and chosen experts [N, K] (int64), in no particular order."""
        batch, length, width = x_BTD.shape
        weights_NK, experts_NK, scores_NE = self.choose(x_BTD.reshape(-1, width))
        if self.training and torch.is_grad_enabled():
            self.expert_counts_E += torch.bincount(
                experts_NK.flatten(), minlength=len(self.expert_counts_E)
            )
            if self.balance_weight:
                self.balance_loss = self.balance_weight * sequence_balance_loss(
                    scores_NE.view(batch, length, -1), experts_NK.view(batch, length, -1)
                )
        return weights_NK, experts_NK

    def choose(self, x_ND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights and experts as `forward`, and the scores of all, [N, E]; nothing is counted."""
        precision = torch.promote_types(x_ND.dtype, torch.float32)
        scores_NE = F.linear(x_ND.to(precision), self.weight.to(precision)).sigmoid()
        with torch.no_grad():
            choice_NE = scores_NE + self.e_score_correction_bias
            experts_NK = choice_NE.topk(self.experts_per_token, dim=-1, sorted=False).indices
        weights_NK = scores_NE.gather(1, experts_NK)
        if self.renormalise:
            weights_NK = weights_NK / (weights_NK.sum(-1, keepdim=True) + 1e-20)
        return weights_NK * self.scaling_factor, experts_NK, scores_NE

    @torch.no_grad()
    def update_bias(self, counts_E: Tensor, rate: float) -> None:
        """b_i += rate * (sign(e_i) - mean_j sign(e_j)), e_i = mean load - load of expert i.

        Subtracting the mean keeps the bias from drifting; it does not change what is selected.
        """
        violation = (counts_E.double().mean() - counts_E).sign()
        self.e_score_correction_bias += rate * (violation - violation.mean()).float()


def sequence_balance_loss(scores_BTE: Tensor, experts_BTK: Tensor) -> Tensor:
    """The sequence-wise balance loss Σ_i f_i P_i, averaged over sequences: a scalar, 1 at balance.

    f_i = E/(K T) * tokens of the sequence that chose i; P_i = mean over the sequence of the scores
    normalised to sum 1 (DeepSeek-V3 report; config.json's `seq_aux`).
    """
    batch, _, experts = scores_BTE.shape
    chosen = experts_BTK.flatten(1)
    counts_BE = torch.zeros_like(scores_BTE[:, 0]).scatter_add_(
        1, chosen, torch.ones_like(chosen, dtype=scores_BTE.dtype)
    )
    frequency_BE = counts_BE * (experts / chosen.shape[1])
    probability_BE = (scores_BTE / scores_BTE.sum(-1, keepdim=True)).mean(1)
    return (frequency_BE * probability_BE).sum() / batch


def routed_scaling_factor(experts: int, experts_per_token: int, samples: int = 100_000) -> float:
    """The factor that gives routed experts the weight of one: mean of 1/||p||_2 at random logits.

    p are the renormalised top-k sigmoid scores of N(0, 1) logits (Moonlight report, figure 6);
    (64, 6) gives Moonlight's 2.446, (384, 8) K2's 2.827. Rounded to three digits as they are.
    """
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(samples, experts, generator=generator).sigmoid()
    top = scores.topk(experts_per_token, dim=-1).values
    p = top / top.sum(-1, keepdim=True)
    return round(float((1 / p.norm(dim=-1)).mean()), 3)
