"""The configuration of a K2 model: the fields of the released config.json, by their names there.

Paper section 2.3 and Table 2; the values the paper does not print are those of the released
config.json of Kimi-K2-Instruct.
"""

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from openk2.core.config import from_dict
from openk2.core.errors import UserError

__all__ = ["KimiK2Config", "YarnScaling", "read_config_json"]


@dataclass(frozen=True)
class YarnScaling:
    """YaRN's stretch of the rotary embedding to a longer context (paper section 2.5).

    The defaults are K2's. An `mscale` or `mscale_all_dim` of 0 is one that config.json leaves out.
    """

    factor: float = 32.0
    original_max_position_embeddings: int = 4096
    beta_fast: float = 1.0
    beta_slow: float = 1.0
    mscale: float = 1.0
    mscale_all_dim: float = 1.0

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise ValueError(f"factor is {self.factor}; YaRN stretches, so it is at least 1")
        if self.original_max_position_embeddings < 1:
            raise ValueError("original_max_position_embeddings must be positive")


@dataclass(frozen=True)
class KimiK2Config:
    """Every size of a K2 model. Raises ValueError for sizes that make no model.

    A training run sets `bos_token_id` and `eos_token_id` to those of the tokenizer it makes.
    `q_lora_rank = None` projects queries from the hidden state directly, as Moonlight does.
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    intermediate_size: int
    moe_intermediate_size: int
    n_routed_experts: int
    num_experts_per_tok: int
    routed_scaling_factor: float
    n_shared_experts: int = 1
    first_k_dense_replace: int = 1
    norm_topk_prob: bool = True
    aux_loss_alpha: float = 0.0
    rms_norm_eps: float = 1e-6
    rope_theta: float = 50000.0
    rope_scaling: YarnScaling | None = None
    max_position_embeddings: int = 4096
    initializer_range: float = 0.02
    bos_token_id: int = 0
    eos_token_id: int = 1

    def __post_init__(self) -> None:
        positive = (
            "vocab_size hidden_size num_hidden_layers num_attention_heads kv_lora_rank "
            "qk_nope_head_dim qk_rope_head_dim v_head_dim intermediate_size "
            "moe_intermediate_size n_routed_experts num_experts_per_tok max_position_embeddings"
        )
        for name in positive.split():
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.q_lora_rank is not None and self.q_lora_rank < 1:
            raise ValueError(f"q_lora_rank is {self.q_lora_rank}; it is at least 1, or none")
        if self.qk_rope_head_dim % 2:
            raise ValueError(
                f"qk_rope_head_dim is {self.qk_rope_head_dim}; rotary pairs need an even width"
            )
        if self.v_head_dim > self.qk_nope_head_dim + self.qk_rope_head_dim:
            raise ValueError("v_head_dim exceeds the query width that values are padded to")
        if self.num_experts_per_tok > self.n_routed_experts:
            raise ValueError(
                f"num_experts_per_tok is {self.num_experts_per_tok}, more than the "
                f"{self.n_routed_experts} of n_routed_experts"
            )
        if not 0 <= self.first_k_dense_replace <= self.num_hidden_layers:
            raise ValueError("first_k_dense_replace must lie between 0 and num_hidden_layers")
        for name in ("rms_norm_eps", "initializer_range"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be finite, at least 0")
        for name in ("rope_theta", "routed_scaling_factor"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be finite and positive")
        if self.n_shared_experts < 0 or self.aux_loss_alpha < 0:
            raise ValueError("n_shared_experts and aux_loss_alpha must not be negative")

    @property
    def qk_head_dim(self) -> int:
        """Width of a head's query and key: the part without position and the rotary part."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    @property
    def num_moe_layers(self) -> int:
        return self.num_hidden_layers - self.first_k_dense_replace

    @classmethod
    def preset(cls, name: str, **changes: Any) -> "KimiK2Config":
        """A named size: kimi-k2, moonlight-16b, mini, micro or nano, with fields changed."""
        from openk2.models.presets import PRESETS

        if name not in PRESETS:
            raise UserError(f"no model preset '{name}'; the presets are {', '.join(PRESETS)}")
        return replace(PRESETS[name](), **changes)

    @classmethod
    def from_hf(cls, source: "dict[str, Any] | str | Path") -> "KimiK2Config":
        """Read the released config.json: a dictionary, the file, or the folder that holds it.

        Raises UserError for a model that is not of K2's architecture: another router, expert
        groups, attention biases, tied embeddings. `quantization_config` says how weights are
        stored, which is nothing that a configuration of sizes cares about.
        """
        where = "config.json"
        if not isinstance(source, dict):
            path = Path(source)
            path = path / "config.json" if path.is_dir() else path
            where, source = str(path), read_config_json(path)
        _refuse_other_architectures(source, where)
        names = cls.__dataclass_fields__
        values = {name: source[name] for name in names if name in source}
        values |= _rope_from_hf(source, where)
        if isinstance(values.get("eos_token_id"), list):
            values["eos_token_id"] = next(iter(values["eos_token_id"]), None)
        return from_dict(cls, values, where)

    def to_hf(self) -> dict[str, Any]:
        """The config.json that stock transformers loads as DeepseekV3ForCausalLM.

        `model_type` is deepseek_v3 on purpose: under "kimi_k2" transformers re-initialises every
        expert in silence.
        """
        values = asdict(self)
        scaling = values.pop("rope_scaling")
        return {
            "architectures": ["DeepseekV3ForCausalLM"],
            "model_type": "deepseek_v3",
            **values,
            "rope_scaling": {"type": "yarn", "rope_type": "yarn", **scaling} if scaling else None,
            "num_key_value_heads": self.num_attention_heads,
            "attention_bias": False,
            "attention_dropout": 0.0,
            "hidden_act": "silu",
            "moe_layer_freq": 1,
            "n_group": 1,
            "topk_group": 1,
            "scoring_func": "sigmoid",
            "topk_method": "noaux_tc",
            "seq_aux": True,
            "num_nextn_predict_layers": 0,
            "rope_interleave": True,
            "tie_word_embeddings": False,
            "pretraining_tp": 1,
            "use_cache": True,
        }


def read_config_json(path: Path) -> dict[str, Any]:
    """The object in a config.json; UserError if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; a checkpoint folder holds one") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: expected a JSON object")
    return found


# What K2 fixes; a config.json that says otherwise is another architecture.
_FIXED = {
    "n_group": (1, None),
    "topk_group": (1, None),
    "moe_layer_freq": (1,),
    "attention_bias": (False,),
    "hidden_act": ("silu",),
    "scoring_func": ("sigmoid",),
    "topk_method": ("noaux_tc",),
    "rope_interleave": (True,),
    "tie_word_embeddings": (False,),
}

# What transformers gives a default that is not K2's: a config.json without it means another model
# there than it would here.
_NEVER_LEFT_OUT = ("first_k_dense_replace", "q_lora_rank", "n_group", "topk_group")

# The same for the rotary embedding.
_FIXED_ROPE = {"attention_factor": (None,), "truncate": (True,), "partial_rotary_factor": (None, 1)}

# What transformers takes for a YaRN key that is left out, null or 0; without both mscales it
# multiplies cos and sin by 0.1 ln(factor) + 1 and leaves the softmax scale alone.
_YARN_LEFT_OUT = {"beta_fast": 32.0, "beta_slow": 1.0, "mscale": 0.0, "mscale_all_dim": 0.0}


def _refuse_other_architectures(source: dict[str, Any], where: str) -> None:
    if source.get("model_type", "kimi_k2") not in ("kimi_k2", "deepseek_v3"):
        raise UserError(f"{where}: model_type '{source['model_type']}' is not K2's architecture")
    for key, allowed in _FIXED.items():
        if key in source and source[key] not in allowed:
            raise UserError(
                f"{where}: {key} is {source[key]!r}; K2's architecture has {allowed[0]!r}"
            )
    for key in _NEVER_LEFT_OUT:
        if key not in source:
            raise UserError(f"{where}: missing key '{key}'")
    heads = source.get("num_attention_heads")
    if source.get("num_key_value_heads") not in (None, heads):
        raise UserError(f"{where}: num_key_value_heads must equal num_attention_heads ({heads})")


def _rope_from_hf(source: dict[str, Any], where: str) -> dict[str, Any]:
    """rope_theta and rope_scaling, from the released keys or transformers 5's rope_parameters."""
    parameters = source.get("rope_parameters") or source.get("rope_scaling") or {}
    if not isinstance(parameters, dict):
        raise UserError(f"{where}: rope_scaling: expected a JSON object, got {parameters!r}")
    for key, allowed in _FIXED_ROPE.items():
        if key in parameters and parameters[key] not in allowed:
            raise UserError(
                f"{where}: rope_scaling: {key} is {parameters[key]!r}; K2's architecture has "
                f"{allowed[0]!r}"
            )
    theta = parameters.get("rope_theta", source.get("rope_theta"))
    if theta is None:
        raise UserError(f"{where}: missing key 'rope_theta'")
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind == "default":
        return {"rope_theta": theta, "rope_scaling": None}
    if kind != "yarn":
        raise UserError(f"{where}: rope_scaling of type {kind!r} is not K2's; it has yarn or none")
    scaling = {key: parameters.get(key) or value for key, value in _YARN_LEFT_OUT.items()}
    for key in ("factor", "original_max_position_embeddings"):
        if key not in parameters:
            raise UserError(f"{where}: rope_scaling: missing key '{key}'")
        scaling[key] = parameters[key]
    return {"rope_theta": theta, "rope_scaling": scaling}
