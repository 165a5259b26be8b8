"""What an optimizer step sends between processes, beside the fewest bytes that would do.

Counted where it leaves: every collective of the step passes a counter. Two and four real processes,
gloo on loopback. The minimum is that of any scheme that computes each matrix whole in one place:
all parts but the largest go there and come back, in the dtype of the iteration.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.table import Table, verdict

__all__ = ["run"]

TARGET_RATIO = 1.2
HIDDEN, INNER, LAYERS, EXPERTS, WIDTH = 256, 704, 8, 16, 128


def run(processes: tuple[int, ...] = (2, 4)) -> list[Table]:
    """One table over all layouts, for each number of processes."""
    rows = []
    for count in processes:
        for result in _launch(count):
            ratio = result["sent"] / result["fewest"] if result["fewest"] else None
            rows.append(
                [
                    str(count),
                    result["layout"],
                    f"{result['sent'] / 1e6:.3f}",
                    f"{result['fewest'] / 1e6:.3f}",
                    "-" if ratio is None else f"{ratio:.3f}",
                    f"{result['gathered'] / 1e6:.3f}",
                    verdict(ratio or float(result["sent"] > 0) * 9, TARGET_RATIO, False),
                ]
            )
    matrices = 3 * LAYERS
    return [
        Table(
            f"Bytes of an optimizer step: {matrices} matrices of {HIDDEN} x {INNER} and "
            f"{2 * EXPERTS} experts of {HIDDEN} x {WIDTH}, sent by all processes together",
            ("processes", "layout", "MB sent", "MB fewest", "ratio", "MB gathered", "<= 1.2"),
            rows,
            (
                "MB gathered: each matrix gathered by every process that holds a part, as "
                "Moonlight's distributed Muon does, in the same dtype",
            ),
        )
    ]


def _launch(processes: int) -> list[dict[str, Any]]:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *launch, "-m", "benchmarks.communication"],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _measure() -> None:
    """In each process: take a step in every layout and count; process 0 prints."""
    import torch
    from torch import distributed, nn
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor, Shard, distribute_tensor

    from openk2.optimizers import MuonClipOptimizer

    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    world = distributed.get_world_size()
    line = init_device_mesh("cpu", (world,))

    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.Parameter(torch.randn(EXPERTS, HIDDEN, WIDTH))
            self.down = nn.Parameter(torch.randn(EXPERTS, WIDTH, HIDDEN))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            shapes = [(HIDDEN, INNER), (INNER, HIDDEN), (HIDDEN, INNER)] * LAYERS
            dense = [nn.Linear(columns, rows, bias=False) for rows, columns in shapes]
            self.dense = nn.ModuleList(dense)
            self.experts = Experts()

    def fsdp(spread: Model, mesh: Any = line) -> None:
        fully_shard(spread, mesh=mesh)

    def columns(spread: Model) -> None:
        for layer in spread.dense:
            layer.weight = nn.Parameter(distribute_tensor(layer.weight.detach(), line, [Shard(1)]))
        expert_parallel(spread)

    def expert_parallel(spread: Model) -> None:
        for name, parameter in list(spread.experts.named_parameters()):
            shard = distribute_tensor(parameter.detach(), line, [Shard(0)])
            setattr(spread.experts, name, nn.Parameter(shard))

    layouts: dict[str, tuple[Callable[[Model], None], dict[str, Any]]] = {
        "fsdp": (fsdp, {}),
        "tensor parallel by columns, expert parallel": (columns, {}),
        "expert parallel, the rest replicated": (expert_parallel, {}),
        "ddp, replicas share": (lambda spread: None, {"share_replicas": True}),
    }
    if world == 4:
        square = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicas", "shards"))
        layouts["hsdp"] = (lambda spread: fsdp(spread, square), {})
    sent = _count_bytes()
    for name, (spread, options) in layouts.items():
        whole = Model()
        spread(whole)
        optimizer = MuonClipOptimizer.from_model(
            whole, qk_clip_threshold=None, non_finite="ignore", **options
        )
        gathered = 0.0
        for parameter in whole.parameters():
            parameter.grad = torch.randn_like(parameter)
            if isinstance(parameter, DTensor) and parameter.placements[-1] != Shard(0):
                gathered += (parameter.numel() - parameter.to_local().numel()) * 2
            elif isinstance(parameter, DTensor) and parameter.ndim == 2:
                shards = parameter.device_mesh.size(parameter.device_mesh.ndim - 1)
                gathered += parameter.to_local().numel() * (shards - 1) * 2
        sent.clear()
        optimizer.step()
        totals = torch.tensor(
            [float(sum(sent)), optimizer.communication_bytes[1], gathered], dtype=torch.float64
        )
        distributed.all_reduce(totals)
        if distributed.get_rank() == 0:
            keys = ("sent", "fewest", "gathered")
            print(json.dumps({"layout": name} | dict(zip(keys, totals.tolist(), strict=True))))
    sys.stdout.flush()
    distributed.barrier()
    distributed.destroy_process_group()


def _count_bytes() -> list[int]:
    """Let every all-to-all append what it sends to other processes."""
    from torch import distributed

    sent: list[int] = []
    original = distributed.all_to_all_single

    def counted(output: Any, input: Any, outputs: Any, inputs: Any, **options: Any) -> Any:
        members = distributed.get_process_group_ranks(options["group"])
        mine = inputs[members.index(distributed.get_rank())]
        sent.append((sum(inputs) - mine) * input.element_size())
        return original(output, input, outputs, inputs, **options)

    distributed.all_to_all_single = counted
    return sent


if __name__ == "__main__":
    _measure()
