"""The two servers of these tests, as commands: an honest one and one that attacks."""

import os
import sys
from pathlib import Path
from typing import Any

from openk2.environments.tool_world.mcp.command import ServerCommand
from openk2.environments.tool_world.mcp.wire import McpLimits

__all__ = ["HOSTILE_MARK", "LIMITS", "honest", "hostile"]

# In the command line of every hostile server of this process.
HOSTILE_MARK = f"k2-hostile-of-{os.getpid()}"
HERE = Path(__file__).parent
LIMITS = McpLimits(start_s=10.0, call_s=10.0, close_s=0.2)


def honest(**changes: Any) -> ServerCommand:
    script = HERE / "honest_mcp_server.py"
    argv = (sys.executable, "-P", str(script))
    return ServerCommand("notebook", argv, readable=(script, Path(sys.prefix)), **changes)


def hostile(behaviour: str, *arguments: str, **changes: Any) -> ServerCommand:
    script = HERE / "hostile_mcp_server.py"
    argv = (sys.executable, "-S", "-P", str(script), behaviour, *arguments, HOSTILE_MARK)
    return ServerCommand("hostile", argv, readable=(script, Path(sys.prefix)), **changes)
