"""The routed experts: stacked feed-forward networks, each token through its K chosen ones.

Tokens are gathered into groups, one group an expert, run as batched matrix products, and summed
back. Two layouts of the groups give the same result; `group_tokens` takes the faster one:

- padded: every group as long as the largest, one `bmm`; unless loads differ widely, the fastest;
- ragged: groups end to end, `grouped_mm`; no wasted rows when one expert takes far more.

N tokens, K experts per token, E experts, S slots (rows of the groups), D hidden, F expert width.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["RoutedExperts", "TokenGroups", "group_tokens"]

# A padded batch is up to three times as fast a row as a grouped one (docs/figures.md, "Experts"),
# so it may waste this share of its rows before the grouped product wins.
PADDING_LIMIT = 2.0


@dataclass(frozen=True)
class TokenGroups:
    """Where each token's K copies lie among the slots.

    Padding slots repeat token 0 with weight 0: their output is never read and, because the weight
    multiplies what goes into the down-projection, they add nothing to any gradient.
    """

    token_of_slot_S: Tensor
    slot_of_choice_NK: Tensor
    group_ends_E: Tensor | None  # int32; None: padded, every group of S / E slots

    def scatter(self, values_NK: Tensor) -> Tensor:
        """One value a choice -> one a slot, 0 in the padding."""
        slots = values_NK.new_zeros(len(self.token_of_slot_S))
        return slots.index_copy_(0, self.slot_of_choice_NK.flatten(), values_NK.flatten())

    def multiply(self, x_SI: Tensor, weight_EOI: Tensor) -> Tensor:
        """Each group's rows times its own expert's matrix, transposed: [S, O]."""
        if self.group_ends_E is None:
            groups = x_SI.view(len(weight_EOI), -1, x_SI.shape[1])
            return torch.bmm(groups, weight_EOI.transpose(1, 2)).flatten(0, 1)
        return F.grouped_mm(x_SI, weight_EOI.transpose(1, 2), offs=self.group_ends_E)

    def weight_gradient(self, dy_SO: Tensor, x_SI: Tensor, experts: int) -> Tensor:
        """Each group's dyᵀ x: [E, O, I]."""
        if self.group_ends_E is None:
            dy, x = dy_SO.view(experts, -1, dy_SO.shape[1]), x_SI.view(experts, -1, x_SI.shape[1])
            return torch.bmm(dy.transpose(1, 2), x)
        return F.grouped_mm(dy_SO.T, x_SI, offs=self.group_ends_E)


@torch.no_grad()
def group_tokens(experts_NK: Tensor, experts: int, padded: bool | None = None) -> TokenGroups:
    """Sort the choices by expert. `padded` forces a layout; None takes the faster."""
    tokens, choices = experts_NK.shape
    flat = experts_NK.flatten()
    order = flat.argsort(stable=True)
    counts_E = torch.bincount(flat, minlength=experts)
    ends_E = counts_E.cumsum(0)
    largest = int(counts_E.max())
    if padded is None:
        padded = largest * experts <= PADDING_LIMIT * len(flat)
    if padded:
        largest = (largest + 15) // 16 * 16  # whole tiles of the matrix units
        rank_in_group = (
            torch.arange(len(flat), device=flat.device) - (ends_E - counts_E)[flat[order]]
        )
        slots = flat[order] * largest + rank_in_group
        token_of_slot = order.new_zeros(experts * largest)
        token_of_slot[slots] = order // choices
    else:
        slots = torch.arange(len(flat), device=flat.device)
        token_of_slot = order // choices
    slot_of_choice = torch.empty_like(order)
    slot_of_choice[order] = slots
    ends = None if padded else ends_E.to(torch.int32)
    return TokenGroups(token_of_slot, slot_of_choice.view(tokens, choices), ends)


class RoutedExperts(nn.Module):
    """E SwiGLU networks, each matrix of each expert a slice of a stacked tensor."""

    def __init__(self, experts: int, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = nn.Parameter(torch.empty(experts, intermediate_size, hidden_size))
        self.up_proj = nn.Parameter(torch.empty(experts, intermediate_size, hidden_size))
        self.down_proj = nn.Parameter(torch.empty(experts, hidden_size, intermediate_size))

    def forward(self, x_ND: Tensor, weights_NK: Tensor, experts_NK: Tensor) -> Tensor:
        """Σ_k weight_k * expert_k(x), [N, D] in x's dtype."""
        groups = group_tokens(experts_NK, len(self.gate_proj))
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
        gate_up = torch.cat([gate_EFD, up_EFD], dim=1).to(x_ND.dtype)
        down = down_EDF.to(x_ND.dtype)
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
        experts = len(down)
        dy_SD = gradients[0].index_select(0, groups.token_of_slot_S)
        d_weighted_SF = groups.multiply(dy_SD, down.transpose(1, 2))
        d_hidden, d_weight_S, activation_SF = _weighted_swiglu_backward(
            d_weighted_SF, hidden_S2F, weight_S
        )
        d_down = groups.weight_gradient(dy_SD, activation_SF, experts)
        d_gate_up = groups.weight_gradient(d_hidden, x_SD, experts)
        dx_SD = groups.multiply(d_hidden, gate_up.transpose(1, 2))
        dx = F.embedding_bag(groups.slot_of_choice_NK, dx_SD, mode="sum")
        d_weights_NK = d_weight_S[groups.slot_of_choice_NK]
        d_gate, d_up = d_gate_up.to(ctx.parameter_dtype).chunk(2, dim=1)
        return dx, d_weights_NK, d_gate, d_up, d_down.to(ctx.parameter_dtype), None


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
