"""The odd quintics of Newton-Schulz: published sequences of (a, b, c), and what they do.

A step maps every singular value s to a s + b s^3 + c s^5; the steps of a sequence differ. A
sequence trades the slope at zero, which decides how small a singular value is still lifted, against
the error that is left at one. `singular_value_range` and `slope_at_zero` measure both exactly.

| name          | steps | slope at 0 | [0.01, 1] goes to | source                                  |
| k2            | 5     | 485        | [0.682, 1.134]    | Keller Jordan's Muon; Moonlight, K2     |
| quintic       | 5     | 493        | [0.978, 1.032]    | Jiacheng You; modded-nanogpt            |
| polar_express | 5     | 976        | [0.870, 1.124]    | Amsel et al., arXiv 2505.16932          |
| cans          | 5     | 998        | [0.861, 1.113]    | Grishina et al., arXiv 2506.10935       |
| deepseek_v4   | 10    | 79263      | [1.000, 1.001]    | 8 steps of k2, then 2 that converge     |
"""

from collections.abc import Sequence
from math import prod

import torch

__all__ = ["COEFFICIENTS", "Coefficients", "coefficients", "singular_value_range", "slope_at_zero"]

Coefficients = tuple[tuple[float, float, float], ...]

_KELLER_JORDAN = (3.4445, -4.7750, 2.0315)
_CONVERGENT = (1.875, -1.25, 0.375)  # (15, -10, 3) / 8: the error at one falls to its cube

# Sequences that are greedily optimal: each step is the best quintic on the very interval that the
# step before leaves, and diverges above it. One rounding in bfloat16 lifts a singular value above
# it: a gradient of rank one becomes infinite. So, as Amsel et al. do it, all steps divide by 1.01
# first; their convergent step has room above one and needs no safety.
_SAFETY = 1.01


def _safe(*steps: tuple[float, float, float]) -> Coefficients:
    return tuple((a / _SAFETY, b / _SAFETY**3, c / _SAFETY**5) for a, b, c in steps)


_POLAR_EXPRESS = _safe(  # on [0.001, 1]
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)

COEFFICIENTS: dict[str, Coefficients] = {
    "k2": (_KELLER_JORDAN,) * 5,
    "quintic": (
        (4.0848, -6.8946, 2.9270),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ),
    "polar_express": _POLAR_EXPRESS[:5],
    "cans": _safe(
        (8.4703, -25.1081, 18.6293),
        (4.1828, -3.1087, 0.5806),
        (3.9619, -2.9541, 0.5630),
        (3.2866, -2.4647, 0.5074),
        (2.2737, -1.6447, 0.4162),
    ),
    "deepseek_v4": (_KELLER_JORDAN,) * 8 + ((2.0, -1.5, 0.5),) * 2,
}


def coefficients(name: str, steps: int | None = None) -> Coefficients:
    """(a, b, c) of each step of the sequence `name`; `steps` None is the published number.

    "k2" repeats its step and "polar_express" continues with steps that converge, so both come in
    any number of steps; the others are tuned as a whole. ValueError for an unknown name, for steps
    below 1, or for a number in which a sequence does not come.
    """
    if name not in COEFFICIENTS:
        raise ValueError(f"coefficients '{name}' are none of {', '.join(sorted(COEFFICIENTS))}")
    published = COEFFICIENTS[name]
    if steps is None or steps == len(published):
        return published
    if steps < 1:
        raise ValueError(f"Newton-Schulz of {steps} steps; it takes at least 1")
    if name == "k2":
        return (_KELLER_JORDAN,) * steps
    if name == "polar_express":
        return _POLAR_EXPRESS[:steps] + (_CONVERGENT,) * (steps - len(_POLAR_EXPRESS))
    raise ValueError(
        f"coefficients '{name}' are tuned as a whole: {len(published)} steps, not {steps}; leave "
        "the number of steps out, or take 'k2' or 'polar_express'"
    )


def singular_value_range(
    coefficients: Sequence[tuple[float, float, float]], low: float = 1e-2, high: float = 1.0
) -> tuple[float, float]:
    """(smallest, largest) singular value that `coefficients` make of those in [low, high].

    The error bound of a sequence on matrices whose singular values, over the Frobenius norm, are in
    that interval. Evaluated in float64 on a grid of 2^20 points, even in the logarithm.
    """
    values = low * torch.logspace(0, 1, 2**20, base=high / low, dtype=torch.float64)
    for a, b, c in coefficients:
        squares = values.square()
        values = values * (a + squares * (b + c * squares))
    return values.min().item(), values.max().item()


def slope_at_zero(coefficients: Sequence[tuple[float, float, float]]) -> float:
    """The factor by which the smallest singular values rise: the product of all a."""
    return prod(a for a, _, _ in coefficients)
