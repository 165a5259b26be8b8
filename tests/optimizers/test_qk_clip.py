"""QK-Clip against Megatron's algebra, and against logits computed anew from the clipped weights."""

import copy
import math
import pickle
import warnings
from typing import Any, Literal

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from openk2.optimizers.clip_targets import AttentionClipTarget, norm_gain_rows
from openk2.optimizers.qk_clip import QKClip, clip_factors, scale_logits

from . import megatron_clip
from .latent_attention import LatentAttentionLogits
from .plain_attention import PlainAttention

INF = math.inf


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def clip_at(target: AttentionClipTarget, maxima: list[float], tau: float) -> QKClip:
    """One clip after a forward pass whose logits had these maxima."""
    clip = QKClip(None, [target], tau)
    target.report(
        torch.empty(1), torch.empty(1), 1.0, max_scores_BHT=torch.tensor(maxima)[None, :, None]
    )
    clip.clip()
    return clip


# --- factors


def test_factors_of_all_kinds_of_maxima() -> None:
    """A clamp of tau / S_max would give NaN or negative factors for the non-positive maxima."""
    maxima = torch.tensor([[150.0, -2.0, 50.0, 0.0], [-INF, 100.0, 400.0, -0.0]])
    expected = torch.tensor([[100 / 150, 1.0, 1.0, 1.0], [1.0, 1.0, 0.25, 1.0]])
    assert torch.equal(clip_factors(maxima, 100.0), expected)


def test_what_is_no_measurement_clips_nothing() -> None:
    """An infinite maximum, as an overflow in float16 leaves, would set the head to zero."""
    assert clip_factors(torch.tensor([math.nan, INF, -INF]), 1.0).tolist() == [1.0, 1.0, 1.0]


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


# --- Megatron's algebra

MAXIMA = st.lists(st.floats(-300, 300, width=32), min_size=6, max_size=6)
ONE_AMONG_MANY = [3.0, -2.0, 150.0, 0.0, -INF, 99.0]


@settings(max_examples=40, deadline=None)
@example(ONE_AMONG_MANY, 6, "group", 100.0)
@example(ONE_AMONG_MANY, 2, "group", 100.0)
@example(ONE_AMONG_MANY, 2, "per_head", 100.0)
@given(
    MAXIMA,
    st.sampled_from([1, 2, 3, 6]),
    st.sampled_from(["group", "per_head"]),
    st.floats(0.5, 200, width=32),
)
def test_query_and_key_weights_become_megatrons(
    maxima: list[float], groups: int, gqa: Literal["group", "per_head"], tau: float
) -> None:
    """Multi-head and grouped-query attention; rows of heads that nothing clips keep every bit."""
    attention = PlainAttention(heads=6, key_heads=groups, gqa=gqa)
    before = weights(attention)
    w_q, w_k = before["q_proj.weight"], before["k_proj.weight"]
    clip = clip_at(attention.qk_clip, maxima, tau)
    if groups == 6:
        expected = megatron_clip.multi_head(w_q, w_k, maxima, tau)
    elif gqa == "group":
        expected = megatron_clip.grouped(w_q, w_k, maxima, groups, tau)
    else:
        expected = megatron_clip.per_head(w_q, w_k, maxima, tau)
    for found, right, old in zip(
        (attention.q_proj.weight, attention.k_proj.weight), expected, (w_q, w_k), strict=True
    ):
        torch.testing.assert_close(found, right, rtol=3e-7, atol=0)
        same = (right == old).all(1)
        assert torch.equal(found[same], old[same])
    assert torch.equal(attention.v_proj.weight, before["v_proj.weight"])
    assert clip.last_max_logits is not None and clip.last_clip_factors is not None
    assert torch.equal(clip.last_max_logits, torch.tensor([maxima]))
    expected_H = torch.tensor([megatron_clip.eta(maximum, tau) for maximum in maxima])
    torch.testing.assert_close(clip.last_clip_factors[0], expected_H)


@settings(max_examples=40, deadline=None)
@example([3.0, -2.0, 150.0, 0.0, -INF], 100.0)
@given(st.lists(st.floats(-300, 300, width=32), min_size=5, max_size=5), st.floats(0.5, 200))
def test_latent_weights_become_megatrons(maxima: list[float], tau: float) -> None:
    attention = LatentAttentionLogits(heads=5).double()
    before = weights(attention)
    expected = megatron_clip.latent(
        before["q_b_proj.weight"], before["kv_b_proj.weight"], maxima, tau,
        attention.nope, attention.rope, attention.value,
    )  # fmt: skip
    clip = QKClip(None, [attention], tau)
    attention._max_logits_H = torch.tensor(maxima)
    clip.clip()
    for name, right in zip(("q_b_proj.weight", "kv_b_proj.weight"), expected, strict=True):
        found = attention.get_parameter(name)
        torch.testing.assert_close(found, right, rtol=3e-7, atol=0)
        same = (right == before[name]).all(1)
        assert torch.equal(found[same], before[name][same])
    assert torch.equal(attention.k_rope_proj.weight, before["k_rope_proj.weight"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_factor_of_one_keeps_every_bit(dtype: torch.dtype) -> None:
    attention = LatentAttentionLogits(heads=5).to(dtype)
    before = weights(attention)
    scale_logits(attention.logit_rows(), torch.tensor([1.0, 0.5, 1.0, 1.0, 0.25]))
    untouched = [0, 2, 3]
    for name in ("q_b_proj.weight", "kv_b_proj.weight"):
        heads, old = (
            x.unflatten(0, (5, -1)) for x in (attention.get_parameter(name), before[name])
        )
        assert torch.equal(heads[untouched], old[untouched])
        assert not torch.equal(heads[[1, 4]], old[[1, 4]])
    q_HRD = attention.q_b_proj.weight.unflatten(0, (5, -1))
    old_HRD = before["q_b_proj.weight"].unflatten(0, (5, -1))
    assert torch.equal(
        q_HRD[4], old_HRD[4] * torch.tensor([0.5] * 4 + [0.25] * 2)[:, None].to(dtype)
    )


# --- the logits afterwards


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([(4, 4), (4, 2), (6, 1)]),
    st.sampled_from([None, "blocks", "interleaved"]),
    st.booleans(),
)
def test_the_offender_ends_at_tau_and_the_others_stay(
    seed: int, sizes: tuple[int, int], fused: Any, bias: bool
) -> None:
    """Per head, in every layout, with biases: only the rows of the largest head change."""
    heads, key_heads = sizes
    attention = PlainAttention(heads, key_heads, bias=bias, fused=fused, seed=seed)
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    before, old = attention.logits(x), weights(attention)
    largest_H = attention.s_max(x)
    second, first = largest_H.sort().values[-2:].tolist()
    tau = (max(second, 0.0) + first) / 2
    if not 0 < tau < first:
        return
    clip = QKClip(None, attention, tau)
    attention(x)
    clip.clip()
    offender = int(largest_H.argmax())
    after = attention.logits(x)
    assert attention.s_max(x)[offender] == pytest.approx(tau, rel=1e-5)
    factor = tau / first
    torch.testing.assert_close(
        after[:, offender], before[:, offender] * factor, rtol=1e-5, atol=1e-6
    )
    others = [head for head in range(heads) if head != offender]
    assert torch.equal(after[:, others], before[:, others])
    changed = sum(
        int((p != old[name]).flatten(1).any(1).sum()) if p.ndim == 2 else 0
        for name, p in attention.named_parameters()
    )
    assert changed == attention.width * (2 if heads == key_heads else 1)


@pytest.mark.parametrize("fused", [None, "blocks", "interleaved"])
def test_a_group_shrinks_together(fused: Any) -> None:
    """Megatron's rule, biases included: all heads of the offender's group by the same factor."""
    attention = PlainAttention(6, 3, bias=True, gqa="group", fused=fused)
    x = torch.randn(1, 5, 6, dtype=torch.float64)
    before, largest_H = attention.logits(x), attention.s_max(x)
    clip = QKClip(None, attention, float(largest_H.max()) / 2)
    attention.qk_clip.report(
        x,
        x,
        1.0,
        max_scores_BHT=torch.where(largest_H == largest_H.max(), largest_H, -1.0)[None, :, None],
    )
    clip.clip()
    group = int(largest_H.argmax()) // 2
    factor_H = torch.ones(6, dtype=torch.float64)
    factor_H[2 * group : 2 * group + 2] = 0.5
    torch.testing.assert_close(
        attention.logits(x), before * factor_H[:, None, None], rtol=1e-5, atol=1e-6
    )


def test_values_of_a_fused_projection_stay() -> None:
    for fused in ("blocks", "interleaved"):
        attention = PlainAttention(4, 2, bias=True, gqa="group", fused=fused)
        _, _, v = attention.split(attention.qkv.weight.T)
        _, _, v_bias = attention.split(attention.qkv.bias)
        old = v.clone(), v_bias.clone()
        clip_at(attention.qk_clip, [9.0] * 4, 1.0)
        assert torch.equal(v, old[0]) and torch.equal(v_bias, old[1])


@pytest.mark.parametrize("gemma", [False, True])
def test_gains_of_query_and_key_norms(gemma: bool) -> None:
    """Where queries and keys are normalised: all heads of the layer, by the smallest factor."""
    torch.manual_seed(0)
    offset = 1.0 if gemma else 0.0
    norms = [nn.LayerNorm(8).double() for _ in range(2)]
    for norm in norms:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    rows = norm_gain_rows(*norms, num_attention_heads=3, gain_width=8, offset=offset)
    q, k = torch.randn(2, 3, 5, 8, dtype=torch.float64)

    def logits() -> Tensor:
        normed = [
            nn.functional.layer_norm(x, (8,)) * (norm.weight + offset) + norm.bias
            for x, norm in zip((q, k), norms, strict=True)
        ]
        return (normed[0] @ normed[1].mT).detach()

    before, old = logits(), [weights(norm) for norm in norms]
    scale_logits(rows, torch.ones(3))
    assert all(torch.equal(n.weight, o["weight"]) for n, o in zip(norms, old, strict=True))
    scale_logits(rows, torch.tensor([1.0, 0.25, 0.5]))
    torch.testing.assert_close(logits(), before * 0.25)


# --- over any optimizer


def clipped_adamw(lr: float = 0.0, **options: Any) -> tuple[PlainAttention, Any, QKClip, Tensor]:
    attention = PlainAttention(dtype=torch.float32)
    x = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.AdamW(attention.parameters(), lr=lr, weight_decay=0.0)
    tau = float(attention.s_max(x).median()) + 0.01
    return attention, optimizer, QKClip(optimizer, attention, tau, **options), x


def test_it_follows_every_step_of_adamw() -> None:
    """The weights are AdamW's, then clipped; what was measured is that since the last step."""
    attention, optimizer, clip, x = clipped_adamw(lr=0.05)
    twin = PlainAttention(dtype=torch.float32)
    adamw = torch.optim.AdamW(twin.parameters(), lr=0.05, weight_decay=0.0)
    schedules = [torch.optim.lr_scheduler.StepLR(o, 1, 0.5) for o in (optimizer, adamw)]
    for _ in range(3):
        twin.load_state_dict(attention.state_dict())
        largest_H = attention.s_max(x)
        for module, stepping in ((attention, optimizer), (twin, adamw)):
            stepping.zero_grad()
            module(x).square().sum().backward()
            stepping.step()
        scale_logits(twin.qk_clip.logit_rows(), clip_factors(largest_H, clip.threshold))
        for schedule in schedules:
            schedule.step()
        torch.testing.assert_close(clip.last_max_logits[0], largest_H)
        torch.testing.assert_close(attention.q_proj.weight, twin.q_proj.weight)
        torch.testing.assert_close(attention.k_proj.weight, twin.k_proj.weight)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05 / 8)


def test_a_closure_and_its_forward_pass_come_before_the_clip() -> None:
    attention, optimizer, clip, x = clipped_adamw()
    largest_H = attention.s_max(x)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = attention(x).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(clip.last_max_logits[0], largest_H)
    assert attention.s_max(x).max() <= clip.threshold * (1 + 1e-5) < largest_H.max()


def test_a_step_that_a_gradient_scaler_skips_clips_nothing() -> None:
    attention, optimizer, clip, x = clipped_adamw()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    before = weights(attention)
    for factor in (INF, 1.0):
        optimizer.zero_grad()
        scaler.scale(attention(x).sum() * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        if factor == INF:
            assert clip.last_max_logits is None
            assert all(torch.equal(p, before[name]) for name, p in attention.named_parameters())
    assert attention.s_max(x).max() <= clip.threshold * (1 + 1e-5)


def test_forget_and_an_idle_step() -> None:
    attention, optimizer, clip, x = clipped_adamw()
    before = weights(attention)
    attention(x)
    clip.forget()
    with pytest.warns(UserWarning, match=r"1 of 1 attention layers.* number 0.*model\.train"):
        optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()  # it is said once
    assert clip.last_max_logits.tolist() == [[-INF] * 4]
    assert clip.last_clip_factors.tolist() == [[1.0] * 4]
    assert all(torch.equal(p, before[name]) for name, p in attention.named_parameters())


def test_a_lower_threshold_is_measured_exactly() -> None:
    """Between the old tau and the new one only upper bounds were known, which clip too much."""
    attention = PlainAttention()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    q, k, _ = attention.queries_keys_values(x)
    largest_H = attention.s_max(x)
    bound_BHT = (2 * largest_H.abs())[None, :, None]
    clip = QKClip(None, attention, 4 * float(largest_H.max()))
    for tau in (clip.threshold, float(largest_H.max()) / 2):
        clip.threshold = tau
        attention.qk_clip.report(q, k, attention.scale, is_causal=True, log_sum_exp_BHT=bound_BHT)
    clip.clip()
    assert attention.s_max(x).max() == pytest.approx(clip.threshold, rel=1e-5)
    with pytest.raises(ValueError, match="must be positive"):
        clip.threshold = 0.0


def test_layers_of_different_widths_get_their_own_factors() -> None:
    layers = [PlainAttention(heads, seed=heads) for heads in (2, 4)]
    before = [weights(layer) for layer in layers]
    clip = QKClip(None, [layer.qk_clip for layer in layers], 1.0)
    for layer, maxima in zip(layers, ([0.5, 0.5], [0.1, 4.0, 0.1, 0.1]), strict=True):
        layer.qk_clip.report(
            torch.empty(1), torch.empty(1), 1.0, max_scores_BHT=torch.tensor(maxima)[None, :, None]
        )
    clip.clip()
    assert clip.last_max_logits.tolist()[0] == [0.5, 0.5, -INF, -INF]
    assert clip.last_clip_factors.tolist() == [[1.0] * 4, [1.0, 0.25, 1.0, 1.0]]
    assert torch.equal(layers[0].q_proj.weight, before[0]["q_proj.weight"])
    assert torch.equal(layers[1].q_proj.weight[3:6], before[1]["q_proj.weight"][3:6] * 0.5)


def test_frozen_parameters_stay() -> None:
    attention = PlainAttention(bias=True)
    attention.k_proj.requires_grad_(False)
    before = weights(attention)
    clip_at(attention.qk_clip, [4.0] * 4, 1.0)
    assert torch.equal(attention.k_proj.weight, before["k_proj.weight"])
    assert torch.equal(attention.k_proj.bias, before["k_proj.bias"])
    assert torch.equal(attention.q_proj.weight, before["q_proj.weight"] * 0.5)


def test_a_copy_leaves_the_process_group_behind() -> None:
    clip = QKClip(None, PlainAttention(), 1.0)
    clip.process_group = (x for x in ())  # like a process group, it cannot be pickled
    for twin in (copy.deepcopy(clip), pickle.loads(pickle.dumps(clip))):
        assert twin.process_group is None and twin.threshold == 1.0
