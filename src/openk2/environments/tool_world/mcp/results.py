"""From what a server answered to what the agent reads: a typed result whose text is data."""

import json
from typing import Any

import jsonschema_rs
import mcp_types as types

from openk2.environments.tool_world.mcp.screening import delimited, plain
from openk2.environments.tool_world.schemas import node_count
from openk2.environments.tool_world.spec import ToolResult, ToolStatus

__all__ = ["failed", "rendered"]

# Nodes of a result times nodes of its schema: beyond it a check could take seconds.
MAX_CHECK_COST = 5_000_000


def failed(status: ToolStatus, kind: str, message: str) -> ToolResult:
    """A call that gave nothing to read."""
    content = json.dumps({"error": kind, "message": plain(message)})
    return ToolResult(content, status, kind, fault=kind, tainted=True)


def rendered(
    server: str,
    tool: str,
    result: types.CallToolResult,
    returns: jsonschema_rs.Draft202012Validator | None,
    returns_nodes: int,
    limit: int,
) -> ToolResult:
    """A server's result as the agent reads it, at most `limit` characters of it.

    A tool that promised a schema for its result (`returns`, of `returns_nodes` nodes) and breaks it
    is a fault, and what it said is withheld.
    """
    if returns is not None and not result.is_error:
        lie = _lie(result.structured_content, returns, returns_nodes)
        if lie:
            return failed("fault", "schema_lie", f"the result breaks the tool's own schema: {lie}")
    text = "\n".join(_block(block) for block in result.content)
    if not result.content and result.structured_content is not None:
        text = json.dumps(result.structured_content, ensure_ascii=False)
    text = plain(text)
    if len(text) > limit:
        text = f"{text[:limit]}\n[cut: {len(text) - limit} more characters]"
    content = delimited(server, tool, text)
    if result.is_error:
        return ToolResult(content, "refused", "tool_error", tainted=True)
    return ToolResult(content, tainted=True)


def _block(block: types.ContentBlock) -> str:
    if isinstance(block, types.TextContent):
        return block.text
    if isinstance(block, types.ResourceLink):
        return f"[link to a resource: {block.uri}]"
    if isinstance(block, types.EmbeddedResource):
        inside = block.resource
        if isinstance(inside, types.TextResourceContents):
            return inside.text
        return _left_out(inside.mime_type, inside.blob)
    return _left_out(block.mime_type, block.data)


def _left_out(kind: str | None, data: str) -> str:
    return f"[{kind or 'binary'}, {len(data) * 3 // 4} bytes, not shown]"


def _lie(content: Any, returns: jsonschema_rs.Draft202012Validator, returns_nodes: int) -> str:
    """How a structured result breaks its schema; empty where it keeps it."""
    if content is None:
        return "there is no structured result"
    if node_count(content) * returns_nodes > MAX_CHECK_COST:
        return "it is too large to check"
    try:
        error = next(iter(returns.iter_errors(content)), None)
    except (ValueError, RecursionError) as problem:
        return str(problem)
    return "" if error is None else error.message.partition("\n")[0][:200]
