"""torch.optim.Muon's own arithmetic, to the bit, for runs that started there.

It differs from Algorithm 1 where only the scale of the momentum does, which Newton-Schulz removes:
an average instead of a sum. It also works in bfloat16 on every device, one matrix at a time, and
stops being scale-free below a norm of 1e-7. One thing is not copied: torch 2.13 and older
normalise a bfloat16 momentum in place when `nesterov` is off (pytorch #194664).
"""

import torch

from openk2.optimizers.matrices import stacked
from openk2.optimizers.muon_update import MuonParameter, UpdateStatistics, update_scale

__all__ = ["torch_exact_step"]

_SMALLEST_NORM = 1e-7


def torch_exact_step(item: MuonParameter, statistics: UpdateStatistics) -> None:
    """Update the matrices of one parameter in place, each as torch.optim.Muon would."""
    group = item.group
    lr, momentum = float(group["lr"]), group["momentum"]
    item.momentum.lerp_(item.gradient, 1 - momentum)
    update = item.gradient.lerp(item.momentum, momentum) if group["nesterov"] else item.momentum
    for region in item.geometry.regions:
        weights, updates = (stacked(region.view(t)) for t in (item.weight, update))
        for weight_RC, update_RC in zip(weights, updates, strict=True):
            X = update_RC.to(torch.bfloat16, copy=True)
            tall = X.shape[0] > X.shape[1]
            if tall:
                X = X.T
            X.div_(X.norm().clamp(min=_SMALLEST_NORM))
            for a, b, c in item.coefficients:
                A = X @ X.T
                B = torch.addmm(A, A, A, beta=b, alpha=c)
                X = torch.addmm(X, B, X, beta=a)
            weight_RC.mul_(1 - lr * group["weight_decay"])
            weight_RC.add_(X.T if tall else X, alpha=-(lr * update_scale(group, *weight_RC.shape)))
            statistics.matrices[item.parameter] += 1
