"""What is said and what can be called: the records that cross every border between rooms."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Message", "Score", "ToolCall", "ToolCallProblem", "ToolSpec"]


@dataclass(frozen=True)
class ToolSpec:
    """A callable tool.

    parameters      JSON Schema of its arguments, an object
    returns         JSON Schema of its result, None where it is not known
    writes          whether a call can change the world; a reading tool never does
    preconditions   what must hold before a call can succeed, in words that a person reads
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object"})
    returns: Mapping[str, Any] | None = None
    writes: bool = False
    preconditions: tuple[str, ...] = ()

    def to_openai(self) -> dict[str, Any]:
        """{"type": "function", "function": {...}}, as OpenAI's API and K2's template want it."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class ToolCall:
    """One call that a model made.

    id          `functions.NAME:INDEX`, INDEX counted over the dialog (paper appendix B)
    name        the tool
    arguments   JSON text exactly as written: parsing and printing it again would change tokens
    """

    id: str
    name: str
    arguments: str

    def parsed_arguments(self) -> dict[str, Any]:
        """The arguments; ValueError where they are not a JSON object."""
        try:
            found = json.loads(self.arguments)
        except RecursionError:
            raise ValueError("the arguments are nested too deeply") from None
        if not isinstance(found, dict):
            raise ValueError("the arguments are not a JSON object")
        return found


@dataclass(frozen=True)
class ToolCallProblem:
    """A call that a model wrote and that cannot be made.

    kind   "unclosed" (text ended inside it), "id" (no functions.NAME:INDEX), "arguments" (not a
           JSON object)
    text   what the model wrote, special tokens included
    """

    kind: str
    text: str
    detail: str


@dataclass(frozen=True)
class Message:
    """One turn of a dialog.

    role           "system", "user", "assistant", "tool", or another, treated as a system's
    content        its text; special tokens in it are text
    reasoning      an assistant's thinking before the content, None where there was none
    tool_calls     an assistant's calls, after the content
    tool_call_id   of a tool's result: the call it answers
    name           shown instead of the role, e.g. the tool's name
    problems       of a parsed assistant turn: calls that could not be read
    """

    role: str
    content: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    problems: tuple[ToolCallProblem, ...] = ()


@dataclass(frozen=True)
class Score:
    """What a grader says of an answer or of an episode.

    reward   in [0, 1]; None where the grader itself failed. That is not a wrong answer: such a
             sample is left out, of its group's baseline too
    parts    named parts of the verdict, each in [0, 1]
    reason   one line for people
    """

    reward: float | None
    parts: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def valid(self) -> bool:
        """Whether the grader reached a verdict."""
        return self.reward is not None
