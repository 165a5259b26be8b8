"""Official tensor names; strict reading."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from openk2.core.errors import UserError
from openk2.integrations.hf_checkpoints import save_pretrained
from openk2.models import KimiK2Config, KimiK2MoEModel
from openk2.models import checkpoint_layout as layout
from openk2.models.checkpoint_layout import official_tensors, read_weights
from openk2.models.pretrained import load_pretrained

from ..parity.random_models import random_model


def names(config: KimiK2Config) -> set[str]:
    """The released names, written out."""
    found = {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"}
    attention = "q_a_proj q_a_layernorm q_b_proj kv_a_proj_with_mqa kv_a_layernorm kv_b_proj o_proj"
    for n in range(config.num_hidden_layers):
        layer = f"model.layers.{n}."
        found |= {
            layer + norm for norm in ("input_layernorm.weight", "post_attention_layernorm.weight")
        }
        found |= {f"{layer}self_attn.{part}.weight" for part in attention.split()}
        mlps = [layer + "mlp."]
        if n >= config.first_k_dense_replace:
            found |= {f"{layer}mlp.gate.weight", f"{layer}mlp.gate.e_score_correction_bias"}
            mlps = [f"{layer}mlp.experts.{e}." for e in range(config.n_routed_experts)]
            mlps.append(f"{layer}mlp.shared_experts.")
        found |= {f"{mlp}{m}_proj.weight" for mlp in mlps for m in ("gate", "up", "down")}
    return found


@pytest.mark.parametrize("preset", ["nano", "kimi-k2"])
def test_names_are_the_released_ones(preset: str) -> None:
    config = KimiK2Config.preset(preset)
    with torch.device("meta"):
        model = KimiK2MoEModel(config)
    assert {name for name, _ in official_tensors(model)} == names(config)


def test_shards_and_index_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "SHARD_BYTES", 20_000)
    model = random_model(0)
    folder = save_pretrained(model, tmp_path / "sharded")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2
    assert set(index["weight_map"]) == {name for name, _ in official_tensors(model)}
    back = dict(official_tensors(load_pretrained(folder)))
    assert all(torch.equal(tensor, back[name]) for name, tensor in official_tensors(model))


@pytest.mark.parametrize("damage", ["missing", "extra", "misshapen", "truncated", "no file"])
def test_reading_is_strict_and_changes_nothing_on_error(damage: str, tmp_path: Path) -> None:
    model = random_model(1)
    folder = save_pretrained(model, tmp_path / "export")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = "model.layers.1.self_attn.o_proj.weight"
    says = name
    if damage == "missing":
        del tensors[name]
    elif damage == "extra":
        says = "model.layers.9.extra"
        tensors[says] = torch.zeros(3)
    elif damage == "misshapen":
        tensors[name] = tensors[name][:-1].clone()
    save_file(tensors, file)
    if damage == "truncated":
        says = "model.safetensors"
        file.write_bytes(file.read_bytes()[:1000])
    elif damage == "no file":
        says = "incomplete"
        file.unlink()
    with pytest.raises(UserError, match=says):
        load_pretrained(folder)
    victim = random_model(1)
    before = {n: t.clone() for n, t in official_tensors(victim)}
    with pytest.raises(UserError):
        read_weights(victim, folder)
    assert all(torch.equal(t, before[n]) for n, t in official_tensors(victim))


@pytest.mark.parametrize(
    ("name", "dtype", "says"),
    [
        ("model.layers.1.self_attn.o_proj.weight", torch.float8_e4m3fn, "F8_E4M3"),
        ("lm_head.weight", torch.int8, "I8"),
        ("model.norm.weight", torch.float64, "F64"),
        ("mlp.gate.e_score_correction_bias", torch.float16, "float16"),
    ],
)
def test_numbers_of_other_types_are_refused(
    name: str, dtype: torch.dtype, says: str, tmp_path: Path
) -> None:
    folder = save_pretrained(random_model(0), tmp_path / "export")
    tensors = load_file(folder / "model.safetensors")
    name = next(full for full in tensors if full.endswith(name))
    tensors[name] = tensors[name].to(dtype)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match=f"'{name}' has type {says}"):
        load_pretrained(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_floats_are_read(dtype: torch.dtype, tmp_path: Path) -> None:
    model = random_model(0)
    back = load_pretrained(save_pretrained(model, tmp_path / "export", dtype))
    assert torch.equal(back.lm_head.weight, model.lm_head.weight.to(dtype).float())


@pytest.mark.parametrize("index", [{"weight_map": {"a": 5}}, {"weight_map": ["a"]}, [], {}])
def test_an_index_of_another_shape_is_named(index: object, tmp_path: Path) -> None:
    folder = save_pretrained(random_model(2), tmp_path / "export")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"index\.json: not a safetensors index"):
        load_pretrained(folder)


@pytest.mark.parametrize("shard_bytes", [layout.SHARD_BYTES, 20_000])
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_others_may_read_an_export_as_the_umask_says(
    mask: int, mode: int, shard_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(mask)
    monkeypatch.setattr(layout, "SHARD_BYTES", shard_bytes)
    try:
        folder = save_pretrained(random_model(0), tmp_path / "export")
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {mode}


def test_an_index_cannot_point_outside_its_folder(tmp_path: Path) -> None:
    folder = save_pretrained(random_model(2), tmp_path / "export")
    (tmp_path / "secret.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    index = {"weight_map": {"lm_head.weight": "../secret.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"export/secret\.safetensors: no such file"):
        load_pretrained(folder)


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        save_pretrained(random_model(2), tmp_path)
