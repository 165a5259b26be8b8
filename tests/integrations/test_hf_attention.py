"""QK-Clip for transformers' attention: S_max is exact, nothing else changes, the clip is right."""

import ast
import copy
import inspect
import io
import json
import pickle
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel
from transformers.modeling_utils import AttentionInterface
from transformers.models.llama.modeling_llama import LlamaAttention

from openk2.integrations.hf_attention import FAMILIES, attach
from openk2.optimizers import MuonClipOptimizer, QKClip
from openk2.optimizers.clip_targets import AttentionClipTarget, find_clip_targets

from .hf_models import HEADS, MODELS, reference_max_logits, tiny_model, tokens

pytestmark = pytest.mark.filterwarnings("ignore:QK-Clip. in . layers")

SHARED_GAINS = ("qwen3", "qwen3_moe", "dots1", "gemma3")


def window(layer: nn.Module) -> int | None:
    """The sliding window of a layer of the models with one."""
    if type(layer).__name__ in ("MistralAttention", "Starcoder2Attention"):
        return layer.config.sliding_window
    return getattr(layer, "sliding_window", None)


def train_pass(model: PreTrainedModel, input_ids: Tensor, **inputs: Any) -> tuple[Tensor, Tensor]:
    """The loss and all gradients as one vector; leaves no gradients behind."""
    loss = model(input_ids, labels=input_ids, **inputs).loss
    loss.backward()
    gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return loss.detach(), gradients


def observed(model: nn.Module, tau: float, **options: Any) -> list[AttentionClipTarget]:
    targets = find_clip_targets(model, **options)
    for target in targets:
        target.observe_max_logits(tau)
    return targets


def max_logits(targets: list[AttentionClipTarget]) -> Tensor:
    return torch.stack([target.max_logits() for target in targets])


def assert_exact_above(found_LH: Tensor, expected_LH: Tensor, tau: float) -> None:
    above = expected_LH > tau
    assert above.any()
    torch.testing.assert_close(found_LH[above].double(), expected_LH[above], rtol=2e-5, atol=1e-4)
    assert (found_LH[~above] <= tau * (1 + 1e-5)).all()
    assert (found_LH[~above] >= expected_LH[~above] - 1e-4).all()


@pytest.mark.parametrize("name", MODELS)
def test_s_max_is_exact_above_tau_and_training_is_unchanged(name: str) -> None:
    model, batch = tiny_model(name), tokens()
    expected_LH = reference_max_logits(model, batch, window=window)
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
    model, batch = tiny_model(name, attn_implementation=implementation), tokens()
    inputs, visible_BTT = masked()
    expected_LH = reference_max_logits(
        model, batch, visible_BTT=visible_BTT, window=window, **inputs
    )
    everything_LH = reference_max_logits(model, batch, window=window, **inputs)
    assert not torch.equal(expected_LH, everything_LH)  # the mask matters to some head
    real = inputs.get("attention_mask", torch.ones_like(batch)).bool()
    labels = batch.masked_fill(~real, -100)
    model.config.use_cache = False  # packed documents are seen by their positions only without it

    def run() -> tuple[Tensor, Tensor]:
        loss = model(batch, labels=labels, **inputs).loss
        loss.backward()
        gradient = model.model.layers[0].self_attn.o_proj.weight.grad.clone()
        model.zero_grad()
        return loss.detach(), gradient

    loss, gradient = run()
    tau = float(expected_LH.median())
    targets = observed(model, tau)
    found_loss, found_gradient = run()
    assert_exact_above(max_logits(targets), expected_LH, tau)
    torch.testing.assert_close(found_loss, loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found_gradient, gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gqa", ["per_head", "group"])
@pytest.mark.parametrize("name", MODELS)
def test_the_clipped_head_comes_down_to_tau_and_no_other_moves(
    name: str, gqa: Literal["per_head", "group"]
) -> None:
    model, batch = tiny_model(name), tokens()
    before_LH = reference_max_logits(model, batch, window=window)
    highest, second = before_LH.flatten().topk(2).values
    layer, head = divmod(int(before_LH.argmax()), HEADS)
    tau = float((highest + second) / 2)
    clip = QKClip(None, model, tau, gqa=gqa)
    train_pass(model, batch)
    clip.clip()
    factor = tau / highest
    assert int((clip.last_clip_factors < 1).sum()) == 1
    after_H = reference_max_logits(model, batch, window=window)[layer]
    expected_H = before_LH[layer].clone()
    if name in SHARED_GAINS:
        expected_H *= factor
    elif gqa == "group":
        shared = HEADS // model.config.num_key_value_heads
        first = head // shared * shared
        expected_H[first : first + shared] *= factor
    else:
        expected_H[head] *= factor
    moved = expected_H != before_LH[layer]
    torch.testing.assert_close(after_H[moved], expected_H[moved], rtol=1e-5, atol=0)
    assert torch.equal(after_H[~moved], expected_H[~moved])
    assert after_H[head] == pytest.approx(tau, rel=1e-5)


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
    model, batch = tiny_model("gemma3", use_bidirectional_attention=True), tokens()
    loss, _ = train_pass(model, batch)
    targets = observed(model, 1e-3)
    found = {}
    for implementation in ("sdpa", "eager"):
        model.set_attn_implementation(implementation)
        torch.testing.assert_close(train_pass(model, batch)[0], loss)
        found[implementation] = max_logits(targets).clone()
        for target in targets:
            target.reset_max_logits()
    torch.testing.assert_close(found["sdpa"], found["eager"])


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


def test_attaching_again_keeps_the_targets_unless_the_options_change() -> None:
    model = tiny_model("llama")
    first = find_clip_targets(model)
    get_interface = AttentionInterface.get_interface
    assert all(a is b for a, b in zip(find_clip_targets(model), first, strict=True))
    assert all(
        a is not b for a, b in zip(find_clip_targets(model, gqa="group"), first, strict=True)
    )


def test_another_model_with_the_same_config_is_left_alone() -> None:
    model, batch = tiny_model("llama"), tokens()
    other = type(model)(model.config)
    observed(model, 1e-3)
    assert not any(isinstance(module, AttentionClipTarget) for module in other.modules())
    before = train_pass(other, batch)
    assert all(torch.equal(a, b) for a, b in zip(train_pass(other, batch), before, strict=True))


def test_a_single_decoder_layer_in_a_model_of_your_own_is_found() -> None:
    own = nn.ModuleDict({"block": tiny_model("llama").model.layers[0]})
    (target,) = find_clip_targets(own)
    assert target is own["block"].self_attn.qk_clip


def test_shared_gains_are_announced_once_or_refused() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        attach(tiny_model("qwen3"))
    assert len([w for w in caught if "shrink together" in str(w.message)]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attach(tiny_model("olmo2"))  # a gain for each head
    for name in (*SHARED_GAINS, "olmo2"):
        with pytest.raises(ValueError, match=r"model.layers.0.self_attn normalises .*clip_gains"):
            attach(tiny_model(name), qk_norm="refuse")
    attach(tiny_model("llama"), qk_norm="refuse")


class OwnAttention(LlamaAttention):
    def forward(self, *inputs: Any, **options: Any) -> Any:
        return super().forward(*inputs, **options)


def with_other_forward() -> nn.Module:
    model = tiny_model("llama")
    model.model.layers[1].self_attn = OwnAttention(model.config, 1)
    return model


class RemoteAttention(OwnAttention):
    """The code of a model's own repository, under the name of a class of transformers."""

    def forward(self, *inputs: Any, **options: Any) -> Any:
        return super().forward(*inputs, **options)

    forward.__module__ = "transformers_modules.someone.modeling_llama"
    forward.__qualname__ = "LlamaAttention.forward"


def with_remote_code() -> nn.Module:
    model = tiny_model("llama")
    model.model.layers[1].self_attn = RemoteAttention(model.config, 1)
    return model


class Adapter(nn.Module):
    """A low-rank adapter around a projection, as parameter-efficient fine-tuning puts it there."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base, self.low = base, nn.Linear(base.in_features, 2)

    @property
    def weight(self) -> Tensor:
        return self.base.weight


def with_adapter() -> nn.Module:
    model = tiny_model("llama")
    model.model.layers[1].self_attn.q_proj = Adapter(model.model.layers[1].self_attn.q_proj)
    return model


def with_conv1d() -> nn.Module:
    return GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=16, n_layer=1, n_head=2))


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (with_other_forward, r"model\.layers\.1\.self_attn"),
        (with_remote_code, r"model\.layers\.1\.self_attn"),
        (with_adapter, r"model\.layers\.1\.self_attn"),
        (with_conv1d, r"transformer\.h\.0\.attn"),
    ],
)
def test_a_layer_that_is_not_understood_is_named(build: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is an attention layer"):
        find_clip_targets(build())


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


FOLDERS = {
    folder.name.replace("_", ""): folder.name
    for folder in Path(transformers.models.__file__).parent.iterdir()
}


@pytest.mark.parametrize(
    ("name", "copied"), [(a, b) for a, names in FAMILIES.items() for b in names]
)
def test_the_copies_of_a_class_run_its_very_code(name: str, copied: str) -> None:
    def forward(name: str) -> str:
        folder = FOLDERS[name.removesuffix("Attention").lower().replace("_", "")]
        module = import_module(f"transformers.models.{folder}.modeling_{folder}")
        (tree,) = ast.parse(inspect.getsource(getattr(module, name))).body
        (function,) = (f for f in tree.body if getattr(f, "name", "") == "forward")
        return "\n".join(ast.unparse(line) for line in function.body)

    assert forward(copied) == forward(name)


def test_adamw_with_qk_clip_holds_a_normalised_layer_at_tau() -> None:
    model, batch = tiny_model("qwen3"), tokens()
    tau = float(reference_max_logits(model, batch).max()) / 3
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    clip = QKClip(optimizer, model, tau)
    clipped = 0
    for _ in range(3):
        model(batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        clipped += int((clip.last_clip_factors < 1).any())
    assert clipped
    train_pass(model, batch)
    # What the last step left behind, measured before the next clip, is one small step above tau.
    assert float(reference_max_logits(model, batch).max()) < tau * 1.1


def test_muonclip_trains_a_llama_with_s_max_held_at_tau() -> None:
    model, batch = tiny_model("llama"), tokens()
    tau = float(reference_max_logits(model, batch).max()) / 3
    optimizer = MuonClipOptimizer.from_model(model, lr=1e-4, qk_clip_threshold=tau)
    losses, largest = [], []
    for _ in range(3):
        loss = model(batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        largest.append(float(optimizer.last_max_logits.max()))
    assert losses[2] < losses[1] < losses[0]
    assert largest[0] == pytest.approx(3 * tau)
    # The second layer's inputs follow the first layer's clip; then only the step itself is left.
    assert largest[2] == pytest.approx(tau, rel=0.02)
    assert float(reference_max_logits(model, batch).max()) == pytest.approx(tau, rel=0.02)


def test_muon_sees_the_matrices_that_a_projection_holds() -> None:
    def row_sizes(name: str, leaf: str, **options: Any) -> tuple[int, ...]:
        plan = MuonClipOptimizer.from_model(tiny_model(name), **options).plan
        (planned,) = (p for p in plan if p.name == f"model.layers.0.self_attn.{leaf}.weight")
        return planned.row_sizes

    assert row_sizes("phi3", "qkv_proj") == (64, 32, 32)
    assert row_sizes("phi3", "qkv_proj", per_head=True) == (16,) * 8
    assert row_sizes("llama", "q_proj") == (64,)
    assert row_sizes("llama", "k_proj", per_head=True) == (16, 16)
    assert row_sizes("deepseek_v3", "q_b_proj", per_head=True) == (24,) * 4
