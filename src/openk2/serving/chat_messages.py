"""OpenAI's messages, tools and formats as our records; ApiError for what they must not be."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from openk2.core.generation import Constraint, JsonSchemaFormat, RegexFormat, ToolCallFormat
from openk2.core.records import Message, ToolCall, ToolSpec
from openk2.serving.api_errors import bad_request

__all__ = ["read_messages", "read_response_format", "read_tool_choice", "read_tools"]

# A developer's message is what newer clients call the system's.
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
MAX_TOOLS = 128  # as OpenAI has it
TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
CALL_ID = re.compile(r"functions\.[A-Za-z0-9_.-]+:[0-9]+")


def read_messages(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """The dialog. Ids of calls that another server made become K2's own, functions.NAME:INDEX.

    K2 has only ever seen its own, and calls fewer tools after others.
    """
    read: list[Message] = []
    renamed: dict[str, str] = {}
    calls = 0
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        role = ROLES.get(_text(message, "role", where) or "")
        if role is None:
            raise bad_request(f"the role must be one of {', '.join(ROLES)}", f"{where}.role")
        made = _calls(message.get("tool_calls"), f"{where}.tool_calls", calls, renamed)
        calls += len(made)
        content = _content(message.get("content"), f"{where}.content")
        if content is None and not made and role != "assistant":
            raise bad_request("the content is missing", f"{where}.content")
        answers = _text(message, "tool_call_id", where)
        if role == "tool" and answers is None:
            raise bad_request("a tool's message answers a call", f"{where}.tool_call_id")
        if made and role != "assistant":
            raise bad_request("only an assistant calls tools", f"{where}.tool_calls")
        read.append(
            Message(
                role=role,
                content=content or "",
                reasoning=_text(message, "reasoning_content", where),
                tool_calls=made,
                tool_call_id=renamed.get(answers, answers) if answers is not None else None,
                name=_text(message, "name", where) or None,
            )
        )
    return read


def _text(message: Mapping[str, Any], field: str, where: str) -> str | None:
    found = message.get(field)
    if found is not None and not isinstance(found, str):
        raise bad_request("it must be a string", f"{where}.{field}")
    return found


def _content(content: Any, where: str) -> str | None:
    """A string, or a list of parts that are all text."""
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise bad_request("it must be a string or a list of parts", where)
    texts = []
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("text") if kind == "text" else None
        if not isinstance(text, str):
            message = 'only parts {"type": "text", "text": ...} are supported'
            raise bad_request(message, f"{where}[{number}]")
        texts.append(text)
    return "".join(texts)


def _calls(calls: Any, where: str, first: int, renamed: dict[str, str]) -> tuple[ToolCall, ...]:
    if not calls:
        return ()
    if not isinstance(calls, list):
        raise bad_request("it must be a list", where)
    made = []
    for number, call in enumerate(calls):
        here = f"{where}[{number}]"
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise bad_request('a call is {"id", "type": "function", "function"}', here)
        name = _text(function, "name", f"{here}.function")
        arguments = _text(function, "arguments", f"{here}.function")
        if not name or arguments is None:
            raise bad_request("a function call has a name and arguments", f"{here}.function")
        id = _text(call, "id", here) or ""
        own = id if CALL_ID.fullmatch(id) else f"functions.{name}:{first + number}"
        renamed[id] = own
        made.append(ToolCall(own, name, arguments))
    return tuple(made)


def read_tools(tools: Sequence[Mapping[str, Any]] | None) -> tuple[ToolSpec, ...]:
    """OpenAI's `tools`."""
    if tools and len(tools) > MAX_TOOLS:
        raise bad_request(f"at most {MAX_TOOLS} tools", "tools")
    specs: dict[str, ToolSpec] = {}
    for number, tool in enumerate(tools or ()):
        where = f"tools[{number}]"
        function = tool.get("function")
        if tool.get("type", "function") != "function" or not isinstance(function, dict):
            raise bad_request('a tool is {"type": "function", "function": {...}}', where)
        where += ".function"
        name = _text(function, "name", where) or ""
        if not TOOL_NAME.fullmatch(name):
            message = "a name has 1 to 64 letters, digits, underscores, dots and hyphens"
            raise bad_request(message, f"{where}.name")
        if name in specs:
            raise bad_request(f"{name} is declared twice", f"{where}.name")
        parameters = function.get("parameters")
        if parameters is None:
            parameters = {"type": "object", "properties": {}}
        if not isinstance(parameters, dict):
            raise bad_request("it must be a JSON Schema, an object", f"{where}.parameters")
        specs[name] = ToolSpec(name, _text(function, "description", where) or "", parameters)
    return tuple(specs.values())


def read_tool_choice(
    choice: str | Mapping[str, Any] | None, tools: tuple[ToolSpec, ...], parallel: bool, first: int
) -> ToolCallFormat | None:
    """The constraint on calls; None where the model must not call. `first`: the next call's index.

    `choice`: none, auto, required, {"type": "function", "function": {"name"}}, or
    {"type": "allowed_tools", "allowed_tools": {"mode", "tools"}}.
    """
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools", choice)
        listed = allowed.get("tools") if isinstance(allowed, dict) else None
        if not isinstance(listed, list) or not listed:
            raise bad_request("allowed_tools lists tools", "tool_choice.allowed_tools")
        names = {_chosen_name(tool, tools) for tool in listed}
        tools = tuple(tool for tool in tools if tool.name in names)
        choice = allowed.get("mode", "auto")
    if isinstance(choice, Mapping):
        # Not by its name: a tool may be called "auto".
        name = _chosen_name(choice, tools)
        tools = tuple(tool for tool in tools if tool.name == name)
        return ToolCallFormat(tools, "required", parallel, first)
    mode = ("auto" if tools else "none") if choice is None else choice
    if mode not in ("none", "auto", "required"):
        raise bad_request('it must be "none", "auto", "required" or an object', "tool_choice")
    if mode == "required" and not tools:
        raise bad_request("it requires a call, but there are no tools", "tool_choice")
    if mode == "none" or not tools:
        return None
    return ToolCallFormat(tools, mode, parallel, first)


def _chosen_name(choice: Any, tools: tuple[ToolSpec, ...]) -> str:
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        message = 'it must be "none", "auto", "required" or name a function'
        raise bad_request(message, "tool_choice")
    if name not in {tool.name for tool in tools}:
        raise bad_request(f"{name[:64]} is not among the tools", "tool_choice")
    return name


def read_response_format(response_format: Mapping[str, Any] | None) -> Constraint | None:
    """text, json_object, json_schema, and regex, which is our own: {"type", "pattern"}."""
    if response_format is None:
        return None
    kind = response_format.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return JsonSchemaFormat({"type": "object"})
    if kind == "json_schema":
        described = response_format.get("json_schema")
        schema = described.get("schema") if isinstance(described, dict) else None
        if not isinstance(schema, dict | bool):
            message = 'it must be {"name": ..., "schema": {...}}'
            raise bad_request(message, "response_format.json_schema")
        return JsonSchemaFormat(schema)
    if kind == "regex":
        pattern = response_format.get("pattern")
        if not isinstance(pattern, str):
            raise bad_request("it must be a string", "response_format.pattern")
        return RegexFormat(pattern)
    message = "it must be text, json_object, json_schema or regex"
    raise bad_request(message, "response_format.type")
