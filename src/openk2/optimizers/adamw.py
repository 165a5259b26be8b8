"""AdamW for the parameters that are no hidden matrices, all of a group at once.

    m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
    w = (1 - lr * decay) w - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

Source: Loshchilov and Hutter, arXiv 1711.05101; the result is that of torch.optim.AdamW.
"""

from math import sqrt

import torch
from torch import Tensor

__all__ = ["adamw_update"]


def adamw_update(
    weights: list[Tensor],
    gradients: list[Tensor],
    averages: list[Tensor],
    square_averages: list[Tensor],
    ages: list[float],
    lr: float | Tensor,
    weight_decay: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Change weights, averages (m) and square averages (v) in place; `ages` are t, from 1.

    All lists are parallel; averages are float32 or wider. `lr` may be a tensor on the device, which
    is never read by the host.
    """
    beta1, beta2 = betas
    gradients = [g.to(m.dtype) for g, m in zip(gradients, averages, strict=True)]
    torch._foreach_mul_(weights, 1 - lr * weight_decay)
    torch._foreach_lerp_(averages, gradients, 1 - beta1)
    torch._foreach_mul_(square_averages, beta2)
    torch._foreach_addcmul_(square_averages, gradients, gradients, 1 - beta2)
    denominators = list(torch._foreach_sqrt(square_averages))
    torch._foreach_div_(denominators, [sqrt(1 - beta2**age) for age in ages])
    torch._foreach_add_(denominators, eps)
    if isinstance(lr, Tensor):
        torch._foreach_mul_(denominators, [-(1 - beta1**age) for age in ages])
        updates = torch._foreach_div(averages, denominators)
        torch._foreach_mul_(updates, lr)
        torch._foreach_add_(weights, updates)
    else:
        step_sizes = [-lr / (1 - beta1**age) for age in ages]
        torch._foreach_addcdiv_(weights, averages, denominators, step_sizes)
