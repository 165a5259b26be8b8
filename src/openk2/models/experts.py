"""The routed experts: stacked feed-forward networks, each token through its K chosen ones.

Tokens are gathered into groups, one group an expert, run as batched matrix products, and summed
back. Two layouts of the groups give the same result:

- tiers: experts sorted by load, a few at a time, each group of a tier as long as its longest.
  Every product is a `bmm`, and its shapes come from a short list. A CPU's bfloat16 kernels want
  that: each new shape is compiled, and groups of any length would compile in every step;
- ragged: groups end to end, one `grouped_mm`, no wasted rows: faster in float32, where nothing is
  compiled, and the layout of a GPU (docs/figures.md, "Routed experts").

N tokens, K experts per token, E experts, S slots (rows of the groups), D hidden, F expert width.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["RoutedExperts", "TokenGroups", "group_tokens"]

TIERS = 8
SIGNIFICANT_BITS = 3  # of a tier's length: it rounds up by a quarter at most, and few occur


@dataclass(frozen=True)
class Tier:
    """Some experts' groups, all of one length."""

    slots: slice
    experts: slice  # in the order of `TokenGroups.expert_order_E`


@dataclass(frozen=True)
class TokenGroups:
    """Where each token's K copies lie among the slots.

    Padding slots repeat token 0 with weight 0: their output is never read and, because the weight
    multiplies what goes into the down-projection, they add nothing to any gradient.
    """

    token_of_slot_S: Tensor
    slot_of_choice_NK: Tensor
    expert_order_E: Tensor  # the expert of each group
    layout: list[Tier] | Tensor  # tiers, or where each ragged group ends (int32 [E])

    def scatter(self, values_NK: Tensor) -> Tensor:
        """One value a choice -> one a slot, 0 in the padding."""
        slots = values_NK.new_zeros(len(self.token_of_slot_S))
        return slots.index_copy_(0, self.slot_of_choice_NK.flatten(), values_NK.flatten())

    def multiply(self, x_SI: Tensor, weight_EOI: Tensor) -> Tensor:
        """Each group's rows times its own matrix, transposed: [S, O]. Matrices in group order."""
        if isinstance(self.layout, Tensor):
            return F.grouped_mm(x_SI, weight_EOI.transpose(1, 2), offs=self.layout)
        out = x_SI.new_empty((len(x_SI), weight_EOI.shape[1]))
        for tier in self.layout:
            weight = weight_EOI[tier.experts].transpose(1, 2)
            groups = (len(weight), -1)
            rows = x_SI[tier.slots].unflatten(0, groups)
            torch.bmm(rows, weight, out=out[tier.slots].unflatten(0, groups))
        return out

    def weight_gradient(self, dy_SO: Tensor, x_SI: Tensor) -> Tensor:
        """Each group's dyᵀ x, [E, O, I], in group order."""
        if isinstance(self.layout, Tensor):
            return F.grouped_mm(dy_SO.T, x_SI, offs=self.layout)
        experts = len(self.expert_order_E)
        out = x_SI.new_empty((experts, dy_SO.shape[1], x_SI.shape[1]))
        for tier in self.layout:
            groups = (tier.experts.stop - tier.experts.start, -1)
            dy, x = (t[tier.slots].unflatten(0, groups) for t in (dy_SO, x_SI))
            torch.bmm(dy.transpose(1, 2), x, out=out[tier.experts])
        return out


@torch.no_grad()
def group_tokens(experts_NK: Tensor, experts: int, tiered: bool) -> TokenGroups:
    """Sort the choices by expert, into tiers or ragged groups."""
    tokens, choices = experts_NK.shape
    flat = experts_NK.flatten()
    counts_E = torch.bincount(flat, minlength=experts)
    layout: list[Tier] | Tensor
    if tiered:
        order_E = counts_E.argsort(descending=True, stable=True)
        layout, begins = _tiers(counts_E[order_E].tolist())
        begin_E = torch.empty_like(order_E)
        begin_E[order_E] = torch.tensor(begins[:-1], device=flat.device)
        slots = begins[-1]
    else:
        order_E = torch.arange(experts, device=flat.device)
        ends_E = counts_E.cumsum(0)
        begin_E, layout, slots = ends_E - counts_E, ends_E.to(torch.int32), len(flat)
    by_expert = flat.argsort(stable=True)
    first_E = counts_E.cumsum(0) - counts_E
    expert = flat[by_expert]
    slot = torch.arange(len(flat), device=flat.device) - first_E[expert] + begin_E[expert]
    token_of_slot = by_expert.new_zeros(slots)
    token_of_slot[slot] = by_expert // choices
    slot_of_choice = torch.empty_like(by_expert)
    slot_of_choice[by_expert] = slot
    return TokenGroups(token_of_slot, slot_of_choice.view(tokens, choices), order_E, layout)


def _tiers(counts: list[int]) -> tuple[list[Tier], list[int]]:
    """Tiers for loads in falling order, and where each group begins (and the last one ends)."""
    size = -(-len(counts) // TIERS)
    tiers, begins = [], [0]
    for first in range(0, len(counts), size):
        last = min(first + size, len(counts))
        length = _round_up(max(counts[first], 16))
        begin = begins[-1]
        begins += [begin + (i + 1) * length for i in range(last - first)]
        tiers.append(Tier(slice(begin, begins[-1]), slice(first, last)))
    return tiers, begins


def _round_up(length: int) -> int:
    """The next number whose binary form has at most SIGNIFICANT_BITS before the zeros."""
    unit = 1 << max(length.bit_length() - SIGNIFICANT_BITS, 0)
    return -(-length // unit) * unit


class RoutedExperts(nn.Module):
    """E SwiGLU networks, each matrix of each expert a slice of a stacked tensor."""

    def __init__(self, experts: int, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = nn.Parameter(torch.empty(experts, intermediate_size, hidden_size))
        self.up_proj = nn.Parameter(torch.empty(experts, intermediate_size, hidden_size))
        self.down_proj = nn.Parameter(torch.empty(experts, hidden_size, intermediate_size))

    def forward(self, x_ND: Tensor, weights_NK: Tensor, experts_NK: Tensor) -> Tensor:
        """Σ_k weight_k * expert_k(x), [N, D] in x's dtype."""
        # grouped_mm wants rows of whole 16 bytes.
        aligned = all(w * x_ND.element_size() % 16 == 0 for w in self.down_proj.shape[1:])
        tiered = not aligned or (x_ND.device.type == "cpu" and x_ND.dtype == torch.bfloat16)
        groups = group_tokens(experts_NK, len(self.gate_proj), tiered)
        return _ExpertsFunction.apply(  # type: ignore[no-any-return]
            x_ND, weights_NK, self.gate_proj, self.up_proj, self.down_proj, groups
        )


class _ExpertsFunction(torch.autograd.Function):
    """y_n = Σ_{slots s of n} down(w_s a_s), a = silu(gate x) * up x; one gather, two products.

    Written out so that the routing weight multiplies the narrow activation a [S, F] rather than
    the wide output [S, D], and so that nothing of width D but the gathered input is kept.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_ND: Tensor,
        weights_NK: Tensor,
        gate_EFD: Tensor,
        up_EFD: Tensor,
        down_EDF: Tensor,
        groups: TokenGroups,
    ) -> Tensor:
        order_E = groups.expert_order_E
        experts, width, hidden = gate_EFD.shape
        gate_up = x_ND.new_empty((experts, 2 * width, hidden))
        gate_up[:, :width], gate_up[:, width:] = gate_EFD[order_E], up_EFD[order_E]
        down = down_EDF[order_E].to(x_ND.dtype)
        x_SD = x_ND.index_select(0, groups.token_of_slot_S)
        hidden_S2F = groups.multiply(x_SD, gate_up)
        weight_S = groups.scatter(weights_NK)
        activation_SF = _weighted_swiglu(hidden_S2F, weight_S)
        y_SD = groups.multiply(activation_SF, down)
        ctx.groups = groups
        ctx.parameter_dtype = down_EDF.dtype
        ctx.save_for_backward(x_SD, hidden_S2F, weight_S, gate_up, down)
        return F.embedding_bag(groups.slot_of_choice_NK, y_SD, mode="sum")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x_SD, hidden_S2F, weight_S, gate_up, down = ctx.saved_tensors
        groups: TokenGroups = ctx.groups
        dy_SD = gradients[0].index_select(0, groups.token_of_slot_S)
        d_weighted_SF = groups.multiply(dy_SD, down.transpose(1, 2))
        d_hidden, d_weight_S, activation_SF = _weighted_swiglu_backward(
            d_weighted_SF, hidden_S2F, weight_S
        )
        d_down = groups.weight_gradient(dy_SD, activation_SF)
        d_gate_up = groups.weight_gradient(d_hidden, x_SD)
        dx_SD = groups.multiply(d_hidden, gate_up.transpose(1, 2))
        dx = F.embedding_bag(groups.slot_of_choice_NK, dx_SD, mode="sum")
        d_weights_NK = d_weight_S[groups.slot_of_choice_NK]
        d_matrices = []
        for d_group in (*d_gate_up.chunk(2, dim=1), d_down):
            d_matrix = torch.empty_like(d_group, dtype=ctx.parameter_dtype)
            d_matrices.append(d_matrix.index_copy_(0, groups.expert_order_E, d_group.to(d_matrix)))
        return dx, d_weights_NK, *d_matrices, None


def _weighted_swiglu(hidden_S2F: Tensor, weight_S: Tensor) -> Tensor:
    gate, up = hidden_S2F.chunk(2, dim=-1)
    return F.silu(gate).mul_(up).mul_(weight_S.to(up.dtype)[:, None])


def _weighted_swiglu_backward(
    d_SF: Tensor, hidden_S2F: Tensor, weight_S: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the hidden pair and the weight, and the weighted activation itself."""
    gate, up = hidden_S2F.chunk(2, dim=-1)
    weight = weight_S.to(up.dtype)[:, None]
    silu = F.silu(gate)
    activation = silu * up
    d_weight = torch.linalg.vecdot(d_SF, activation).to(weight_S.dtype)
    d_activation = d_SF * weight
    d_hidden = torch.empty_like(hidden_S2F)
    d_gate, d_up = d_hidden.chunk(2, dim=-1)
    torch.mul(d_activation, silu, out=d_up)
    d_gate.copy_(torch.ops.aten.silu_backward(d_activation.mul_(up), gate))
    return d_hidden, d_weight, activation.mul_(weight)
