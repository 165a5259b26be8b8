"""Newton-Schulz orthogonalisation: about U V^T of M = U S V^T, by matrix products alone.

Why: a momentum matrix is close to low rank, so a step along it moves a few directions and starves
the rest. U V^T keeps the directions and makes every step length one. An SVD is slow on every
accelerator; an odd polynomial of M changes the singular values, leaves U and V alone, and is made
of matrix products that run in bfloat16.

    X = M / ||M||_F                      all singular values in [0, 1]; transposed if M is tall
    five times:
        A = X X^T                        [short, short]
        B = b A + c A A
        X = a X + B X                    each singular value s -> a s + b s^3 + c s^5

(a, b, c) = (3.4445, -4.7750, 2.0315) has the steepest slope at zero, so small singular values rise
by up to 3.4445^5 = 485; the price is that they end in about [0.68, 1.13] instead of at 1.

Source: paper section 2.1 with Moonlight (arXiv 2502.16982) section 2; coefficients from Keller
Jordan's Muon. Shape letters: N matrices, S short side, L long side.
"""

from functools import cache

import torch
from torch import Tensor

__all__ = ["COEFFICIENTS", "iteration_dtype", "newton_schulz"]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def newton_schulz(matrices: Tensor, steps: int = 5, dtype: torch.dtype | None = None) -> Tensor:
    """Orthogonalise each matrix of `matrices` [..., rows, columns]; the input is not changed.

    The result has the same shape and depends on the direction of a matrix only, not on its scale;
    a zero matrix gives zeros. It comes in `dtype`, the dtype of the iteration (default:
    `iteration_dtype`), while the normalisation runs in float32, or in float64 for float64 input.
    """
    dtype = dtype or iteration_dtype(matrices.device, matrices.dtype)
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    X = _normalised(matrices.mT if tall else matrices).to(dtype)
    X_NSL = X.reshape(-1, *X.shape[-2:])
    for _ in range(steps):
        A_NSS = torch.bmm(X_NSL, X_NSL.mT)
        B_NSS = torch.baddbmm(A_NSS, A_NSS, A_NSS, beta=b, alpha=c)
        X_NSL = torch.baddbmm(X_NSL, B_NSS, X_NSL, beta=a)
    orthogonal = X_NSL.reshape(X.shape)
    return orthogonal.mT if tall else orthogonal


def iteration_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """The dtype in which matrices of `dtype` on `device` are iterated.

    bfloat16 where the hardware multiplies it natively, float32 elsewhere (emulated bfloat16 is
    slower than float32); float64 stays float64, for comparisons. Never float16, which CPUs multiply
    several times slower than float32.
    """
    if dtype == torch.float64:
        return torch.float64
    if device.type == "cuda" or (device.type == "cpu" and _cpu_multiplies_bfloat16()):
        return torch.bfloat16
    return torch.float32


def _normalised(matrices: Tensor) -> Tensor:
    """Each matrix over its Frobenius norm, safe from 1e-38 to 1e38 because squares never over- or
    underflow: divided by its largest entry first, a matrix that is not zero has norm >= 1."""
    matrices = matrices.to(torch.promote_types(matrices.dtype, torch.float32))
    largest = matrices.abs().amax(dim=(-2, -1), keepdim=True)
    scaled = matrices / torch.where(largest > 0, largest, 1.0)
    norm = torch.linalg.vector_norm(scaled, dim=(-2, -1), keepdim=True)
    return scaled.div_(norm.clamp_(min=1.0))


@cache
def _cpu_multiplies_bfloat16() -> bool:
    """Whether oneDNN takes bfloat16 and this x86 CPU has instructions for it.

    oneDNN alone is not enough: it also accepts AVX-512 without bfloat16, and emulates.
    """
    return (
        torch.backends.mkldnn.is_available()
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    )
