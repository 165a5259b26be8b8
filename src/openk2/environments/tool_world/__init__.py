"""Stateful tool worlds: tools over a state, tasks with proof, faults and users (section 3.1.1)."""

from openk2.environments.tool_world.domains import DOMAINS
from openk2.environments.tool_world.simulator import ToolSimulator
from openk2.environments.tool_world.tasks import ToolTask, make_task

__all__ = ["DOMAINS", "ToolSimulator", "ToolTask", "make_task"]
