"""What is gathered: the maximum over micro-batches, layers of any width, and processes."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.multiprocessing import spawn
from torch.nn.parallel import DistributedDataParallel

from openk2.optimizers.clip_targets import AttentionClipTarget
from openk2.optimizers.qk_clip import QKClip, gather_max_logits

from .plain_attention import PlainAttention


def two_layers() -> nn.Sequential:
    """Layers of two and three heads, which observe; the same in every process."""
    return nn.Sequential(*(PlainAttention(heads, width=6 // heads) for heads in (2, 3)))


def micro_batches(rank: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(rank)
    return [torch.randn(2, 4, 6, generator=generator, dtype=torch.float64) for _ in range(2)]


def maxima_of(layers: nn.Sequential, batches: list[Tensor]) -> Tensor:
    """By the definition, [L, H], of layers that get each other's output."""
    found = torch.full((2, 3), -math.inf)
    for x in batches:
        for row, layer in zip(found, layers, strict=True):
            mine = row[: layer.heads]
            mine.copy_(torch.maximum(mine, layer.s_max(x).float()))
            x = layer.eval()(x).detach()
            layer.train()
    return found


def targets_of(layers: nn.Sequential) -> list[AttentionClipTarget]:
    targets = [layer.qk_clip for layer in layers]
    for target in targets:
        target.observe_max_logits(1e-9)
    return targets


def test_the_maximum_over_micro_batches_is_read_once() -> None:
    layers = two_layers()
    targets = targets_of(layers)
    expected = maxima_of(layers, micro_batches(0))
    first, second = (maxima_of(layers, [x]) for x in micro_batches(0))
    assert (first > second).any() and (second > first).any()
    for x in micro_batches(0):
        layers(x)
    torch.testing.assert_close(gather_max_logits(targets), expected)
    assert torch.equal(gather_max_logits(targets), torch.full((2, 3), -math.inf))


def test_layers_on_several_devices_and_broken_logits() -> None:
    """A layer that never ran answers from the CPU, where the collectives of others cannot be."""
    idle, elsewhere, broken = (PlainAttention(2).qk_clip for _ in range(3))
    elsewhere._recorder.record(torch.ones(2, device="meta"))
    assert gather_max_logits([idle, elsewhere]).device.type == "meta"
    broken._recorder.record(torch.tensor([math.nan, 2.0]))
    assert gather_max_logits([idle, broken]).tolist() == [[-math.inf] * 2, [math.inf, 2.0]]


def test_maxima_are_float32_whatever_the_default() -> None:
    torch.set_default_dtype(torch.bfloat16)
    try:
        found_LH = gather_max_logits([PlainAttention(2).qk_clip])
    finally:
        torch.set_default_dtype(torch.float32)
    assert found_LH.dtype == torch.float32


TAU = 2.0


def clipped(rank: int | None) -> list[Tensor]:
    """Query and key weights after a clip; with a rank, of a process that holds half the heads."""
    attention = PlainAttention(4, 2, gqa="group")
    x = micro_batches(0)[0]
    q, k, _ = (heads.detach() for heads in attention.queries_keys_values(x))
    projections = [attention.q_proj, attention.k_proj]
    if rank is not None:
        mesh = init_device_mesh("cpu", (2,))
        for projection in projections:
            sharded = distribute_tensor(projection.weight.detach(), mesh, [Shard(0)])
            projection.weight = nn.Parameter(sharded)
        q, k = q.chunk(2, 1)[rank], k.chunk(2, 1)[rank]
    clip = QKClip(None, [attention.qk_clip], TAU)
    attention.qk_clip.report(q, k, attention.scale, is_causal=True)
    clip.clip()
    weights = [projection.weight.detach() for projection in projections]
    return weights if rank is None else [weight.full_tensor() for weight in weights]


def in_one_of_two_processes(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    alone = [distributed.new_group([member]) for member in (0, 1)][rank]
    layers = two_layers()
    targets = targets_of(layers)
    # Before each forward pass DDP writes the buffers of process 0 over everybody's.
    parallel = DistributedDataParallel(layers)
    calls: list[Any] = []
    all_reduce: Callable[..., Any] = distributed.all_reduce
    distributed.all_reduce = lambda tensor, **options: (
        calls.append(tensor.shape),
        all_reduce(tensor, **options),
    )
    found = {}
    for name, group in (("all", None), ("alone", alone)):
        for x in micro_batches(rank):
            parallel(x).sum().backward()
        calls.clear()
        found[name] = gather_max_logits(targets, group)
        assert calls == [(2, 3)]
    found["clipped"] = clipped(rank)
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_agree_on_the_maximum_of_both(tmp_path: Path) -> None:
    """In one collective, over the group that was asked for, and under DDP.

    With half of the heads each (tensor parallelism) they clip as one process does.
    """
    spawn(in_one_of_two_processes, args=(str(tmp_path),), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    own = [maxima_of(two_layers(), micro_batches(rank)) for rank in (0, 1)]
    assert (own[1] > own[0]).any() and (own[0] > own[1]).any()
    for rank in (0, 1):
        torch.testing.assert_close(found[rank]["alone"], own[rank])
        torch.testing.assert_close(found[rank]["all"], own[0].maximum(own[1]))
        for sharded, whole in zip(found[rank]["clipped"], clipped(None), strict=True):
            torch.testing.assert_close(sharded, whole)
    assert not torch.equal(clipped(None)[0], PlainAttention(4, 2).q_proj.weight)
