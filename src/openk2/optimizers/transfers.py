"""Which matrices are cut between processes, who computes each, and who holds which part.

Owners are the least loaded first, by Newton-Schulz FLOPs, among the processes that hold a part, so
that an owner's own part never travels. A matrix that one process holds whole does not travel.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple

from torch import Tensor, distributed
from torch.distributed.tensor import DTensor

from openk2.optimizers.layout import Box, Holder, holders
from openk2.optimizers.matrices import Matrix, cut_matrices, stacked_box
from openk2.optimizers.muon_update import group_coefficients
from openk2.optimizers.newton_schulz import newton_schulz_flops
from openk2.optimizers.param_plan import ParameterRule

__all__ = ["Part", "Transfer", "owners_of", "plan_transfers"]


class Part(NamedTuple):
    """What one process has to do with a matrix: the box that it holds, in the whole parameter."""

    rank: int
    box: Box

    @property
    def size(self) -> int:
        return prod(stop - start for start, stop in self.box)


@dataclass(frozen=True)
class Transfer:
    """The way of one matrix: from the processes that provide it to its owner, and back to all."""

    parameter: Tensor
    group: dict[str, Any]
    matrix: Matrix
    columns: int
    ranks: tuple[int, ...]
    owner: int
    providers: tuple[Part, ...]
    receivers: tuple[Part, ...]

    @property
    def elements(self) -> int:
        return self.matrix.rows * self.columns

    @property
    def is_replicated(self) -> bool:
        """Whether more than one process holds the same part."""
        return len({part.box for part in self.receivers}) < len(self.receivers)


def plan_transfers(
    planned: Mapping[Tensor, ParameterRule],
    groups: Mapping[Tensor, dict[str, Any]],
    share_replicas: bool | distributed.ProcessGroup = False,
) -> list[Transfer]:
    """Every matrix that has to travel, in the order in which all processes handle them.

    `groups` are the optimizer's groups of the parameters; `share_replicas` is its option. Nothing
    is communicated: all processes of a mesh derive the same plan.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return []
    replica_ranks = []
    if share_replicas:
        group = None if share_replicas is True else share_replicas
        replica_ranks = distributed.get_process_group_ranks(group)
    mine = distributed.get_rank()
    todo: list[tuple[Tensor, Matrix, list[Holder], float]] = []
    for parameter, rule in planned.items():
        if rule.rule == "adamw":
            continue
        if isinstance(parameter, DTensor):
            found = list(holders(parameter))
        else:
            whole = tuple((0, size) for size in rule.shape)
            found = [Holder(rank, (rank,), whole) for rank in replica_ranks]
        me = next((holder for holder in found if holder.rank == mine), None)
        if me is None:
            continue
        if share_replicas and len({holder.replica for holder in found}) > 1:
            matrices = _every_matrix(rule)
        else:
            found = [holder for holder in found if holder.replica == me.replica]
            matrices = cut_matrices(rule, found)
        steps = group_coefficients(groups[parameter])
        for matrix in matrices:
            flops = newton_schulz_flops(matrix.rows, rule.shape[-1], len(steps))
            todo.append((parameter, matrix, found, flops))
    # Costly matrices first, which balances owners and puts equal shapes side by side. Sorting keeps
    # the order of the plan among equals, so it is the same everywhere.
    todo.sort(key=lambda item: (sorted(holder.rank for holder in item[2]), -item[3]))
    loads: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    return [_transfer(*item, groups[item[0]], loads) for item in todo]


def owners_of(transfers: Iterable[Transfer]) -> dict[Tensor, str]:
    """The processes that own matrices of each parameter, in words."""
    ranks: dict[Tensor, set[int]] = defaultdict(set)
    for transfer in transfers:
        ranks[transfer.parameter].add(transfer.owner)
    return {
        parameter: f"process {', '.join(map(str, sorted(found)))}"
        for parameter, found in ranks.items()
    }


def _transfer(
    parameter: Tensor,
    matrix: Matrix,
    found: Sequence[Holder],
    flops: float,
    group: dict[str, Any],
    loads: Mapping[tuple[int, ...], Counter[int]],
) -> Transfer:
    """Give a matrix to the least loaded process that holds a part of it.

    Loads are counted among the same processes only: others do not know of these matrices.
    """
    columns = parameter.shape[-1]
    ranks = tuple(sorted(holder.rank for holder in found))
    load = loads[ranks]
    parts = []
    for holder in found:
        box = _overlap(stacked_box(holder.box), matrix.box(columns))
        if box is not None:
            parts.append((holder.replica, Part(holder.rank, box)))
    owner = min((part.rank for _, part in parts), key=lambda rank: (load[rank], rank))
    load[owner] += round(flops)
    replica = next(replica for replica, part in parts if part.rank == owner)
    return Transfer(
        parameter=parameter,
        group=group,
        matrix=matrix,
        columns=columns,
        ranks=ranks,
        owner=owner,
        # One replica provides, so an owner that has the whole matrix is sent nothing.
        providers=tuple(part for where, part in parts if where == replica),
        receivers=tuple(part for _, part in parts),
    )


def _every_matrix(rule: ParameterRule) -> list[Matrix]:
    entries = 1 if len(rule.shape) == 2 else rule.shape[0]
    first_rows = [0, *accumulate(rule.row_sizes)][:-1]
    return [
        Matrix(entry, first, rows)
        for first, rows in zip(first_rows, rule.row_sizes, strict=True)
        for entry in range(entries)
    ]


def _overlap(first: Box, second: Box) -> Box | None:
    both = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(first, second, strict=True))
    return both if all(start < stop for start, stop in both) else None
