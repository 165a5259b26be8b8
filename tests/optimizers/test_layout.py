"""Who holds what, and where cut matrices travel, without processes: torch's fake process group."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset
from torch.distributed.tensor.placement_types import _StridedShard
from torch.testing._internal.distributed.fake_pg import FakeStore

from openk2.optimizers.layout import holders, local_box
from openk2.optimizers.matrices import Geometry, cut_matrices, geometry
from openk2.optimizers.param_plan import ParameterRule
from openk2.optimizers.transfers import Transfer, plan_transfers

GROUP = {"coefficients": "k2", "newton_schulz_steps": None}
ROWS, COLUMNS = 2, 3  # of the mesh of six processes


@contextmanager
def process(rank: int) -> Iterator[None]:
    """This process as one of six that are not there."""
    distributed.init_process_group("fake", rank=rank, world_size=6, store=FakeStore())
    try:
        yield
    finally:
        distributed.destroy_process_group()


def tensor_of(shape: tuple[int, ...], placements: list[Placement]) -> DTensor:
    """A DTensor of this layout on a 2 x 3 mesh, zeros."""
    mesh = init_device_mesh("cpu", (ROWS, COLUMNS))
    local, _ = compute_local_shape_and_global_offset(torch.Size(shape), mesh, placements)
    stride = torch.empty(shape, device="meta").stride()
    size = torch.Size(shape)
    return DTensor.from_local(
        torch.zeros(local), mesh, placements, run_check=False, shape=size, stride=stride
    )


dimensions = st.integers(0, 2)
placement = st.one_of(st.builds(Replicate), st.builds(Shard, dimensions))
layout = st.one_of(
    st.lists(placement, min_size=2, max_size=2),
    # FSDP over tensor parallelism of the same dimension.
    dimensions.map(lambda dim: [_StridedShard(dim, split_factor=COLUMNS), Shard(dim)]),
)
shapes = st.tuples(st.integers(1, 7), st.integers(1, 13), st.integers(1, 13))


@settings(max_examples=60, deadline=None)
@given(shapes, layout, st.integers(0, 5))
def test_boxes_are_those_of_torch(
    shape: tuple[int, ...], placements: list[Placement], rank: int
) -> None:
    with process(rank):
        tensor = tensor_of(shape, placements)
        box = local_box(tensor)
        mesh = tensor.device_mesh
        size, offset = compute_local_shape_and_global_offset(torch.Size(shape), mesh, placements)
        assert [stop - start for start, stop in box] == list(size)
        if all(size):  # an empty part lies nowhere
            assert [start for start, _ in box] == list(offset)


@st.composite
def parameters(draw: st.DrawFn) -> tuple[ParameterRule, list[Placement]]:
    """A stack of matrices, some of them blocks of rows, and its layout."""
    row_sizes = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=5)))
    shape = (draw(st.integers(1, 7)), sum(row_sizes), draw(st.integers(1, 9)))
    return ParameterRule("w", shape, "muon", "drawn", row_sizes), draw(layout)


def plan(
    rule: ParameterRule, placements: list[Placement], rank: int, share: bool
) -> tuple[list[Transfer], DTensor]:
    tensor = nn.Parameter(tensor_of(rule.shape, placements))
    return plan_transfers({tensor: rule}, {tensor: GROUP}, share), tensor


@settings(max_examples=60, deadline=None)
@given(parameters(), st.booleans())
def test_every_element_of_a_cut_matrix_arrives_once_and_returns_to_all_who_hold_it(
    drawn: tuple[ParameterRule, list[Placement]], share: bool
) -> None:
    rule, placements = drawn
    plans = []
    for rank in range(6):
        with process(rank):
            transfers, tensor = plan(rule, placements, rank, share)
            found = holders(tensor)
            whole = geometry(rule, local_box(tensor))
            me = next(holder for holder in found if holder.rank == rank)
            mine = [h for h in found if h.replica == me.replica]
            cut = cut_matrices(rule, mine)
        plans.append([(t.matrix, t.ranks, t.owner, t.providers, t.receivers) for t in transfers])
        received = sum(any(part.rank == rank for part in t.receivers) for t in transfers)
        if share and len({holder.replica for holder in found}) > 1:
            assert received == whole.touched
        else:
            assert received == whole.touched - whole_matrices(whole)
            assert sorted(t.matrix for t in transfers) == sorted(cut)
        for transfer in transfers:
            arrived = torch.zeros(rule.shape)
            for part in transfer.providers:
                arrived[tuple(slice(*side) for side in part.box)] += 1
            inside = tuple(slice(*side) for side in transfer.matrix.box(rule.shape[-1]))
            assert (arrived[inside] == 1).all() and arrived.sum() == transfer.elements
            assert transfer.owner in [part.rank for part in transfer.providers]
            returned = {part.rank: part.box for part in transfer.receivers}
            assert len(returned) == len(transfer.receivers)
    # Processes that exchange have the same plan, in the same order.
    for first in plans:
        for second in plans:
            common = {item[1] for item in first} & {item[1] for item in second}
            pairs = ([item for item in p if item[1] in common] for p in (first, second))
            assert next(pairs) == next(pairs)


def whole_matrices(here: Geometry) -> int:
    first, last = here.box[0]
    return sum(region.matrices for region in here.regions) * (last - first)


def test_partial_placements_are_an_error_with_the_fix() -> None:
    with process(0):
        tensor = tensor_of((4, 4, 4), [Replicate(), Replicate()])
        mesh = tensor.device_mesh
        partial = DTensor.from_local(torch.zeros(4, 4), mesh, [Partial(), Replicate()])
        with pytest.raises(ValueError, match=r"placement P.* shape \[4, 4\].* redistribute"):
            holders(partial)


def test_the_costliest_matrices_are_balanced() -> None:
    with process(0):
        rules, groups = {}, {}
        for index, rows in enumerate([64, 64, 32, 32, 32, 16, 16, 16, 16, 16, 16, 16]):
            tensor = nn.Parameter(tensor_of((rows, 96, 1), [Shard(1), Shard(1)])[:, :, 0])
            rules[tensor] = ParameterRule(f"w{index}", (rows, 96), "muon", "")
            groups[tensor] = GROUP
        transfers = plan_transfers(rules, groups)
        assert len(transfers) == 12
        costs = [0.0] * 6
        for transfer in transfers:
            short = transfer.matrix.rows
            costs[transfer.owner] += 2 * short**2 * 96 + short**3
        assert max(costs) <= 2 * 64**2 * 96 + 64**3  # no more than the largest one alone
