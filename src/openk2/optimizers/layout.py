"""Which part of a parameter each process holds, from torch's DTensor.

A box is one (start, stop) per dimension of the whole tensor. Every sharding of dense tensors that
torch offers (FSDP2, HSDP, tensor and expert parallelism, and mixes of them) gives each process one
box, possibly empty; a plain tensor is its own box.
"""

from functools import cache
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.placement_types import Placement, _StridedShard

__all__ = [
    "Box",
    "Holder",
    "holders",
    "local_box",
    "local_gradient",
    "local_rows",
    "local_tensor",
]

Box = tuple[tuple[int, int], ...]


class Holder(NamedTuple):
    """One process of a parameter's mesh: its rank, its replica and the box it holds.

    Two processes hold the same box exactly when they differ in `replica` alone.
    """

    rank: int
    replica: tuple[int, ...]
    box: Box


def local_tensor(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds, sharing memory; a plain tensor as it is."""
    return tensor._local_tensor if isinstance(tensor, DTensor) else tensor


def local_gradient(parameter: Tensor) -> Tensor:
    """The local part of a parameter's gradient, sharded as the parameter is."""
    gradient = parameter.grad
    assert gradient is not None
    if gradient.is_sparse:
        raise ValueError(f"a sparse gradient of shape {list(gradient.shape)}: use sparse=False")
    if isinstance(parameter, DTensor) and isinstance(gradient, DTensor):
        if gradient.placements != parameter.placements:
            gradient = gradient.redistribute(parameter.device_mesh, parameter.placements)
        return gradient.to_local()
    return gradient


def local_box(tensor: Tensor) -> Box:
    """The box that this process holds; an empty one outside the mesh of `tensor`."""
    if not isinstance(tensor, DTensor):
        return tuple((0, size) for size in tensor.shape)
    rank = torch.distributed.get_rank()
    nothing = tuple((0, 0) for _ in tensor.shape)
    return next((holder.box for holder in holders(tensor) if holder.rank == rank), nothing)


def local_rows(tensor: Tensor) -> slice:
    """The rows of the whole tensor that this process holds."""
    return slice(*local_box(tensor)[0])


def holders(tensor: DTensor) -> tuple[Holder, ...]:
    """All processes of the mesh of `tensor`, in the order of their ranks.

    ValueError for a placement that gives no box: partial sums and what torch may add.
    """
    return _holders(tuple(tensor.shape), tensor.device_mesh, tuple(tensor.placements))


@cache
def _holders(
    shape: tuple[int, ...], mesh: DeviceMesh, placements: tuple[Placement, ...]
) -> tuple[Holder, ...]:
    for placement in placements:
        if type(placement) not in (Replicate, Shard, _StridedShard):
            raise ValueError(
                f"placement {placement} of a parameter of shape {list(shape)}: MuonClip handles "
                "Replicate and Shard; redistribute the parameter first"
            )
    # FSDP over tensor parallelism: the mesh says FSDP first, the tensor was split the other way
    # round, and torch marks that by a strided shard.
    order = sorted(
        range(len(placements)), key=lambda axis: isinstance(placements[axis], _StridedShard)
    )
    found = []
    cuts = [None if isinstance(p, Replicate) else p.dim for p in placements]  # type: ignore[attr-defined]
    for coordinate in product(*(range(size) for size in mesh.mesh.shape)):
        box = [(0, size) for size in shape]
        for axis in order:
            dimension = cuts[axis]
            if dimension is None:
                continue
            start, stop = box[dimension]
            chunk = -(-(stop - start) // mesh.mesh.shape[axis])
            box[dimension] = (
                min(start + coordinate[axis] * chunk, stop),
                min(start + (coordinate[axis] + 1) * chunk, stop),
            )
        replica = tuple(
            index
            for index, placement in zip(coordinate, placements, strict=True)
            if isinstance(placement, Replicate)
        )
        found.append(Holder(int(mesh.mesh[coordinate]), replica, tuple(box)))
    return tuple(sorted(found))
