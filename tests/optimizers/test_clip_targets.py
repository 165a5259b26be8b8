"""Attention of any kind as a clip target: how it is found, what it reports, which rows it names."""

import copy
import io
import math
import pickle
from importlib.metadata import EntryPoint
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.utils.checkpoint import checkpoint

from openk2.core.protocols import ClipTarget
from openk2.models import KimiK2Config, KimiK2MoEModel
from openk2.models.attention import latent_logit_rows
from openk2.optimizers import clip_targets
from openk2.optimizers.clip_targets import (
    AttentionClipTarget,
    find_clip_targets,
    fused_head_matrices,
    fused_query_key_value_rows,
    norm_gain_rows,
    query_key_rows,
)

from .latent_attention import LatentAttentionLogits
from .plain_attention import PlainAttention


def observing(tau: float = 1e-9, **options: Any) -> tuple[PlainAttention, Tensor]:
    attention = PlainAttention(**options)
    attention.qk_clip.observe_max_logits(tau)
    generator = torch.Generator().manual_seed(1)
    return attention, torch.randn(2, 5, 6, generator=generator, dtype=torch.float64)


# --- what is found


def test_targets_are_found_in_the_order_of_the_model() -> None:
    layers = [PlainAttention(2), LatentAttentionLogits(), PlainAttention(4)]
    model = nn.Sequential(nn.Linear(2, 2), *layers)
    found = find_clip_targets(model)
    assert [id(target) for target in found] == [
        id(layers[0].qk_clip), id(layers[1]), id(layers[2].qk_clip),
    ]  # fmt: skip
    assert all(isinstance(target, ClipTarget) for target in found)


def test_our_own_model_needs_no_adapter() -> None:
    config = KimiK2Config.preset("nano", num_hidden_layers=2)
    model = KimiK2MoEModel(config)
    assert find_clip_targets(model) == list(model.attention_layers())


def test_a_layer_in_a_wrapper_that_looks_like_it_is_found_once() -> None:
    compiled = torch.compile(LatentAttentionLogits())
    checkpointed = checkpoint_wrapper(LatentAttentionLogits())
    found = find_clip_targets(nn.Sequential(compiled, checkpointed))
    assert [type(target) for target in found] == [LatentAttentionLogits] * 2


def test_attention_that_nobody_knows_is_named() -> None:
    class SelfAttn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2, 2))

    class MLA(SelfAttn):
        pass

    class Mixer(SelfAttn):
        """Known only by its base class."""

    class GemmLayer(nn.Linear):
        """No attention, though the letters are there."""

    unknown = nn.MultiheadAttention(4, 2)
    known = PlainAttention()
    assert find_clip_targets(nn.Sequential(known, GemmLayer(2, 2))) == [known.qk_clip]
    for layer in (unknown, SelfAttn(), MLA(), Mixer()):
        model = nn.ModuleDict({"known": PlainAttention(), "encoder": nn.Sequential(layer)})
        with pytest.raises(ValueError, match=r"encoder\.0 is an attention layer .* clip_targets"):
            find_clip_targets(model)
    with pytest.raises(ValueError, match="MultiheadAttention is an attention layer"):
        find_clip_targets(unknown)
    with pytest.raises(
        ValueError, match=r"no attention layer was found; .* qk_clip_threshold=None"
    ):
        find_clip_targets(nn.Linear(2, 2))


def test_frozen_attention_has_nothing_to_clip() -> None:
    model = nn.Sequential(PlainAttention(), nn.MultiheadAttention(4, 2).requires_grad_(False))
    assert find_clip_targets(model) == [model[0].qk_clip]


def attach(model: nn.Module, *, gqa: str, qk_norm: str) -> None:
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            rows = fused_query_key_value_rows(nn.Linear(4, 12), 2)
            module.qk_clip = AttentionClipTarget(2, rows)
            module.qk_clip.options = gqa, qk_norm


def test_adapters_are_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mine", f"{__name__}:attach", "openk2.clip_targets")
    monkeypatch.setattr(
        clip_targets, "entry_points", lambda group: [point] if group == point.group else []
    )
    model = nn.Sequential(nn.MultiheadAttention(4, 2))
    (target,) = find_clip_targets(model, gqa="group", qk_norm="refuse")
    assert target is model[0].qk_clip and target.options == ("group", "refuse")


# --- what is reported


@pytest.mark.parametrize("key_heads", [4, 2])
def test_every_kind_of_report_is_exact_above_tau(key_heads: int) -> None:
    """The log-sum-exp decides what is measured; the rows' maxima and plain measuring need not."""
    attention, x = observing(key_heads=key_heads)
    logits = attention.logits(x)
    exact_H = logits.amax((0, 2, 3)).float()
    tau = float(exact_H.sort().values[2]) - 1e-3
    q, k, _ = attention.queries_keys_values(x)
    found = []
    for aids in (
        {},
        {"log_sum_exp_BHT": logits.logsumexp(-1)},
        {"max_scores_BHT": logits.amax(-1)},
    ):
        attention.qk_clip.observe_max_logits(tau)
        attention.qk_clip.report(q, k, attention.scale, is_causal=True, **aids)
        found.append(attention.qk_clip.max_logits().clone())
    over_H = exact_H > tau
    assert 2 <= over_H.sum() < 4
    for found_H in found:
        assert found_H.dtype == torch.float32 and not found_H.requires_grad
        torch.testing.assert_close(found_H[over_H], exact_H[over_H])
        assert (found_H[~over_H] >= exact_H[~over_H] - 1e-5).all()
    torch.testing.assert_close(found[0], exact_H)
    torch.testing.assert_close(found[2], exact_H)


def test_masks_of_both_kinds_are_respected() -> None:
    attention, x = observing()
    q, k, _ = attention.queries_keys_values(x)
    visible = torch.rand(2, 1, 5, 5, generator=torch.Generator().manual_seed(3)) > 0.5
    logits = (q @ k.mT * attention.scale).detach().masked_fill(~visible, -math.inf)
    added = torch.zeros(2, 1, 5, 5, dtype=torch.float64).masked_fill(~visible, -math.inf)
    for mask in (visible, added):
        attention.qk_clip.reset_max_logits()
        attention.qk_clip.report(q, k, attention.scale, mask=mask)
        expected_H = logits.amax((0, 2, 3)).float()
        torch.testing.assert_close(attention.qk_clip.max_logits(), expected_H)


def test_it_observes_training_alone_and_only_when_asked() -> None:
    attention = PlainAttention()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    nothing = torch.full((4,), -math.inf)
    attention(x)
    assert torch.equal(attention.qk_clip.max_logits(), nothing)
    attention.qk_clip.observe_max_logits(1.0)
    attention.eval()(x)
    with torch.no_grad():
        attention.train()(x)
    with torch.inference_mode():
        attention(x)
    assert torch.equal(attention.qk_clip.max_logits(), nothing)
    attention(x)
    torch.testing.assert_close(attention.qk_clip.max_logits(), attention.s_max(x).float())
    attention.qk_clip.observe_max_logits(1.0)
    assert torch.equal(attention.qk_clip.max_logits(), nothing)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_activation_checkpointing_changes_nothing(use_reentrant: bool) -> None:
    attention, x = observing()
    x.requires_grad_()
    checkpoint(attention, x, use_reentrant=use_reentrant).sum().backward()
    torch.testing.assert_close(attention.qk_clip.max_logits(), attention.s_max(x).float())


def test_other_heads_than_the_layer_has_are_refused() -> None:
    """[B, T, H, Q] instead of [B, H, T, Q] would be taken for the maxima of T heads."""
    attention, x = observing()
    for length in (2, 5):
        q, k, _ = attention.queries_keys_values(x[:, :length])
        with pytest.raises(ValueError, match=rf"{length} heads were reported.*of 4: report q as"):
            attention.qk_clip.report(q.transpose(1, 2), k.transpose(1, 2), attention.scale)


def test_an_empty_batch_measures_nothing() -> None:
    attention, x = observing()
    attention(x[:0])
    q, k, _ = attention.queries_keys_values(x[:0])
    attention.qk_clip.report(q, k, attention.scale, log_sum_exp_BHT=torch.empty(0, 4, 5))
    assert attention.qk_clip.max_logits().tolist() == [-math.inf] * 4


def test_some_of_the_heads() -> None:
    """A process that holds the rows of two heads of four says -inf for the others."""
    attention, x = observing()
    q, k, _ = attention.queries_keys_values(x)
    with pytest.MonkeyPatch.context() as patch:
        held = slice(2 * attention.width, 4 * attention.width)
        patch.setattr(clip_targets, "local_rows", lambda weight: held)
        attention.qk_clip.report(q[:, 2:], k[:, 2:], attention.scale, is_causal=True)
    found_H = attention.qk_clip.max_logits()
    assert found_H[:2].tolist() == [-math.inf] * 2
    torch.testing.assert_close(found_H[2:], attention.s_max(x)[2:].float())


# --- what a module with a target still is


def test_it_is_no_part_of_the_state() -> None:
    attention, x = observing()
    attention(x)
    names = {"q_proj.weight", "k_proj.weight", "v_proj.weight"}
    assert set(attention.state_dict()) == {n for n, _ in attention.named_parameters()} == names
    assert not list(attention.buffers())
    assert "qk_clip" in dict(attention.named_modules())


def test_copies_clip_their_own_weights() -> None:
    attention, x = observing()
    attention(x)
    before_H = attention.qk_clip.max_logits().clone()
    saved = io.BytesIO()
    torch.save(attention, saved)
    saved.seek(0)
    for twin in (
        copy.deepcopy(attention),
        pickle.loads(pickle.dumps(attention)),
        torch.load(saved, weights_only=False),
    ):
        rows = twin.qk_clip.logit_rows()
        assert rows[0].parameter is twin.q_proj.weight is not attention.q_proj.weight
        assert torch.equal(twin.qk_clip.max_logits(), before_H)
        twin(2 * x)
        assert (twin.qk_clip.max_logits() > before_H).any()
        assert torch.equal(attention.qk_clip.max_logits(), before_H)


# --- which rows


def described(rows: list[Any]) -> list[tuple[str, list[list[int]], list[float]]]:
    return [(row.name, row.heads.tolist(), row.power.tolist()) for row in rows]


def test_rows_have_values_also_where_the_model_has_none() -> None:
    """Large models are built on the meta device and filled later."""
    with torch.device("meta"):
        q, k, norm, qkv = nn.Linear(2, 4), nn.Linear(2, 4), nn.LayerNorm(4), nn.Linear(2, 12)
        rows = [
            *query_key_rows(q, k, 4),
            *norm_gain_rows(norm, norm, 4, 4),
            *fused_query_key_value_rows(qkv, 4),
            *latent_logit_rows(q, k, 2, 1, 1, 1),
        ]
    assert {(row.heads.device.type, row.power.device.type) for row in rows} == {("cpu", "cpu")}


def test_rows_of_separate_projections() -> None:
    query, key = nn.Linear(2, 4, bias=False), nn.Linear(2, 2, bias=False)
    alone = query_key_rows(query, query, 4)
    assert described(alone[:1]) == [("weight", [[0], [1], [2], [3]], [0.5] * 4)]
    per_head = query_key_rows(query, key, 4, 2)
    assert all(row.module is query for row in per_head)  # the shared keys stay
    assert described(per_head[:1]) == [("weight", [[0], [1], [2], [3]], [1.0] * 4)]
    group = query_key_rows(query, key, 4, 2, gqa="group")
    weights = [row for row in group if row.name == "weight"]
    pairs = [[0, 1], [2, 3]]
    assert described(weights) == [
        ("weight", [pairs[0], pairs[0], pairs[1], pairs[1]], [0.5] * 4),
        ("weight", pairs, [0.5] * 2),
    ]
    biases = [row for row in group if row.name == "bias"]
    assert [row.parameter for row in biases] == [None, None]


def test_rows_and_matrices_of_a_fused_projection() -> None:
    qkv = nn.Linear(2, 8)
    blocks = fused_query_key_value_rows(qkv, 4, 2, gqa="group")
    assert [row.name for row in blocks] == ["weight", "bias"]
    a, b = [0, 1], [2, 3]
    assert described(blocks[:1]) == [("weight", [a, a, b, b, a, b, a, b], [0.5] * 6 + [0.0] * 2)]
    woven = fused_query_key_value_rows(qkv, 4, 2, gqa="group", interleaved=True)
    assert described(woven[1:]) == [("bias", [a] * 4 + [b] * 4, [0.5, 0.5, 0.5, 0.0] * 2)]
    per_head = fused_query_key_value_rows(qkv, 4, 2)
    assert per_head[0].power.tolist() == [1.0] * 4 + [0.0] * 4
    assert per_head[0].heads[:4].tolist() == [[0], [1], [2], [3]]
    wide = nn.Linear(2, 24)
    whole = fused_head_matrices(wide, 4, 2)
    assert whole.module is wide and whole.name == "weight"
    assert whole.projections == (12, 6, 6) and whole.heads == (3,) * 8
    woven_matrices = fused_head_matrices(wide, 4, 2, interleaved=True)
    assert woven_matrices.projections == (6, 3, 3) * 2 and woven_matrices.heads == (3,) * 8


def test_what_does_not_fit_is_refused() -> None:
    query, key = nn.Linear(2, 12), nn.Linear(2, 6)
    with pytest.raises(ValueError, match="4 query heads do not divide among 3 key heads"):
        query_key_rows(query, key, 4, 3)
    with pytest.raises(ValueError, match="neither 'per_head' nor 'group'"):
        query_key_rows(query, key, 4, 2, gqa="both")
    with pytest.raises(ValueError, match="Linear has 6 rows of weights, where its heads need 12"):
        query_key_rows(query, key, 4)
    with pytest.raises(ValueError, match="12 rows of weights, where its heads need 8"):
        fused_query_key_value_rows(query, 4, 2, 1)
    for heads in (2, 8):
        with pytest.raises(ValueError, match=rf"the heads \[0, 1, 2, 3\].* has {heads}"):
            AttentionClipTarget(heads, query_key_rows(query, query, 4))
    with pytest.raises(ValueError, match="LayerNorm has 8 rows of weights"):
        norm_gain_rows(nn.LayerNorm(8), nn.LayerNorm(8), 4, 2)
