"""One optimizer step: micro-batches forward and backward, clip, MuonClip, router biases.

L mixture layers, E experts; H heads of A attention layers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from openk2.data.packing import Batch
from openk2.models import KimiK2MoEModel, PackedDocuments
from openk2.optimizers import MuonClipOptimizer
from openk2.training.loss import linear_cross_entropy

__all__ = ["StepResult", "batch_loss", "train_step"]


@dataclass(frozen=True)
class StepResult:
    """What a step measured; `skipped` if its gradient was not finite and it changed nothing."""

    loss: float  # nats per token
    bits_per_byte: float
    balance_loss: float
    gradient_norm: float  # before clipping
    update_rms: float
    skipped: bool
    max_logits_AH: Tensor | None
    clip_factors_AH: Tensor | None
    expert_counts_LE: Tensor


def batch_loss(model: KimiK2MoEModel, batch: Batch) -> Tensor:
    """The sum of cross-entropy over a batch's targets, in nats: a float32 scalar."""
    device = model.lm_head.weight.device
    tokens_BT = torch.from_numpy(batch.tokens_BT).to(device)
    targets_N = torch.from_numpy(batch.targets_BT).to(device).flatten()
    batch_size, length = tokens_BT.shape
    documents = PackedDocuments(batch_size, length, batch.starts)
    hidden_ND = model.hidden_states(tokens_BT, documents).flatten(0, 1)
    return linear_cross_entropy(hidden_ND, model.lm_head.weight, targets_N)


def train_step(
    model: KimiK2MoEModel,
    optimizer: MuonClipOptimizer,
    micro_batches: Sequence[Batch],
    gradient_clip: float,
    router_bias_rate: float,
) -> StepResult:
    """Train on one batch given in parts; the loss is the mean over all its targets.

    A gradient that is not finite changes nothing: no weight, no momentum, no bias.
    """
    model.train()
    target_count = sum(batch.target_count for batch in micro_batches)
    rows = sum(len(batch.tokens_BT) for batch in micro_batches)
    nats = balance = 0.0
    for batch in micro_batches:
        loss = batch_loss(model, batch)
        # The mean over the sequences of this part; over the whole batch each counts the same.
        balance_loss = model.balance_loss() * (len(batch.tokens_BT) / rows)
        (loss / target_count + balance_loss).backward()
        nats += float(loss.detach())
        balance += float(balance_loss.detach())
    parameters = [p for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(parameters, gradient_clip)
    counts_LE = model.expert_counts()
    skipped = not bool(torch.isfinite(norm))
    if skipped:
        model.reset_state()
    else:
        optimizer.step()
        model.update_router_bias(counts_LE, router_bias_rate)
    optimizer.zero_grad(set_to_none=True)
    target_bytes = sum(batch.target_bytes for batch in micro_batches)
    return StepResult(
        loss=nats / target_count,
        bits_per_byte=nats / math.log(2) / target_bytes,
        balance_loss=balance,
        gradient_norm=float(norm),
        update_rms=0.0 if skipped else optimizer.update_rms(),
        skipped=skipped,
        max_logits_AH=None if skipped else optimizer.last_max_logits,
        clip_factors_AH=None if skipped else optimizer.last_clip_factors,
        expert_counts_LE=counts_LE,
    )
