"""S_max of transformers' attention is exact above tau, and nothing else changes."""

import copy
import io
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from openk2.integrations.hf_attention import attach
from openk2.optimizers import AttentionClipTarget, find_clip_targets

from .hf_models import (
    HEADS,
    MODELS,
    max_logits,
    observed,
    reference_max_logits,
    tiny_model,
    tokens,
    train_pass,
)

pytestmark = pytest.mark.filterwarnings("ignore:QK-Clip. in . layers")


def assert_exact_above(found_LH: Tensor, expected_LH: Tensor, tau: float) -> None:
    above = expected_LH > tau
    assert above.any()
    torch.testing.assert_close(found_LH[above].double(), expected_LH[above], rtol=2e-5, atol=1e-4)
    assert (found_LH[~above] <= tau * (1 + 1e-5)).all()
    assert (found_LH[~above] >= expected_LH[~above] - 1e-4).all()


@pytest.mark.parametrize("name", MODELS)
def test_s_max_is_exact_above_tau_and_training_is_unchanged(name: str) -> None:
    model, batch = tiny_model(name), tokens()
    expected_LH = reference_max_logits(model, batch)
    keys = list(model.state_dict())
    loss, gradients = train_pass(model, batch)
    tau = float(expected_LH.median())
    targets = observed(model, tau)
    assert (max_logits(targets) == -torch.inf).all()
    found_loss, found_gradients = train_pass(model, batch)
    assert_exact_above(max_logits(targets), expected_LH, tau)
    torch.testing.assert_close(found_loss, loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found_gradients, gradients, rtol=1e-5, atol=1e-5)
    assert list(model.state_dict()) == keys


def left_padded() -> tuple[dict[str, Tensor], Tensor]:
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[0, :4] = 0
    return {"attention_mask": mask}, mask[:, None].bool().expand(-1, 12, -1)


def right_padded() -> tuple[dict[str, Tensor], Tensor]:
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[:, 8:] = 0  # so that every query sees a key within its window
    return {"attention_mask": mask}, mask[:, None].bool().expand(-1, 12, -1)


def packed() -> tuple[dict[str, Tensor], Tensor]:
    position = torch.cat([torch.arange(5), torch.arange(7)]).expand(2, -1)
    document = torch.tensor([0] * 5 + [1] * 7)
    seen_TT = document[:, None] == document
    return {"position_ids": position}, seen_TT.expand(2, -1, -1)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("masked", [left_padded, right_padded, packed])
@pytest.mark.parametrize("name", ["llama", "mistral", "gemma3", "deepseek_v3"])
def test_s_max_sees_what_attention_sees(name: str, masked: Any, implementation: str) -> None:
    model = tiny_model(name, attn_implementation=implementation)
    inputs, visible_BTT = masked()
    for batch in (tokens(seed=seed) for seed in range(20)):
        expected_LH, everything_LH = (
            reference_max_logits(model, batch, visible_BTT=visible, **inputs)
            for visible in (visible_BTT, None)
        )
        if not torch.equal(expected_LH, everything_LH):
            break  # the mask matters to some head
    real = inputs.get("attention_mask", torch.ones_like(batch)).bool()
    labels = batch.masked_fill(~real, -100)
    model.config.use_cache = False  # packed documents are seen by their positions only without it

    loss, gradients = train_pass(model, batch, labels, **inputs)
    assert gradients.isfinite().all()
    tau = float(expected_LH.median())
    targets = observed(model, tau)
    found_loss, found_gradients = train_pass(model, batch, labels, **inputs)
    assert_exact_above(max_logits(targets), expected_LH, tau)
    torch.testing.assert_close(found_loss, loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found_gradients, gradients, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_dropout_draws_the_same_numbers_and_s_max_is_that_before_it(implementation: str) -> None:
    model = tiny_model("llama", attention_dropout=0.3, attn_implementation=implementation)
    batch = tokens()
    torch.manual_seed(7)
    loss, _ = train_pass(model, batch)
    targets = observed(model, 1e-3)
    torch.manual_seed(7)
    found, _ = train_pass(model, batch)
    assert torch.equal(found, loss)
    # The first layer's inputs know nothing of dropout.
    expected_H = reference_max_logits(model, batch)[0]
    assert_exact_above(targets[0].max_logits(), expected_H, 1e-3)


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable. is deprecated")
@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_changes_neither_s_max_nor_gradients(reentrant: bool) -> None:
    model, batch = tiny_model("deepseek_v3"), tokens()
    targets = observed(model, 1.0)
    loss, gradients = train_pass(model, batch)
    expected_LH = max_logits(targets).clone()
    for target in targets:
        target.reset_max_logits()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    model.enable_input_require_grads()
    found_loss, found_gradients = train_pass(model, batch, use_cache=False)
    torch.testing.assert_close(max_logits(targets), expected_LH, rtol=1e-5, atol=0)
    torch.testing.assert_close(found_loss, loss)
    torch.testing.assert_close(found_gradients, gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_autocast_measures_the_logits_of_its_own_precision(implementation: str) -> None:
    model = tiny_model("llama_one_key_per_head", attn_implementation="sdpa")
    batch, expected = tokens(), []
    attend = torch.nn.functional.scaled_dot_product_attention

    def spy(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
        logits = (q.bfloat16().double() @ k.bfloat16().double().mT) * options["scale"]
        hidden = torch.ones(logits.shape[2:], dtype=torch.bool).triu(1)
        expected.append(logits.masked_fill(hidden, -torch.inf).amax((0, 2, 3)))
        return attend(q, k, v, **options)

    with torch.autocast("cpu", torch.bfloat16), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
        loss, _ = train_pass(model, batch)
    model.set_attn_implementation(implementation)
    targets = observed(model, 1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = train_pass(model, batch)
    torch.testing.assert_close(found, loss, rtol=1e-3, atol=1e-3)
    # The first layer alone has the same inputs to the bit under both implementations.
    found_H = targets[0].max_logits().double()
    torch.testing.assert_close(found_H, expected[0], rtol=1e-6, atol=1e-6)


def test_a_compiled_model_stays_one_graph_and_measures_the_same() -> None:
    """Also for a length that comes later; graph breaks would leave deep models uncompiled."""
    torch.compiler.reset()
    model = tiny_model("llama", use_cache=False, num_hidden_layers=1)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    tau = float(reference_max_logits(model, tokens()).median())
    targets = find_clip_targets(model)
    for batch in (tokens(), tokens()[:, :9]):
        expected_LH = reference_max_logits(model, batch)
        loss, gradients = train_pass(model, batch)
        for target in targets:
            target.observe_max_logits(tau)
        found_loss, found_gradients = train_pass(compiled, batch)
        assert_exact_above(max_logits(targets), expected_LH, tau)
        torch.testing.assert_close(found_loss, loss)
        torch.testing.assert_close(found_gradients, gradients, rtol=1e-4, atol=1e-5)


def test_without_a_kernel_the_bound_is_never_below_the_truth() -> None:
    """Keys equal to queries make |q| max|k| the very maximum: half of it would miss the head."""
    model = tiny_model("llama_one_key_per_head", attn_implementation="eager")
    batch = tokens()
    for layer in model.model.layers:
        layer.self_attn.k_proj.load_state_dict(layer.self_attn.q_proj.state_dict())
    expected_LH = reference_max_logits(model, batch)
    tau = float(expected_LH.min()) * 0.999
    targets = observed(model, tau)
    train_pass(model, batch)
    assert_exact_above(max_logits(targets), expected_LH, tau)


def test_attention_in_both_directions() -> None:
    """Without a mask, a layer's own `is_causal` decides under "sdpa"."""
    model, batch = tiny_model("llama", attn_implementation="sdpa"), tokens()
    for layer in model.model.layers:
        layer.self_attn.is_causal = False
    loss, _ = train_pass(model, batch)
    targets = observed(model, 1e-3)
    torch.testing.assert_close(train_pass(model, batch)[0], loss)
    # Only the first layer's inputs are those of the reference, which attends causally.
    expected_H = reference_max_logits(model, batch, is_causal=False)[0]
    assert not torch.equal(expected_H, reference_max_logits(model, batch)[0])
    assert_exact_above(targets[0].max_logits(), expected_H, 1e-3)


def test_soft_capping_stays_what_transformers_makes_of_it() -> None:
    """With "sdpa" that depends on the version: an error, or no capping."""
    model, batch = tiny_model("gemma2"), tokens()
    model.config._attn_implementation = "sdpa"

    def outcome() -> str:
        try:
            return f"{train_pass(model, batch)[0]:.6f}"
        except ValueError as error:
            return str(error)

    before = outcome()
    observed(model, 1e-3)
    assert outcome() == before


@pytest.mark.parametrize("name", ["llama", "gemma2", "deepseek_v3"])
def test_evaluation_and_generation_are_untouched(name: str) -> None:
    model, batch = tiny_model(name).eval(), tokens()
    logits = model(batch).logits
    text = model.generate(batch, max_new_tokens=5, do_sample=False)
    targets = observed(model, 1e-3)
    with torch.no_grad():
        assert torch.equal(model(batch).logits, logits)
    assert torch.equal(model(batch).logits, logits)
    assert torch.equal(model.generate(batch, max_new_tokens=5, do_sample=False), text)
    with torch.no_grad():
        model.train()(batch)
    assert (max_logits(targets) == -torch.inf).all()


def test_observation_follows_a_change_of_implementation_and_attentions_are_returned() -> None:
    model, batch = tiny_model("llama", attn_implementation="sdpa"), tokens()
    targets = observed(model, 1e-3)
    expected_LH = reference_max_logits(model, batch)
    model.set_attn_implementation("eager")
    weights = model(batch, output_attentions=True).attentions
    assert len(weights) == 2 and weights[0].shape == (2, HEADS, 12, 12)
    assert_exact_above(max_logits(targets), expected_LH, 1e-3)


def test_saving_and_loading_know_nothing_of_it(tmp_path: Path) -> None:
    model, batch = tiny_model("qwen3"), tokens()
    targets = observed(model, 1e-3)
    model.save_pretrained(tmp_path)
    assert "openk2" not in json.dumps(json.loads((tmp_path / "config.json").read_text()))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(loaded(batch).logits, model.eval()(batch).logits)
    model.train()
    # A model that was loaded for evaluation is attached as it is, and observes once it trains.
    fresh = observed(loaded, 1e-3)
    loaded(batch)
    assert (max_logits(fresh) == -torch.inf).all()
    train_pass(loaded.train(), batch)
    train_pass(model, batch)
    assert torch.equal(max_logits(fresh), max_logits(targets))


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
def test_a_copy_of_the_model_is_observed_on_its_own(how: str) -> None:
    model, batch = tiny_model("llama"), tokens()
    targets = observed(model, 1e-3)
    if how == "deepcopy":
        copied = copy.deepcopy(model)
    elif how == "pickle":
        copied = pickle.loads(pickle.dumps(model))
    else:
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        copied = torch.load(buffer, weights_only=False)
    found = find_clip_targets(copied)
    train_pass(copied, batch)
    assert (max_logits(targets) == -torch.inf).all()
    assert (max_logits(found) > 0).all()
    own = {id(module) for module in copied.modules()}
    assert all(id(rows.module) in own for target in found for rows in target.logit_rows())


def test_another_model_with_the_same_config_is_left_alone() -> None:
    model, batch = tiny_model("llama"), tokens()
    other = type(model)(model.config)
    observed(model, 1e-3)
    assert not any(isinstance(module, AttentionClipTarget) for module in other.modules())
    before = train_pass(other, batch)
    assert all(torch.equal(a, b) for a, b in zip(train_pass(other, batch), before, strict=True))


def test_an_implementation_that_hides_its_masks_is_an_error() -> None:
    model = tiny_model("llama", attn_implementation="sdpa")
    targets = observed(model, 1.0)
    model.config._attn_implementation = "flex_attention"
    with pytest.raises(ValueError, match=r"'flex_attention'; call model\.set_attn_implementation"):
        model.model.layers[0].self_attn(
            torch.zeros(1, 3, 64), position_embeddings=(torch.ones(1, 3, 16), torch.ones(1, 3, 16))
        )
    with pytest.raises(ValueError, match="flex_attention"):
        attach(model)
    assert (max_logits(targets) == -torch.inf).all()
