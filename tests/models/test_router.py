"""The router: selection, weights, the bias update, the sequence-wise balance loss."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.models import KimiK2Config, KimiK2MoEModel, PackedDocuments, routed_scaling_factor
from openk2.models.router import Router, sequence_balance_loss

CONFIG = KimiK2Config.preset("nano", hidden_size=12, n_routed_experts=6, num_experts_per_tok=2)


def router(alpha: float = 0.0) -> Router:
    torch.manual_seed(0)
    module = Router(KimiK2Config.preset("nano", **{**CONFIG.__dict__, "aux_loss_alpha": alpha}))
    torch.nn.init.normal_(module.weight)
    return module


def test_the_bias_selects_and_does_not_weigh() -> None:
    module = router()
    x = torch.randn(1, 50, 12)
    module.e_score_correction_bias[4] = 10.0
    weights, experts = module(x)
    assert (experts == 4).any(-1).all()
    scores = (x[0] @ module.weight.T).sigmoid().gather(1, experts)
    expected = scores / scores.sum(-1, keepdim=True) * CONFIG.routed_scaling_factor
    assert torch.allclose(weights, expected, rtol=1e-6)


def test_it_runs_in_float32_whatever_comes_in() -> None:
    module = router()
    x = torch.randn(2, 9, 12).bfloat16()
    weights, experts = module(x)
    assert weights.dtype == torch.float32
    same_weights, same_experts = module(x.float())
    assert torch.equal(weights, same_weights) and torch.equal(experts, same_experts)


@given(st.lists(st.integers(0, 1000), min_size=6, max_size=6), st.floats(1e-4, 1e-1))
@settings(max_examples=40, deadline=None)
def test_bias_update_is_the_mean_corrected_sign_rule(counts: list[int], rate: float) -> None:
    module = router()
    module.update_bias(torch.tensor(counts), rate)
    mean = sum(counts) / 6
    signs = [(mean > c) - (mean < c) for c in counts]
    expected = [rate * (s - sum(signs) / 6) for s in signs]
    assert torch.allclose(module.e_score_correction_bias, torch.tensor(expected), atol=1e-7)
    assert abs(module.e_score_correction_bias.sum().item()) < 1e-6


def test_counts_accumulate_in_training_only_and_the_update_clears_them() -> None:
    config = KimiK2Config.preset("nano", num_hidden_layers=3, vocab_size=64)
    model = KimiK2MoEModel(config, seed=0)
    tokens = torch.randint(64, (2, 10))
    model.train()
    model(tokens)
    model(tokens)
    with torch.no_grad():
        model(tokens)
    model.eval()
    model(tokens)
    counts = model.expert_counts()
    assert counts.shape == (2, 32) and (counts.sum(-1) == 2 * 2 * 10 * 8).all()
    before = [r.e_score_correction_bias.clone() for r in model.routers()]
    model.update_router_bias(counts, 1e-3)
    assert (model.expert_counts() == 0).all()
    after = [r.e_score_correction_bias for r in model.routers()]
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_repeated_updates_balance_a_skewed_router() -> None:
    module = router().train()
    torch.nn.init.normal_(module.weight, std=0.3)
    x = torch.randn(1, 600, 12) + 0.5

    def violation() -> float:
        module(x)
        counts = module.expert_counts_E.clone()
        module.expert_counts_E.zero_()
        module.update_bias(counts, 0.01)
        return (counts.max() / counts.float().mean() - 1).item()

    first = violation()
    for _ in range(200):
        last = violation()
    assert first > 0.5 and last < 0.1


def test_balance_loss_equals_the_definition_and_is_one_at_balance() -> None:
    torch.manual_seed(0)
    scores = torch.rand(3, 20, 6, dtype=torch.float64, requires_grad=True)
    experts = scores.detach().topk(2, dim=-1).indices
    total = torch.zeros((), dtype=torch.float64)
    for b in range(3):
        for i in range(6):
            frequency = 6 / (2 * 20) * (experts[b] == i).sum()
            probability = (scores[b, :, i] / scores[b].sum(-1)).mean()
            total = total + frequency * probability / 3
    loss = sequence_balance_loss(scores, experts)
    assert torch.allclose(loss, total)
    ours, theirs = (torch.autograd.grad(x, scores, retain_graph=True)[0] for x in (loss, total))
    assert torch.allclose(ours, theirs)
    equal = torch.full((1, 3, 6), 0.5)
    assert sequence_balance_loss(equal, torch.arange(6).view(1, 3, 2)).item() == pytest.approx(1)


def test_the_balance_loss_is_optional_and_reaches_the_router() -> None:
    tokens, documents = torch.randint(64, (2, 10)), PackedDocuments(2, 10)
    for alpha in (0.0, 0.01):
        config = KimiK2Config.preset("nano", vocab_size=64, aux_loss_alpha=alpha)
        model = KimiK2MoEModel(config, seed=0).train()
        model.hidden_states(tokens, documents)
        loss = model.balance_loss()
        assert (loss.item() > 0) == (alpha > 0)
        if alpha:
            loss.backward()
            assert all(router.weight.grad is not None for router in model.routers())


@pytest.mark.parametrize(
    ("experts", "chosen", "released"), [(384, 8, 2.827), (64, 6, 2.446)], ids=["k2", "moonlight"]
)
def test_scaling_factor_is_computed_as_the_released_ones(
    experts: int, chosen: int, released: float
) -> None:
    assert routed_scaling_factor(experts, chosen) == pytest.approx(released, abs=0.002)
