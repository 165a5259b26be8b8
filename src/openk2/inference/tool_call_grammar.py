"""The grammar of a tool call section: the template around each tool's JSON Schema.

The paper's "enforcer" (appendix B): from <|tool_calls_section_begin|> on, only what the template
and the declared schemas admit can be drawn. In the tokenizer's names:

    section    SECTION_BEGIN call+ SECTION_END IM_END
    call       CALL_BEGIN "functions.NAME:INDEX" ARGUMENT_BEGIN {arguments of NAME} CALL_END

INDEX counts on from call to call, so each position in the section is a rule of its own. Special
tokens stand in the grammar by id: text that spells their names stays text.
"""

import json
from collections.abc import Mapping
from typing import Any

from openk2.core.generation import ToolCallFormat
from openk2.core.records import ToolSpec
from openk2.inference.enforceable_schema import GrammarError, enforceable
from openk2.tokenizer.tool_calls import (
    ARGUMENT_BEGIN,
    CALL_BEGIN,
    CALL_END,
    SECTION_BEGIN,
    SECTION_END,
    call_id,
    called_tool,
)

__all__ = ["tool_call_grammars"]

# In one section; the grammar, and the time to compile it, grow with tools times calls.
MAX_PARALLEL_CALLS = 32
MAX_TOOLS = 512


def tool_call_grammars(
    constraint: ToolCallFormat, special: Mapping[str, int], json_options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """llguidance's list of grammars: the section first, then the arguments of each tool.

    special        ids of the special tokens by name
    json_options   how JSON is to be spaced, in llguidance's terms

    Raises GrammarError for a tool without a usable name or schema, and for a choice of none.
    """
    tools = called_tools(constraint)
    calls = MAX_PARALLEL_CALLS if constraint.parallel else 1
    begin, end = special[SECTION_BEGIN], special[SECTION_END]
    call, arguments, done = special[CALL_BEGIN], special[ARGUMENT_BEGIN], special[CALL_END]
    rules = [f"start: <[{begin}]> calls_0 <[{end}]> <[{special['<|im_end|>']}]>"]
    for position in range(calls):
        index = constraint.first_index + position
        # A JSON string in ASCII is a string of the grammar's language, whatever the name holds.
        ids = [json.dumps(call_id(tool.name, index)) for tool in tools]
        choices = " | ".join(f"{id} arguments_{number}" for number, id in enumerate(ids))
        more = f" calls_{position + 1}?" if position + 1 < calls else ""
        rules.append(f"calls_{position}: <[{call}]> ({choices}) <[{done}]>{more}")
    schemas = []
    for number, tool in enumerate(tools):
        rules.append(f"arguments_{number}: <[{arguments}]> @schema_{number}")
        schema = {**arguments_schema(tool), "x-guidance": json_options}
        schemas.append({"name": f"schema_{number}", "json_schema": schema})
    return [{"lark_grammar": "\n".join(rules)}, *schemas]


def called_tools(constraint: ToolCallFormat) -> list[ToolSpec]:
    """The tools that the choice leaves."""
    names = [tool.name for tool in constraint.tools]
    if len(names) > MAX_TOOLS:
        raise GrammarError(f"there are {len(names)} tools; at most {MAX_TOOLS} can be offered")
    for name in names:
        if called_tool(call_id(name, 0)) != name or name.encode(errors="replace").decode() != name:
            raise GrammarError(f"{name!r} is no name for a tool: it cannot be read back")
        if names.count(name) > 1:
            raise GrammarError(f"two tools are named {name!r}")
    if constraint.choice in ("auto", "required"):
        chosen = list(constraint.tools)
    else:
        chosen = [tool for tool in constraint.tools if tool.name == constraint.choice]
    if not chosen:
        raise GrammarError(
            f"the tool {constraint.choice!r} is to be called, and it is not among the tools"
            if names
            else "a tool is to be called, and there are no tools"
        )
    return chosen


def arguments_schema(tool: ToolSpec) -> dict[str, Any]:
    """The schema of the arguments, which are an object even where the schema leaves it open."""
    name = f"the parameters of {tool.name!r}"
    stated = tool.parameters.get("type", "object")
    if stated != "object" and not (isinstance(stated, list) and "object" in stated):
        raise GrammarError(f"{name}: type is {stated!r}; arguments are an object")
    schema: dict[str, Any] = enforceable({**tool.parameters, "type": "object"}, name)
    return schema
