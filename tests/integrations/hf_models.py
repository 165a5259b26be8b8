"""Tiny random models of transformers, and their S_max in float64 by transformers alone."""

import copy
import sys
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.modeling_utils import AttentionInterface

from openk2.optimizers import AttentionClipTarget, find_clip_targets

HEADS, WINDOW, VOCABULARY = 4, 5, 97

COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"moe_intermediate_size": 16, "num_experts_per_tok": 2}
LATENT = {
    "num_key_value_heads": HEADS,
    "kv_lora_rank": 24,
    "q_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
} | EXPERTS

# name -> (model type of transformers, what differs from COMMON)
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"attention_bias": True}),
    "llama_one_key_per_head": ("llama", {"num_key_value_heads": HEADS}),
    "mistral": ("mistral", {"sliding_window": WINDOW}),
    "mixtral": ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen2": ("qwen2", {}),
    "qwen2_moe": (
        "qwen2_moe",
        {"num_experts": 4, "shared_expert_intermediate_size": 16} | EXPERTS,
    ),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "qwen3_moe": ("qwen3_moe", {"head_dim": 16, "num_experts": 4} | EXPERTS),
    "gemma": ("gemma", {"head_dim": 16}),
    "gemma2": (
        "gemma2",
        {
            "head_dim": 16,
            "sliding_window": WINDOW,
            "attn_logit_softcapping": 5.0,
            "attn_implementation": "eager",  # the only one that caps in every version
        },
    ),
    "gemma3": (
        "gemma3_text",
        {
            "head_dim": 16,
            "sliding_window": WINDOW,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "phi3": ("phi3", {}),
    "olmo2": ("olmo2", {}),
    "olmo3": ("olmo3", {"sliding_window": WINDOW}),
    "flex_olmo": ("flex_olmo", {"num_experts": 4, "num_experts_per_tok": 2}),
    "gpt_oss": (
        "gpt_oss",
        {
            "head_dim": 16,
            "sliding_window": WINDOW,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "attn_implementation": "eager",  # the only one here that knows sinks
        },
    ),
    "smollm3": ("smollm3", {"no_rope_layers": [1, 0]}),
    "starcoder2": ("starcoder2", {"residual_dropout": 0.0, "embedding_dropout": 0.0}),
    "granite": ("granite", {"attention_multiplier": 0.2}),
    "granitemoe": ("granitemoe", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "arcee": ("arcee", {}),
    "ernie4_5": ("ernie4_5", {"head_dim": 16}),
    "glm": ("glm", {"head_dim": 16}),
    "glm4": ("glm4", {"head_dim": 16}),
    "helium": ("helium", {"head_dim": 16}),
    "nemotron": ("nemotron", {}),
    "phimoe": ("phimoe", {"num_local_experts": 4}),
    "ministral": ("ministral", {"head_dim": 16, "sliding_window": WINDOW}),
    "dots1": (
        "dots1",
        {
            "head_dim": 16,
            "n_routed_experts": 4,
            "n_shared_experts": 1,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 1,
        }
        | EXPERTS,
    ),
    "deepseek_v2": ("deepseek_v2", LATENT),
    "deepseek_v3": ("deepseek_v3", LATENT),
    "deepseek_v3_without_query_latent": ("deepseek_v3", LATENT | {"q_lora_rank": None}),
}


def tiny_model(name: str, seed: int = 0, **options: Any) -> PreTrainedModel:
    """A model of two layers whose attention logits reach tens, in training mode."""
    model_type, own = MODELS[name]
    torch.manual_seed(seed)
    config = CONFIG_MAPPING[model_type](**(COMMON | own | options))
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if any(
                part in key for part in ("q_proj", "k_proj", "q_b_proj", "qkv_proj", "kv_b_proj")
            ):
                parameter.normal_(std=0.3)
            elif "q_norm" in key or "k_norm" in key:
                parameter.add_(torch.rand_like(parameter) * 2)
    return model.train()


def tokens(rows: int = 2, length: int = 12, seed: int = 0) -> Tensor:
    return torch.randint(
        3, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed)
    )


def sliding_window(layer: nn.Module) -> int | None:
    """The sliding window of a layer of the models with one."""
    if type(layer).__name__ in ("MistralAttention", "Starcoder2Attention"):
        return layer.config.sliding_window
    return getattr(layer, "sliding_window", None)


def reference_max_logits(
    model: nn.Module,
    input_ids: Tensor,
    *,
    visible_BTT: Tensor | None = None,
    is_causal: bool = True,
    **inputs: Tensor,
) -> Tensor:
    """S_max [layers, heads] in float64, from the queries and keys that transformers computes.

    A copy of the model runs with an attention function of ours that attends as "eager" does and
    notes the logits; what is visible is built here from positions: causal, within the layer's
    sliding window, and as `visible_BTT` says besides.
    """
    copied = copy.deepcopy(model).to(torch.float64).eval()
    for module in copied.modules():
        module._modules.pop("qk_clip", None)
    largest: list[Tensor] = []
    length = input_ids.shape[1]
    position = torch.arange(length)
    causal_TT = (position[:, None] >= position) | (not is_causal)

    def spy(module: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Any, **options: Any) -> Any:
        shared = q.shape[1] // k.shape[1]
        logits = torch.einsum("bhtq,bhsq->bhts", q, k.repeat_interleave(shared, 1))
        seen = causal_TT[None].expand(len(q), -1, -1)
        if visible_BTT is not None:
            seen = seen & visible_BTT
        if (size := sliding_window(module)) is not None:
            seen = seen & (position[:, None] - position < size)
        logits = (logits * options["scaling"]).masked_fill(~seen[:, None], -torch.inf)
        largest.append(logits.amax((0, 2, 3)))
        # "eager" takes its softmax in float32, where the smallest float64 would be -inf.
        mask = mask.clamp(min=torch.finfo(torch.float32).min)
        file = sys.modules[type(module).__module__]
        return file.eager_attention_forward(module, q, k, v, mask, **options)

    AttentionInterface.register("spy", spy)
    AttentionMaskInterface.register("spy", eager_mask)
    try:
        copied.set_attn_implementation("spy")
        copied.set_experts_implementation("eager")  # the other one knows no float64
        with torch.no_grad():
            copied(input_ids, use_cache=False, **inputs)
    finally:
        del AttentionInterface._global_mapping["spy"]
        del AttentionMaskInterface._global_mapping["spy"]
    return torch.stack(largest)


def train_pass(
    model: PreTrainedModel, input_ids: Tensor, labels: Tensor | None = None, **inputs: Any
) -> tuple[Tensor, Tensor]:
    """The loss and all gradients as one vector; leaves no gradients behind."""
    loss = model(input_ids, labels=input_ids if labels is None else labels, **inputs).loss
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
