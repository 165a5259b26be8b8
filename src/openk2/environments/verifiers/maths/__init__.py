"""Maths: procedural problems with exact answers, and a grader for any answer in LaTeX.

No answer is ever executed, and none is paid for restating its question: see `simplest`.
"""

from openk2.environments.base import Environment
from openk2.environments.verifiers.maths.algebra import Algebra
from openk2.environments.verifiers.maths.arithmetic import Arithmetic
from openk2.environments.verifiers.maths.competition import Competition
from openk2.environments.verifiers.maths.word_problems import WordProblems

__all__ = ["ENVIRONMENTS"]

ENVIRONMENTS: tuple[type[Environment], ...] = (Arithmetic, Algebra, WordProblems, Competition)
