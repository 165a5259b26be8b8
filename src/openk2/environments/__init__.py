"""Worlds to act in and graders to trust (paper sections 3.1.1 and 3.2.1); runs without torch."""

from openk2.environments.base import (
    Environment,
    GraderFailure,
    Observation,
    Problem,
    Task,
    VerifiableEnvironment,
)
from openk2.environments.registry import VerifiableEnvironments

__all__ = [
    "Environment",
    "GraderFailure",
    "Observation",
    "Problem",
    "Task",
    "VerifiableEnvironment",
    "VerifiableEnvironments",
]
