"""A transformer layer with every kind of matrix, and the ways to spread it over processes."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)

from openk2.optimizers import AttentionClipTarget, query_key_rows

HEADS, WIDTH, HIDDEN, EXPERTS, INNER = 4, 6, 20, 5, 14
SCALE = WIDTH**-0.5


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(HIDDEN, HEADS * WIDTH)
        self.k_proj = nn.Linear(HIDDEN, HEADS * WIDTH)
        self.v_proj = nn.Linear(HIDDEN, HEADS * WIDTH, bias=False)
        self.o_proj = nn.Linear(HEADS * WIDTH, HIDDEN, bias=False)
        self.qk_clip = AttentionClipTarget(HEADS, query_key_rows(self.q_proj, self.k_proj, HEADS))

    def forward(self, x_BTD: Tensor) -> Tensor:
        q, k, v = (
            projection(x_BTD).unflatten(-1, (-1, WIDTH)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        self.qk_clip.report(q, k, SCALE, is_causal=True)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=SCALE)
        return self.o_proj(out.transpose(1, 2).flatten(2))


class Experts(nn.Module):
    """Stacked experts, all of them applied to every token."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.randn(EXPERTS, INNER, HIDDEN) * 0.2)
        self.down = nn.Parameter(torch.randn(EXPERTS, HIDDEN, INNER) * 0.2)

    def forward(self, x_BTD: Tensor) -> Tensor:
        inner = torch.einsum("btd,eid->beti", x_BTD, self.up).tanh()
        return torch.einsum("beti,edi->btd", inner, self.down)


class SmallTransformer(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed_tokens = nn.Embedding(31, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN)
        self.attention = Attention()
        self.experts = Experts()
        # 5 rows: uneven over 2 and 4 processes; 1 row over 4: empty shards.
        self.narrow = nn.Linear(HIDDEN, 5, bias=False)
        self.widen = nn.Linear(5, 2, bias=False)
        self.lm_head = nn.Linear(HIDDEN, 31, bias=False)
        with torch.no_grad():
            self.attention.q_proj.weight.mul_(4)
        self.to(dtype)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x = self.embed_tokens(tokens_BT)
        x = x + self.attention(self.norm(x))
        x = x + self.experts(x)
        return self.lm_head(x).square().mean() + self.widen(self.narrow(x)).square().mean()


def whole(model: nn.Module) -> None:
    """One process holds everything."""


def fsdp(model: SmallTransformer, mesh: DeviceMesh, reshard: bool = True) -> None:
    for part in (model.attention, model.experts, model.narrow, model.widen):
        fully_shard(part, mesh=mesh, reshard_after_forward=reshard)
    fully_shard(model, mesh=mesh, reshard_after_forward=reshard)


def tensor_parallel(model: SmallTransformer, mesh: DeviceMesh) -> None:
    attention = {f"{name}_proj": ColwiseParallel() for name in "qkv"}
    parallelize_module(model.attention, mesh, {**attention, "o_proj": RowwiseParallel()})
    plan = {"narrow": RowwiseParallel(input_layouts=Replicate())}
    parallelize_module(model, mesh, {**plan, "widen": ColwiseParallel(output_layouts=Replicate())})


def expert_parallel(model: SmallTransformer, mesh: DeviceMesh) -> None:
    for name, parameter in list(model.experts.named_parameters()):
        placements = [Shard(0)] + [Replicate()] * (mesh.ndim - 1)
        shard = distribute_tensor(parameter.detach(), mesh, placements)
        setattr(model.experts, name, nn.Parameter(shard))


def expert_tensor_mix(model: SmallTransformer, mesh: DeviceMesh) -> None:
    """Experts over one axis of the mesh, their columns or rows over the other."""
    for name, parameter in list(model.experts.named_parameters()):
        shard = distribute_tensor(parameter.detach(), mesh, [Shard(0), Shard(2)])
        setattr(model.experts, name, nn.Parameter(shard))


def layouts(world: int) -> dict[str, Callable[[SmallTransformer], object]]:
    """Name -> a function that spreads a model over all processes of the world."""
    line = init_device_mesh("cpu", (world,))
    found: dict[str, Callable[[SmallTransformer], object]] = {
        "ddp": whole,
        "fsdp, resharded": lambda model: fsdp(model, line),
        "fsdp, kept whole after forward": lambda model: fsdp(model, line, reshard=False),
        "tensor parallel": lambda model: tensor_parallel(model, line),
        "expert parallel": lambda model: expert_parallel(model, line),
    }
    if world == 4:
        square = init_device_mesh("cpu", (2, 2), mesh_dim_names=("outer", "inner"))

        def fsdp_over_tensor_parallel(model: SmallTransformer) -> None:
            tensor_parallel(model, square["inner"])
            fsdp(model, square["outer"])

        found |= {
            "hsdp": lambda model: fsdp(model, square),
            "fsdp over tensor parallel": fsdp_over_tensor_parallel,
            "expert parallel, columns cut": lambda model: expert_tensor_mix(model, square),
            "expert parallel, replicated": lambda model: expert_parallel(model, square),
        }
    return found
