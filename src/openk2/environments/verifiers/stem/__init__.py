"""Science: units, dimensions, physics and chemistry, with answers graded as numbers with units."""

from openk2.environments.base import Environment
from openk2.environments.verifiers.stem.chemistry import Chemistry
from openk2.environments.verifiers.stem.conversions import Units
from openk2.environments.verifiers.stem.dimensions import Dimensions
from openk2.environments.verifiers.stem.physics import Physics

__all__ = ["ENVIRONMENTS"]

ENVIRONMENTS: tuple[type[Environment], ...] = (Units, Dimensions, Physics, Chemistry)
