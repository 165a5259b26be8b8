"""Ours equals transformers' DeepseekV3ForCausalLM on the same weights: logits, loss, gradients."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForCausalLM, DeepseekV3ForCausalLM

from openk2.integrations.hf_checkpoints import save_pretrained
from openk2.models import KimiK2Config, KimiK2MoEModel, PackedDocuments, YarnScaling
from openk2.models.checkpoint_layout import official_tensors
from openk2.models.pretrained import load_pretrained
from openk2.training.loss import linear_cross_entropy

from .random_models import SEEDS, random_batch, random_model, transformers_twin

TOLERANCE = 1e-5


def twin_logits(twin: DeepseekV3ForCausalLM, tokens: Tensor, documents: PackedDocuments) -> Tensor:
    return twin(tokens, position_ids=documents.positions_BT, use_cache=False).logits


def gradient_in_twin(name: str, gradients: dict[str, Tensor]) -> Tensor:
    """The twin stacks gate and up of all experts in one tensor."""
    if ".mlp.experts." not in name:
        return gradients[name if name.startswith("lm_head") else "model." + name]
    prefix, matrix = ("model." + name).rsplit(".", 1)
    if matrix == "down_proj":
        return gradients[f"{prefix}.down_proj"]
    gate, up = gradients[f"{prefix}.gate_up_proj"].chunk(2, dim=1)
    return gate if matrix == "gate_proj" else up


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("seed", SEEDS)
def test_logits_loss_and_gradients(seed: int, packed: bool) -> None:
    model = random_model(seed)
    twin = transformers_twin(model)
    tokens, documents = random_batch(model.config, seed, packed)
    model.train()
    twin.train()
    logits = model(tokens, documents)
    expected = twin_logits(twin, tokens, documents)
    assert (logits - expected).abs().max() <= TOLERANCE

    targets = torch.roll(tokens, -1, dims=1)
    targets[:, -1] = -100
    scored = int((targets != -100).sum())
    hidden = model.hidden_states(tokens, documents)
    loss = linear_cross_entropy(hidden.flatten(0, 1), model.lm_head.weight, targets.flatten())
    (loss / scored).backward()
    twin_loss = F.cross_entropy(expected.flatten(0, 1), targets.flatten(), ignore_index=-100)
    twin_loss.backward()
    assert abs(loss.item() / scored - twin_loss.item()) <= TOLERANCE
    gradients = {name: p.grad for name, p in twin.named_parameters()}
    for name, parameter in model.named_parameters():
        theirs = gradient_in_twin(name, gradients)
        assert (parameter.grad - theirs).abs().max() <= TOLERANCE, name


@pytest.mark.parametrize("seed", SEEDS)
def test_routing_is_identical(seed: int) -> None:
    model = random_model(seed).eval()
    twin = transformers_twin(model).eval()
    ours: list[Tensor] = []
    theirs: list[Tensor] = []
    for router in model.routers():
        router.register_forward_hook(lambda m, i, out: ours.append(out[1].sort(-1).values))
    for layer in twin.model.layers[model.config.first_k_dense_replace :]:
        layer.mlp.gate.register_forward_hook(
            lambda m, i, out: theirs.append(out[2].sort(-1).values)
        )
    tokens, documents = random_batch(model.config, seed, packed=False)
    model(tokens, documents)
    twin_logits(twin, tokens, documents)
    assert len(ours) == len(theirs) == model.config.num_moe_layers
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_export_to_transformers_and_back_is_exact(seed: int, tmp_path: Path) -> None:
    model = random_model(seed)
    transformers_twin(model).save_pretrained(tmp_path / "theirs")
    back = load_pretrained(tmp_path / "theirs")
    assert back.config == model.config
    tensors = dict(official_tensors(back))
    for name, tensor in official_tensors(model):
        assert torch.equal(tensor, tensors[name]), name


def test_the_released_model_type_loads_here_too(tmp_path: Path) -> None:
    """Under model_type kimi_k2 transformers re-initialises the experts in silence; we must not."""
    model = random_model(3)
    folder = save_pretrained(model, tmp_path / "export")
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "kimi_k2"
    (folder / "config.json").write_text(json.dumps(config))
    tokens, _ = random_batch(model.config, 3, packed=False)
    assert torch.equal(load_pretrained(folder)(tokens), model(tokens))


@pytest.mark.parametrize(
    "given",
    [{}, {"mscale": 0.7}, {"mscale_all_dim": 0.8}, {"beta_fast": 4.0}, {"mscale": None}],
    ids=str,
)
def test_yarn_keys_left_out_mean_what_they_do_there(
    given: dict[str, float | None], tmp_path: Path
) -> None:
    """Rotary width 16 and a short original context: every default moves the logits."""
    base = random_model(0).config
    yarn = YarnScaling(factor=8.0, original_max_position_embeddings=1024)
    config = replace(base, qk_rope_head_dim=16, rope_theta=10000.0, rope_scaling=yarn)
    k2 = KimiK2MoEModel(config, seed=0).eval()
    folder = save_pretrained(k2, tmp_path / "export")
    written = json.loads((folder / "config.json").read_text())
    left = {"type": "yarn", "factor": 8.0, "original_max_position_embeddings": 1024}
    written["rope_scaling"] = {**left, **given}
    (folder / "config.json").write_text(json.dumps(written))
    tokens, documents = random_batch(config, 0, packed=False)
    logits = load_pretrained(folder).eval()(tokens, documents)
    twin = DeepseekV3ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    assert (logits - twin_logits(twin, tokens, documents)).abs().max() <= TOLERANCE
    assert (logits - k2(tokens, documents)).abs().max() > 1e-3
    # What is written back says it in full, and means the same there and here.
    again = KimiK2Config.from_hf(load_pretrained(folder).config.to_hf())
    assert again == load_pretrained(folder).config


def test_auto_class_loads_the_export(tmp_path: Path) -> None:
    model: KimiK2MoEModel = random_model(0).eval()
    folder = save_pretrained(model, tmp_path / "export", dtype=torch.bfloat16)
    twin = AutoModelForCausalLM.from_pretrained(folder)
    assert isinstance(twin, DeepseekV3ForCausalLM) and twin.dtype == torch.bfloat16
    ours = dict(official_tensors(load_pretrained(folder)))
    name = (
        "model.layers.1.mlp.gate.weight"
        if model.config.first_k_dense_replace == 1
        else "model.norm.weight"
    )
    assert torch.equal(ours[name], twin.state_dict()[name].float())


def relative_errors(logits: Tensor, gradient: Tensor, exact: tuple[Tensor, Tensor]) -> Tensor:
    pairs = zip((logits, gradient), exact, strict=True)
    return torch.stack([(a.float() - b).norm() / b.norm() for a, b in pairs])


def test_bfloat16_is_as_close_to_float32_as_theirs() -> None:
    """Relative error of logits and embedding gradient, mean over seeds, within a quarter of theirs.

    Ours rounds the routing weight, theirs the weights themselves.
    """
    ours, theirs = torch.zeros(2), torch.zeros(2)
    for seed in SEEDS:
        model = random_model(seed).train()
        tokens, documents = random_batch(model.config, seed, packed=False)
        logits = model(tokens, documents)
        logits.square().mean().backward()
        exact = logits.detach(), model.embed_tokens.weight.grad.clone()
        model.zero_grad()
        model.compute_dtype = torch.bfloat16
        logits = model(tokens, documents)
        logits.float().square().mean().backward()
        assert logits.dtype == torch.bfloat16
        assert all(p.dtype == p.grad.dtype == torch.float32 for p in model.parameters())
        ours += relative_errors(logits.detach(), model.embed_tokens.weight.grad, exact)
        twin = transformers_twin(model).bfloat16().train()
        logits = twin_logits(twin, tokens, documents)
        logits.float().square().mean().backward()
        theirs += relative_errors(logits.detach(), twin.model.embed_tokens.weight.grad, exact)
    assert (ours <= 1.25 * theirs).all(), (ours / len(SEEDS), theirs / len(SEEDS))


def test_the_random_models_cover_every_shape() -> None:
    configs = [random_model(seed).config for seed in SEEDS]
    assert {c.rope_scaling is None for c in configs} == {True, False}
    assert {c.q_lora_rank is None for c in configs} == {True, False}
    assert {c.first_k_dense_replace > 1 for c in configs} == {True, False}
    assert any(c.v_head_dim < c.qk_head_dim for c in configs)
