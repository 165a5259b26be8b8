"""What QK-Clip costs a training step: measuring S_max of every head, and clipping a tenth of them.

Four copies of one model in one process, of the preset nano and in its compute dtype, differ in the
threshold tau alone: none, none again (what differs here is the error of this benchmark), one that
no head exceeds, and one that a tenth of the heads exceeds. Every round takes one step of each on
the same batch from the same weights, in an order that rotates, and a cost is the median over the
rounds of the difference to the first copy in the same round.

So that a tenth of the heads can exceed tau at each step, query weights are scaled until S_max is
spread as in the middle of a run, and are put back before each step; tau then lies between the
heads that are to exceed it on every batch and those that are not.
"""

import gc
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from benchmarks.table import Table, verdict
from benchmarks.timing import Timing
from benchmarks.train_step import Case, random_batch
from openk2.core.device import probe_machine
from openk2.data import Batch
from openk2.models import KimiK2Config, KimiK2MoEModel, PackedDocuments
from openk2.optimizers import MuonClipOptimizer
from openk2.training.step import train_step

__all__ = ["ROUNDS", "grow_heads", "judge", "median_interval", "run", "threshold_between"]

ROUNDS = 96  # a step's time varies by some percent, and a difference of one is to be seen
BATCHES = 8  # different ones, in turn; all are seen once before anything is timed
CASE = Case("packed documents", 16, 256, 300, 0.0)  # the batch of the recipe nano
TENTH = 0.1
# S_max as grown: the tenth of the heads at the first value, the others evenly between the others.
EXCEEDING, OTHERS = 130.0, (20.0, 70.0)
OBSERVING_TARGET, CLIPPING_TARGET = 1.0, 3.0  # percent of a step
RESAMPLES = 2000


@dataclass
class _Copy:
    """A model with its optimizer and what its steps took."""

    name: str
    threshold: float | None
    clipping: int  # heads that each step must clip
    target: float | None
    model: KimiK2MoEModel
    optimizer: MuonClipOptimizer = field(init=False)
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.optimizer = MuonClipOptimizer.from_model(
            self.model, lr=1e-3, qk_clip_threshold=self.threshold
        )

    def step(self, weights: dict[str, Tensor], batch: Batch) -> float:
        """One training step from `weights`; its loss. AssertionError unless it clips as planned."""
        self.model.load_state_dict(weights)
        gc.collect()
        begin = time.perf_counter()
        result = train_step(
            self.model, self.optimizer, [batch], gradient_clip=1.0, router_bias_rate=1e-3
        )
        self.seconds.append(time.perf_counter() - begin)
        factors_AH = result.clip_factors_AH
        clipped = 0 if factors_AH is None else int((factors_AH < 1).sum())
        if clipped != self.clipping:
            raise AssertionError(f"{self.name}: {clipped} heads clipped, not {self.clipping}")
        return result.loss


def run(
    rounds: int,
    config: KimiK2Config | None = None,
    case: Case = CASE,
    batch_count: int = BATCHES,
) -> list[Table]:
    """One table: a row for each threshold, with the cost in percent of a step."""
    config = config or KimiK2Config.preset("nano")
    dtype = torch.bfloat16 if probe_machine(1).dtype == "bfloat16" else None
    batches = [random_batch(case, config.vocab_size, seed) for seed in range(batch_count)]
    grown = KimiK2MoEModel(config, seed=0)
    grown.compute_dtype = dtype
    grow_heads(grown, batches[0])
    largest_NAH = np.stack([_largest_logits(grown, batch) for batch in batches])
    tau, clipping = threshold_between(largest_NAH, TENTH)
    plan: list[tuple[str, float | None, int, float | None]] = [
        ("no QK-Clip", None, 0, None),
        ("no QK-Clip, again", None, 0, None),
        ("no head exceeds tau", 10 * float(largest_NAH.max()), 0, OBSERVING_TARGET),
        ("a tenth of the heads exceeds tau", tau, clipping, CLIPPING_TARGET),
    ]
    copies = []
    for name, threshold, count, target in plan:
        model = KimiK2MoEModel(config)
        model.compute_dtype = dtype
        copies.append(_Copy(name, threshold, count, target, model))
    _interleave(copies, grown.state_dict(), batches, rounds)
    return [_table(copies, largest_NAH, case, dtype)]


@torch.no_grad()
def grow_heads(model: KimiK2MoEModel, batch: Batch) -> None:
    """Scale each head's query weights until its S_max on `batch` is about the one intended.

    A layer's scale changes what later layers see, so there are as many passes as layers.
    """
    layers = list(model.attention_layers())
    heads = model.config.num_attention_heads
    count = max(1, round(TENTH * len(layers) * heads))
    values = torch.cat(
        [
            torch.full((count,), EXCEEDING),
            torch.linspace(*OTHERS, len(layers) * heads - count),
        ]
    )
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))
    intended_AH = values[order].view(len(layers), heads)
    for _ in layers:
        factors_AH = intended_AH / torch.from_numpy(_largest_logits(model, batch))
        for layer, factor_H in zip(layers, factors_AH, strict=True):
            query = layer.q_proj if layer.q_lora_rank is None else layer.q_b_proj
            query.weight.view(heads, -1).mul_(factor_H[:, None])


def threshold_between(largest_NAH: np.ndarray, share: float) -> tuple[float, int]:
    """tau and how many heads exceed it, which are `share` of them, at least one, on each batch N.

    ValueError if no tau splits the heads [A, H] in the same way on all batches.
    """
    lowest = np.sort(largest_NAH.min(0).ravel())
    highest = np.sort(largest_NAH.max(0).ravel())
    count = max(1, round(share * len(lowest)))
    below, above = float(highest[-count - 1]), float(lowest[-count])
    if not 0 < below < above:
        raise ValueError(f"no tau between S_max {below:.1f} and {above:.1f}")
    return math.sqrt(below * above), count


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median and the bounds of its 95 % interval, by resampling the rounds."""
    array = np.asarray(values)
    random = np.random.default_rng(0)
    medians = np.median(random.choice(array, (RESAMPLES, len(array))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(np.median(array)), float(low), float(high)


def judge(low: float, high: float, target: float) -> str:
    """ "met" or "missed" where the whole interval is; else the rounds have not decided it."""
    if low <= target < high:
        return "undecided"
    return verdict(high, target, larger_is_better=False)


@torch.no_grad()
def _largest_logits(model: KimiK2MoEModel, batch: Batch) -> np.ndarray:
    """S_max of every head of every layer on one batch: [A, H]."""
    tokens_BT = torch.from_numpy(batch.tokens_BT)
    rows, length = batch.tokens_BT.shape
    with model.exact_max_logits() as found:
        model.hidden_states(tokens_BT, PackedDocuments(rows, length, batch.starts))
    return torch.stack(found).numpy()


def _interleave(
    copies: Sequence[_Copy], weights: dict[str, Tensor], batches: Sequence[Batch], rounds: int
) -> None:
    """Steps of all copies in turns, the first on each batch not counted."""
    gc.disable()
    try:
        for number in range(len(batches) + rounds):
            turn = number % len(copies)
            losses = [
                copy.step(weights, batches[number % len(batches)])
                for copy in (*copies[turn:], *copies[:turn])
            ]
            if not all(math.isclose(loss, losses[0], rel_tol=1e-3) for loss in losses):
                raise AssertionError(f"the copies do not take the same step: losses {losses}")
    finally:
        gc.enable()
    for copy in copies:
        del copy.seconds[: len(batches)]


def _table(
    copies: Sequence[_Copy], largest_NAH: np.ndarray, case: Case, dtype: torch.dtype | None
) -> Table:
    base = copies[0]
    median = Timing(tuple(base.seconds)).median
    heads = largest_NAH[0].size
    rows = []
    for copy in copies:
        cells = [copy.name, f"{copy.clipping / heads:.0%}", *Timing(tuple(copy.seconds)).cells()]
        if copy is base:
            rows.append([*cells, "", "", "", ""])
            continue
        differences = [
            (one - other) / median * 100
            for one, other in zip(copy.seconds, base.seconds, strict=True)
        ]
        cost, low, high = median_interval(differences)
        target = ["", ""]
        if copy.target is not None:
            target = [f"{copy.target:.0f} %", judge(low, high, copy.target)]
        rows.append([*cells, f"{cost:+.2f} %", f"{low:+.2f} to {high:+.2f}", *target])
    columns = ("threshold tau", "heads clipped", "n", "ms", "spread", "cost of a step",
               "95 % interval", "at most", "result")  # fmt: skip
    threads = torch.get_num_threads()
    title = (
        f"Cost of QK-Clip: {case.rows} x {case.length}, {case.name}, "
        f"{str(dtype or torch.float32).removeprefix('torch.')}, threads {threads}"
    )
    low, middle, high = np.quantile(largest_NAH, [0, 0.5, 1])
    note = (
        f"S_max of {heads} heads in {len(largest_NAH[0])} layers: {low:.0f} to {high:.0f}, "
        f"median {middle:.0f}; tau {copies[-1].threshold:.0f} in the last row"
    )
    return Table(title, columns, rows, [note])
