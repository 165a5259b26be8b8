"""Newton-Schulz orthogonalisation: about U V^T of M = U S V^T, by matrix products alone.

Why: a momentum matrix is close to low rank, so a step along it moves a few directions and starves
the rest. U V^T keeps the directions and makes every step length one. An SVD is slow on every
accelerator; an odd polynomial of M changes the singular values, leaves U and V alone, and is made
of matrix products that run in bfloat16.

    X = M / ||M||_F                      all singular values in [0, 1]; transposed if M is tall
    for (a, b, c) of each step:
        A = X X^T                        [short, short]
        B = b A + c A A
        X = a X + B X                    each singular value s -> a s + b s^3 + c s^5

K2's (3.4445, -4.7750, 2.0315), five times, lifts small singular values by up to 485; the price is
that they end in about [0.68, 1.13] instead of at 1 (`openk2.optimizers.coefficients` has others).

The Gram form does the same on [short, short] matrices alone. All steps are polynomials of the first
A, so they commute: with P = a I + b A + c A A,

    X_k = Q_k X,   A_k = Q_k A Q_k       Q_0 = I
    Q_{k+1} = P_k Q_k,   A_{k+1} = P_k A_k P_k

and X is read twice in all, not ten times. What it costs is accuracy: A is known to the unit
roundoff u only, and each update multiplies what that leaves at small singular values by a^2; once
it nears one, the polynomial diverges. So the form restarts, i.e. forms X_k and a fresh A, before
u a_1^2 a_2^2 ... exceeds `RESTART_NOISE`. In float32 that is never for K2's five steps; in bfloat16
u exceeds it alone, every step would restart, and the Gram form is the standard one. (Letting it run
two steps in bfloat16 is faster for wide matrices and three times less orthogonal.)

Source: paper section 2.1 with Moonlight (arXiv 2502.16982) section 2; Gram form and restarts after
Dao-AILab's Gram Newton-Schulz. Shape letters: N matrices, S short side, L long side.
"""

from collections.abc import Sequence
from functools import cache
from math import frexp, prod
from typing import Literal

import torch
from torch import Tensor

from openk2.kernels.symmetric_matmul import symmetric_matmul
from openk2.optimizers.coefficients import COEFFICIENTS

__all__ = [
    "CPU_ELEMENTS",
    "GRAM_GAIN",
    "RESTART_NOISE",
    "Form",
    "choose_form",
    "iteration_dtype",
    "newton_schulz",
    "newton_schulz_flops",
]

Form = Literal["standard", "gram"]
Steps = Sequence[tuple[float, float, float]]

# Measured on matrices whose singular values fall to 1e-6: up to here the Gram form in float32
# leaves the error in orthogonality where the standard form has it, in five digits.
RESTART_NOISE = 2.0**-8

# Products of small square matrices run slower than wide ones: measured on a CPU in float32, the
# Gram form wins from long = 2 short on, where it has 0.84 of the operations, not at once.
GRAM_GAIN = 0.9

# A CPU iterates at most so many elements at a time: steps on more do not find them in its caches,
# and took up to a quarter longer. Fewer cost more in calls than they gain.
CPU_ELEMENTS = 2**22


@torch.no_grad()
def newton_schulz(
    matrices: Tensor,
    coefficients: Steps = COEFFICIENTS["k2"],
    dtype: torch.dtype | None = None,
    form: Form | Literal["auto"] = "auto",
) -> Tensor:
    """Orthogonalise each matrix of `matrices` [..., rows, columns]; the input is not changed.

    The result has the same shape and depends on the direction of a matrix only, not on its scale;
    a zero matrix gives zeros, and one with an infinity or a NaN gives NaN, alone in its batch. It
    comes in `dtype`, the dtype of the iteration (default: `iteration_dtype`). The input is cast to
    it before anything else, so whoever sends matrices in `dtype` loses nothing.

    `coefficients` are (a, b, c) of each step; "auto" is the faster form (`choose_form`). ValueError
    for float16, whose range a gradient leaves.
    """
    dtype = dtype or iteration_dtype(matrices.device, matrices.dtype)
    if dtype == torch.float16:
        raise ValueError("Newton-Schulz in float16 is not supported; take bfloat16 or float32")
    *batch, rows, columns = matrices.shape
    M = matrices.to(dtype).reshape(prod(batch), rows, columns)
    X_NSL = _normalised(M)
    if rows > columns:
        X_NSL = X_NSL.mT
    if form == "auto":
        form = choose_form(min(rows, columns), max(rows, columns), coefficients, dtype)
    iterate = _gram if form == "gram" else _standard
    elements = CPU_ELEMENTS if X_NSL.device.type == "cpu" else X_NSL.numel()
    at_once = max(1, elements // max(1, rows * columns))
    spare_NSL = torch.empty_like(X_NSL)
    for part, spare in zip(X_NSL.split(at_once), spare_NSL.split(at_once), strict=True):
        result = iterate(part, spare, coefficients)
    X_NSL = X_NSL if result is part else spare_NSL
    return (X_NSL.mT if rows > columns else X_NSL).reshape(matrices.shape)


def choose_form(short: int, long: int, coefficients: Steps, dtype: torch.dtype) -> Form:
    """The faster form on matrices of these sides, by operations and the restarts in `dtype`."""
    steps, restarts = len(coefficients), len(_segments(coefficients, dtype)) - 1
    gram = newton_schulz_flops(short, long, steps, "gram", restarts)
    standard = newton_schulz_flops(short, long, steps, "standard")
    return "gram" if gram < GRAM_GAIN * standard else "standard"


def newton_schulz_flops(
    rows: int,
    columns: int,
    steps: int = 5,
    form: Form = "standard",
    restarts: int = 0,
    symmetric: bool = False,
) -> float:
    """Floating-point operations on one matrix [rows, columns]; a multiply-add is two.

    Of `form`, the Gram form with `restarts`; `symmetric` counts half of a product whose result is
    symmetric, as a kernel that computes one triangle does (`openk2.kernels.symmetric_matmul`).
    """
    short, long = sorted((rows, columns))
    half = 0.5 if symmetric else 1.0
    segments = steps if form == "standard" else 1 + restarts
    # Per segment X X^T and Q X; per step A A; per step but the first of its segment P Q and P A P.
    wide = segments * (1 + half)
    square = half * (steps + 3 * (steps - segments))
    return 2.0 * short**2 * (wide * long + square * short)


def iteration_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """The dtype in which matrices of `dtype` on `device` are iterated.

    bfloat16 where the hardware multiplies it natively, float32 elsewhere (emulated bfloat16 is
    slower than float32); float64 stays float64, for comparisons. Never float16, which CPUs multiply
    several times slower than float32, and whose range ends at 65504.
    """
    if dtype == torch.float64:
        return torch.float64
    if device.type == "cuda" or (device.type == "cpu" and _cpu_multiplies_bfloat16()):
        return torch.bfloat16
    return torch.float32


def _normalised(M: Tensor) -> Tensor:
    """Each matrix of M [N, rows, columns] over its Frobenius norm, as a new tensor.

    torch sums the squares of bfloat16 in float32, which they leave beyond 2^+-64. Matrices whose
    norm comes near that are shifted by a power of two, exactly, and their norm is taken again.
    """
    _, exponent = frexp(torch.finfo(M.dtype).max)  # 128; 1024 for float64
    shift = 2.0 ** (exponent * 3 // 4)
    norm = torch.linalg.vector_norm(M, dim=(-2, -1), keepdim=True)
    scale = torch.ones_like(norm)
    scale.masked_fill_(norm < 2.0 ** (-exponent * 5 // 16), shift)
    scale.masked_fill_(norm > 2.0 ** (exponent * 15 // 32), 1 / shift)
    # Whether there are any is free to ask on a CPU; elsewhere the host would wait for the answer.
    if M.device.type != "cpu" or bool((scale != 1).any()):
        M = M * scale
        norm = torch.linalg.vector_norm(M, dim=(-2, -1), keepdim=True)
    # The reciprocal of so few numbers is free; dividing all by them takes a CPU twice as long.
    scaled: Tensor = M * norm.masked_fill_(norm == 0, 1).reciprocal_()
    return scaled


def _standard(X_NSL: Tensor, spare_NSL: Tensor, coefficients: Steps) -> Tensor:
    """The iteration on X itself. Overwrites both tensors; the result is one of them."""
    N, S, _ = X_NSL.shape
    tall = not X_NSL.is_contiguous()
    A_NSS, B_NSS = X_NSL.new_empty(2, N, S, S)
    for a, b, c in coefficients:
        symmetric_matmul(X_NSL, out=A_NSS)
        symmetric_matmul(A_NSS, addend=A_NSS, beta=b, alpha=c, out=B_NSS)
        if tall:  # (B X)^T = X^T B, on the tall matrices as they lie in memory
            torch.baddbmm(X_NSL.mT, X_NSL.mT, B_NSS, beta=a, out=spare_NSL.mT)
        else:
            torch.baddbmm(X_NSL, B_NSS, X_NSL, beta=a, out=spare_NSL)
        X_NSL, spare_NSL = spare_NSL, X_NSL
    return X_NSL


def _gram(X_NSL: Tensor, spare_NSL: Tensor, coefficients: Steps) -> Tensor:
    """The iteration on A and Q, with restarts. Overwrites both tensors; the result is one."""
    for segment in _segments(coefficients, X_NSL.dtype):
        if len(segment) == 1:
            _standard(X_NSL, spare_NSL, segment)
        else:
            A_NSS = symmetric_matmul(X_NSL)
            Q_NSS = P_NSS = _polynomial(A_NSS, *segment[0])
            for step in segment[1:]:
                A_NSS = symmetric_matmul(P_NSS, symmetric_matmul(P_NSS, A_NSS))
                P_NSS = _polynomial(A_NSS, *step)
                Q_NSS = symmetric_matmul(P_NSS, Q_NSS)
            torch.bmm(Q_NSS, X_NSL, out=spare_NSL)
        X_NSL, spare_NSL = spare_NSL, X_NSL
    return X_NSL


def _polynomial(A_NSS: Tensor, a: float, b: float, c: float) -> Tensor:
    """P = a I + b A + c A A."""
    P_NSS = symmetric_matmul(A_NSS, addend=A_NSS, beta=b, alpha=c)
    P_NSS.diagonal(dim1=-2, dim2=-1).add_(a)
    return P_NSS


def _segments(coefficients: Steps, dtype: torch.dtype) -> list[list[tuple[float, float, float]]]:
    """The steps from one restart of the Gram form to the next."""
    segments: list[list[tuple[float, float, float]]] = []
    noise = RESTART_NOISE
    for step in coefficients:
        if noise >= RESTART_NOISE:
            segments.append([])
            noise = _roundoff(dtype)
        segments[-1].append(step)
        noise *= max(1.0, step[0] ** 2)
    return segments


def _roundoff(dtype: torch.dtype) -> float:
    """The largest relative error of one rounding in a matrix product of `dtype`."""
    settings = (
        torch.backends.mkldnn.matmul.fp32_precision,  # type: ignore[attr-defined]
        torch.backends.cuda.matmul.fp32_precision,
    )
    if dtype == torch.float32 and not {"tf32", "bf16"}.isdisjoint(settings):
        dtype = torch.bfloat16  # float32 products are computed in something as coarse
    return torch.finfo(dtype).eps / 2


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
