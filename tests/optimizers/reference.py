"""Algorithm 1 of the paper, one matrix and one head at a time; float64 in, float64 out."""

from math import sqrt

from torch import Tensor


def newton_schulz(M: Tensor) -> Tensor:
    X = M / M.norm() if M.shape[0] <= M.shape[1] else M.T / M.norm()
    for _ in range(5):
        A = X @ X.T
        X = 3.4445 * X + (-4.7750 * A + 2.0315 * A @ A) @ X
    return X if M.shape[0] <= M.shape[1] else X.T


def muon(
    W: Tensor, M: Tensor, G: Tensor, lr: float, decay: float, mu: float, nesterov: bool
) -> tuple[Tensor, Tensor]:
    """W_t and M_t from W_{t-1}, M_{t-1} and G_t, all [n, m]."""
    M = mu * M + G
    O = newton_schulz(mu * M + G if nesterov else M) * sqrt(max(W.shape)) * 0.2  # noqa: E741
    return W - lr * (O + decay * W), M


def adamw(
    W: Tensor, m: Tensor, v: Tensor, G: Tensor, t: int, lr: float, decay: float
) -> tuple[Tensor, Tensor, Tensor]:
    """W_t, m_t and v_t; t counts from 1."""
    m = 0.9 * m + 0.1 * G
    v = 0.95 * v + 0.05 * G**2
    direction = (m / (1 - 0.9**t)) / ((v / (1 - 0.95**t)).sqrt() + 1e-8)
    return W - lr * (direction + decay * W), m, v


def qk_clip(
    W_q: Tensor, W_kv: Tensor, max_logits: list[float], tau: float, nope: int, rope: int, v: int
) -> tuple[Tensor, Tensor]:
    """The clipped W_q [heads * (nope + rope), ...] and W_kv [heads * (nope + v), ...]."""
    W_q, W_kv = W_q.clone(), W_kv.clone()
    for h, S_max in enumerate(max_logits):
        if S_max > tau:
            gamma = tau / S_max
            q, kv = h * (nope + rope), h * (nope + v)
            W_q[q : q + nope] *= sqrt(gamma)
            W_q[q + nope : q + nope + rope] *= gamma
            W_kv[kv : kv + nope] *= sqrt(gamma)
    return W_q, W_kv
