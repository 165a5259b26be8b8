"""`k2 mcp list | install | check | call`: the catalogue's servers from the command line."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from openk2.core.errors import UserError
from openk2.core.terminal import printable
from openk2.environments.sandbox import SandboxUnavailable
from openk2.environments.tool_world.mcp.catalogue import CATALOGUE
from openk2.environments.tool_world.mcp.install import (
    command_of,
    install,
    is_installed,
    servers_folder,
)

__all__ = ["call_tool", "check_servers", "install_servers", "list_servers"]


def list_servers(folder: Path | None, as_json: bool) -> int:
    """Print the catalogue and what of it is installed."""
    root = servers_folder(folder)
    rows = [
        {
            "name": entry.name,
            "tools": entry.tools,
            "state": entry.state,
            "package": f"{entry.package} {entry.version}",
            "installed": is_installed(entry, root),
        }
        for entry in CATALOGUE.values()
    ]
    if as_json:
        print(json.dumps({"folder": str(root), "servers": rows}))
        return 0
    for row in rows:
        mark = "installed" if row["installed"] else "-"
        print(f"{row['name']:20} {row['tools']:3} tools  {mark:10} {row['package']}")
    there = sum(bool(row["installed"]) for row in rows)
    tools = sum(entry.tools for entry in CATALOGUE.values())
    print(printable(f"{len(rows)} servers, {tools} tools; {there} installed in {root}"))
    return 0


def install_servers(
    names: Sequence[str], everything: bool, folder: Path | None, dry_run: bool, as_json: bool
) -> int:
    """Install servers by name, or all of them."""
    if bool(names) == everything:
        raise UserError("give the names of servers or --all; k2 mcp list shows them")
    chosen = list(CATALOGUE) if everything else list(dict.fromkeys(names))
    progress = _silent if as_json else _print_line
    results = install(chosen, folder, dry_run=dry_run, progress=progress)
    if as_json:
        print(json.dumps([asdict(result) for result in results]))
    return 0


def check_servers(names: Sequence[str], folder: Path | None, as_json: bool) -> int:
    """Start servers (all that are installed, where none is named), compare their tools with those
    that were taken in and make each one's trial calls; 1 where one of them fails.
    """
    root = servers_folder(folder)
    chosen = list(names) or [name for name, e in CATALOGUE.items() if is_installed(e, root)]
    if not chosen:
        raise UserError(f"{root}: no server is installed; give k2 mcp install --all")
    rows = []
    for name in chosen:
        row = _check(name, folder)
        rows.append(row)
        if not as_json:
            verdict = f"FAILED: {row['problem']}" if row["problem"] else "ok"
            times = f"start {row['start_s']:.2f} s, call {row['call_ms']:.0f} ms"
            _print_line(f"{name:20} {row['tools']:3} tools, {times}  {verdict}")
    if as_json:
        print(json.dumps(rows))
    return int(any(row["problem"] for row in rows))


def call_tool(name: str, tool: str, arguments: str, folder: Path | None, as_json: bool) -> int:
    """One call of one tool, in an episode of its own; 1 where it did not do what it says."""
    with _session(name, folder) as session:
        result = session.call(tool, arguments)
    if as_json:
        print(json.dumps(asdict(result)))
    else:
        print(printable(result.content))
    return 0 if result.ok else 1


def _check(name: str, folder: Path | None) -> dict[str, Any]:
    begun, calls, problem = time.monotonic(), [], ""
    with _session(name, folder) as session:
        start = time.monotonic() - begun
        for probe in CATALOGUE[name].probes:
            begun = time.monotonic()
            result = session.call(probe.tool, probe.arguments)
            calls.append(time.monotonic() - begun)
            if not result.ok or probe.expected not in result.content:
                problem = problem or f"{probe.tool} answered {result.content[:300]!r}"
        if session.fault is not None:
            problem = f"{session.fault.kind}: {session.fault.detail}"
        return {
            "name": name,
            "tools": len(session.tools),
            "withheld": session.withheld,
            "start_s": round(start, 3),
            "call_ms": round(1000 * sorted(calls)[len(calls) // 2], 1),
            "problem": problem,
        }


def _session(name: str, folder: Path | None) -> Any:
    command = command_of(name, folder)
    try:
        from openk2.environments.tool_world.mcp.session import McpSession

        return McpSession(command)
    except ImportError as error:
        raise UserError(f"{error.name} is not installed; pip install 'openk2[mcp]'") from None
    except SandboxUnavailable as error:
        raise UserError(f"{name}: {error}; servers run in the sandbox alone") from None


def _print_line(line: str) -> None:
    print(printable(line), flush=True)


def _silent(line: str) -> None:
    pass
