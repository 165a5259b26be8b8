"""One optimizer step over stacked experts [E, n, m]: OpenK2's Muon against torch.optim.Muon.

torch.optim.Muon is a rule for matrices, so it gets every expert as a parameter of its own and
loops over them; OpenK2 gets the stacks. Otherwise as in optimizer_step.py.
"""

from collections.abc import Sequence

from benchmarks.optimizer_step import OPENK2, TORCH, Matrices
from benchmarks.optimizer_step import run as run_models
from benchmarks.table import Table

__all__ = ["EXPERTS", "experts", "run"]

TARGET = 0.5  # our milliseconds over those of torch.optim.Muon


def experts(layers: int, count: int, hidden: int, width: int) -> Matrices:
    """Gate, up and down projections of `count` experts in each of `layers` layers."""
    layer = ((count, width, hidden), (count, width, hidden), (count, hidden, width))
    title = f"Optimizer step, {layers} layers of {count} experts, {hidden} x {width}"
    return Matrices(title, layer * layers, TARGET)


# Hidden and expert width are 7 : 2 in K2, as in the first, which is the preset nano's; the second
# has five times the arithmetic.
EXPERTS = (experts(8, 64, 224, 64), experts(8, 64, 256, 128))


def run(
    rounds: int, models: Sequence[Matrices] = EXPERTS, threads: Sequence[int] | None = None
) -> list[Table]:
    """A table for each model and number of threads; by default one thread and all."""
    return run_models(rounds, models, (OPENK2, TORCH), threads)
