"""Which layers of transformers are clipped, through which weights, and down to what."""

import ast
import inspect
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel
from transformers.modeling_utils import AttentionInterface
from transformers.models.llama.modeling_llama import LlamaAttention

from openk2.integrations.hf_attention import FAMILIES, attach
from openk2.optimizers import (
    AttentionClipTarget,
    MuonClipOptimizer,
    QKClip,
    find_clip_targets,
    query_key_rows,
)

from .hf_models import (
    HEADS,
    MODELS,
    reference_max_logits,
    tiny_model,
    tokens,
    train_pass,
)

pytestmark = pytest.mark.filterwarnings("ignore:QK-Clip. in . layers")

SHARED_GAINS = ("qwen3", "qwen3_moe", "dots1", "gemma3")


@pytest.mark.parametrize("gqa", ["per_head", "group"])
@pytest.mark.parametrize("name", MODELS)
def test_the_clipped_head_comes_down_to_tau_and_no_other_moves(
    name: str, gqa: Literal["per_head", "group"]
) -> None:
    model, batch = tiny_model(name), tokens()
    before_LH = reference_max_logits(model, batch)
    highest, second = before_LH.flatten().topk(2).values
    layer, head = divmod(int(before_LH.argmax()), HEADS)
    tau = float((highest + second) / 2)
    clip = QKClip(None, model, tau, gqa=gqa)
    train_pass(model, batch)
    clip.clip()
    factor = tau / highest
    assert int((clip.last_clip_factors < 1).sum()) == 1
    after_H = reference_max_logits(model, batch)[layer]
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


def test_attaching_again_keeps_the_targets_unless_the_options_change() -> None:
    model = tiny_model("llama")
    first = find_clip_targets(model)
    get_interface = AttentionInterface.get_interface
    assert all(a is b for a, b in zip(find_clip_targets(model), first, strict=True))
    assert AttentionInterface.get_interface is get_interface
    grouped = find_clip_targets(model, gqa="group")
    assert all(a is not b for a, b in zip(grouped, first, strict=True))


def test_a_single_decoder_layer_in_a_model_of_your_own_is_found() -> None:
    own = nn.ModuleDict({"block": tiny_model("llama").model.layers[0]})
    (target,) = find_clip_targets(own)
    assert target is own["block"].self_attn.qk_clip


def test_a_projection_that_was_replaced_is_clipped_in_its_place() -> None:
    model = tiny_model("llama")
    attach(model)
    attention = model.model.layers[0].self_attn
    attention.q_proj = nn.Linear(64, 64)
    first, second = find_clip_targets(model)
    assert first.logit_rows()[0].module is attention.q_proj
    assert second is model.model.layers[1].self_attn.qk_clip


def test_frozen_attention_is_left_alone() -> None:
    model = tiny_model("llama")
    model.model.layers[0].self_attn.requires_grad_(False)
    (target,) = find_clip_targets(model)
    assert target is model.model.layers[1].self_attn.qk_clip


def test_a_target_that_is_not_ours_is_not_reported_to() -> None:
    """A layer of the user's own that goes through transformers' attention reports by itself."""
    attach(tiny_model("llama"))
    projection = nn.Linear(4, 4)
    own = nn.Module()
    own.qk_clip = AttentionClipTarget(2, query_key_rows(projection, nn.Linear(4, 4), 2))
    own.qk_clip.observe_max_logits(1.0)
    own.is_causal, own.num_key_value_groups = True, 1
    q = torch.ones(1, 2, 3, 2)
    attend = AttentionInterface().get_interface("sdpa", None)
    attend(own, q, q, q, None)
    assert own.qk_clip.max_logits().tolist() == [-torch.inf] * 2


def test_a_model_without_values_can_be_attached() -> None:
    config = tiny_model("gemma3").config
    with torch.device("meta"):
        rows = QKClip(None, AutoModelForCausalLM.from_config(config))._rows
    assert rows[0][0].offset == 1.0 and rows[0][0].heads.device.type == "cpu"


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


def with_adapter_put_there_later() -> nn.Module:
    model = tiny_model("llama")
    attach(model)
    attention = model.model.layers[1].self_attn
    attention.q_proj = Adapter(attention.q_proj)
    return model


class AdaptedLinear(nn.Linear):
    """A low-rank adapter that is a Linear of the same shape itself."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__(base.in_features, base.out_features, bias=False)
        self.low = nn.Parameter(torch.zeros(2, base.in_features))


def with_adapted_linear() -> nn.Module:
    model = tiny_model("llama")
    model.model.layers[1].self_attn.q_proj = AdaptedLinear(model.model.layers[1].self_attn.q_proj)
    return model


def with_parametrization() -> nn.Module:
    """The weight is computed anew for each use, so scaling it would change nothing."""
    model = tiny_model("llama")
    nn.utils.parametrizations.weight_norm(model.model.layers[1].self_attn.q_proj)
    return model


class RenamedLayer(LlamaAttention):
    def forward(self, *inputs: Any, **options: Any) -> Any:
        return super().forward(*inputs, **options)


RenamedLayer.__name__ = "Mixer"


def with_another_name() -> nn.Module:
    model = tiny_model("llama")
    model.model.layers[1].self_attn = RenamedLayer(model.config, 1)
    return model


def with_conv1d() -> nn.Module:
    return GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=16, n_layer=1, n_head=2))


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (with_other_forward, r"model\.layers\.1\.self_attn"),
        (with_remote_code, r"model\.layers\.1\.self_attn"),
        (with_adapter, r"model\.layers\.1\.self_attn"),
        (with_adapter_put_there_later, r"model\.layers\.1\.self_attn"),
        (with_adapted_linear, r"model\.layers\.1\.self_attn"),
        (with_parametrization, r"model\.layers\.1\.self_attn"),
        (with_another_name, r"model\.layers\.1\.self_attn"),
        (with_conv1d, r"transformer\.h\.0\.attn"),
    ],
)
def test_a_layer_that_is_not_understood_is_named(build: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is an attention layer"):
        find_clip_targets(build())


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
