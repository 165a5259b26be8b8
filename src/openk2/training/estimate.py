"""What a run will cost, before it starts."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from openk2.core.device import free_memory_bytes
from openk2.data.packing import Batch
from openk2.models import KimiK2MoEModel
from openk2.models.accounting import count_parameters, training_flops_per_token
from openk2.models.config import KimiK2Config
from openk2.optimizers import MuonClipOptimizer
from openk2.training.config import PretrainConfig
from openk2.training.machine import Setup
from openk2.training.step import train_step

__all__ = ["Estimate", "estimate_run", "memory_bytes"]

MATRIX = 2048  # side of the product whose speed stands for the machine's, when the model is large
UTILISATION = 0.3  # share of that speed that training reaches


@dataclass(frozen=True)
class Estimate:
    """Sizes in parameters, bytes and floating-point operations; time in seconds."""

    parameters: int
    activated_parameters: int
    tokens: int
    flops: float
    memory_bytes: float
    free_memory_bytes: int
    seconds: float
    measured: bool  # timed on the model itself, not reckoned from a matrix product


def estimate_run(config: PretrainConfig, setup: Setup) -> Estimate:
    """Count, and time a few steps of the model itself where it fits into memory."""
    training = config.training
    count = count_parameters(config.model)
    flops = training_flops_per_token(config.model, training.sequence_length)
    tokens = training.steps * training.tokens_per_step
    memory = memory_bytes(config)
    free = free_memory_bytes()
    measured = memory < free / 2 and count.total < 2e9
    if measured:
        rate = _tokens_per_second(config, setup)
    else:
        rate = _matrix_flops_per_second(setup) * UTILISATION / flops
    return Estimate(
        parameters=count.total,
        activated_parameters=count.activated,
        tokens=tokens,
        flops=flops * tokens,
        memory_bytes=memory,
        free_memory_bytes=free,
        seconds=tokens / rate,
        measured=measured,
    )


def memory_bytes(config: PretrainConfig) -> float:
    """Weights, gradients, momentum (second moments for AdamW's share), and activations."""
    model, training = config.model, config.training
    count = count_parameters(model)
    states = 12 * count.total + 4 * 2 * count.embedding
    tokens = training.micro_batch_size * training.sequence_length
    return states + tokens * _activation_elements(model) * 4


def _activation_elements(model: KimiK2Config) -> int:
    """Numbers kept for the backward pass per token, the slots of the experts dominating."""
    attention = 4 * model.num_attention_heads * model.qk_head_dim + 6 * model.hidden_size
    mixture = model.num_experts_per_tok * (model.hidden_size + 2 * model.moe_intermediate_size)
    return model.num_hidden_layers * (attention + 2 * mixture)


def _tokens_per_second(config: PretrainConfig, setup: Setup) -> float:
    """Of whole training steps on random tokens, of up to four micro-batches."""
    training = config.training
    model = KimiK2MoEModel(config.model, seed=0).to(setup.device)
    model.compute_dtype = setup.dtype
    optimizer = MuonClipOptimizer.from_model(model)
    shape = (training.micro_batch_size, training.sequence_length)
    tokens_BT = np.random.default_rng(0).integers(config.model.vocab_size, size=shape)
    batch = Batch(tokens_BT, tokens_BT, [[0]] * len(tokens_BT), tokens_BT.size)
    parts = min(training.batch_size // training.micro_batch_size, 4)
    seconds = []
    for _ in range(4):
        begin = time.perf_counter()
        train_step(model, optimizer, [batch] * parts, 1.0, 1e-3)
        seconds.append(time.perf_counter() - begin)
    # The first steps compile kernels and touch new memory.
    return parts * tokens_BT.size / min(seconds[2:])


def _matrix_flops_per_second(setup: Setup) -> float:
    a = torch.randn(MATRIX, MATRIX, dtype=setup.dtype, device=setup.device)
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        a @ a
        if setup.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return 2 * MATRIX**3 / min(seconds)
