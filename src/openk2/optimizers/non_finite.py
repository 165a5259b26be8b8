"""Gradients that are infinite or no numbers, found before they touch anything."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, distributed

__all__ = ["NonFinite", "explain_non_finite", "has_non_finite"]

NonFinite = Literal["error", "skip", "ignore"]


def has_non_finite(
    tensors: Sequence[Tensor], device: torch.device, process_group: Any = None
) -> bool:
    """Whether any tensor, on any process of the group, holds an infinity or a NaN.

    The tensors may lie on several devices; the answer is found on `device`.
    One pass over the tensors, one all-reduce of one number, and the host waits for the answer.
    """
    filled = [tensor for tensor in tensors if tensor.numel()]
    finite = torch.tensor(True)
    if filled:
        finite = _all_finite(torch._foreach_norm(filled), device)
        # Squares overflow above 1e19. Only then, and free to ask on a CPU, a slower look.
        if device.type != "cpu" or not bool(finite):
            finite = _all_finite(torch._foreach_norm(filled, float("inf")), device)
    if distributed.is_available() and distributed.is_initialized():
        bad = (~finite).to(device=device, dtype=torch.float32)
        distributed.all_reduce(bad, op=distributed.ReduceOp.MAX, group=process_group)
        return bool(bad)
    return not bool(finite)


def _all_finite(norms: Sequence[Tensor], device: torch.device) -> Tensor:
    return torch.isfinite(torch.stack([norm.to(device) for norm in norms])).all()


def explain_non_finite(
    names: Sequence[str], weights: Sequence[Tensor], gradients: Sequence[Tensor]
) -> str:
    """Which gradients are not finite, and which parameters were so before, for an error."""
    parts = []
    for kind, tensors in (("gradient", gradients), ("parameter", weights)):
        bad = [
            name
            for name, tensor in zip(names, tensors, strict=True)
            if tensor.numel() and not bool(torch.isfinite(tensor).all())
        ]
        if bad:
            more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
            parts.append(f"the {kind} of {', '.join(bad[:3])}{more}")
    return " and ".join(parts) or "a gradient on another process"
