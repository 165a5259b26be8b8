"""Pre-training: the loop that turns a corpus into checkpoints and events.

Everything a step depends on is the weights, the optimizer state and the step's number, so a run
that was killed goes on from its last checkpoint as if nothing had happened.
"""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

import torch

from openk2.core.events import EventLog, read_events
from openk2.core.generation import SamplingOptions
from openk2.core.run_folder import RunFolder, latest_checkpoint
from openk2.data.corpus import Corpus
from openk2.data.loader import PackedBatches, ValidationBatches
from openk2.inference import Engine, GenerationRequest
from openk2.models import KimiK2MoEModel
from openk2.optimizers import MuonClipOptimizer, warmup_stable_decay
from openk2.training.checkpointing import (
    checkpoint_path,
    restore_checkpoint,
    save_checkpoint,
)
from openk2.training.config import PretrainConfig
from openk2.training.step import StepResult, batch_loss, train_step

__all__ = ["Pretraining", "Stopped"]

SAMPLE_TEMPERATURE = 0.8


class Stopped(Exception):
    """A signal asked the run to stop; everything up to `step` is saved."""

    def __init__(self, signal_name: str, step: int) -> None:
        super().__init__(f"stopped by {signal_name} after step {step}")
        self.signal_name, self.step = signal_name, step


class Pretraining:
    """A run: model, optimizer and position in the corpus, and the folder they are saved in."""

    def __init__(
        self,
        config: PretrainConfig,
        corpus: Corpus,
        folder: RunFolder,
        events: EventLog,
        compute_dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.config, self.corpus, self.folder, self.events = config, corpus, folder, events
        training = config.training
        special = corpus.tokenizer.special
        model_config = replace(
            config.model, bos_token_id=special["[BOS]"], eos_token_id=special["[EOS]"]
        )
        self.model = KimiK2MoEModel(model_config, seed=config.seed).to(device)
        self.model.compute_dtype = compute_dtype
        self.optimizer = MuonClipOptimizer.from_model(
            self.model,
            lr=config.optimizer.learning_rate,
            weight_decay=config.optimizer.weight_decay,
            momentum=config.optimizer.momentum,
            nesterov=config.optimizer.nesterov,
            qk_clip_threshold=config.optimizer.qk_clip_threshold,
            # The training step looks at the norm of all gradients, which it needs anyway.
            non_finite="ignore",
        )
        self.batches = PackedBatches(
            corpus.train, training.sequence_length, training.batch_size, config.seed
        )
        self.validation = ValidationBatches(
            corpus.validation, training.sequence_length, training.micro_batch_size
        )
        self.step = 0

    def restore(self) -> bool:
        """Go back to the newest checkpoint, the event log with it; False if there is none."""
        path = latest_checkpoint(self.folder.checkpoints)
        if path is None:
            return False
        self.step, events_size = restore_checkpoint(path, self.model, self.optimizer)
        self.events.cut_back(events_size)
        if self.step < self.config.training.steps:
            self.events.append("resume", step=self.step)
        return True

    def run(self) -> None:
        """Train to the last step. Raises Stopped when a signal came, after saving."""
        training = self.config.training
        with _stop_requests() as requests:
            while self.step < training.steps:
                self._one_step()
                last = self.step == training.steps
                # Read once: a signal that comes later is for the next step.
                stop = None if last or not requests else requests[0]
                if last or self.step % training.evaluate_every == 0:
                    self._evaluate()
                if last:
                    self._finish()
                elif stop:
                    self.events.append("stop", step=self.step, reason=stop)
                if last or stop or self.step % training.checkpoint_every == 0:
                    self._save()
                if stop:
                    raise Stopped(stop, self.step)

    def _one_step(self) -> None:
        begin = time.perf_counter()
        training, optimizer = self.config.training, self.config.optimizer
        number = self.step
        self.step += 1
        learning_rate = warmup_stable_decay(
            self.step,
            training.steps,
            optimizer.learning_rate,
            optimizer.final_learning_rate,
            optimizer.warmup_steps,
            optimizer.decay_steps,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        parts = training.batch_size // training.micro_batch_size
        result = train_step(
            self.model,
            self.optimizer,
            [self.batches.rows(number, part, parts) for part in range(parts)],
            optimizer.gradient_clip,
            optimizer.router_bias_rate,
        )
        seconds = time.perf_counter() - begin
        self.events.append(
            "step",
            step=self.step,
            learning_rate=learning_rate,
            tokens=self.step * training.tokens_per_step,
            tokens_per_second=training.tokens_per_step / seconds,
            seconds=seconds,
            **_step_fields(result, optimizer.qk_clip_threshold),
        )

    @torch.no_grad()
    def _evaluate(self) -> None:
        """Every validation token once, S_max of every head exactly; then a sample."""
        self.model.eval()
        nats, tokens = 0.0, 0
        with self.model.exact_max_logits() as max_logits:
            for number in range(len(self.validation)):
                batch = self.validation[number]
                nats += float(batch_loss(self.model, batch))
                tokens += batch.target_count
        text_bytes = self.corpus.validation.bytes
        self.events.append(
            "validation",
            step=self.step,
            loss=nats / tokens,
            bits_per_byte=nats / math.log(2) / text_bytes,
            tokens=tokens,
            bytes=text_bytes,
            max_logits=[layer.tolist() for layer in max_logits],
        )
        self._sample()

    def _sample(self) -> None:
        training, tokenizer = self.config.training, self.corpus.tokenizer
        prompt = [tokenizer.special["[BOS]"], *tokenizer.encode(training.sample_prompt)]
        options = SamplingOptions(
            temperature=SAMPLE_TEMPERATURE,
            max_tokens=training.sample_tokens,
            seed=self.config.seed,
            stop_tokens=(tokenizer.special["[EOS]"],),
        )
        engine = Engine(self.model, tokenizer, max_lanes=1)
        (generation,) = engine.generate([GenerationRequest(tuple(prompt), options)])
        engine.close()
        self.events.append(
            "sample",
            step=self.step,
            prompt=training.sample_prompt,
            text=generation.samples[0].text,
            temperature=SAMPLE_TEMPERATURE,
        )

    def _finish(self) -> None:
        steps = read_events(self.folder.events, "step")
        seconds = sum(event["seconds"] for event in steps)
        self.events.append("finish", step=self.step, training_seconds=seconds)

    def _save(self) -> None:
        path = str(
            checkpoint_path(self.folder.checkpoints, self.step).relative_to(self.folder.path)
        )
        self.events.append("checkpoint", step=self.step, path=path)
        save_checkpoint(
            self.folder.checkpoints,
            self.step,
            self.model,
            self.optimizer,
            self.events.sync(),
            self.folder.data / "tokenizer.json",
            self.config.training.keep_checkpoints,
        )


def _step_fields(result: StepResult, threshold: float) -> dict[str, Any]:
    """A step's measurements as the fields of its event (docs/events.md)."""
    counts_LE = result.expert_counts_LE.double()
    load_LE = counts_LE / counts_LE.sum(-1, keepdim=True)
    fields: dict[str, Any] = {
        "loss": result.loss,
        "bits_per_byte": result.bits_per_byte,
        "balance_loss": result.balance_loss,
        "gradient_norm": result.gradient_norm,
        "skipped": result.skipped,
        "expert_load": load_LE.tolist(),
        "max_violation": (load_LE.amax(-1) * load_LE.shape[-1] - 1).tolist(),
        "qk_clip_threshold": threshold,
    }
    if result.max_logits_AH is not None and result.clip_factors_AH is not None:
        fields["max_logits"] = result.max_logits_AH.tolist()
        fields["clipped_heads"] = (result.clip_factors_AH < 1).int().tolist()
        fields["update_rms"] = result.update_rms
    return fields


@contextmanager
def _stop_requests() -> Iterator[list[str]]:
    """Collects the names of SIGTERM and SIGINT; a second SIGINT interrupts at once."""
    requests: list[str] = []

    def remember(number: int, frame: FrameType | None) -> None:
        requests.append(signal.Signals(number).name)
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, remember)
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
