"""Programs to write and to repair, judged by what they compute in a sandbox (paper 3.2.1)."""

from openk2.environments.base import VerifiableEnvironment
from openk2.environments.verifiers.coding.functions import FunctionProblems
from openk2.environments.verifiers.coding.programs import ProgramProblems
from openk2.environments.verifiers.coding.properties import PropertyProblems
from openk2.environments.verifiers.coding.repair import RepairProblems

__all__ = ["ENVIRONMENTS"]

ENVIRONMENTS: tuple[type[VerifiableEnvironment], ...] = (
    FunctionProblems,
    ProgramProblems,
    PropertyProblems,
    RepairProblems,
)
