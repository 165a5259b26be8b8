"""One tool call in K2's format: its marks, its id and its arguments (paper appendix B).

    <|tool_call_begin|>functions.NAME:INDEX<|tool_call_argument_begin|>{json}<|tool_call_end|>

The marks have the released tokens' names, which differ from those that the paper prints.
"""

import re

from openk2.core.records import ToolCall, ToolCallProblem

__all__ = [
    "ARGUMENT_BEGIN",
    "CALL_BEGIN",
    "CALL_END",
    "SECTION_BEGIN",
    "SECTION_END",
    "call_id",
    "called_tool",
    "read_call",
]

SECTION_BEGIN = "<|tool_calls_section_begin|>"
SECTION_END = "<|tool_calls_section_end|>"
CALL_BEGIN = "<|tool_call_begin|>"
ARGUMENT_BEGIN = "<|tool_call_argument_begin|>"
CALL_END = "<|tool_call_end|>"

# Names may hold dots, hyphens and colons: the index is what follows the last colon. Models forget
# the namespace at times, and no call is ambiguous without it.
CALL_ID = re.compile(r"\s*(?:functions\.)?+(?P<name>\S(?:.*\S)?):-?[0-9]+\s*", re.DOTALL)


def call_id(name: str, index: int) -> str:
    """The id of a call; `index` counts the calls of the dialog from 0."""
    return f"functions.{name}:{index}"


def called_tool(id: str) -> str | None:
    """The NAME in `functions.NAME:INDEX`; None for another id."""
    found = CALL_ID.fullmatch(id)
    return found["name"] if found else None


def read_call(id: str, arguments: str) -> ToolCall | ToolCallProblem:
    """The call that stands between <|tool_call_begin|> and <|tool_call_end|>."""
    name = called_tool(id)
    text = f"{CALL_BEGIN}{id}{ARGUMENT_BEGIN}{arguments}{CALL_END}"
    if name is None:
        return ToolCallProblem("id", text, "the id is not functions.NAME:INDEX")
    call = ToolCall(id, name, arguments)
    try:
        call.parsed_arguments()
    except ValueError as error:
        return ToolCallProblem("arguments", text, str(error))
    return call
