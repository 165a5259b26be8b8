"""X Y^T where it is known to be symmetric, as X X^T and products of commuting matrices are.

Half of such a product is the mirror image of the other half. On CUDA, from `KERNEL_MIN_SIDE` on, a
Triton kernel computes the lower triangle and stores each tile twice; everywhere else torch computes
all of it. Both accumulate in float32 or wider and agree to the rounding of the result. Triton is
imported at the first product that is large enough, and not needed.

Shape letters: N matrices, S side of the product, K the dimension that is summed over.
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

__all__ = ["KERNEL_MIN_SIDE", "symmetric_matmul"]

# The side from which computing half is faster than cuBLAS computing all. Measured by others on an
# H100 (torch pull request 184886): 0.7 of cuBLAS' speed below 2048, 1.26 at 4096, 1.46 at 8192.
KERNEL_MIN_SIDE = 2048


def symmetric_matmul(
    X_NSK: Tensor,
    Y_NSK: Tensor | None = None,
    *,
    addend: Tensor | None = None,
    beta: float = 1.0,
    alpha: float = 1.0,
    out: Tensor | None = None,
) -> Tensor:
    """beta * addend + alpha * X Y^T for each of N matrices: [N, S, S]; Y None is X.

    The caller answers for the symmetry of X Y^T and of `addend` [N, S, S]: only the lower triangle
    may be computed. `out` [N, S, S] takes the result if given, and shares no memory with the rest.
    """
    Y_NSK = X_NSK if Y_NSK is None else Y_NSK
    N, S, _ = X_NSK.shape
    out = X_NSK.new_empty(N, S, S) if out is None else out
    kernel = _triton_kernel() if X_NSK.is_cuda and S >= KERNEL_MIN_SIDE else None
    # In float32 a kernel that multiplies exactly is slower than cuBLAS, whatever it leaves out.
    if kernel is not None and X_NSK.element_size() == 2:
        return kernel(X_NSK, Y_NSK, addend, beta, alpha, out)
    if addend is None:
        return torch.baddbmm(out, X_NSK, Y_NSK.mT, beta=0, alpha=alpha, out=out)
    return torch.baddbmm(addend, X_NSK, Y_NSK.mT, beta=beta, alpha=alpha, out=out)


@cache
def _triton_kernel() -> Callable[..., Tensor] | None:
    try:
        from openk2.kernels.symmetric_matmul_triton import symmetric_matmul_triton
    except ImportError:
        return None
    return symmetric_matmul_triton
