# mypy: ignore-errors
# Triton compiles the kernel from its source; its parameters are no Python values with types.
"""The Triton kernel of `openk2.kernels.symmetric_matmul`; imports triton.

One program computes one tile of one product. Tiles above the diagonal leave at once; the others
accumulate in float32 and store their lower triangle twice, as it is and mirrored, so the result is
symmetric to the bit. `TRITON_INTERPRET=1` runs it on tensors of the CPU.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["symmetric_matmul_triton"]


def symmetric_matmul_triton(
    X_NSK: Tensor,
    Y_NSK: Tensor,
    addend: Tensor | None,
    beta: float,
    alpha: float,
    out: Tensor,
) -> Tensor:
    """beta * addend + alpha * X Y^T into `out` [N, S, S], of bfloat16, float16 or float32.

    Any strides; X Y^T and `addend` are symmetric, and `out` shares no memory with the others.
    """
    N, S, K = X_NSK.shape
    # Three stages of two tiles in 16 bits: 96 KiB of shared memory, which GPUs from Ampere on have.
    tile, depth = (128, 64) if X_NSK.element_size() == 2 else (64, 32)
    tiles = triton.cdiv(S, tile)
    C = out if addend is None else addend
    # A launch axis holds at most 65535 programs but the first: the matrices share it with the rows.
    # Triton launches on the current device, which need not be the tensors'.
    with torch.cuda.device_of(X_NSK):
        _lower_triangle[(N * tiles, tiles)](
            *(X_NSK, Y_NSK, C, out),
            *(S, K, alpha, beta),
            *(*X_NSK.stride(), *Y_NSK.stride(), *C.stride(), *out.stride()),
            HAS_ADDEND=addend is not None,
            TILE=tile,
            DEPTH=depth,
            num_warps=8 if tile == 128 else 4,
            num_stages=3,
        )
    return out


@triton.jit
def _lower_triangle(
    X,
    Y,
    C,
    out,
    S,
    K,
    alpha,
    beta,
    X_stride_N,
    X_stride_S,
    X_stride_K,
    Y_stride_N,
    Y_stride_S,
    Y_stride_K,
    C_stride_N,
    C_stride_row,
    C_stride_column,
    out_stride_N,
    out_stride_row,
    out_stride_column,
    HAS_ADDEND: tl.constexpr,
    TILE: tl.constexpr,
    DEPTH: tl.constexpr,
):
    tiles = tl.num_programs(1)
    row_tile = tl.program_id(0) % tiles
    column_tile = tl.program_id(1)
    if column_tile > row_tile:
        return
    # 64 bits for the corner of a tile, since stacks of large matrices pass 2^31 elements; 32 inside
    # it, where a tensor of 64-bit pointers would not fit into the registers.
    matrix = (tl.program_id(0) // tiles).to(tl.int64)
    first_row = row_tile.to(tl.int64) * TILE
    first_column = column_tile.to(tl.int64) * TILE
    row = tl.arange(0, TILE)
    column = tl.arange(0, TILE)
    k = tl.arange(0, DEPTH)
    row_inside = row < S - first_row
    column_inside = column < S - first_column

    X += matrix * X_stride_N + first_row * X_stride_S
    Y += matrix * Y_stride_N + first_column * Y_stride_S
    X_offset = row[:, None] * X_stride_S + k[None, :] * X_stride_K
    Y_offset = column[None, :] * Y_stride_S + k[:, None] * Y_stride_K
    product = tl.zeros((TILE, TILE), dtype=tl.float32)
    for start in range(0, K, DEPTH):
        k_inside = k < K - start
        x = tl.load(X + X_offset, mask=row_inside[:, None] & k_inside[None, :], other=0.0)
        y = tl.load(Y + Y_offset, mask=k_inside[:, None] & column_inside[None, :], other=0.0)
        product = tl.dot(x, y, product, input_precision="ieee")
        X += DEPTH * X_stride_K
        Y += DEPTH * Y_stride_K
    product *= alpha

    lower = row_inside[:, None] & (first_row + row[:, None] >= first_column + column[None, :])
    if HAS_ADDEND:
        C += matrix * C_stride_N + first_row * C_stride_row + first_column * C_stride_column
        C_offset = row[:, None] * C_stride_row + column[None, :] * C_stride_column
        product += beta * tl.load(C + C_offset, mask=lower, other=0.0).to(tl.float32)
    result = product.to(out.dtype.element_ty)
    out += matrix * out_stride_N
    direct = out + first_row * out_stride_row + first_column * out_stride_column
    offset = row[:, None] * out_stride_row + column[None, :] * out_stride_column
    tl.store(direct + offset, result, mask=lower)
    # The transposed tile keeps neighbours in memory neighbours in the store.
    mirrored = out + first_column * out_stride_row + first_row * out_stride_column
    tl.store(mirrored + offset, tl.trans(result), mask=tl.trans(lower))
