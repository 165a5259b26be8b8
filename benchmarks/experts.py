"""The two layouts of the routed experts against each other: tiers, and ragged groups.

Forward and backward of one layer's experts, grouping included, on the same routings. Every round
has a routing of its own, as every training step has: a matrix library that compiles a kernel for
each new shape pays for it here too. Rows is how many rows the tiers multiply for each one that is
needed. Where tiers / ragged passes 1, the ragged layout is the faster.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle

import torch
from torch import Tensor

from benchmarks.table import Table
from benchmarks.timing import interleaved
from openk2.models.experts import RoutedExperts, _ExpertsFunction, group_tokens

__all__ = ["ROUTINGS", "SHAPES", "Routing", "Shape", "run"]

TOKENS = 4096
DTYPES = (torch.float32, torch.bfloat16)
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}  # relative, between the layouts
DRAWS = 16  # different routings before the first comes again


@dataclass(frozen=True)
class Shape:
    """E experts of which each token takes K, hidden width D, expert width F."""

    experts: int
    experts_per_token: int
    hidden: int
    width: int

    def __str__(self) -> str:
        return f"E{self.experts} K{self.experts_per_token} D{self.hidden} F{self.width}"


@dataclass(frozen=True)
class Routing:
    """Random choices of experts.

    `skew` is the standard deviation of each expert's log-odds: 0 draws all alike. With `busiest`
    expert 0 takes that many mean loads; a row names it at most once, so E / K is the most.
    """

    name: str
    skew: float = 0.0
    busiest: float | None = None

    def draw(self, tokens: int, shape: Shape, seed: int) -> Tensor:
        """Choices [N, K], no expert twice in a row."""
        generator = torch.Generator().manual_seed(seed)
        # Experts keep their odds over all draws, and tokens choose anew in each.
        odds_E = torch.randn(shape.experts, generator=torch.Generator().manual_seed(0)) * self.skew
        uniform_NE = torch.rand(tokens, shape.experts, generator=generator)
        score_NE = odds_E - uniform_NE.log().neg().log()
        if self.busiest is not None:
            mean = tokens * shape.experts_per_token / shape.experts
            taken = torch.randperm(tokens, generator=generator)[: round(self.busiest * mean)]
            score_NE[:, 0] = -torch.inf
            score_NE[taken, 0] = torch.inf
        return score_NE.topk(shape.experts_per_token, dim=-1, sorted=False).indices


# The presets nano, micro and mini.
SHAPES = (Shape(32, 8, 224, 64), Shape(64, 8, 448, 128), Shape(128, 8, 896, 256))
ROUTINGS = (
    Routing("balanced"),
    Routing("skewed", skew=0.5),
    Routing("one expert 2x", busiest=2.0),
    Routing("one expert 3x", busiest=3.0),
    Routing("one expert 6x", busiest=6.0),
)


def run(
    rounds: int,
    shapes: Sequence[Shape] = SHAPES,
    tokens: int = TOKENS,
    routings: Sequence[Routing] = ROUTINGS,
) -> list[Table]:
    """A table of every shape, dtype and routing that the shape can have."""
    rows = [
        _measure(shape, dtype, routing, tokens, rounds)
        for shape in shapes
        for dtype in DTYPES
        for routing in routings
        if (routing.busiest or 0) * shape.experts_per_token <= shape.experts
    ]
    columns = ("shape", "dtype", "routing", "busiest", "rows", "n", "tiers ms", "spread",
               "ragged ms", "spread", "tiers / ragged", "faster")  # fmt: skip
    title = f"Routed experts, {tokens} tokens, forward and backward: tiers against ragged groups"
    note = "busiest: the largest load in mean loads; rows: multiplied by the tiers, over needed"
    return [Table(title, columns, rows, [note])]


def _measure(
    shape: Shape, dtype: torch.dtype, routing: Routing, tokens: int, rounds: int
) -> list[str]:
    """A row of the table."""
    torch.manual_seed(0)
    experts = RoutedExperts(shape.experts, shape.hidden, shape.width)
    for parameter in experts.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    x_ND = torch.randn(tokens, shape.hidden).to(dtype).requires_grad_()
    weights_NK = torch.rand(tokens, shape.experts_per_token).requires_grad_()
    d_output_ND = torch.randn(tokens, shape.hidden).to(dtype)
    draws = [routing.draw(tokens, shape, seed) for seed in range(DRAWS)]
    layout = partial(_forward_backward, experts, x_ND, weights_NK, d_output_ND)
    _check_equal(layout(draws[0], tiered=True), layout(draws[0], tiered=False), dtype)
    works = {
        "tiers": partial(_next, layout, cycle(draws), tiered=True),
        "ragged": partial(_next, layout, cycle(draws), tiered=False),
    }
    timings = interleaved(works, rounds)
    tiers, ragged = timings["tiers"], timings["ragged"]
    choices = draws[0].numel()
    slots = len(group_tokens(draws[0], shape.experts, tiered=True).token_of_slot_S)
    busiest = int(torch.bincount(draws[0].flatten()).max()) * shape.experts / choices
    ratio = tiers.median / ragged.median
    return [
        str(shape), str(dtype).removeprefix("torch."), routing.name, f"{busiest:.2f}",
        f"{slots / choices:.2f}", *tiers.cells(), *ragged.cells()[1:], f"{ratio:.2f}",
        "tiers" if ratio < 1 else "ragged",
    ]  # fmt: skip


def _next(layout: Callable[..., object], draws: Iterator[Tensor], tiered: bool) -> None:
    layout(next(draws), tiered=tiered)


def _forward_backward(
    experts: RoutedExperts,
    x_ND: Tensor,
    weights_NK: Tensor,
    d_output_ND: Tensor,
    experts_NK: Tensor,
    tiered: bool,
) -> list[Tensor]:
    """RoutedExperts.forward in the layout asked for; its output and all gradients."""
    inputs = [x_ND, weights_NK, *experts.parameters()]
    for tensor in inputs:
        tensor.grad = None
    groups = group_tokens(experts_NK, len(experts.gate_proj), tiered)
    matrices = (experts.gate_proj, experts.up_proj, experts.down_proj)
    output_ND = _ExpertsFunction.apply(x_ND, weights_NK, *matrices, groups)
    output_ND.backward(d_output_ND)
    return [output_ND.detach(), *(t.grad for t in inputs if t.grad is not None)]


def _check_equal(one: list[Tensor], other: list[Tensor], dtype: torch.dtype) -> None:
    for a, b in zip(one, other, strict=True):
        difference = (a.double() - b.double()).norm() / b.double().norm()
        if not difference <= TOLERANCE[dtype]:
            raise AssertionError(f"the layouts differ by {difference:.1e} in {dtype}")
