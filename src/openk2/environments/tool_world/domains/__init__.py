"""The library of domains: each is data, composed from entities, operators and policies."""

from collections.abc import Mapping

from openk2.environments.tool_world.domain import Domain
from openk2.environments.tool_world.domains.airline import AIRLINE
from openk2.environments.tool_world.domains.banking import BANKING
from openk2.environments.tool_world.domains.calendar import CALENDAR
from openk2.environments.tool_world.domains.clinic import CLINIC
from openk2.environments.tool_world.domains.files import FILES
from openk2.environments.tool_world.domains.human_resources import HUMAN_RESOURCES
from openk2.environments.tool_world.domains.inventory import INVENTORY
from openk2.environments.tool_world.domains.library import LIBRARY
from openk2.environments.tool_world.domains.retail import RETAIL
from openk2.environments.tool_world.domains.smart_home import SMART_HOME
from openk2.environments.tool_world.domains.support import SUPPORT
from openk2.environments.tool_world.domains.telecom import TELECOM
from openk2.environments.tool_world.domains.travel import TRAVEL
from openk2.environments.tool_world.domains.university import UNIVERSITY

__all__ = ["DOMAINS"]

DOMAINS: Mapping[str, Domain] = {
    domain.name: domain
    for domain in (
        AIRLINE,
        BANKING,
        CALENDAR,
        CLINIC,
        FILES,
        HUMAN_RESOURCES,
        INVENTORY,
        LIBRARY,
        RETAIL,
        SMART_HOME,
        SUPPORT,
        TELECOM,
        TRAVEL,
        UNIVERSITY,
    )
}
