"""What process groups and shardings mean to copies and state dicts; torch's fake process group."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import (
    DTensor,
    Placement,
    Replicate,
    Shard,
    distribute_tensor,
)
from torch.testing._internal.distributed.fake_pg import FakeStore

from openk2.optimizers.muon_clip import MuonClipOptimizer

from .small_model import SmallModel, run


@pytest.fixture(autouse=True)
def five_processes() -> Iterator[None]:
    distributed.init_process_group("fake", rank=0, world_size=5, store=FakeStore())
    try:
        yield
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize("option", ["process_group", "share_replicas"])
def test_a_copy_has_no_process_groups_and_steps(option: str) -> None:
    model = SmallModel(0)
    optimizer = MuonClipOptimizer.from_model(model, **{option: distributed.group.WORLD})
    run(optimizer, model, range(1))
    assert getattr(optimizer, option) is distributed.group.WORLD
    other_model, other = copy.deepcopy((model, optimizer))
    run(other, other_model, range(1, 2))
    assert not getattr(other, option)


def sharded(placement: Placement) -> tuple[nn.Module, MuonClipOptimizer]:
    mesh = DeviceMesh("cpu", [0, 1])
    model = nn.Sequential(nn.Linear(4, 6, bias=False))
    weight = distribute_tensor(model[0].weight.detach(), mesh, [placement])
    model[0].weight = nn.Parameter(weight)
    return model, MuonClipOptimizer.from_model(model, qk_clip_threshold=None)


@pytest.mark.parametrize("other", [Shard(1), Replicate()])
def test_state_of_another_sharding_is_an_error_with_the_fix(other: Placement) -> None:
    model, optimizer = sharded(Shard(0))
    model[0].weight.grad = torch.zeros_like(model[0].weight)
    optimizer.step()
    saved = optimizer.state_dict()
    _, loaded = sharded(Shard(0))
    loaded.load_state_dict(saved)
    _, loaded = sharded(other)
    with pytest.raises(ValueError, match=r"^0.weight: momentum_buffer .* not sharded alike"):
        loaded.load_state_dict(saved)
    assert not loaded.state


def matrix_on(mesh: DeviceMesh) -> nn.Parameter:
    local = torch.randn(1, 4) if mesh.get_coordinate() else torch.randn(0)
    placements = [Replicate(), Shard(0)] if mesh.ndim == 2 else [Shard(0)]
    shape, stride = torch.Size((2, 4)), (4, 1)
    weight = nn.Parameter(
        DTensor.from_local(local, mesh, placements, run_check=False, shape=shape, stride=stride)
    )
    weight.grad = torch.zeros_like(weight)
    return weight


def test_process_groups_are_made_once() -> None:
    mesh = DeviceMesh("cpu", [[0, 1], [2, 3]])
    sizes = []
    for _ in range(2):
        optimizer = MuonClipOptimizer([("a.weight", matrix_on(mesh))], share_replicas=True)
        optimizer.step()
        optimizer.add_param_group({"params": [("b.weight", matrix_on(mesh))]})
        optimizer.step()
        sizes.append(len(distributed.distributed_c10d._world.pg_map))
    assert optimizer.communication_bytes[1] > 0
    assert sizes[0] == sizes[1]


def test_a_process_outside_the_mesh_has_nothing_to_do() -> None:
    mesh = DeviceMesh("cpu", [1, 2])
    optimizer = MuonClipOptimizer([("a.weight", matrix_on(mesh))])
    optimizer.step()
    assert optimizer.communication_bytes == (0, 0)
