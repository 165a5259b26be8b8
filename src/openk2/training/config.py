"""The configuration of a pre-training run."""

import math
from dataclasses import dataclass, field

from openk2.models.config import KimiK2Config

__all__ = ["DataConfig", "OptimizerConfig", "PretrainConfig", "TrainingConfig"]


@dataclass(frozen=True)
class DataConfig:
    """Where text comes from and how it is split."""

    paths: tuple[str, ...] = ()  # files and folders; none: the embedded corpus
    validation_fraction: float = 0.05  # of the documents, chosen by a hash of their content
    strict: bool = False  # a broken line is an error rather than skipped and counted

    def __post_init__(self) -> None:
        if not 0 < self.validation_fraction < 1:
            raise ValueError("validation_fraction must lie between 0 and 1")


@dataclass(frozen=True)
class OptimizerConfig:
    """MuonClip (paper section 2.1) and the schedule of section 2.5."""

    learning_rate: float = 2e-4  # at its peak
    final_learning_rate: float = 2e-5
    warmup_steps: int = 500
    decay_steps: int = 0  # of the cosine at the end
    weight_decay: float = 0.1
    momentum: float = 0.95
    nesterov: bool = True
    qk_clip_threshold: float = 100.0
    gradient_clip: float = 1.0  # largest global norm; the paper does not state one
    router_bias_rate: float = 1e-3  # DeepSeek-V3's and Moonlight's; the paper does not state one

    def __post_init__(self) -> None:
        if not 0 <= self.final_learning_rate <= self.learning_rate:
            raise ValueError("final_learning_rate must lie between 0 and learning_rate")
        if math.isinf(self.learning_rate):
            raise ValueError("learning_rate must be finite")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum is {self.momentum}; it must lie in [0, 1)")
        for name in ("weight_decay", "router_bias_rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be finite, at least 0")
        if self.gradient_clip <= 0 or self.qk_clip_threshold <= 0:
            raise ValueError("gradient_clip and qk_clip_threshold must be positive")
        if self.warmup_steps < 0 or self.decay_steps < 0:
            raise ValueError("warmup_steps and decay_steps must not be negative")


@dataclass(frozen=True)
class TrainingConfig:
    """How long, in what batches, and what is kept."""

    steps: int
    sequence_length: int  # tokens
    batch_size: int  # sequences per optimizer step
    micro_batch_size: int  # sequences per forward pass
    evaluate_every: int = 100  # steps; the last step is always evaluated
    checkpoint_every: int = 100  # steps; the last step is always saved
    keep_checkpoints: int = 2
    sample_prompt: str = ""  # continued at every evaluation, as a sample
    sample_tokens: int = 96
    threads: int | None = None  # none: as many as cores are free
    dtype: str = "auto"  # compute dtype: bfloat16 or float32; auto: what the machine is fast at
    device: str = "auto"  # cpu or cuda; auto: a GPU if there is one

    def __post_init__(self) -> None:
        for name in ("steps", "sequence_length", "batch_size", "micro_batch_size",
                     "evaluate_every", "checkpoint_every", "keep_checkpoints"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of micro_batch_size "
                f"{self.micro_batch_size}"
            )
        if self.sample_tokens < 0:
            raise ValueError(f"sample_tokens is {self.sample_tokens}; it must not be negative")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads is {self.threads}; it is at least 1, or none")
        if self.dtype not in ("auto", "bfloat16", "float32"):
            raise ValueError(f"dtype '{self.dtype}' is not auto, bfloat16 or float32")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"device '{self.device}' is not auto, cpu or cuda")

    @property
    def tokens_per_step(self) -> int:
        return self.batch_size * self.sequence_length


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that decides a pre-training run."""

    name: str
    model: KimiK2Config
    training: TrainingConfig
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}; it must lie between 0 and 2**63 - 1")
        optimizer, steps = self.optimizer, self.training.steps
        if optimizer.warmup_steps + optimizer.decay_steps > steps:
            raise ValueError(
                f"warmup_steps {optimizer.warmup_steps} and decay_steps {optimizer.decay_steps} "
                f"do not fit into {steps} training steps"
            )
        if self.training.sequence_length > self.model.max_position_embeddings:
            raise ValueError(
                f"sequence_length {self.training.sequence_length} exceeds the model's "
                f"max_position_embeddings {self.model.max_position_embeddings}"
            )
