"""Random dialogs, and the forms in which other libraries want them."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from openk2.core.records import Message, ToolCall, ToolSpec
from openk2.tokenizer import Tokenizer

from .test_bpe import TEXTS

THOUGHTS = st.one_of(TEXTS, st.sampled_from(["<think>", "</think>", "a</think>b", "<think>x"]))
NAMES = st.sampled_from(["f", "get-weather", "maps.search", "搜索", "a_1", "functions.g", "x:y"])
JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, JSON_VALUES, max_size=3)


@st.composite
def tool_calls(draw: st.DrawFn, *, given_ids: bool = False) -> ToolCall:
    """A call as a model may write it; its id may be left to the renderer."""
    name = draw(NAMES)
    index = draw(st.integers(min_value=-1, max_value=10**20))
    ids = [f"functions.{name}:{index}"] if given_ids else ["", f"functions.{name}:{index}"]
    arguments = json.dumps(
        draw(OBJECTS), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))
    )
    return ToolCall(draw(st.sampled_from(ids)), name, arguments)


@st.composite
def assistant_turns(draw: st.DrawFn, *, given_ids: bool = False) -> Message:
    return Message(
        "assistant",
        draw(st.one_of(TEXTS, THOUGHTS)),
        reasoning=draw(st.none() | THOUGHTS),
        tool_calls=tuple(draw(st.lists(tool_calls(given_ids=given_ids), max_size=3))),
    )


@st.composite
def other_turns(draw: st.DrawFn, *, names: bool = True) -> Message:
    role = draw(st.sampled_from(["system", "user", "tool", "developer", "旁白"]))
    name = draw(st.none() | NAMES) if names or role == "tool" else None
    id = draw(st.none() | st.sampled_from(["functions.f:0", "call_1", "id)"]))
    return Message(role, draw(TEXTS), name=name, tool_call_id=id if role == "tool" else None)


def dialogs(*, given_ids: bool = False, names: bool = True) -> st.SearchStrategy[list[Message]]:
    """At least one turn each, in any order of roles."""
    turn = st.one_of(assistant_turns(given_ids=given_ids), other_turns(names=names))
    return st.lists(turn, min_size=1, max_size=5)


TOOLS = st.lists(st.builds(ToolSpec, NAMES, TEXTS, OBJECTS), max_size=2)


def openai_message(message: Message) -> dict[str, Any]:
    """As OpenAI's API has it: null for no content, what is absent left out."""
    written: dict[str, Any] = {"role": message.role, "content": message.content or None}
    if message.reasoning is not None:
        written["reasoning_content"] = message.reasoning
    if message.tool_calls:
        written["tool_calls"] = [
            {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            | ({"id": call.id} if call.id else {})
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        written["name"] = message.name
    return written


def without_reasoning(dialog: list[Message]) -> list[Message]:
    return [replace(message, reasoning=None) for message in dialog]


class TokenizerForRenderers:
    """Our tokenizer behind the few methods that `renderers` calls."""

    unk_token_id = -1

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def convert_tokens_to_ids(self, token: str) -> int:
        return self._tokenizer.special.get(token, self.unk_token_id)

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return self._tokenizer.encode(text)

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens)
