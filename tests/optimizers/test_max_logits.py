from pathlib import Path

import torch
from torch import distributed
from torch.multiprocessing import spawn

from openk2.optimizers.max_logits import gather_max_logits

from .latent_attention import LatentAttentionLogits


def layers_of_one_process(rank: int) -> tuple[list[LatentAttentionLogits], torch.Tensor]:
    """Two layers after two micro-batches, and the maxima those gave; the third layer ran never."""
    torch.manual_seed(0)
    layers = [LatentAttentionLogits() for _ in range(3)]
    torch.manual_seed(rank)
    micro_batches = [torch.randn(5, 6) for _ in range(2)]
    maxima = torch.stack(
        [torch.stack([layer(x).amax(dim=(1, 2)) for x in micro_batches]) for layer in layers[:2]]
    ).amax(dim=1)
    never = torch.full((1, 3), -torch.inf)
    return layers, torch.cat([maxima.detach(), never])


def test_the_maximum_over_micro_batches_is_read_once() -> None:
    layers, expected_LH = layers_of_one_process(rank=0)
    assert torch.equal(gather_max_logits(layers), expected_LH)
    assert torch.equal(gather_max_logits(layers), torch.full((3, 3), -torch.inf))


def gather_in_one_of_two_processes(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    calls = []
    all_reduce = distributed.all_reduce
    distributed.all_reduce = lambda *args, **kwargs: (
        calls.append(args[0].shape),
        all_reduce(*args, **kwargs),
    )
    layers, own_LH = layers_of_one_process(rank)
    torch.save((gather_max_logits(layers), own_LH, calls), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_get_the_maximum_of_both_in_one_collective(tmp_path: Path) -> None:
    spawn(gather_in_one_of_two_processes, args=(str(tmp_path),), nprocs=2)
    (both_a, own_a, calls_a), (both_b, own_b, calls_b) = (
        torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)
    )
    assert not torch.equal(own_a, own_b)
    assert torch.equal(both_a, own_a.maximum(own_b)) and torch.equal(both_b, both_a)
    assert calls_a == calls_b == [torch.Size([3, 3])]
