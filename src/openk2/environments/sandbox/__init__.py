"""Runs untrusted code: Python functions and scripts, and programs in a jail."""

from openk2.environments.sandbox.contract import (
    DEFAULT_LEVEL,
    CallResult,
    Level,
    Limits,
    Outcome,
    Probe,
    SandboxResult,
    SandboxUnavailable,
)
from openk2.environments.sandbox.jail import JAIL_LIMITS, jail_command
from openk2.environments.sandbox.pool import probe
from openk2.environments.sandbox.runner import call_function, run_python

__all__ = [
    "DEFAULT_LEVEL",
    "JAIL_LIMITS",
    "CallResult",
    "Level",
    "Limits",
    "Outcome",
    "Probe",
    "SandboxResult",
    "SandboxUnavailable",
    "call_function",
    "jail_command",
    "probe",
    "run_python",
]
