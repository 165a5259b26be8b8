"""Learning rates as pure functions of the step."""

from math import cos, pi

__all__ = ["warmup_stable_decay"]


def warmup_stable_decay(
    step: int, steps: int, peak: float, final: float, warmup_steps: int, decay_steps: int
) -> float:
    """The learning rate of optimizer step `step`, counted from 1 to `steps` (paper section 2.5).

    Linear from peak / warmup_steps to `peak` over the first `warmup_steps`, then flat, then a
    cosine from `peak` to `final` over the last `decay_steps`: step `warmup_steps` has exactly
    `peak` and step `steps` exactly `final` (if decay_steps > 0). The paper: 500 steps to 2e-4, flat
    for 10T tokens, 2e-4 to 2e-5 over 5.5T. ValueError if the phases do not fit.
    """
    if not 1 <= step <= steps:
        raise ValueError(f"step {step} is outside 1..{steps}")
    if warmup_steps < 0 or decay_steps < 0 or warmup_steps + decay_steps > steps:
        raise ValueError(
            f"warmup_steps {warmup_steps} and decay_steps {decay_steps} must be at least 0 and "
            f"fit into {steps} steps together"
        )
    if not 0 <= final <= peak:
        raise ValueError(f"learning rates must satisfy 0 <= final {final} <= peak {peak}")
    if step < warmup_steps:
        return peak * step / warmup_steps
    decayed_steps = step - (steps - decay_steps)
    if decayed_steps <= 0:
        return peak
    return final + (peak - final) * (1 + cos(pi * decayed_steps / decay_steps)) / 2
