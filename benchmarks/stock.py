"""The peer: transformers' DeepseekV3ForCausalLM, trained with torch.optim.Muon and AdamW.

It starts from the weights of an OpenK2 model and sees the same batches. Everything else is stock:
its own loss, its sdpa attention, its experts, the optimizers that torch ships.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import DeepseekV3ForCausalLM

from openk2.data import Batch
from openk2.integrations.hf_checkpoints import save_pretrained
from openk2.models import KimiK2MoEModel, PackedDocuments

__all__ = [
    "EXPERTS",
    "PRECISIONS",
    "StockOptimizer",
    "load_stock",
    "precision_context",
    "stock_inputs",
    "stock_loss",
    "stock_model",
    "stock_train_step",
]

# How transformers runs experts. "batched_mm" copies an expert's weights for every token: ten
# gigabytes on the smallest model here.
EXPERTS = ("grouped_mm", "eager")
# Parameters and arithmetic in float32; both in bfloat16; parameters in float32 under autocast,
# which is what OpenK2's bfloat16 means.
PRECISIONS = ("float32", "bfloat16", "autocast")

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def stock_model(model: KimiK2MoEModel, precision: str) -> DeepseekV3ForCausalLM:
    """A peer with the weights of `model`, by way of a folder in the official layout."""
    with TemporaryDirectory() as folder:
        return load_stock(save_pretrained(model, Path(folder) / "model"), precision)


def load_stock(folder: Path, precision: str) -> DeepseekV3ForCausalLM:
    """The peer in training mode from a folder that `save_pretrained` wrote."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    peer = DeepseekV3ForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
    for parameter in peer.parameters():
        # Loaded tensors may lie in the mapped file; a copy has torch's own alignment.
        parameter.data = parameter.data.clone()
    peer.train()
    return peer


def precision_context(precision: str) -> AbstractContextManager[Any]:
    """What the forward pass runs in."""
    return torch.autocast("cpu", torch.bfloat16) if precision == "autocast" else nullcontext()


def stock_inputs(batch: Batch) -> dict[str, Any]:
    """The arguments that make the peer see what OpenK2 sees.

    Position ids that restart at each document make it mask attention across documents. Rows of one
    document get none, because it then skips the mask and is faster.
    """
    tokens_BT = torch.from_numpy(batch.tokens_BT)
    inputs: dict[str, Any] = {"input_ids": tokens_BT, "use_cache": False}
    rows, length = tokens_BT.shape
    documents = PackedDocuments(rows, length, batch.starts)
    if any(len(row) > 1 for row in documents.starts):
        inputs["position_ids"] = documents.positions_BT
    return inputs


def stock_loss(
    peer: DeepseekV3ForCausalLM, batch: Batch, precision: str, divisor: int | None = None
) -> Tensor:
    """Its own cross-entropy: the mean over the batch's targets, or their sum over `divisor`."""
    targets_BT = torch.from_numpy(batch.targets_BT)
    count = {} if divisor is None else {"num_items_in_batch": divisor}
    with precision_context(precision):
        output = peer(**stock_inputs(batch), labels=targets_BT, shift_labels=targets_BT, **count)
    loss: Tensor = output.loss
    return loss


class StockOptimizer:
    """torch.optim.Muon on hidden matrices and torch.optim.AdamW on the rest.

    The rest are embedding, head, gains, and the experts: they are stacked in three dimensions, and
    torch.optim.Muon refuses what is not a matrix. Muon's rate is matched to AdamW's, as in K2.
    """

    def __init__(
        self,
        peer: DeepseekV3ForCausalLM,
        learning_rate: float,
        weight_decay: float,
        momentum: float,
    ) -> None:
        matrices: list[Tensor] = []
        rest: list[Tensor] = []
        for name, parameter in peer.named_parameters():
            hidden = parameter.ndim == 2 and "embed_tokens" not in name and "lm_head" not in name
            (matrices if hidden else rest).append(parameter)
        self.parameters = [*matrices, *rest]
        self.optimizers: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(
                matrices,
                lr=learning_rate,
                weight_decay=weight_decay,
                momentum=momentum,
                adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.AdamW(
                rest, lr=learning_rate, weight_decay=weight_decay, betas=(0.9, 0.95), fused=True
            ),
        )

    def step(self, gradient_clip: float, learning_rate: float | None = None) -> None:
        """Clip the gradient's global norm, update, forget the gradient."""
        torch.nn.utils.clip_grad_norm_(self.parameters, gradient_clip)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["lr"] if learning_rate is None else learning_rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


def stock_train_step(
    peer: DeepseekV3ForCausalLM,
    optimizer: StockOptimizer,
    micro_batches: Sequence[Batch],
    precision: str,
    gradient_clip: float,
    learning_rate: float | None = None,
) -> float:
    """One optimizer step on a batch given in parts; returns the mean loss over its targets."""
    targets = sum(batch.target_count for batch in micro_batches)
    total = 0.0
    for batch in micro_batches:
        loss = stock_loss(peer, batch, precision, divisor=targets)
        loss.backward()
        total += float(loss.detach())
    optimizer.step(gradient_clip, learning_rate)
    return total
