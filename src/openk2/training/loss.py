"""Cross-entropy of the head's logits without ever holding them all.

N tokens, D hidden width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ["IGNORED", "linear_cross_entropy"]

IGNORED = -100  # the target of a position that is not scored, as in torch
CHUNK_ELEMENTS = 1 << 21  # logits held at once: 2 M, which stays in a CPU's cache


def linear_cross_entropy(hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Σ over scored positions of -log softmax(hidden Wᵀ)[target], a float32 scalar in nats.

    The gradients of hidden and weight are computed on the way, chunk by chunk, so the [N, V]
    logits are made once and never stored; softmax and sum are in float32.
    """
    loss: Tensor = _LinearCrossEntropy.apply(
        hidden_ND, weight_VD, targets_N, torch.is_grad_enabled()
    )
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    """loss = Σ lse(z) - z[target];  dz = softmax(z) - onehot(target);  dh = dz W;  dW = dzᵀ h."""

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, gradients: bool
    ) -> Tensor:
        weight = weight_VD.to(hidden_ND.dtype)
        statistics = torch.promote_types(hidden_ND.dtype, torch.float32)
        loss = torch.zeros((), dtype=statistics, device=hidden_ND.device)
        d_hidden = torch.empty_like(hidden_ND) if gradients else None
        d_weight = torch.zeros_like(weight_VD, dtype=statistics) if gradients else None
        ignored_N = targets_N == IGNORED
        targets_N = targets_N.masked_fill(ignored_N, 0)
        rows = max(1, CHUNK_ELEMENTS // len(weight))
        for begin in range(0, len(hidden_ND), rows):
            chunk = slice(begin, begin + rows)
            h, targets, ignored = hidden_ND[chunk], targets_N[chunk, None], ignored_N[chunk]
            log_p = torch.log_softmax(h @ weight.T, dim=-1, dtype=statistics)
            loss -= log_p.gather(1, targets)[~ignored].sum()
            if d_hidden is not None and d_weight is not None:
                dz = log_p.exp_()
                dz.scatter_add_(1, targets, torch.full_like(targets, -1, dtype=statistics))
                dz = dz.to(h.dtype)
                dz[ignored] = 0
                torch.mm(dz, weight, out=d_hidden[chunk])
                d_weight += dz.T @ h
        ctx.save_for_backward(d_hidden, d_weight)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        d_hidden, d_weight = ctx.saved_tensors
        return d_hidden * gradients[0], d_weight * gradients[0], None, None
