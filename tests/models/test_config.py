"""Model configurations: the released files, and what is refused."""

import json
from pathlib import Path

import pytest

from openk2.core.errors import UserError
from openk2.models import KimiK2Config, YarnScaling
from openk2.models.presets import PRESETS

# The released Kimi-K2-Instruct config.json.
RELEASED = json.loads(
    """{"architectures": ["DeepseekV3ForCausalLM"], "model_type": "kimi_k2", "hidden_size": 7168,
    "num_hidden_layers": 61, "first_k_dense_replace": 1, "moe_layer_freq": 1,
    "num_attention_heads": 64, "num_key_value_heads": 64, "attention_bias": false,
    "attention_dropout": 0.0, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 384, "num_experts_per_tok": 8,
    "n_shared_experts": 1, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 2048,
    "intermediate_size": 18432, "hidden_act": "silu", "scoring_func": "sigmoid",
    "topk_method": "noaux_tc", "norm_topk_prob": true, "routed_scaling_factor": 2.827,
    "aux_loss_alpha": 0.001, "seq_aux": true, "rms_norm_eps": 1e-06, "initializer_range": 0.02,
    "tie_word_embeddings": false, "vocab_size": 163840, "bos_token_id": 163584,
    "eos_token_id": 163585, "max_position_embeddings": 131072, "rope_theta": 50000.0,
    "rope_scaling": {"type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096,
    "beta_fast": 1.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0},
    "num_nextn_predict_layers": 0, "torch_dtype": "bfloat16", "quantization_config":
    {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
    "weight_block_size": [128, 128]}}"""
)


def test_the_released_config_is_the_preset() -> None:
    assert KimiK2Config.from_hf(RELEASED) == KimiK2Config.preset("kimi-k2")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_the_released_format(name: str, tmp_path: Path) -> None:
    config = KimiK2Config.preset(name)
    (tmp_path / "config.json").write_text(json.dumps(config.to_hf()))
    assert KimiK2Config.from_hf(tmp_path) == config


@pytest.mark.parametrize("name", ["nano", "micro", "mini"])
def test_small_presets_keep_the_proportions(name: str) -> None:
    small, k2 = KimiK2Config.preset(name), KimiK2Config.preset("kimi-k2")

    def proportions(c: KimiK2Config) -> list[float]:
        return [
            c.hidden_size / c.moe_intermediate_size,
            c.intermediate_size / c.moe_intermediate_size,
            c.num_attention_heads * c.v_head_dim / c.hidden_size,
            c.qk_nope_head_dim / c.qk_rope_head_dim,
            c.q_lora_rank / c.kv_lora_rank if c.q_lora_rank else 0,
            c.num_experts_per_tok,
            c.n_shared_experts,
            c.first_k_dense_replace,
        ]

    assert proportions(small) == proportions(k2)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"num_experts_per_tok": 33}, "more than the 32"),
        ({"qk_rope_head_dim": 15}, "even"),
        ({"v_head_dim": 1000}, "v_head_dim"),
        ({"first_k_dense_replace": 9}, "first_k_dense_replace"),
        ({"q_lora_rank": 0}, "q_lora_rank"),
        ({"rope_scaling": "YarnScaling(factor=0.5)"}, "factor"),
    ],
)
def test_impossible_sizes_are_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        if change.get("rope_scaling"):
            change = {"rope_scaling": YarnScaling(factor=0.5)}
        KimiK2Config.preset("nano", **change)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", "llama"),
        ("n_group", 8),
        ("scoring_func", "softmax"),
        ("tie_word_embeddings", True),
        ("num_key_value_heads", 8),
        ("rope_scaling", {"type": "linear", "factor": 2.0}),
        ("rope_scaling", {**RELEASED["rope_scaling"], "attention_factor": 1.5}),
        ("rope_scaling", {**RELEASED["rope_scaling"], "truncate": False}),
        ("rope_scaling", {**RELEASED["rope_scaling"], "factor": None}),
        ("rope_scaling", ["yarn"]),
        ("eos_token_id", []),
        ("num_attention_heads", "64"),
    ],
)
def test_other_architectures_are_refused(key: str, value: object) -> None:
    with pytest.raises(UserError, match=key):
        KimiK2Config.from_hf({**RELEASED, key: value})


@pytest.mark.parametrize(
    "key",
    ["kv_lora_rank", "q_lora_rank", "first_k_dense_replace", "n_group", "topk_group", "rope_theta"],
)
def test_missing_keys_are_named(key: str) -> None:
    with pytest.raises(UserError, match=f"missing key '{key}'"):
        KimiK2Config.from_hf({k: v for k, v in RELEASED.items() if k != key})


@pytest.mark.parametrize("key", ["factor", "original_max_position_embeddings"])
def test_missing_yarn_keys_are_named(key: str) -> None:
    scaling = {k: v for k, v in RELEASED["rope_scaling"].items() if k != key}
    with pytest.raises(UserError, match=f"missing key '{key}'"):
        KimiK2Config.from_hf({**RELEASED, "rope_scaling": scaling})


def test_yarn_keys_left_out_are_those_of_transformers_not_k2s() -> None:
    scaling = {"type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64}
    assert KimiK2Config.from_hf({**RELEASED, "rope_scaling": scaling}).rope_scaling == YarnScaling(
        8.0, 64, beta_fast=32.0, beta_slow=1.0, mscale=0.0, mscale_all_dim=0.0
    )


def test_files_without_a_config_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json: no such file"):
        KimiK2Config.from_hf(tmp_path)
    for text in ("{", '{"a":' * 100_000):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UserError, match="not valid JSON"):
            KimiK2Config.from_hf(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(UserError, match="expected a JSON object"):
        KimiK2Config.from_hf(tmp_path)
    with pytest.raises(UserError, match="nano"):
        KimiK2Config.preset("nanoo")
