"""A small model trained on the nano corpus, for any optimizer: the loop the scripts share.

Arms of a comparison differ in the optimizer alone: for one seed they have the same initial weights
and the same batches in the same order, and the corpus is one for all seeds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from openk2.data import Batch, Corpus, PackedBatches, ValidationBatches, load_corpus
from openk2.models import KimiK2Config, KimiK2MoEModel
from openk2.optimizers import warmup_stable_decay
from openk2.training.step import batch_loss

__all__ = ["Optimizers", "Setting", "curve", "train"]


class Optimizers:
    """One torch optimizer, or several that act as one."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts

    def set_learning_rate(self, learning_rate: float) -> None:
        for optimizer in self.parts:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate

    def step(self) -> None:
        for optimizer in self.parts:
            optimizer.step()


@dataclass(frozen=True)
class Setting:
    """What all arms of a comparison share. The schedule's phases are shares of `steps`."""

    model: KimiK2Config
    steps: int
    sequence_length: int
    batch_size: int  # sequences per step
    warmup: float = 0.05
    decay: float = 0.5
    final_rate: float = 0.01  # of the peak
    weight_decay: float = 0.1
    gradient_clip: float = 1.0  # largest global norm
    router_bias_rate: float = 1e-2
    evaluations: int = 20  # evenly spaced, the last one after the last step
    validation_batches: int = 16  # evenly spaced in the validation text, the same at every one

    @property
    def tokens_per_step(self) -> int:
        return self.batch_size * self.sequence_length

    def rate(self, step: int, peak: float) -> float:
        """The learning rate of step `step`, counted from 1."""
        warmup, decay = round(self.warmup * self.steps), round(self.decay * self.steps)
        return warmup_stable_decay(step, self.steps, peak, self.final_rate * peak, warmup, decay)

    def evaluated(self, step: int) -> bool:
        """Whether an evaluation follows this step."""
        return step * self.evaluations // self.steps > (step - 1) * self.evaluations // self.steps


def train(
    setting: Setting,
    corpus_folder: Path,
    seed: int,
    peak: float,
    make_optimizer: Callable[[KimiK2MoEModel], Optimizers],
) -> dict[str, Any]:
    """Train on one thread to a peak learning rate of `peak`; the losses and seconds of the run.

    Returns `train_loss`, `seconds` and `cpu_seconds` of each step, and `validation`, a list of
    {step, tokens, seconds, cpu_seconds, loss}: nats per token, and the steps' seconds so far, so
    evaluation is not counted. CPU seconds are those of the clock where no other program runs.
    """
    torch.set_num_threads(1)
    corpus = load_corpus(corpus_folder)
    model = KimiK2MoEModel(setting.model, seed=seed)
    optimizer = make_optimizer(model)
    batches = PackedBatches(corpus.train, setting.sequence_length, setting.batch_size, seed)
    train_loss: list[float] = []
    seconds: list[float] = []
    cpu_seconds: list[float] = []
    validation: list[dict[str, float]] = []
    for step in range(1, setting.steps + 1):
        begin, cpu_begin = perf_counter(), process_time()
        optimizer.set_learning_rate(setting.rate(step, peak))
        train_loss.append(_step(model, optimizer, batches(step - 1), setting))
        seconds.append(perf_counter() - begin)
        cpu_seconds.append(process_time() - cpu_begin)
        if setting.evaluated(step):
            validation.append(
                {
                    "step": step,
                    "tokens": step * setting.tokens_per_step,
                    "seconds": sum(seconds),
                    "cpu_seconds": sum(cpu_seconds),
                    "loss": _validation_loss(model, corpus, setting),
                }
            )
    return {
        "train_loss": train_loss,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "validation": validation,
    }


def curve(result: dict[str, Any], key: str) -> NDArray[np.float64]:
    """One field of all evaluations of a run; NaN where JSON has null, for a loss not finite."""
    return np.array([evaluation[key] for evaluation in result["validation"]], dtype=float)


def _step(model: KimiK2MoEModel, optimizer: Optimizers, batch: Batch, setting: Setting) -> float:
    """One optimizer step; the batch's loss in nats per token."""
    model.train()
    loss = batch_loss(model, batch) / batch.target_count
    loss.backward()
    parameters = [p for p in model.parameters() if p.grad is not None]
    torch.nn.utils.clip_grad_norm_(parameters, setting.gradient_clip)
    optimizer.step()
    model.zero_grad(set_to_none=True)
    model.update_router_bias(model.expert_counts(), setting.router_bias_rate)
    return float(loss.detach())


@torch.no_grad()
def _validation_loss(model: KimiK2MoEModel, corpus: Corpus, setting: Setting) -> float:
    """Nats per token over the setting's share of the validation text."""
    model.eval()
    batches = ValidationBatches(corpus.validation, setting.sequence_length, setting.batch_size)
    count = min(setting.validation_batches, len(batches))
    chosen = [batches[index * len(batches) // count] for index in range(count)]
    nats = sum(float(batch_loss(model, batch)) for batch in chosen)
    return nats / sum(batch.target_count for batch in chosen)
