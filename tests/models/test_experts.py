"""Routed experts: every layout equals a loop over tokens, forward and backward."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from openk2.models import experts as experts_module
from openk2.models.experts import RoutedExperts, TokenGroups, _ExpertsFunction, group_tokens


def loop(module: RoutedExperts, x_ND: Tensor, weights_NK: Tensor, experts_NK: Tensor) -> Tensor:
    """Each token through its experts, one at a time."""
    rows = []
    for x, weights, chosen in zip(x_ND, weights_NK, experts_NK, strict=True):
        terms = []
        for weight, e in zip(weights, chosen.tolist(), strict=True):
            hidden = torch.nn.functional.silu(module.gate_proj[e] @ x) * (module.up_proj[e] @ x)
            terms.append(weight * (module.down_proj[e] @ hidden))
        rows.append(torch.stack(terms).sum(0))
    return torch.stack(rows)


def choices(tokens: int, experts: int, chosen: int, imbalance: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    bias = torch.randn(experts, generator=generator) * imbalance
    scores = torch.rand(tokens, experts, generator=generator) + bias
    return scores.topk(chosen, dim=-1).indices


@pytest.mark.parametrize("tiered", [True, False], ids=["tiers", "ragged"])
@given(
    tokens=st.integers(1, 60),
    experts=st.integers(2, 20),
    chosen=st.integers(1, 4),
    imbalance=st.sampled_from([0.0, 0.5, 5.0]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=25, deadline=None)
def test_equals_a_loop(
    tiered: bool, tokens: int, experts: int, chosen: int, imbalance: float, seed: int
) -> None:
    experts_NK = choices(tokens, experts, min(chosen, experts), imbalance, seed)
    module = RoutedExperts(experts, 8, 4)
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data.normal_(0, 0.5, generator=generator)
    x = torch.randn(tokens, 8, generator=generator, requires_grad=True)
    weights = torch.rand(experts_NK.shape, generator=generator, requires_grad=True)
    inputs = [x, weights, *module.parameters()]
    groups = group_tokens(experts_NK, experts, tiered)
    ours = _ExpertsFunction.apply(x, weights, *module.parameters(), groups)
    expected = loop(module, x, weights, experts_NK)
    assert torch.allclose(ours, expected, rtol=1e-4, atol=1e-5)
    direction = torch.randn(ours.shape, generator=generator)
    pairs = zip(
        torch.autograd.grad(ours, inputs, direction),
        torch.autograd.grad(expected, inputs, direction),
        strict=True,
    )
    for ours_gradient, expected_gradient in pairs:
        assert torch.allclose(ours_gradient, expected_gradient, rtol=1e-3, atol=1e-4)


@given(
    tokens=st.integers(1, 300),
    experts=st.integers(1, 40),
    imbalance=st.sampled_from([0.0, 0.3, 3.0]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=50, deadline=None)
def test_every_choice_has_a_slot_of_its_own_in_its_experts_tier(
    tokens: int, experts: int, imbalance: float, seed: int
) -> None:
    chosen = min(3, experts)
    experts_NK = choices(tokens, experts, chosen, imbalance, seed)
    groups = group_tokens(experts_NK, experts, tiered=True)
    slots = groups.slot_of_choice_NK
    assert len(set(slots.flatten().tolist())) == tokens * chosen
    token = torch.arange(tokens)[:, None].expand_as(slots)
    assert torch.equal(groups.token_of_slot_S[slots], token)
    assert sorted(groups.expert_order_E.tolist()) == list(range(experts))
    assert isinstance(groups.layout, list)
    end = 0
    for tier in groups.layout:
        assert tier.slots.start == end
        end = tier.slots.stop
        members = groups.expert_order_E[tier.experts]
        length = (tier.slots.stop - tier.slots.start) // len(members)
        for position, expert in enumerate(members.tolist()):
            mine = slots[experts_NK == expert]
            begin = tier.slots.start + position * length
            assert ((begin <= mine) & (mine < begin + length)).all()
    assert end == len(groups.token_of_slot_S)


def test_tiers_waste_few_rows_and_have_few_lengths() -> None:
    for imbalance in (0.0, 0.2, 0.5):
        lengths = set()
        for seed in range(20):
            experts_NK = choices(4096, 32, 8, imbalance, seed)
            groups = group_tokens(experts_NK, 32, tiered=True)
            assert len(groups.token_of_slot_S) <= 1.4 * experts_NK.numel()
            assert isinstance(groups.layout, list)
            lengths |= {
                (t.slots.stop - t.slots.start) // (t.experts.stop - t.experts.start)
                for t in groups.layout
            }
        assert len(lengths) <= 32  # four an octave


def test_bfloat16_on_a_cpu_takes_tiers_and_float32_ragged_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[TokenGroups] = []

    def spy(*arguments: object) -> TokenGroups:
        seen.append(group_tokens(*arguments))  # type: ignore[arg-type]
        return seen[-1]

    monkeypatch.setattr(experts_module, "group_tokens", spy)
    module = RoutedExperts(4, 8, 4)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    experts_NK = choices(10, 4, 2, 0.0, 0)
    x, weights = torch.randn(10, 8), torch.rand(10, 2)
    full = module(x, weights, experts_NK)
    half = module(x.bfloat16(), weights, experts_NK)
    assert isinstance(seen[0].layout, Tensor) and isinstance(seen[1].layout, list)
    assert torch.allclose(full, half.float(), rtol=0.05, atol=0.05 * full.abs().max().item())
