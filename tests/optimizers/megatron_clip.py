"""QK-Clip as Megatron-LM computes it, in float64, head by head; an oracle for ours.

    eta = min(1, threshold / max)
    multi-head   W_q *= eta^alpha;                      W_k *= eta^(1 - alpha)
    grouped      the same, with one eta for a group, that of the largest maximum of its heads
    latent       W_q,nope *= eta^alpha;  W_q,rope *= eta;  W_k,nope *= eta^(1 - alpha)

with alpha = 1/2. The one departure: a maximum at or below zero gives eta = 1, where the clamp of a
negative ratio gives NaN. Weights are [rows, columns], heads one after the other.
"""

from torch import Tensor

ALPHA = 0.5


def eta(maximum: float, threshold: float) -> float:
    return min(1.0, threshold / maximum) if maximum > 0 else 1.0


def multi_head(
    w_q: Tensor, w_k: Tensor, maxima: list[float], threshold: float
) -> tuple[Tensor, Tensor]:
    return grouped(w_q, w_k, maxima, len(maxima), threshold)


def grouped(
    w_q: Tensor, w_k: Tensor, maxima: list[float], groups: int, threshold: float
) -> tuple[Tensor, Tensor]:
    w_q, w_k = w_q.double().clone(), w_k.double().clone()
    heads, size = len(maxima), len(maxima) // groups
    width = w_q.shape[0] // heads
    for group in range(groups):
        shrink = eta(max(maxima[group * size : (group + 1) * size]), threshold)
        for head in range(group * size, (group + 1) * size):
            for row in range(head * width, (head + 1) * width):
                w_q[row] *= shrink**ALPHA
        for row in range(group * width, (group + 1) * width):
            w_k[row] *= shrink ** (1 - ALPHA)
    return w_q, w_k


def latent(
    w_q: Tensor,
    w_kv: Tensor,
    maxima: list[float],
    threshold: float,
    nope: int,
    rope: int,
    value: int,
) -> tuple[Tensor, Tensor]:
    w_q, w_kv = w_q.double().clone(), w_kv.double().clone()
    for head, maximum in enumerate(maxima):
        shrink = eta(maximum, threshold)
        first = head * (nope + rope)
        for row in range(first, first + nope):
            w_q[row] *= shrink**ALPHA
        for row in range(first + nope, first + nope + rope):
            w_q[row] *= shrink
        first = head * (nope + value)
        for row in range(first, first + nope):
            w_kv[row] *= shrink ** (1 - ALPHA)
    return w_q, w_kv


def per_head(
    w_q: Tensor, w_k: Tensor, maxima: list[float], threshold: float
) -> tuple[Tensor, Tensor]:
    """Not Megatron's: the query takes the whole factor, as latent attention's rotary part does."""
    w_q = w_q.double().clone()
    width = w_q.shape[0] // len(maxima)
    for head, maximum in enumerate(maxima):
        for row in range(head * width, (head + 1) * width):
            w_q[row] *= eta(maximum, threshold)
    return w_q, w_k.double().clone()
