"""The tools that a dialog may call, as the body of its tool_declare turn."""

import json
from collections.abc import Sequence

from openk2.core.errors import UserError
from openk2.core.records import ToolSpec

__all__ = ["json_declarations"]


def json_declarations(tools: Sequence[ToolSpec]) -> str:
    """A JSON list in OpenAI's form: compact, all keys sorted, as the released tokenizer writes it.

    Raises UserError for schemas that are nested too deeply to be written.
    """
    listed = [tool.to_openai() for tool in tools]
    try:
        return json.dumps(listed, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    except RecursionError:
        raise UserError("tools: a schema is nested too deeply; flatten it with $defs") from None
