"""Refusing what must be refused and nothing else (paper section 3.2.1)."""

from openk2.environments.base import Environment
from openk2.environments.verifiers.safety.policy import Policy
from openk2.environments.verifiers.safety.protocol import (
    Attempt,
    SafetyJudge,
    SafetyProtocol,
    SuccessRate,
    success_rates,
)
from openk2.environments.verifiers.safety.transforms import FAMILIES, SEEDS, SeedIntent, transform

__all__ = [
    "ENVIRONMENTS",
    "FAMILIES",
    "SEEDS",
    "Attempt",
    "Policy",
    "SafetyJudge",
    "SafetyProtocol",
    "SeedIntent",
    "SuccessRate",
    "success_rates",
    "transform",
]

ENVIRONMENTS: tuple[type[Environment], ...] = (Policy,)
