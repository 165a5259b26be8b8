"""Run by torchrun: every layout against one process; prints one JSON object per result.

python -m torch.distributed.run --standalone --nproc-per-node 4 -m tests.distributed.run_layouts
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, distributed, nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from openk2.optimizers import MuonClipOptimizer

from .small_transformer import SmallTransformer, layouts, whole

STEPS = 20
TAU = 1.0
# No forward pass over cut experts is written here; their updates are compared all the same.
NO_FORWARD = ("expert parallel", "expert parallel, columns cut", "expert parallel, replicated")


def places(spread: Callable[[SmallTransformer], object]) -> list[Tensor]:
    """Which elements of each whole parameter a layout puts on this process, as flat indices.

    Read off a model that holds its indices, so it depends on nothing but torch's own sharding.
    """
    model = SmallTransformer(torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.arange(parameter.numel()).view_as(parameter))
    spread(model)
    return [local(parameter.detach()).long() for parameter in model.parameters()]


def local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def largest_difference(model: nn.Module, expected: nn.Module, here: list[Tensor]) -> float:
    """Over all elements of all processes."""
    pairs = zip(model.parameters(), expected.parameters(), here, strict=True)
    parts = [(local(a.detach()), b.detach().flatten()[index]) for a, b, index in pairs]
    assert all(a.shape == b.shape for a, b in parts)
    largest = torch.stack([(a - b).abs().max() for a, b in parts if a.numel()]).max()
    distributed.all_reduce(largest, op=distributed.ReduceOp.MAX)
    return float(largest)


def optimizer_of(model: nn.Module, dtype: torch.dtype, **options: object) -> MuonClipOptimizer:
    threshold = options.pop("qk_clip_threshold", TAU)
    return MuonClipOptimizer.from_model(
        model, lr=0.02, qk_clip_threshold=threshold, newton_schulz_dtype=dtype, **options
    )


def set_gradients(model: nn.Module, step: int, here: list[Tensor]) -> None:
    """The same gradient in every layout, in the parameter's own shards."""
    generator = torch.Generator().manual_seed(step)
    for parameter, index in zip(model.parameters(), here, strict=True):
        gradient = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        gradient = gradient.to(parameter.dtype).flatten()[index]
        if isinstance(parameter, DTensor):
            gradient = DTensor.from_local(
                gradient,
                parameter.device_mesh,
                parameter.placements,
                shape=parameter.shape,
                stride=parameter.stride(),
            )
        parameter.grad = gradient


def update(
    model: nn.Module, optimizer: MuonClipOptimizer, steps: range, here: list[Tensor]
) -> None:
    for step in steps:
        set_gradients(model, step, here)
        optimizer.step()


def expected_updates(dtype: torch.dtype) -> SmallTransformer:
    """What one process makes of all steps."""
    model = SmallTransformer(torch.float32)
    optimizer = optimizer_of(model, dtype, qk_clip_threshold=None)
    update(model, optimizer, range(STEPS), places(whole))
    return model


def train(model: nn.Module, optimizer: MuonClipOptimizer, batches: list[Tensor]) -> float:
    """The loss after the last batch; each batch is what this process sees of it."""
    for batch in batches:
        optimizer.zero_grad()
        loss = model(batch)
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def batches() -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    return list(torch.randint(31, (STEPS, 4, 9), generator=generator))


def compare_updates(name: str, spread: object, dtype: torch.dtype, **options: object) -> dict:
    here = places(spread)
    model = SmallTransformer(torch.float32)
    spread(model)
    optimizer = optimizer_of(model, dtype, qk_clip_threshold=None, **options)
    update(model, optimizer, range(STEPS), here)
    total = torch.tensor(optimizer.communication_bytes, dtype=torch.float64)
    distributed.all_reduce(total)
    return {
        "what": "updates",
        "layout": name,
        "dtype": str(dtype).removeprefix("torch."),
        "shared": bool(options.get("share_replicas")),
        "difference": largest_difference(model, expected_updates(dtype), here),
        "bytes": int(total[0]),
        "fewest_bytes": int(total[1]),
    }


def compare_training(name: str, spread: object) -> dict:
    rank, world = distributed.get_rank(), distributed.get_world_size()
    expected = SmallTransformer(torch.float64)
    reference = optimizer_of(expected, torch.float64)
    everything = batches()
    model = SmallTransformer(torch.float64)
    # Tensor-parallel processes see the same batch; data-parallel ones a part of it each.
    data_rank, data_world = {
        "tensor parallel": (0, 1),
        "fsdp over tensor parallel": (rank // 2, 2),
    }.get(name, (rank, world))
    parts = [batch.chunk(data_world)[data_rank] for batch in everything]
    spread(model)
    runner = DistributedDataParallel(model) if name == "ddp" else model
    optimizer = optimizer_of(model, torch.float64)
    # What the whole batch is in one process is one forward pass; the clip of process 0 counts for
    # all, so the reference's own all-reduce changes nothing.
    train(expected, reference, everything)
    train(runner, optimizer, parts)
    clipped = optimizer.qk_clip.last_clip_factors
    return {
        "what": "training",
        "layout": name,
        "difference": largest_difference(model, expected, places(spread)),
        "clipped": int((reference.qk_clip.last_clip_factors < 1).sum()),
        "same_factors": bool(
            torch.allclose(clipped, reference.qk_clip.last_clip_factors, rtol=1e-5)
        ),
    }


def compare_resume(first: str, second: str, spreads: dict, folder: Path) -> dict:
    """Half of the steps in one layout, a checkpoint, the other half in another layout."""
    model = SmallTransformer(torch.float32)
    spreads[first](model)
    optimizer = optimizer_of(model, torch.float32, qk_clip_threshold=None)
    update(model, optimizer, range(STEPS // 2), places(spreads[first]))
    model_state, optimizer_state = get_state_dict(model, optimizer)
    dcp.save({"model": model_state, "optimizer": optimizer_state}, checkpoint_id=folder)
    other = SmallTransformer(torch.float32)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    spreads[second](other)
    resumed = optimizer_of(other, torch.float32, qk_clip_threshold=None)
    model_state, optimizer_state = get_state_dict(other, resumed)
    dcp.load({"model": model_state, "optimizer": optimizer_state}, checkpoint_id=folder)
    set_state_dict(other, resumed, model_state_dict=model_state, optim_state_dict=optimizer_state)
    here = places(spreads[second])
    update(other, resumed, range(STEPS // 2, STEPS), here)
    return {
        "what": "resume",
        "layout": f"{first} -> {second}",
        "difference": largest_difference(other, expected_updates(torch.float32), here),
    }


def results() -> list[dict]:
    world = distributed.get_world_size()
    spreads = layouts(world)
    found = [compare_updates(name, spread, torch.float32) for name, spread in spreads.items()]
    found += [compare_updates(name, spread, torch.bfloat16) for name, spread in spreads.items()]
    replicated = [
        name for name in spreads if name in ("ddp", "hsdp", "expert parallel, replicated")
    ]
    found += [
        compare_updates(name, spreads[name], torch.float32, share_replicas=True)
        for name in replicated
    ]
    found += [
        compare_training(name, spread) for name, spread in spreads.items() if name not in NO_FORWARD
    ]
    folders = [tempfile.mkdtemp() if distributed.get_rank() == 0 else None for _ in spreads]
    distributed.broadcast_object_list(folders)
    names = list(spreads)
    for first, second, folder in zip(names, [*names[2:], *names[:2]], folders, strict=True):
        found.append(compare_resume(first, second, spreads, Path(folder)))
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    for result in results():
        if distributed.get_rank() == 0:
            print(json.dumps(result))
    sys.stdout.flush()
    distributed.barrier()
    distributed.destroy_process_group()
