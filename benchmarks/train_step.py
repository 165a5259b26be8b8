"""Forward, mean cross-entropy, backward: OpenK2 against transformers, same weights, same batches.

Before anything is timed, both must give the same logits, loss and gradient norm in float32, so the
peer does the same work; S_max of every head is observed on our side, as in training. The peer's
bar is its fastest variant: two implementations of the experts, three kinds of precision. Every
round has a batch of its own, the same for all, because a matrix library that compiles a kernel for
each new shape pays for that in training too. A second table times the whole optimizer step.

Every program has a process of its own, as in a real run. oneDNN keeps the last 1024 kernels that it
compiled in a process; where the experts' matrices have thousands of new shapes a round, one program
evicts the kernels of all others, and each is then timed with a cache that it never has alone. The
peer's slower experts are dropped after the warm-up, which is long enough to tell.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.stock import (
    EXPERTS,
    PRECISIONS,
    StockOptimizer,
    load_stock,
    stock_inputs,
    stock_loss,
    stock_train_step,
)
from benchmarks.table import Table, verdict
from benchmarks.timing import Prepare, Timing, interleaved_workers, started
from openk2.data import NO_TARGET, Batch
from openk2.integrations.hf_checkpoints import save_pretrained
from openk2.models import KimiK2Config, KimiK2MoEModel, PackedDocuments
from openk2.models.pretrained import load_pretrained
from openk2.optimizers import MuonClipOptimizer
from openk2.recipes.catalogue import nano
from openk2.training.machine import set_up
from openk2.training.step import batch_loss, train_step

__all__ = [
    "CASES",
    "Agreement",
    "Case",
    "Program",
    "agreement",
    "build",
    "end_of_warm_up",
    "random_batch",
    "run",
]

WARM_UP = 8  # rounds, until caches of compiled kernels hold what they hold for most of a run
DECIDING = 3  # the last rounds of warm-up, which choose the peer's implementation of the experts
THRESHOLD = 100.0  # of S_max, the paper's tau
TOLERANCE = 1e-4  # of logits and of the relative difference of gradient norms, in float32
# Two experts whose scores differ by less than rounding may swap places in either implementation;
# that many positions may therefore disagree.
TIED_SHARE = 1e-3
BFLOAT16_TARGET = 2.0
OURS = {"float32": None, "bfloat16": torch.bfloat16}  # compute dtypes


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
class Program:
    """What one process runs: OpenK2, or the peer with one of its implementations of the experts."""

    precision: str
    experts: str | None = None  # none: OpenK2

    @property
    def name(self) -> str:
        if self.experts is None:
            return f"OpenK2 {self.precision}"
        return f"transformers {self.precision} {self.experts}"


# Ours and theirs in turn.
PROGRAMS = tuple(
    program
    for ours, experts in zip(OURS, EXPERTS, strict=True)
    for program in (Program(ours), *(Program(precision, experts) for precision in PRECISIONS))
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
    rounds: int,
    config: KimiK2Config | None = None,
    cases: Sequence[Case] = CASES,
    warm_up: int = WARM_UP,
) -> list[Table]:
    """One table of timings and one of ratios a case, then the whole optimizer step."""
    model = KimiK2MoEModel(config or KimiK2Config.preset("nano"), seed=0)
    with TemporaryDirectory() as temporary:
        folder = save_pretrained(model, Path(temporary) / "model")
        del model
        # All before anything is timed: nothing is worth timing if they do not compute the same.
        found = [_checked(folder, case) for case in cases]
        tables: list[Table] = []
        every_timing = []
        for case, agreed in zip(cases, found, strict=True):
            timings, notes = _timed(PROGRAMS, folder, case, False, rounds, warm_up)
            tables += _loss_tables(case, warm_up + rounds, folder, agreed, timings, notes)
            every_timing.append(timings)
        kept = [program for program in PROGRAMS if program.name in every_timing[0]]
        kept.sort(key=lambda p: (p.experts is not None, PRECISIONS.index(p.precision)))
        timings, _ = _timed(kept, folder, cases[0], True, rounds, warm_up)
        return [*tables, _step_table(cases[0], timings)]


def build(program: Program, folder: Path, case: Case, whole_step: bool, threads: int) -> Prepare:
    """In a program's own process: set it up, load the weights, and walk the rounds' batches."""
    set_up(replace(nano().training, threads=threads))
    vocabulary = KimiK2Config.from_hf(folder).vocab_size
    if program.experts is None:
        work = _ours(folder, program.precision, whole_step)
    else:
        work = _theirs(folder, program.precision, program.experts, whole_step)
    return lambda number: partial(work, random_batch(case, vocabulary, number))


def end_of_warm_up(warm: dict[str, Timing]) -> dict[str, float]:
    """The median of each program's last rounds: they have the caches that it will be timed with."""
    return {name: statistics.median(timing.seconds[-DECIDING:]) for name, timing in warm.items()}


def _checked(folder: Path, case: Case) -> Agreement:
    """What both load from `folder`, compared; raises AssertionError if it does not agree."""
    model = _observing(folder)
    batch = random_batch(case, model.config.vocab_size)
    found = agreement(model, load_stock(folder, "float32"), batch, stock_inputs(batch))
    if not found.holds:
        raise AssertionError(f"{case.name}: the peer does not compute the same: {found}")
    return found


def _observing(folder: Path) -> KimiK2MoEModel:
    """Our model, which observes S_max as in training."""
    model = load_pretrained(folder)
    for layer in model.attention_layers():
        layer.observe_max_logits(THRESHOLD)
    return model


def _timed(
    programs: Sequence[Program],
    folder: Path,
    case: Case,
    whole_step: bool,
    rounds: int,
    warm_up: int,
) -> tuple[dict[str, Timing], list[str]]:
    """Timings by name, and a note on the programs that the warm-up has dropped.

    Rivals, which differ in the peer's experts, warm up in turns, and only the faster one stays. One
    set of rivals after the other: each of eight warm programs holds up to 4 GB.
    """
    threads = torch.get_num_threads()
    builds = {p.name: partial(build, p, folder, case, whole_step, threads) for p in programs}
    dropped: dict[str, float] = {}
    with started(builds) as workers:
        for rivals in _rivals(programs):
            turns = {p.name: workers[p.name] for p in rivals}
            medians = end_of_warm_up(interleaved_workers(turns, range(warm_up)))
            fastest = min(medians, key=medians.__getitem__)
            slower = {name: median for name, median in medians.items() if name != fastest}
            for name in slower:
                workers[name].end()
            dropped.update(slower)
        kept = {name: worker for name, worker in workers.items() if name not in dropped}
        timings = interleaved_workers(kept, range(warm_up, warm_up + rounds))
    if not dropped:
        return timings, []
    listed = ", ".join(f"{name} ({seconds * 1e3:.1f} ms)" for name, seconds in dropped.items())
    return timings, [
        f"dropped after {warm_up} rounds of warm-up, where the peer's other experts were faster by "
        f"the median of the last {min(warm_up, DECIDING)}: {listed}"
    ]


def _rivals(programs: Sequence[Program]) -> list[list[Program]]:
    """Ours each alone; the peer's programs of one precision together."""
    ours = [[program] for program in programs if program.experts is None]
    theirs = [program for program in programs if program.experts is not None]
    return ours + [[p for p in theirs if p.precision == precision] for precision in PRECISIONS]


def _gradient_norm(model: nn.Module) -> Tensor:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm: Tensor = torch.stack([g.norm() for g in gradients]).norm()
    return norm


def _ours(folder: Path, precision: str, whole_step: bool) -> Callable[[Batch], object]:
    """What OpenK2 does with a round's batch."""
    model = _observing(folder)
    model.compute_dtype = OURS[precision]
    if whole_step:
        optimizer = MuonClipOptimizer.from_model(model, lr=2e-4, qk_clip_threshold=THRESHOLD)
        return lambda batch: train_step(
            model, optimizer, [batch], gradient_clip=1.0, router_bias_rate=1e-3
        )

    def forward_backward(batch: Batch) -> None:
        model.zero_grad(set_to_none=True)
        (batch_loss(model, batch) / batch.target_count).backward()

    return forward_backward


def _theirs(
    folder: Path, precision: str, experts: str, whole_step: bool
) -> Callable[[Batch], object]:
    """What the peer does with a round's batch."""
    peer = load_stock(folder, precision)
    peer.set_experts_implementation(experts)
    if whole_step:
        optimizer = StockOptimizer(peer, 2e-4, 0.1, 0.95)
        return lambda batch: stock_train_step(peer, optimizer, [batch], precision, 1.0)

    def forward_backward(batch: Batch) -> None:
        peer.zero_grad(set_to_none=True)
        stock_loss(peer, batch, precision).backward()

    return forward_backward


def _fastest(timings: dict[str, Timing], precisions: Sequence[str]) -> str:
    """The name of the peer's fastest program in any of `precisions`."""
    theirs = [p for p in PROGRAMS if p.experts is not None and p.precision in precisions]
    names = [p.name for p in theirs if p.name in timings]
    return min(names, key=lambda name: timings[name].median)


def _loss_tables(
    case: Case,
    batch_count: int,
    folder: Path,
    found: Agreement,
    timings: dict[str, Timing],
    notes: Sequence[str],
) -> list[Table]:
    vocabulary = KimiK2Config.from_hf(folder).vocab_size
    batches = [random_batch(case, vocabulary, number) for number in range(batch_count)]
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
        *notes,
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


def _step_table(case: Case, timings: dict[str, Timing]) -> Table:
    """The whole optimizer step; the peer in each precision with its faster experts."""
    rows = [[name, *timing.cells()] for name, timing in timings.items()]
    notes = []
    for ours, precisions in (("OpenK2 float32", ["float32"]), ("OpenK2 bfloat16", PRECISIONS)):
        peer = _fastest(timings, precisions)
        ratio = timings[peer].median / timings[ours].median
        notes.append(f"{ours}: {ratio:.2f} times as fast as {peer}")
    notes.append(
        "ours: MuonClip, experts with Muon; the peer: torch.optim.Muon, experts with AdamW"
    )
    title = f"The whole optimizer step: {case.rows} x {case.length}, {case.name}"
    return Table(title, ("program", "n", "ms", "spread"), rows, notes)
