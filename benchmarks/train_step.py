"""Forward, mean cross-entropy, backward: OpenK2 against transformers, same weights, same batches.

Before anything is timed, both must give the same logits, loss and gradient norm in float32, so the
peer does the same work; S_max of every head is observed on our side, as in training. The peer's
bar is its fastest variant: two implementations of the experts, three kinds of precision. Every
round has a batch of its own, the same for all, because a matrix library that compiles a kernel for
each new shape pays for that in training too. A second table times the whole optimizer step.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.stock import (
    EXPERTS,
    PRECISIONS,
    StockOptimizer,
    stock_inputs,
    stock_loss,
    stock_model,
    stock_train_step,
)
from benchmarks.table import Table, verdict
from benchmarks.timing import Timing, interleaved
from openk2.data import NO_TARGET, Batch
from openk2.models import KimiK2Config, KimiK2MoEModel, PackedDocuments
from openk2.optimizers import MuonClipOptimizer
from openk2.training.step import batch_loss, train_step

__all__ = ["CASES", "Agreement", "Case", "agreement", "random_batch", "run"]

WARM_UP = 2  # rounds
THRESHOLD = 100.0  # of S_max, the paper's tau
TOLERANCE = 1e-4  # of logits and of the relative difference of gradient norms, in float32
# Two experts whose scores differ by less than rounding may swap places in either implementation;
# that many positions may therefore disagree.
TIED_SHARE = 1e-3
BFLOAT16_TARGET = 2.0
OURS = {"OpenK2 float32": None, "OpenK2 bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Case:
    """A batch of `rows` x `length` tokens; documents of about `document` tokens, or whole rows."""

    name: str
    rows: int
    length: int
    document: int | None
    target: float  # of the float32 ratio


CASES = (
    Case("whole rows", 8, 512, None, 1.3),
    Case("packed documents", 2, 2048, 300, 2.0),
)


@dataclass(frozen=True)
class Agreement:
    """How far the peer's outputs are from ours in float32."""

    largest_logit_difference: float
    differing_share: float  # of positions, by more than TOLERANCE
    loss_difference: float
    gradient_norm_ratio: float
    busiest_expert: float  # its load, in mean loads, in the least balanced layer

    @property
    def holds(self) -> bool:
        return (
            self.differing_share <= TIED_SHARE
            and self.loss_difference <= TOLERANCE
            and abs(self.gradient_norm_ratio - 1) <= TOLERANCE
        )


def random_batch(case: Case, vocabulary: int, seed: int = 0) -> Batch:
    """Random tokens; document lengths are log-normal around `case.document`, cut at the row."""
    random = np.random.default_rng(seed)
    stream = random.integers(0, vocabulary, (case.rows, case.length + 1))
    targets_BT = stream[:, 1:].copy()
    starts = []
    for row in range(case.rows):
        begins = [0]
        while case.document is not None:
            length = max(2, round(random.lognormal(math.log(case.document), 0.8)))
            if begins[-1] + length >= case.length:
                break
            begins.append(begins[-1] + length)
            targets_BT[row, begins[-1] - 1] = NO_TARGET
        starts.append(begins)
    return Batch(stream[:, :-1].copy(), targets_BT, starts, target_bytes=1)


def agreement(model: KimiK2MoEModel, peer: Any, batch: Batch, inputs: dict[str, Any]) -> Agreement:
    """Compare in float32: logits, the peer's on `inputs`; loss and gradient norm on `batch`."""
    rows, length = batch.tokens_BT.shape
    documents = PackedDocuments(rows, length, batch.starts)
    model.compute_dtype = None
    with torch.no_grad():
        ours = model(torch.from_numpy(batch.tokens_BT), documents)
        difference_BT = (ours - peer(**inputs).logits).abs().amax(-1)
    model.zero_grad(set_to_none=True)
    peer.zero_grad(set_to_none=True)
    model.reset_state()
    loss = batch_loss(model, batch) / batch.target_count
    peer_loss = stock_loss(peer, batch, "float32")
    loss.backward()
    peer_loss.backward()
    counts_LE = model.expert_counts().double()
    return Agreement(
        largest_logit_difference=float(difference_BT.max()),
        differing_share=float((difference_BT > TOLERANCE).double().mean()),
        loss_difference=abs(float(loss.detach()) - float(peer_loss.detach())),
        gradient_norm_ratio=float(_gradient_norm(model) / _gradient_norm(peer)),
        busiest_expert=float((counts_LE.amax(1) / counts_LE.mean(1)).max()),
    )


def run(
    rounds: int, config: KimiK2Config | None = None, cases: Sequence[Case] = CASES
) -> list[Table]:
    """One table of timings and one of ratios a case, then the whole optimizer step."""
    config = config or KimiK2Config.preset("nano")
    model = KimiK2MoEModel(config, seed=0)
    for layer in model.attention_layers():
        layer.observe_max_logits(THRESHOLD)
    peers = {precision: stock_model(model, precision) for precision in PRECISIONS}
    tables: list[Table] = []
    every_timing = []
    for case in cases:
        batches = _batches(case, config, rounds)
        found = agreement(model, peers["float32"], batches[0], stock_inputs(batches[0]))
        if not found.holds:
            raise AssertionError(f"{case.name}: the peer does not compute the same: {found}")
        timings = interleaved(_loss_works(model, peers, batches), rounds, WARM_UP)
        tables += _loss_tables(case, batches, found, timings)
        every_timing.append(timings)
    best = {p: _fastest(every_timing[0], [p]).split()[-1] for p in PRECISIONS}
    return [*tables, _step_table(model, peers, best, rounds, cases[0])]


def _batches(case: Case, config: KimiK2Config, rounds: int) -> list[Batch]:
    """One a round."""
    return [random_batch(case, config.vocab_size, seed) for seed in range(WARM_UP + rounds)]


def _gradient_norm(model: nn.Module) -> Tensor:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm: Tensor = torch.stack([g.norm() for g in gradients]).norm()
    return norm


def _loss_works(
    model: KimiK2MoEModel, peers: dict[str, Any], batches: Sequence[Batch]
) -> dict[str, Callable[[], object]]:
    """Ours and the peer's variants by name, ours and theirs in turn; each walks the batches."""

    def ours(dtype: torch.dtype | None, batch: Iterator[Batch]) -> None:
        now = next(batch)
        model.compute_dtype = dtype
        model.zero_grad(set_to_none=True)
        (batch_loss(model, now) / now.target_count).backward()

    def theirs(precision: str, experts: str, batch: Iterator[Batch]) -> None:
        peer = peers[precision]
        peer.set_experts_implementation(experts)
        peer.zero_grad(set_to_none=True)
        stock_loss(peer, next(batch), precision).backward()

    works: dict[str, Callable[[], object]] = {}
    for (name, dtype), experts in zip(OURS.items(), EXPERTS, strict=True):
        works[name] = partial(ours, dtype, iter(batches))
        for precision in PRECISIONS:
            work = partial(theirs, precision, experts, iter(batches))
            works[_peer_name(precision, experts)] = work
    return works


def _peer_name(precision: str, experts: str) -> str:
    return f"transformers {precision} {experts}"


def _fastest(timings: dict[str, Timing], precisions: Sequence[str]) -> str:
    """The name of the peer's fastest variant in any of `precisions`."""
    names = [_peer_name(precision, experts) for precision in precisions for experts in EXPERTS]
    return min(names, key=lambda name: timings[name].median)


def _loss_tables(
    case: Case, batches: Sequence[Batch], found: Agreement, timings: dict[str, Timing]
) -> list[Table]:
    documents = sum(len(row) for batch in batches for row in batch.starts) / len(batches)
    tokens = case.rows * case.length
    title = f"Forward, loss and backward: {case.rows} x {case.length}, {case.name}"
    rows = [
        [name, *timing.cells(), f"{tokens / timing.median:,.0f}"]
        for name, timing in timings.items()
    ]
    notes = [
        f"{documents:.0f} documents a batch; the busiest expert of a layer has "
        f"{found.busiest_expert:.2f} times the mean load",
        f"float32 logits differ from the peer's by at most {found.largest_logit_difference:.1e}, "
        f"in {found.differing_share:.2%} of positions by more than {TOLERANCE:.0e}; the loss by "
        f"{found.loss_difference:.1e}, the gradient's norm by a factor of "
        f"{found.gradient_norm_ratio:.7f}",
    ]
    ratios = [
        _ratio("OpenK2 float32", _fastest(timings, ["float32"]), timings, case.target),
        _ratio("OpenK2 bfloat16", _fastest(timings, PRECISIONS), timings, BFLOAT16_TARGET),
    ]
    return [
        Table(title, ("program", "n", "ms", "spread", "tokens/s"), rows, notes),
        Table(f"Ratios: {case.rows} x {case.length}, {case.name}",
              ("ours", "the peer's fastest", "ratio", "target", "result"), ratios),
    ]  # fmt: skip


def _ratio(ours: str, peer: str, timings: dict[str, Timing], target: float) -> list[str]:
    ratio = timings[peer].median / timings[ours].median
    return [ours, peer, f"{ratio:.2f}", f"{target:.1f}", verdict(ratio, target)]


def _step_table(
    model: KimiK2MoEModel,
    peers: dict[str, Any],
    best: dict[str, str],
    rounds: int,
    case: Case,
) -> Table:
    """The whole optimizer step; the peer in each precision with its fastest experts."""
    optimizer = MuonClipOptimizer.from_model(model, lr=2e-4, qk_clip_threshold=THRESHOLD)

    def ours(dtype: torch.dtype | None, batch: Iterator[Batch]) -> None:
        model.compute_dtype = dtype
        train_step(model, optimizer, [next(batch)], gradient_clip=1.0, router_bias_rate=1e-3)

    def theirs(precision: str, batch: Iterator[Batch]) -> None:
        parts = [next(batch)]
        stock_train_step(peers[precision], optimizers[precision], parts, precision, 1.0)

    works: dict[str, Callable[[], object]] = {}
    batches = _batches(case, model.config, rounds)
    optimizers = {name: StockOptimizer(peer, 2e-4, 0.1, 0.95) for name, peer in peers.items()}
    for name, dtype in OURS.items():
        works[name] = partial(ours, dtype, iter(batches))
    for precision, peer in peers.items():
        peer.set_experts_implementation(best[precision])
        works[_peer_name(precision, best[precision])] = partial(theirs, precision, iter(batches))
    model.zero_grad(set_to_none=True)
    for peer in peers.values():
        peer.zero_grad(set_to_none=True)
    timings = interleaved(works, rounds, WARM_UP)
    rows = [[name, *timing.cells()] for name, timing in timings.items()]
    peer_names = [_peer_name(precision, best[precision]) for precision in PRECISIONS]
    bar = min(peer_names, key=lambda name: timings[name].median)
    notes = []
    for ours_name, peer_name in (("OpenK2 float32", peer_names[0]), ("OpenK2 bfloat16", bar)):
        ratio = timings[peer_name].median / timings[ours_name].median
        notes.append(f"{ours_name}: {ratio:.2f} times as fast as {peer_name}")
    notes.append(
        "ours: MuonClip, experts with Muon; the peer: torch.optim.Muon, experts with AdamW"
    )
    title = f"The whole optimizer step: {case.rows} x {case.length}, {case.name}"
    return Table(title, ("program", "n", "ms", "spread"), rows, notes)
