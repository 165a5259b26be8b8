"""The recipe nano against stock transformers and torch.optim, for the same training seconds.

What is the same: machine, threads, text, tokenizer, shards, initial weights, batches and their
order, sequence length, the shape of the schedule, gradient clip, weight decay, the validation text
and its definition of bits per byte. What differs is the program. OpenK2 trains first; the seconds
its optimizer steps took are the peer's budget, evaluation and saving counted on neither side.

The peer is made strong before it runs: its fastest experts, the best of several peak learning
rates and the best precision, each tried with a tenth of the budget.
"""

import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch

from benchmarks.stock import (
    EXPERTS,
    PRECISIONS,
    StockOptimizer,
    load_stock,
    stock_loss,
    stock_train_step,
)
from benchmarks.table import Table
from benchmarks.timing import interleaved
from openk2.core.events import read_events
from openk2.core.run_folder import RunFolder
from openk2.data import Batch, Corpus, PackedBatches, ValidationBatches, load_corpus
from openk2.integrations.hf_checkpoints import save_pretrained
from openk2.models import KimiK2MoEModel
from openk2.optimizers import warmup_stable_decay
from openk2.recipes.catalogue import recipe
from openk2.recipes.pretrain import run_pretraining
from openk2.training.config import PretrainConfig

__all__ = ["Trained", "run", "train_ours", "train_stock", "tune_stock", "with_steps"]

TRIAL_SHARE = 0.1  # of the budget, for each trial
TIMED_STEPS = 3


@dataclass(frozen=True)
class Variant:
    """How the peer is run."""

    precision: str
    experts: str
    learning_rate: float  # at its peak

    def __str__(self) -> str:
        return f"{self.precision}, {self.experts}, peak {self.learning_rate:g}"


@dataclass(frozen=True)
class Trained:
    """A finished training run."""

    steps: int
    tokens: int
    seconds: float
    bits_per_byte: float

    @property
    def seconds_per_step(self) -> float:
        return self.seconds / self.steps


@dataclass(frozen=True)
class Peer:
    """What every run of the peer shares: its initial weights, and what it is trained on."""

    weights: Path
    config: PretrainConfig
    corpus: Corpus

    def micro_batches(self, number: int) -> list[Batch]:
        """Batch `number` of the training order, in the parts OpenK2 takes."""
        training = self.config.training
        parts = training.batch_size // training.micro_batch_size
        batches = PackedBatches(
            self.corpus.train, training.sequence_length, training.batch_size, self.config.seed
        )
        return [batches.rows(number, part, parts) for part in range(parts)]

    def optimizer(self, model: Any, learning_rate: float) -> StockOptimizer:
        ours = self.config.optimizer
        return StockOptimizer(model, learning_rate, ours.weight_decay, ours.momentum)


def with_steps(config: PretrainConfig, steps: int) -> PretrainConfig:
    """The config for another number of steps, warm-up and decay the same share of them.

    Evaluated and saved once, at the end: neither changes what is trained.
    """
    share = steps / config.training.steps
    warmup = min(steps, round(config.optimizer.warmup_steps * share))
    decay = min(steps - warmup, round(config.optimizer.decay_steps * share))
    return replace(
        config,
        training=replace(
            config.training, steps=steps, evaluate_every=steps, checkpoint_every=steps
        ),
        optimizer=replace(config.optimizer, warmup_steps=warmup, decay_steps=decay),
    )


def train_ours(config: PretrainConfig, folder: Path) -> tuple[Trained, dict[str, Any]]:
    """`k2 run` into `folder`; the result and the corpus's statistics, from its events."""
    with redirect_stdout(sys.stderr):  # stdout is for the tables
        code = run_pretraining(config, folder)
    if code:
        raise RuntimeError(f"the run stopped with exit code {code}")
    events = {event["kind"]: event for event in read_events(RunFolder(folder).events)}
    trained = Trained(
        steps=events["finish"]["step"],
        tokens=events["step"]["tokens"],
        seconds=events["finish"]["training_seconds"],
        bits_per_byte=events["validation"]["bits_per_byte"],
    )
    return trained, events["corpus"]


def train_stock(peer: Peer, variant: Variant, steps: int) -> Trained:
    """Train the peer for `steps` steps of the recipe's schedule and evaluate it."""
    config = with_steps(peer.config, steps)
    ours, training = config.optimizer, config.training
    model = load_stock(peer.weights, variant.precision)
    model.set_experts_implementation(variant.experts)
    optimizer = peer.optimizer(model, variant.learning_rate)
    final = variant.learning_rate * ours.final_learning_rate / ours.learning_rate
    seconds = 0.0
    for step in range(1, steps + 1):
        begin = perf_counter()
        rate = warmup_stable_decay(
            step, steps, variant.learning_rate, final, ours.warmup_steps, ours.decay_steps
        )
        batches = peer.micro_batches(step - 1)
        stock_train_step(model, optimizer, batches, variant.precision, ours.gradient_clip, rate)
        seconds += perf_counter() - begin
    bits = _bits_per_byte(model, variant.precision, peer)
    print(f"stock: {variant}: {steps} steps, {seconds:.1f} s, {bits:.4f} bits per byte",
          file=sys.stderr)  # fmt: skip
    return Trained(steps, steps * training.tokens_per_step, seconds, bits)


def tune_stock(
    peer: Peer, budget: float, precisions: Sequence[str], learning_rates: Sequence[float]
) -> list[tuple[Variant, Trained]]:
    """Trials with a tenth of the budget, best first.

    The learning rates are tried in the precision whose steps are the fastest; the other precisions
    at the best of those rates.
    """
    speed = _seconds_per_step(peer, precisions)
    experts = {p: min(EXPERTS, key=lambda e, p=p: speed[p, e]) for p in precisions}  # type: ignore[misc]
    by_speed = sorted(precisions, key=lambda p: speed[p, experts[p]])

    def trial(precision: str, learning_rate: float) -> tuple[Variant, Trained]:
        variant = Variant(precision, experts[precision], learning_rate)
        seconds = speed[precision, experts[precision]]
        return variant, train_stock(peer, variant, max(1, round(TRIAL_SHARE * budget / seconds)))

    trials = [trial(by_speed[0], learning_rate) for learning_rate in learning_rates]
    best_rate = min(trials, key=_quality)[0].learning_rate
    trials += [trial(precision, best_rate) for precision in by_speed[1:]]
    return sorted(trials, key=_quality)


def run(
    learning_rates: Sequence[float],
    seeds: int = 1,
    budget_scale: float = 1.0,
    stock_dtype: str = "auto",
    config: PretrainConfig | None = None,
) -> list[Table]:
    """Both programs once a seed. The peer is tuned on the first seed's text and budget.

    `learning_rates` are the peaks that the peer tries; `budget_scale` shortens or lengthens
    OpenK2's run and with it the budget; `stock_dtype` is one of PRECISIONS, or auto for the best.
    """
    config = config or recipe("nano")
    config = with_steps(config, max(1, round(config.training.steps * budget_scale)))
    training = replace(config.training, threads=torch.get_num_threads())
    config = replace(config, training=training)
    precisions = PRECISIONS if stock_dtype == "auto" else (stock_dtype,)
    trials: list[tuple[Variant, Trained]] = []
    results: list[tuple[int, Trained, Trained, dict[str, Any]]] = []
    for seed in range(config.seed, config.seed + seeds):
        seeded = replace(config, seed=seed)
        with TemporaryDirectory() as folder:
            ours, statistics_of_text = train_ours(seeded, Path(folder) / "run")
            corpus = load_corpus(RunFolder(Path(folder) / "run").data)
            initial = KimiK2MoEModel(seeded.model, seed=seed)
            peer = Peer(save_pretrained(initial, Path(folder) / "initial"), seeded, corpus)
            trials = trials or tune_stock(peer, ours.seconds, precisions, learning_rates)
            variant, trial = trials[0]
            steps = max(1, round(ours.seconds / trial.seconds_per_step))
            stock = train_stock(peer, variant, steps)
        results.append((seed, ours, stock, statistics_of_text))
    return [_trials_table(trials), _results_table(results, trials[0][0], config)]


def _quality(trial: tuple[Variant, Trained]) -> float:
    """Bits per byte; a run that diverged is the worst."""
    bits = trial[1].bits_per_byte
    return bits if math.isfinite(bits) else math.inf


def _seconds_per_step(peer: Peer, precisions: Sequence[str]) -> dict[tuple[str, str], float]:
    """By precision and experts, timed in turn on the first batches."""
    models = {precision: load_stock(peer.weights, precision) for precision in precisions}
    optimizers = {p: peer.optimizer(model, learning_rate=1e-6) for p, model in models.items()}

    def step(precision: str, experts: str, numbers: Iterator[int]) -> None:
        models[precision].set_experts_implementation(experts)
        batches = peer.micro_batches(next(numbers))
        stock_train_step(
            models[precision], optimizers[precision], batches, precision,
            peer.config.optimizer.gradient_clip,
        )  # fmt: skip

    works = {
        f"{precision} {experts}": partial(step, precision, experts, count())
        for experts in EXPERTS
        for precision in precisions
    }
    timings = interleaved(works, TIMED_STEPS)
    return {(p, e): timings[f"{p} {e}"].median for p in precisions for e in EXPERTS}


@torch.no_grad()
def _bits_per_byte(model: Any, precision: str, peer: Peer) -> float:
    """Every validation token once: nats / ln 2 / bytes of text, as OpenK2 evaluates."""
    training, validation = peer.config.training, peer.corpus.validation
    model.eval()
    batches = ValidationBatches(validation, training.sequence_length, training.micro_batch_size)
    nats = 0.0
    for number in range(len(batches)):
        nats += float(stock_loss(model, batches[number], precision, divisor=1))
    return nats / math.log(2) / validation.bytes


def _trials_table(trials: list[tuple[Variant, Trained]]) -> Table:
    rows = [
        [variant.precision, variant.experts, f"{variant.learning_rate:g}", str(trained.steps),
         f"{trained.seconds_per_step:.3f}", f"{trained.bits_per_byte:.4f}"]
        for variant, trained in trials
    ]  # fmt: skip
    columns = ("precision", "experts", "peak rate", "steps", "seconds/step", "bits/byte")
    title = f"The peer's trials, {TRIAL_SHARE:.0%} of the budget each; the first is taken"
    rates = [variant.learning_rate for variant, _ in trials]
    at_edge = len(set(rates)) > 1 and rates[0] in (min(rates), max(rates))
    notes = [f"{rates[0]:g} is at the edge of the rates tried: --stock-rates widens them"]
    return Table(title, columns, rows, notes if at_edge else ())


def _results_table(
    results: list[tuple[int, Trained, Trained, dict[str, Any]]],
    variant: Variant,
    config: PretrainConfig,
) -> Table:
    rows = []
    for seed, ours, stock, text in results:
        rows += [
            [str(seed), "OpenK2, MuonClip", *_cells(ours)],
            [str(seed), f"transformers, {variant}", *_cells(stock)],
            [str(seed), "gzip -9", "-", "-", "-", f"{text['gzip_bits_per_byte']:.4f}"],
            [str(seed), "xz -9", "-", "-", "-", f"{text['xz_bits_per_byte']:.4f}"],
        ]
    gains = [stock.bits_per_byte - ours.bits_per_byte for _, ours, stock, _ in results]
    wins = sum(gain > 0 for gain in gains)
    spread = f" ± {statistics.stdev(gains):.4f} (standard deviation)" if len(gains) > 1 else ""
    notes = [
        f"the peer's bits per byte minus OpenK2's: {statistics.mean(gains):+.4f}{spread}; "
        f"OpenK2 needs fewer in {wins} of {len(gains)}",
        "the peer: torch.optim.Muon on matrices, AdamW on the rest and on its stacked experts; "
        "same seconds of training, text, tokenizer, initial weights and batches",
    ]
    title = f"{config.name} against stock, {torch.get_num_threads()} threads"
    columns = ("seed", "program", "steps", "tokens seen", "seconds", "bits/byte")
    return Table(title, columns, rows, notes)


def _cells(trained: Trained) -> list[str]:
    return [str(trained.steps), f"{trained.tokens:,}", f"{trained.seconds:.1f}",
            f"{trained.bits_per_byte:.4f}"]  # fmt: skip
