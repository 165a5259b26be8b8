"""S_max of every head of every layer, over all processes, in one collective."""

from collections.abc import Sequence

import torch
from torch import Tensor, distributed

from openk2.core.protocols import ClipTarget

__all__ = ["gather_max_logits"]


def gather_max_logits(targets: Sequence[ClipTarget]) -> Tensor:
    """Read and reset S_max of all targets: float32 [layers, heads], -inf where nothing ran.

    The maximum over all micro-batches since the last call and over all processes (paper section
    2.1: the maximum over the batch). Every process must call it with the same layers. One MAX
    all-reduce and no wait of the host for the device.
    """
    max_logits_LH = torch.stack([target.max_logits() for target in targets])
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(max_logits_LH, op=distributed.ReduceOp.MAX)
    for target in targets:
        target.reset_max_logits()
    return max_logits_LH
