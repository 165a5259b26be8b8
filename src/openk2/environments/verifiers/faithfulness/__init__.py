"""Does every sentence stand on the context? (paper section 3.2.1)"""

from openk2.environments.base import Environment
from openk2.environments.verifiers.faithfulness.closed_world import ClosedWorld
from openk2.environments.verifiers.faithfulness.judge import FaithfulnessJudge, SentenceVerdict

__all__ = ["ENVIRONMENTS", "ClosedWorld", "FaithfulnessJudge", "SentenceVerdict"]

ENVIRONMENTS: tuple[type[Environment], ...] = (ClosedWorld,)
