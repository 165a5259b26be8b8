"""S_max per head on a GPU, only for the heads that need it and without the host ever waiting.

A program takes a block of queries of one head and walks over the keys. It first reads its head's
bound; at or below the threshold it ends at once, so an ordinary step costs one nearly empty launch.
Each block writes its own maximum, and torch reduces them: the result does not depend on the order
in which programs run.

Shape letters as in `attention_logits`; N blocks of queries, over the batch and the sequence.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,import-not-found,import-untyped"

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["max_logits"]

BLOCK_T = BLOCK_S = 64
BLOCK_Q = 32  # columns multiplied at once: any width takes at most 48 KiB of shared memory


def max_logits(
    q_BHTQ: Tensor,
    k_BGSQ: Tensor,
    scale: float,
    is_causal: bool,
    mask: Tensor | None,
    bound_H: Tensor | None,
    threshold: float | None,
) -> Tensor:
    """`attention_logits.exact_max_logits` as a Triton kernel, in 16 or 32 bits.

    Products accumulate in float32; those of float32 inputs are made of three TF32 products each.
    """
    dtype = torch.promote_types(q_BHTQ.dtype, k_BGSQ.dtype)  # a product wants one dtype
    q_BHTQ, k_BGSQ = q_BHTQ.to(dtype), k_BGSQ.to(dtype)
    batch, heads, queries, width = q_BHTQ.shape
    keys = k_BGSQ.shape[2]
    if bound_H is None or threshold is None:
        bound_H, threshold = torch.full((heads,), torch.inf, device=q_BHTQ.device), 0.0
    bound_H = bound_H.float().contiguous()
    if mask is not None:
        mask = mask.view(torch.uint8) if mask.dtype == torch.bool else mask
        mask = mask.expand(batch, heads, queries, keys)
    blocks = triton.cdiv(queries, BLOCK_T)
    largest_HN = torch.empty(heads, batch * blocks, dtype=torch.float32, device=q_BHTQ.device)
    with torch.cuda.device_of(q_BHTQ):
        _max_logits[(batch * blocks, heads)](
            q_BHTQ, k_BGSQ, q_BHTQ if mask is None else mask, bound_H, largest_HN,
            *q_BHTQ.stride(), *k_BGSQ.stride(), *(mask.stride() if mask is not None else (0,) * 4),
            queries, keys, blocks, float(scale), float(threshold),
            WIDTH=width, HEADS_PER_KEY=heads // k_BGSQ.shape[1], CAUSAL=is_causal,
            MASK="none" if mask is None else "visible" if mask.dtype == torch.uint8 else "added",
            BLOCK_T=BLOCK_T, BLOCK_S=BLOCK_S, BLOCK_Q=BLOCK_Q,
        )  # fmt: skip
    return torch.where(bound_H <= threshold, bound_H, largest_HN.amax(1))


@triton.jit
def _max_logits(
    q_ptr, k_ptr, mask_ptr, bound_ptr, largest_ptr,
    q_b, q_h, q_t, q_q,
    k_b, k_g, k_s, k_q,
    mask_b, mask_h, mask_t, mask_s,
    queries, keys, blocks, scale, threshold,
    WIDTH: tl.constexpr, HEADS_PER_KEY: tl.constexpr, CAUSAL: tl.constexpr,
    MASK: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_Q: tl.constexpr,
):  # fmt: skip
    """The maximum over one block of queries of one head; strides are named tensor_letter."""
    block = tl.program_id(0)
    head = tl.program_id(1).to(tl.int64)
    if tl.load(bound_ptr + head) <= threshold:
        return
    batch = (block // blocks).to(tl.int64)
    first_T = (block % blocks) * BLOCK_T
    t = first_T + tl.arange(0, BLOCK_T)
    q_row_ptr = q_ptr + batch * q_b + head * q_h + t[:, None].to(tl.int64) * q_t
    k_ptr += batch * k_b + (head // HEADS_PER_KEY) * k_g
    mask_row_ptr = mask_ptr + batch * mask_b + head * mask_h + t[:, None].to(tl.int64) * mask_t
    largest_TS = tl.full((BLOCK_T, BLOCK_S), -float("inf"), tl.float32)
    end = tl.minimum(keys, first_T + BLOCK_T) if CAUSAL else keys
    for first_S in range(0, end, BLOCK_S):
        s = first_S + tl.arange(0, BLOCK_S)
        logits_TS = tl.zeros((BLOCK_T, BLOCK_S), tl.float32)
        for first_Q in range(0, WIDTH, BLOCK_Q):
            i = first_Q + tl.arange(0, BLOCK_Q)
            q_inside = (t[:, None] < queries) & (i[None, :] < WIDTH)
            k_inside = (s[None, :] < keys) & (i[:, None] < WIDTH)
            k_column_ptr = k_ptr + s[None, :].to(tl.int64) * k_s
            q_TQ = tl.load(q_row_ptr + i[None, :] * q_q, mask=q_inside, other=0.0)
            k_QS = tl.load(k_column_ptr + i[:, None] * k_q, mask=k_inside, other=0.0)
            logits_TS = tl.dot(q_TQ, k_QS, logits_TS, input_precision="tf32x3")
        logits_TS *= scale
        visible_TS = (t[:, None] < queries) & (s[None, :] < keys)
        if CAUSAL:
            visible_TS &= s[None, :] <= t[:, None]
        if MASK != "none":
            mask_TS = tl.load(mask_row_ptr + s[None, :].to(tl.int64) * mask_s, visible_TS, other=0)
            if MASK == "visible":
                visible_TS &= mask_TS != 0
            else:
                logits_TS += mask_TS.to(tl.float32)
        logits_TS = tl.where(visible_TS, logits_TS, -float("inf"))
        largest_TS = tl.maximum(largest_TS, logits_TS, propagate_nan=tl.PropagateNan.ALL)
    # A reduction by tl.max drops NaN, so NaN is counted apart.
    is_nan = tl.max(tl.max((largest_TS != largest_TS).to(tl.int32), 1), 0)
    largest = tl.max(tl.max(largest_TS, 1), 0)
    largest = tl.where(is_nan > 0, float("nan"), largest)
    tl.store(largest_ptr + head * tl.num_programs(0) + block, largest)
