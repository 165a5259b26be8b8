"""Dialogs to tokens and back: the chat template of the released Kimi K2, token for token.

    <|im_user|>user<|im_middle|>CONTENT<|im_end|>
    <|im_assistant|>assistant<|im_middle|>CONTENT<|tool_calls_section_begin|>CALLS
        <|tool_calls_section_end|><|im_end|>
    <|im_system|>tool<|im_middle|>## Return of CALL_ID
    CONTENT<|im_end|>

(line breaks and indents for the page only, but the one after CALL_ID). Notable:

- Tools are declared in a turn of their own, <|im_system|>tool_declare, before everything else.
- Without a system message a default one comes first. The template of K2-Instruct leaves a line
  break after it, which its model has seen ever since; that of K2-Thinking does not.
- A name is shown instead of the role; a role other than user and assistant gets <|im_system|>.
- What anyone writes is encoded as plain text: "<|im_end|>" typed by a user is no special token.
- Every stretch between two special tokens is encoded as one text, but for a tool's result, whose
  header and content are encoded apart, so that the border of the content is one of tokens. Where
  that content begins with white space the ids can differ from those of the whole text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from openk2.core.records import Message, ToolCall, ToolSpec
from openk2.tokenizer.assistant_stream import THINK_BEGIN, THINK_END, AssistantStream
from openk2.tokenizer.bpe import Tokenizer
from openk2.tokenizer.tool_calls import (
    ARGUMENT_BEGIN,
    CALL_BEGIN,
    CALL_END,
    SECTION_BEGIN,
    SECTION_END,
    call_id,
)
from openk2.tokenizer.tool_declarations import json_declarations
from openk2.tokenizer.typescript import typescript_declarations

__all__ = ["DEFAULT_SYSTEM", "ChatFormat", "Declarations", "RenderedDialog", "Thinking"]

Thinking = Literal["off", "kept", "recent"]
Declarations = Literal["json", "typescript"]

DEFAULT_SYSTEM = "You are Kimi, an AI assistant created by Moonshot AI."
ENVELOPES = {"user": "<|im_user|>", "assistant": "<|im_assistant|>"}
STOP_TOKENS = ("<|im_end|>", "[EOS]", "[EOT]")


@dataclass(frozen=True)
class RenderedDialog:
    """A dialog as tokens, and which of them an assistant has to produce: a mask for the loss."""

    tokens: list[int]
    loss_mask: list[bool]


class Piece(NamedTuple):
    """A special token by name, or a text that is encoded by itself."""

    text: str
    special: bool = False
    produced: bool = False  # by an assistant


class ChatFormat:
    """How a dialog is written.

    thinking         "off": reasoning is never written (K2-Instruct)
                     "kept": <think>…</think> stands before every assistant content
                     "recent": so it does after the last assistant turn without calls; up to that
                     turn it is emptied (K2-Thinking)
    declarations     tools as "json" (K2-Instruct, K2-Thinking) or "typescript" (K2.5)
    default_system   what a dialog without a system message begins with; None for nothing

    With "off" and "kept" a longer dialog extends the tokens of the shorter one, so a cache of its
    prefix stays good and one sequence trains all turns. "recent" rewrites earlier turns: its mask
    covers emptied reasoning as well, so train with "kept".
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        thinking: Thinking = "off",
        declarations: Declarations = "json",
        default_system: str | None = DEFAULT_SYSTEM,
    ) -> None:
        self.tokenizer = tokenizer
        self.thinking = thinking
        self.declarations = declarations
        self.default_system = default_system
        self.stop_tokens = tuple(tokenizer.special[name] for name in STOP_TOKENS)

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec] = (),
        generation_prompt: bool = False,
    ) -> RenderedDialog:
        """The dialog's tokens; with `generation_prompt` the head of an assistant turn follows.

        In the loss mask exactly the assistants' contents, calls and <|im_end|> are True, not the
        heads of their turns. Calls without an id get `functions.NAME:INDEX`. Raises UserError for
        a tool whose schema is nested too deeply.
        """
        tokens: list[int] = []
        loss_mask: list[bool] = []
        for piece in self._pieces(messages, tools, generation_prompt):
            if piece.special:
                ids = [self.tokenizer.special[piece.text]]
            else:
                ids = self.tokenizer.encode(piece.text)
            tokens += ids
            loss_mask += [piece.produced] * len(ids)
        return RenderedDialog(tokens, loss_mask)

    def render_text(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec] = (),
        generation_prompt: bool = False,
    ) -> str:
        """What `render` encodes, as one text for people: special tokens cannot be told from it."""
        pieces = self._pieces(messages, tools, generation_prompt)
        return "".join(piece.text for piece in pieces)

    def parse(self, tokens: Sequence[int]) -> Message:
        """The assistant turn that `tokens` continue from a generation prompt.

        It ends with a stop token or with `tokens`. Never raises: calls that cannot be read are in
        `problems`, those that are not closed also stay in the content, as text.
        """
        stream = self.stream()
        stream.feed(tokens)
        return stream.finish()

    def stream(self) -> AssistantStream:
        """`parse` for tokens that are still coming."""
        return AssistantStream(self.tokenizer, self.stop_tokens, self.thinking != "off")

    def next_call_index(self, messages: Sequence[Message]) -> int:
        """The INDEX of the next call: how many calls the dialog holds."""
        return sum(len(message.tool_calls) for message in messages)

    def _pieces(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], generation_prompt: bool
    ) -> Iterator[Piece]:
        if tools:
            written = json_declarations if self.declarations == "json" else typescript_declarations
            yield from _turn("system", "tool_declare", [Piece(written(tools))])
        if self.default_system is not None and messages and messages[0].role != "system":
            yield from _turn("system", "system", [Piece(self.default_system)])
            if self.thinking == "off":
                yield Piece("\n")
        emptied = _last_plain_assistant(messages) if self.thinking == "recent" else -1
        calls = 0
        for number, message in enumerate(messages):
            shown = message.name or message.role
            if message.role == "assistant":
                content = message.content
                if self.thinking != "off":
                    reasoning = "" if number <= emptied else message.reasoning or ""
                    content = f"{THINK_BEGIN}{reasoning}{THINK_END}{content}"
                body = [Piece(content, produced=True), *_calls(message.tool_calls, calls)]
            elif message.role == "tool":
                body = [Piece(f"## Return of {message.tool_call_id or ''}\n")]
                body += [Piece(message.content)]
            else:
                body = [Piece(message.content)]
            yield from _turn(message.role, shown, body)
            calls += len(message.tool_calls)
        if generation_prompt:
            yield from _head("assistant", "assistant")


def _head(role: str, shown: str) -> Iterator[Piece]:
    yield Piece(ENVELOPES.get(role, "<|im_system|>"), special=True)
    yield Piece(shown)
    yield Piece("<|im_middle|>", special=True)


def _turn(role: str, shown: str, body: list[Piece]) -> Iterator[Piece]:
    yield from _head(role, shown)
    yield from body
    yield Piece("<|im_end|>", special=True, produced=role == "assistant")


def _calls(calls: Sequence[ToolCall], first: int) -> Iterator[Piece]:
    """The section of a turn's calls; `first` is the index of the first one in the dialog."""
    if not calls:
        return
    yield Piece(SECTION_BEGIN, special=True, produced=True)
    for index, call in enumerate(calls, first):
        yield Piece(CALL_BEGIN, special=True, produced=True)
        yield Piece(call.id or call_id(call.name, index), produced=True)
        yield Piece(ARGUMENT_BEGIN, special=True, produced=True)
        yield Piece(call.arguments, produced=True)
        yield Piece(CALL_END, special=True, produced=True)
    yield Piece(SECTION_END, special=True, produced=True)


def _last_plain_assistant(messages: Sequence[Message]) -> int:
    """The place of the last assistant turn without calls; -1 where there is none."""
    plain = [
        number
        for number, message in enumerate(messages)
        if message.role == "assistant" and not message.tool_calls
    ]
    return plain[-1] if plain else -1
