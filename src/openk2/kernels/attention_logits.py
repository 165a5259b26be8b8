"""The largest attention logit of every head, S_max, next to attention that says what it can be.

S_max is what QK-Clip looks at (paper section 2.1). A flash kernel never holds the logits, but it
returns the log-sum-exp of each row, and max_j s_ij <= log sum_j exp s_ij: an upper bound for free.
Only heads whose bound exceeds the threshold need their logits computed once more.

`is_causal` aligns as torch's scaled_dot_product_attention does, top-left: query i sees keys j <= i,
also where T and S differ.

Shape letters: B batch, T queries, S keys, H query heads, G key heads (H / G heads share a key),
Q query and key width, V value width.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.backends.cuda import SDPAParams
from torch.nn.attention import SDPBackend

__all__ = ["MaxLogitRecorder", "attention_with_log_sum_exp", "exact_max_logits"]

_params: Any = SDPAParams  # whose stub knows no arguments
LOGITS_HELD = 1 << 24  # logits held at once when S_max is measured exactly: 64 MiB


class MaxLogitRecorder:
    """S_max per head of one attention layer: the maximum of what was recorded since the last reset.

    An object and not a buffer of its module: DistributedDataParallel overwrites buffers with those
    of process 0 before each forward pass, and so would lose what the others saw. It lives on the
    device of the activations. `threshold` is None until someone wants to know.
    """

    def __init__(self, num_attention_heads: int) -> None:
        self.num_attention_heads = num_attention_heads
        self.threshold: float | None = None
        self._max_logits_H: Tensor | None = None

    def observe(self, threshold: float) -> None:
        """Measure from now on, from nothing; heads at or below `threshold` need no exact value."""
        self.threshold = threshold
        self.reset()

    @torch.no_grad()
    def record(self, largest_H: Tensor, first_head: int = 0) -> None:
        """Fold in the maxima of consecutive heads, those of `first_head` and on; NaN stays NaN."""
        recorded_H = self.max_logits(largest_H.device)
        if recorded_H.device != largest_H.device:  # the model has moved since
            self._max_logits_H = recorded_H = recorded_H.to(largest_H.device)
        mine = recorded_H[first_head : first_head + len(largest_H)]
        torch.maximum(mine, largest_H, out=mine)

    def max_logits(self, device: torch.device) -> Tensor:
        """S_max since the last reset, float32 [H]; on `device` if nothing was ever recorded."""
        if self._max_logits_H is None:
            # What inference mode makes, training could not change.
            with torch.inference_mode(False):
                heads = (self.num_attention_heads,)
                self._max_logits_H = torch.full(
                    heads, -torch.inf, dtype=torch.float32, device=device
                )
        return self._max_logits_H

    def reset(self) -> None:
        """Forget what was recorded: -inf."""
        if self._max_logits_H is not None:
            self._max_logits_H.fill_(-torch.inf)


def attention_with_log_sum_exp(
    q_BHTQ: Tensor,
    k_BGSQ: Tensor,
    v_BGSV: Tensor,
    scale: float,
    *,
    is_causal: bool = False,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """softmax(q k^T * scale + mask) v, [B, H, T, V], and log sum exp of its rows, [B, H, T].

    The same values and gradients as torch's scaled_dot_product_attention, under autocast too.
    `mask` broadcasts to [B, H, T, S]: boolean, True where visible, or added to the logits; with
    `is_causal` both hold. The log-sum-exp (float32 or wider, without gradient) is None where no
    fused kernel returns one: other devices, float64 on CUDA, a mask that needs a gradient. For a
    row that sees nothing it is whatever the kernel says, but never below the truth, or NaN.
    """
    q, k, v = (_autocast(x) for x in (q_BHTQ, k_BGSQ, v_BGSV))
    if mask is not None:
        mask = mask if mask.dtype == torch.bool else _autocast(mask)
        mask = mask.view(*[1] * (4 - mask.ndim), *mask.shape)
        if is_causal:
            mask, is_causal = _and_causal(mask, q.shape[2], k.shape[2]), False
    if mask is None or not mask.requires_grad:
        fused = {"cpu": _attention_on_cpu, "cuda": _attention_on_cuda}.get(q.device.type)
        if fused is not None and (found := fused(q, k, v, scale, is_causal, mask)) is not None:
            return found
    out_BHTV = F.scaled_dot_product_attention(
        q, k, v, mask, is_causal=is_causal, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
    )
    return out_BHTV, None


@torch.no_grad()
def exact_max_logits(
    q_BHTQ: Tensor,
    k_BGSQ: Tensor,
    scale: float,
    *,
    is_causal: bool = False,
    mask: Tensor | None = None,
    bound_H: Tensor | None = None,
    threshold: float | None = None,
) -> Tensor:
    """S_max: max over the batch and the visible pairs of q_i . k_j * scale + mask, float32 [H].

    Given an upper bound per head and a threshold, a head whose bound is at or below the threshold
    is not measured: its bound is returned. `mask` and `is_causal` as in
    `attention_with_log_sum_exp`. A pair that is hidden counts for nothing, so the maximum may be
    negative, and is -inf for a head that sees no pair at all. A NaN among the visible logits makes
    the maximum NaN; a head whose bound is NaN is measured.

    On CUDA with Triton the host does not wait for the device; without Triton, and in float64, it
    waits once, to learn which heads exceed the threshold.
    """
    if torch.compiler.is_compiling():
        compiled: Tensor = _exact_max_logits(
            q_BHTQ, k_BGSQ, scale, is_causal, mask, bound_H, threshold
        )
        return compiled
    if q_BHTQ.device.type == "cuda" and q_BHTQ.dtype != torch.float64:
        kernel = _triton_kernel()
        if kernel is not None:
            return kernel(q_BHTQ, k_BGSQ, scale, is_causal, mask, bound_H, threshold)
    if bound_H is None or threshold is None:
        heads_H = torch.arange(q_BHTQ.shape[1], device=q_BHTQ.device)
        return _max_logits(q_BHTQ, k_BGSQ, scale, is_causal, mask, heads_H)
    largest_H = bound_H.float()
    exceeding = (~(largest_H <= threshold)).nonzero().flatten()
    if not len(exceeding):
        return largest_H
    measured = _max_logits(q_BHTQ, k_BGSQ, scale, is_causal, mask, exceeding)
    return largest_H.index_copy(0, exceeding, measured)


@torch.library.custom_op("openk2::exact_max_logits", mutates_args=())
def _exact_max_logits(
    q_BHTQ: Tensor,
    k_BGSQ: Tensor,
    scale: float,
    is_causal: bool,
    mask: Tensor | None,
    bound_H: Tensor | None,
    threshold: float | None,
) -> Tensor:
    """The same as one operator: which heads are measured is no question for a compiled graph."""
    largest_H = exact_max_logits(
        q_BHTQ, k_BGSQ, scale, is_causal=is_causal, mask=mask, bound_H=bound_H, threshold=threshold
    )
    return largest_H.clone()  # an operator may not return its input


@_exact_max_logits.register_fake
def _(q_BHTQ: Tensor, *_: Any) -> Tensor:
    return q_BHTQ.new_empty(q_BHTQ.shape[1], dtype=torch.float32)


@cache
def _triton_kernel() -> Callable[..., Tensor] | None:
    try:
        from openk2.kernels.max_logits_triton import max_logits
    except ImportError:
        return None
    return max_logits


def _max_logits(
    q_BHTQ: Tensor,
    k_BGSQ: Tensor,
    scale: float,
    is_causal: bool,
    mask: Tensor | None,
    heads_N: Tensor,
) -> Tensor:
    """S_max of the named heads, [N], from at most LOGITS_HELD logits at once."""
    batch, heads, queries, _ = q_BHTQ.shape
    keys, heads_per_key = k_BGSQ.shape[2], heads // k_BGSQ.shape[1]
    precision = torch.promote_types(q_BHTQ.dtype, torch.float32)
    largest = []
    for chosen in heads_N.split(max(1, LOGITS_HELD // (batch * keys))):
        q = q_BHTQ[:, chosen].to(precision) * scale
        k = k_BGSQ[:, chosen // heads_per_key].to(precision)
        rows = max(1, LOGITS_HELD // (batch * len(chosen) * keys))
        largest_N = q.new_full((len(chosen),), -torch.inf)
        for start in range(0, queries, rows):
            stop = min(start + rows, queries)
            seen = min(stop, keys) if is_causal else keys
            with torch.autocast(q.device.type, enabled=False):
                logits = q[:, :, start:stop] @ k[:, :, :seen].mT
            if is_causal:
                hidden = torch.ones(logits.shape[2:], dtype=torch.bool, device=q.device)
                logits.masked_fill_(hidden.triu_(start + 1), -torch.inf)
            if mask is not None:
                part = _part(mask, chosen, slice(start, stop), slice(seen))
                if part.dtype == torch.bool:
                    logits.masked_fill_(~part, -torch.inf)
                else:
                    logits += part
            largest_N = torch.maximum(largest_N, logits.amax((0, 2, 3)))
        largest.append(largest_N.float())
    return torch.cat(largest)


def _part(mask: Tensor, heads_N: Tensor, rows: slice, columns: slice) -> Tensor:
    """A part of what the mask would be if it were expanded to [B, H, T, S]."""
    mask = mask.view(*[1] * (4 - mask.ndim), *mask.shape)
    if mask.shape[1] > 1:
        mask = mask[:, heads_N]
    if mask.shape[2] > 1:
        mask = mask[:, :, rows]
    return mask[..., columns] if mask.shape[3] > 1 else mask


def _autocast(x: Tensor) -> Tensor:
    """What autocast does to the inputs of attention; it does not know the fused kernels."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


def _and_causal(mask: Tensor, queries: int, keys: int) -> Tensor:
    """The mask and a causal one together."""
    visible_TS = torch.ones(queries, keys, dtype=torch.bool, device=mask.device).tril()
    if mask.dtype == torch.bool:
        return mask & visible_TS
    return mask.masked_fill(~visible_TS, -torch.inf)


def _added_to_logits(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """A boolean mask in the form that the kernels take: added to the logits."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)


def _padded(x: Tensor, width: int) -> Tensor:
    """Zeros up to `width` columns, which change no product."""
    return F.pad(x, (0, width - x.shape[-1])) if x.shape[-1] < width else x


def _attention_on_cpu(
    q: Tensor, k: Tensor, v: Tensor, scale: float, is_causal: bool, mask: Tensor | None
) -> tuple[Tensor, Tensor] | None:
    """The flash kernel, which wants values as wide as keys; None where torch would not take it."""
    width = max(q.shape[-1], v.shape[-1])
    value_width = v.shape[-1]
    q, k, v = (_padded(x, width) for x in (q, k, v))
    mask = _added_to_logits(mask, q.dtype)
    grouped = q.shape[1] != k.shape[1]
    if not _is_flash_chosen_on_cpu(q, k, v, mask, is_causal, scale, grouped):
        return None
    out, log_sum_exp_BHT = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default(
        q, k, v, 0.0, is_causal, attn_mask=mask, scale=scale
    )
    return out[..., :value_width], log_sum_exp_BHT


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _is_flash_chosen_on_cpu(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    scale: float,
    grouped: bool,
) -> bool:
    choice = torch._fused_sdp_choice(
        q, k, v, mask, is_causal=is_causal, scale=scale, enable_gqa=grouped
    )
    return bool(choice == SDPBackend.FLASH_ATTENTION.value)


def _attention_on_cuda(
    q: Tensor, k: Tensor, v: Tensor, scale: float, is_causal: bool, mask: Tensor | None
) -> tuple[Tensor, Tensor] | None:
    """Flash attention, or the memory-efficient kernel where that cannot serve; None for neither.

    Both want widths that are a multiple of 8. Flash attention takes 16-bit inputs without a mask,
    values as wide as keys and grouped heads as they are; the other takes a bias whose rows begin
    at multiples of 16 elements, and keys and values repeated for each head.
    """
    value_width = v.shape[-1]
    grouped = q.shape[1] != k.shape[1]
    q, k, v = (_padded(x, -(-x.shape[-1] // 8) * 8) for x in (q, k, v))
    width = max(q.shape[-1], v.shape[-1])
    same = tuple(_padded(x, width) for x in (q, k, v))
    if torch.backends.cuda.can_use_flash_attention(_params(*same, mask, 0.0, is_causal, grouped)):
        out, log_sum_exp_BHT, *_ = torch.ops.aten._scaled_dot_product_flash_attention.default(
            *same, 0.0, is_causal, False, scale=scale
        )
        return out[..., :value_width], log_sum_exp_BHT
    if grouped:
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    bias = _added_to_logits(mask, q.dtype)
    if bias is not None:
        keys = k.shape[2]
        bias = bias.to(q.dtype).expand(*bias.shape[:3], keys)
        bias = F.pad(bias, (0, -keys % 16)).contiguous()[..., :keys].expand(*q.shape[:3], keys)
    if not torch.backends.cuda.can_use_efficient_attention(
        _params(q, k, v, bias, 0.0, is_causal, False)
    ):
        return None
    out, log_sum_exp, *_ = torch.ops.aten._scaled_dot_product_efficient_attention.default(
        q, k, v, bias, True, 0.0, is_causal, scale=scale
    )
    # The kernel rounds the length of its rows up; what is behind them is not ours.
    return out[..., :value_width], log_sum_exp[..., : q.shape[2]]
