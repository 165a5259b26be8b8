"""The library of domains."""

from collections.abc import Mapping

from openk2.environments.tool_world.domain import Domain
from openk2.environments.tool_world.domains.retail import RETAIL

__all__ = ["DOMAINS"]

DOMAINS: Mapping[str, Domain] = {domain.name: domain for domain in (RETAIL,)}
