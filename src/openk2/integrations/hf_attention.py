"""QK-Clip for the attention layers of transformers' models.

`attach` is what `openk2.optimizers.find_clip_targets` calls, through the entry point group
"openk2.clip_targets": each attention layer it knows gets a child module `qk_clip`, an
AttentionClipTarget. Notable:

- A layer is known by whose forward pass it runs (`FAMILIES`) and by the shapes of its projections.
  One that is not known is left alone, so that find_clip_targets names it instead of training
  without the clip.
- transformers' layers ask one table for the attention function that their config names. What the
  table returns is wrapped here, once per process: layers with `qk_clip` report their queries and
  keys on the way, all others pass through. So the configs, the masks and `set_attn_implementation`
  stay as they are, and evaluation, generation and saving run transformers' own code.
- "sdpa" becomes the same flash kernel with its log-sum-exp kept, which bounds S_max for nothing.
  Where that cannot be (dropout, "eager", soft-capping), the original function attends, and
  |q| max|k| is the bound. Only heads whose bound exceeds tau are measured exactly.
- S_max is that of the logits before soft-capping (Gemma 2), which hides their growth, and of the
  pairs that the mask shows: queries at right-padded positions count, though no loss sees them.
- Other implementations do not show their masks (flash_attention_2, flex_attention): an error.

Shape letters: B batch, T queries, S keys, H query heads, G key heads, Q head width, V value width.
"""

import inspect
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from itertools import chain
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from openk2.core.protocols import HeadMatrices, LogitRows
from openk2.kernels.attention_logits import attention_with_log_sum_exp
from openk2.models.attention import latent_head_matrices, latent_logit_rows
from openk2.optimizers.clip_targets import (
    AttentionClipTarget,
    fused_query_key_value_rows,
    norm_gain_rows,
    query_key_rows,
)

__all__ = ["FAMILIES", "attach"]

# Attention classes of transformers that are projections, norms where there are some, rotation and
# attention, and nothing else; with each the classes whose forward pass is a copy of its own.
FAMILIES: dict[str, tuple[str, ...]] = {
    "LlamaAttention": (
        "ArceeAttention",
        "Ernie4_5Attention",
        "GemmaAttention",
        "GlmAttention",
        "Glm4Attention",
        "GraniteAttention",
        "GraniteMoeAttention",
        "HeliumAttention",
        "NemotronAttention",
        "PhimoeAttention",
        "Qwen2MoeAttention",
    ),
    "MistralAttention": ("MixtralAttention",),
    "Qwen2Attention": ("MinistralAttention",),
    "Gemma2Attention": (),
    "Gemma3Attention": (),
    "Qwen3Attention": ("Dots1Attention", "Qwen3MoeAttention"),
    "SmolLM3Attention": (),
    "Starcoder2Attention": (),
    "GptOssAttention": (),
    "Olmo2Attention": ("FlexOlmoAttention",),
    "Olmo3Attention": (),
    "Phi3Attention": (),
    "DeepseekV2Attention": (),
    "DeepseekV3Attention": (),
}


class _LayerTarget(AttentionClipTarget):
    """What `attach` adds, and the only kind that the attention functions report to."""

    options: tuple[str, str]  # `gqa` and `qk_norm`


_KNOWN = {*FAMILIES, *chain.from_iterable(FAMILIES.values())}


def attach(
    model: nn.Module,
    *,
    gqa: Literal["per_head", "group"] = "per_head",
    qk_norm: Literal["clip_gains", "refuse"] = "clip_gains",
) -> None:
    """Give each attention layer of a transformers model that is known a child `qk_clip`.

    `gqa` and `qk_norm`: see `find_clip_targets`. Does nothing where there is no such layer, and
    leaves frozen ones alone. Attaching again with the same options changes nothing. ValueError for
    an attention implementation that cannot be observed, and for normalised queries and keys under
    "refuse".
    """
    if "transformers" not in sys.modules:
        return
    shared_gains = []
    for name, layer in list(model.named_modules()):
        if not _is_known(layer) or not any(p.requires_grad for p in layer.parameters()):
            continue
        matrices = _head_matrices(layer)
        if not _fit(matrices):
            layer._modules.pop("qk_clip", None)  # from before an adapter replaced a projection
            continue
        _check_implementation(layer.config._attn_implementation)
        if _is_normalised(layer):
            if qk_norm == "refuse":
                raise ValueError(
                    f"{name} normalises queries and keys, so scaling its projections changes no "
                    'logit; use qk_norm="clip_gains", which scales the gains of the norms, or '
                    "qk_clip_threshold=None to train without QK-Clip"
                )
            if not _has_gain_per_head(layer):
                shared_gains.append(name)
        old: Any = getattr(layer, "qk_clip", None)
        is_current = isinstance(old, _LayerTarget) and old.options == (gqa, qk_norm)
        if not is_current or old.head_matrices() != matrices:
            heads, rows = layer.config.num_attention_heads, _logit_rows(layer, gqa)
            target = _LayerTarget(heads, rows, matrices, query=_query(layer))
            target.options = gqa, qk_norm
            layer.qk_clip = target.train(layer.training)
        _observe_attention_functions()
    if shared_gains:
        warnings.warn(
            f"QK-Clip: in {len(shared_gains)} layers, the first {shared_gains[0]}, all heads share "
            "the gains of the query and key norms: when one head exceeds the threshold, the "
            "logits of all heads of its layer shrink together",
            stacklevel=2,
        )


def _is_known(layer: nn.Module) -> bool:
    """Whether the code of the layer's forward pass is that of a class in FAMILIES.

    The code and not the class: a subclass or a patch with a forward pass of its own is unknown.
    """
    forward = inspect.unwrap(type(layer).forward)
    module = getattr(forward, "__module__", None) or ""
    return (
        module.startswith("transformers.models.")
        and forward.__qualname__.removesuffix(".forward") in _KNOWN
    )


def _fit(matrices: list[HeadMatrices]) -> bool:
    """Whether the projections are plain matrices of the sizes that the config says.

    Quantised weights, low-rank adapters, parametrizations and shards that do not know the whole
    are not.
    """
    return all(
        isinstance(item.module, nn.Linear)
        and {name for name, _ in item.module.named_parameters()} <= {"weight", "bias"}
        and item.module.weight.is_floating_point()
        and item.module.weight.shape == (sum(item.heads), item.module.in_features)
        for item in matrices
    )


def _query(layer: Any) -> nn.Module:
    """The projection whose rows are, or begin with, the query heads."""
    if hasattr(layer, "qkv_proj"):
        return cast(nn.Module, layer.qkv_proj)
    has_latent = getattr(layer, "q_lora_rank", None) is not None
    return cast(nn.Module, layer.q_b_proj if has_latent else layer.q_proj)


def _latent_widths(layer: Any) -> tuple[int, int, int]:
    return layer.qk_nope_head_dim, layer.qk_rope_head_dim, layer.v_head_dim


def _head_matrices(layer: Any) -> list[HeadMatrices]:
    heads, groups = layer.config.num_attention_heads, layer.config.num_key_value_heads
    if hasattr(layer, "kv_b_proj"):
        return latent_head_matrices(_query(layer), layer.kv_b_proj, heads, *_latent_widths(layer))
    parts: list[tuple[nn.Module, tuple[int, ...]]]
    if hasattr(layer, "qkv_proj"):
        parts = [(layer.qkv_proj, (heads, groups, groups))]
    else:
        parts = [(layer.q_proj, (heads,)), (layer.k_proj, (groups,)), (layer.v_proj, (groups,))]
    width = layer.head_dim
    return [
        HeadMatrices(
            module, "weight", tuple(count * width for count in counts), (width,) * sum(counts)
        )
        for module, counts in parts
    ]


def _logit_rows(layer: Any, gqa: Literal["per_head", "group"]) -> list[LogitRows]:
    heads, groups = layer.config.num_attention_heads, layer.config.num_key_value_heads
    if hasattr(layer, "kv_b_proj"):
        return latent_logit_rows(_query(layer), layer.kv_b_proj, heads, *_latent_widths(layer))
    if hasattr(layer, "qkv_proj"):
        return fused_query_key_value_rows(layer.qkv_proj, heads, groups, gqa=gqa)
    if not _is_normalised(layer):
        return query_key_rows(layer.q_proj, layer.k_proj, heads, groups, gqa=gqa)
    if _has_gain_per_head(layer):
        # One norm over all heads ignores the scale of a projection, but each row has a gain.
        return query_key_rows(layer.q_norm, layer.k_norm, heads, groups, gqa=gqa)
    offset = _gain_offset(layer.q_norm)
    return norm_gain_rows(layer.q_norm, layer.k_norm, heads, layer.head_dim, offset=offset)


def _is_normalised(layer: Any) -> bool:
    return hasattr(layer, "q_norm")


def _has_gain_per_head(layer: Any) -> bool:
    """Whether the query norm has a gain for every row of every head, not one set for all heads."""
    return bool(layer.q_norm.weight.shape[0] == layer.q_proj.weight.shape[0])


def _gain_offset(norm: Any) -> float:
    """What the norm adds to its weight to make the gain: 1 for Gemma's, else 0.

    Asked of the norm itself, with zeros in place of its weight, wherever that is.
    """
    ones = torch.ones(norm.weight.shape, device="cpu")
    gain = torch.func.functional_call(norm, {"weight": torch.zeros_like(ones)}, (ones,))
    return float(gain[0].round())


def _observe_attention_functions() -> None:
    """Wrap what transformers' layers ask for their attention function; once per process."""
    from transformers.modeling_utils import AttentionInterface

    interface: Any = AttentionInterface
    get_interface = interface.get_interface
    if getattr(get_interface, "is_observed", False):
        return

    @wraps(get_interface)
    def get_observed(self: Any, attn_implementation: Any, default: Any) -> Callable[..., Any]:
        attention = get_interface(self, attn_implementation, default)

        @wraps(attention)
        def observed(module: nn.Module, *inputs: Any, **options: Any) -> Any:
            target = getattr(module, "qk_clip", None)
            if not isinstance(target, _LayerTarget) or not target.observes:
                return attention(module, *inputs, **options)
            _check_implementation(attn_implementation)
            return _attend(attention, attn_implementation, module, target, *inputs, **options)

        return observed

    interface.get_interface = get_observed
    interface.get_interface.is_observed = True


def _check_implementation(name: str | None) -> None:
    if name not in ("sdpa", "eager", None):
        raise ValueError(
            f"QK-Clip cannot observe the attention logits of {name!r}; call "
            'model.set_attn_implementation("sdpa") before training'
        )


def _attend(
    attention: Callable[..., Any],
    implementation: str | None,
    module: nn.Module,
    target: AttentionClipTarget,
    q_BHTQ: Tensor,
    k_BGSQ: Tensor,
    v_BGSV: Tensor,
    mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, Any]:
    """What `attention` returns, output [B, T, H, V] and weights or None; S_max goes to `target`.

    `mask` broadcasts to [B, H, T, S]: boolean with "sdpa", added to the logits with "eager".
    """
    is_sdpa = implementation == "sdpa"
    causal = options.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    # As transformers does: without a mask "sdpa" attends causally and "eager" to everything.
    is_causal = is_sdpa and causal and mask is None and q_BHTQ.shape[2] > 1
    scaling = options.get("scaling")
    scale = q_BHTQ.shape[-1] ** -0.5 if scaling is None else scaling
    q, k, v = (_under_autocast(x) for x in (q_BHTQ, k_BGSQ, v_BGSV))
    if is_sdpa and not options.get("dropout") and options.get("softcap") is None:
        out_BHTV, bound_BHT = attention_with_log_sum_exp(
            q, k, v, scale, is_causal=is_causal, mask=mask
        )
        result = out_BHTV.transpose(1, 2).contiguous(), None
    else:
        result = attention(module, q_BHTQ, k_BGSQ, v_BGSV, mask, **options)
        bound_BHT = None
    if bound_BHT is None:
        bound_BHT = _norm_bound(q, k, scale)
    target.report(q, k, scale, is_causal=is_causal, mask=mask, log_sum_exp_BHT=bound_BHT)
    return result


def _under_autocast(x: Tensor) -> Tensor:
    """The tensor as torch's own attention would take it here."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


@torch.no_grad()
def _norm_bound(q_BHTQ: Tensor, k_BGSQ: Tensor, scale: float) -> Tensor:
    """|q_i| max_j |k_j| scale >= max_j q_i . k_j scale (Cauchy-Schwarz), [B, H, T]."""
    q_BHT = torch.linalg.vector_norm(q_BHTQ.float(), dim=-1)
    k_BG1 = torch.linalg.vector_norm(k_BGSQ.float(), dim=-1).amax(2, keepdim=True)
    k_BH1 = k_BG1.repeat_interleave(q_BHTQ.shape[1] // k_BGSQ.shape[1], 1)
    bound_BHT: Tensor = scale * q_BHT * k_BH1
    return bound_BHT
