"""What a server may touch: its install read-only, the system's programs, its state folder."""

from pathlib import Path

from openk2.environments.sandbox import Limits, jail_command
from openk2.environments.tool_world.mcp.command import ServerCommand
from openk2.environments.tool_world.mcp.wire import McpLimits

__all__ = ["jailed"]

# What every program expects; the same answers in every episode; one thread for numerics, as
# episodes run side by side.
BASE = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "{state}",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
}


def jailed(server: ServerCommand, folder: Path, limits: McpLimits) -> list[str]:
    """The command line that runs the server in the jail, without a network, its state in `folder`.

    Raises SandboxUnavailable where this machine does not reach the sandbox's default level.
    """

    def placed(text: str) -> str:
        return text.replace("{state}", str(folder))

    environment = {name: placed(value) for name, value in {**BASE, **server.environment}.items()}
    return jail_command(
        [placed(part) for part in server.argv],
        readable=server.readable,
        writable=[folder],
        environment=environment,
        limits=Limits(
            wall_s=limits.episode_s,
            cpu_s=limits.cpu_s,
            memory_bytes=limits.memory_bytes,
            file_bytes=limits.file_bytes,
            output_bytes=limits.episode_bytes,
            processes=limits.processes,
            open_files=limits.open_files,
        ),
    )
