import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.core.protocols import ClipTarget
from openk2.optimizers.qk_clip import apply_clip_factors, clip_factors

from .latent_attention import LatentAttentionLogits


def test_factors_of_all_kinds_of_maxima() -> None:
    """A clamp of tau / S_max would give NaN or negative factors for the non-positive maxima."""
    maxima = torch.tensor([[150.0, -2.0, 50.0, 0.0], [-torch.inf, 100.0, 400.0, -0.0]])
    expected = torch.tensor([[100 / 150, 1.0, 1.0, 1.0], [1.0, 1.0, 0.25, 1.0]])
    assert torch.equal(clip_factors(maxima, 100.0), expected)


@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=8),
    st.floats(0.125, 1000, width=32),
)
def test_a_clipped_maximum_is_tau_and_no_other_changes(maxima: list[float], tau: float) -> None:
    maxima_H = torch.tensor(maxima)
    factor_H = clip_factors(maxima_H, tau)
    assert (factor_H > 0).all() and (factor_H <= 1).all()
    clipped_H = maxima_H > tau
    torch.testing.assert_close(
        (factor_H * maxima_H)[clipped_H], torch.tensor(tau).expand(int(clipped_H.sum()))
    )
    assert (factor_H[~clipped_H] == 1).all()


def attention_and_input(seed: int) -> tuple[LatentAttentionLogits, torch.Tensor]:
    torch.manual_seed(seed)
    attention = LatentAttentionLogits(heads=5)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    return attention, torch.randn(9, 6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_logits_of_clipped_heads_end_at_tau(seed: int) -> None:
    attention, x_TD = attention_and_input(seed)
    before_HTT = attention(x_TD).detach()
    max_logits_H = attention.max_logits()
    tau = float(max_logits_H.median())
    factor_H = clip_factors(max_logits_H, tau)
    apply_clip_factors([attention], factor_H[None])
    after_HTT = attention(x_TD).detach()
    assert (factor_H < 1).sum() == 2
    assert after_HTT.amax(dim=(1, 2)).max() <= tau * (1 + 1e-5)
    torch.testing.assert_close(
        after_HTT, before_HTT * factor_H[:, None, None], rtol=1e-4, atol=1e-4
    )


def test_other_heads_values_and_the_shared_key_keep_every_bit() -> None:
    attention, _ = attention_and_input(0)
    before = {name: p.detach().clone() for name, p in attention.named_parameters()}
    apply_clip_factors([attention], torch.tensor([[1.0, 0.5, 1.0, 1.0, 0.25]]))
    q_HRD = attention.q_b_proj.weight.unflatten(0, (5, -1))
    kv_HRD = attention.kv_b_proj.weight.unflatten(0, (5, -1))
    q_before_HRD = before["q_b_proj.weight"].unflatten(0, (5, -1))
    kv_before_HRD = before["kv_b_proj.weight"].unflatten(0, (5, -1))
    untouched = [0, 2, 3]
    assert torch.equal(q_HRD[untouched], q_before_HRD[untouched])
    assert torch.equal(kv_HRD[untouched], kv_before_HRD[untouched])
    assert torch.equal(kv_HRD[:, 4:], kv_before_HRD[:, 4:])
    assert torch.equal(attention.k_rope_proj.weight, before["k_rope_proj.weight"])
    assert torch.equal(q_HRD[4, :4], q_before_HRD[4, :4] * 0.5)
    assert torch.equal(q_HRD[4, 4:], q_before_HRD[4, 4:] * 0.25)
    assert torch.equal(kv_HRD[4, :4], kv_before_HRD[4, :4] * 0.5)


def test_each_layer_gets_its_own_row() -> None:
    layers = [attention_and_input(seed)[0] for seed in (1, 2)]
    before = [layer.q_b_proj.weight.detach().clone() for layer in layers]
    factors_LH = torch.ones(2, 5)
    factors_LH[1, 0] = 0.5
    apply_clip_factors(layers, factors_LH)
    assert torch.equal(layers[0].q_b_proj.weight, before[0])
    assert not torch.equal(layers[1].q_b_proj.weight[:6], before[1][:6])
    with pytest.raises(ValueError):
        apply_clip_factors(layers, factors_LH[:1])


def test_the_fake_is_a_clip_target() -> None:
    assert isinstance(LatentAttentionLogits(), ClipTarget)
