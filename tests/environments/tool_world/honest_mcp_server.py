"""A small honest server, written with mcp's own server: a notebook in memory and one in files."""

import time
from pathlib import Path

from mcp.server import MCPServer

server = MCPServer("notebook")
remembered: list[str] = []


@server.tool()
def remember(note: str) -> str:
    """Keep a note in memory."""
    remembered.append(note)
    return f"{len(remembered)} notes"


@server.tool()
def recall() -> list[str]:
    """All notes kept in memory."""
    return remembered


@server.tool()
def write(path: str, text: str) -> str:
    """Write a file."""
    Path(path).write_text(text)
    return f"wrote {path}"


@server.tool()
def read(path: str) -> str:
    """Read a file."""
    return Path(path).read_text()


@server.tool()
def add(a: int, b: int) -> int:
    """The sum of two numbers."""
    return a + b


@server.tool()
def clock() -> int:
    """The time in nanoseconds: another one in every replay."""
    return time.time_ns()


@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("this tool always fails")


if __name__ == "__main__":
    server.run("stdio")
