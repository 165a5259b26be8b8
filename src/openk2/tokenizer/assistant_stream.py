"""An assistant's tokens to a message, while they come or all at once.

Only tokens steer: a mark of the tool call format counts where it may stand and is text elsewhere,
and so is every other special token. Characters never make a mark, so nothing that has been given
out as content can turn out to be one later.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from openk2.core.records import Message, ToolCall, ToolCallProblem
from openk2.tokenizer.bpe import Tokenizer
from openk2.tokenizer.stream_decoder import StreamDecoder
from openk2.tokenizer.tool_calls import (
    ARGUMENT_BEGIN,
    CALL_BEGIN,
    CALL_END,
    SECTION_BEGIN,
    SECTION_END,
    called_tool,
    read_call,
)

__all__ = ["THINK_BEGIN", "THINK_END", "AssistantStream", "Delta"]

THINK_BEGIN = "<think>"
THINK_END = "</think>"
MARKS = (SECTION_BEGIN, SECTION_END, CALL_BEGIN, ARGUMENT_BEGIN, CALL_END)

# opening: the first characters, which may become <think>; id and arguments: within a call.
Place = Literal["opening", "reasoning", "content", "section", "id", "arguments"]


@dataclass(frozen=True)
class Delta:
    """What came next in a turn.

    kind   "content" and "reasoning": `text` continues it
           "tool_call": a call begins, with its number within the turn, its id and its tool's name
           "tool_arguments": `text` continues the arguments of call `index`
    """

    kind: Literal["content", "reasoning", "tool_call", "tool_arguments"]
    text: str = ""
    index: int = 0
    id: str = ""
    name: str = ""


class AssistantStream:
    """One assistant turn, read token by token; what follows a stop token is ignored.

    A call is given out as soon as its name is known. Should it turn out broken after that, only
    the message of `finish` says so: an unclosed call stands there among the problems and, as text,
    in the content; a call whose arguments are no JSON object among the problems.
    """

    def __init__(
        self, tokenizer: Tokenizer, stop_tokens: Sequence[int], thinking: bool = False
    ) -> None:
        self._marks = {tokenizer.special[mark]: mark for mark in MARKS}
        self._stop_tokens = frozenset(stop_tokens)
        self._decoder = StreamDecoder(tokenizer)
        self._place: Place = "opening" if thinking else "content"
        self._ended = False
        self._held = ""  # characters that may yet become <think> or </think>
        self._id: list[str] = []  # of the open call
        self._arguments: list[str] = []
        self._name: str | None = None
        self._begun = 0  # calls given out
        self._deltas: list[Delta] = []
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[ToolCall] = []
        self._problems: list[ToolCallProblem] = []

    def feed(self, tokens: Sequence[int]) -> list[Delta]:
        """What `tokens` bring, all of it that can no longer change its meaning."""
        plain: list[int] = []
        for token in tokens:
            if self._ended:
                break
            if token in self._stop_tokens or token in self._marks:
                self._read_text(self._decoder.feed(plain) + self._decoder.finish())
                plain = []
                if token in self._stop_tokens:
                    self._end()
                else:
                    self._read_mark(self._marks[token])
            else:
                plain.append(token)
        self._read_text(self._decoder.feed(plain))
        return self._take()

    def flush(self) -> list[Delta]:
        """What has been held back; the turn ends here."""
        if not self._ended:
            self._end()
        return self._take()

    def finish(self) -> Message:
        """The whole turn, ended here. Deltas that were not taken with `flush` are in it too."""
        self.flush()
        return Message(
            role="assistant",
            content="".join(self._content),
            reasoning="".join(self._reasoning) or None,
            tool_calls=tuple(self._calls),
            problems=tuple(self._problems),
        )

    def _take(self) -> list[Delta]:
        taken, self._deltas = self._deltas, []
        return taken

    def _end(self) -> None:
        self._read_text(self._decoder.finish())
        self._release_held()
        if self._place in ("id", "arguments"):
            self._abandon_call("the text ended inside the call")
        self._ended = True

    def _read_text(self, text: str) -> None:
        """Characters, or a mark that stands where it means nothing."""
        if not text:
            return
        if self._place == "opening":
            self._read_opening(text)
        elif self._place == "reasoning":
            self._read_reasoning(text)
        elif self._place == "id":
            self._id.append(text)
        elif self._place == "arguments":
            self._arguments.append(text)
            if self._name is not None:
                self._deltas.append(Delta("tool_arguments", text, index=self._begun - 1))
        else:
            self._add_content(text)

    def _read_opening(self, text: str) -> None:
        text, self._held = self._held + text, ""
        if text.startswith(THINK_BEGIN):
            self._place = "reasoning"
            self._read_reasoning(text.removeprefix(THINK_BEGIN))
        elif THINK_BEGIN.startswith(text):
            self._held = text
        else:
            self._place = "content"
            self._add_content(text)

    def _read_reasoning(self, text: str) -> None:
        reasoning, closed, content = (self._held + text).partition(THINK_END)
        self._held = ""
        if not closed:
            kept = len(reasoning) - _beginning_at_the_end(reasoning, THINK_END)
            reasoning, self._held = reasoning[:kept], reasoning[kept:]
        self._add_reasoning(reasoning)
        if closed:
            self._place = "content"
            self._read_text(content)

    def _release_held(self) -> None:
        held, self._held = self._held, ""
        if self._place == "opening":
            self._add_content(held)
        elif self._place == "reasoning":
            self._add_reasoning(held)

    def _read_mark(self, mark: str) -> None:
        place = self._place
        if place == "id" and mark == ARGUMENT_BEGIN:
            self._begin_arguments()
        elif place == "arguments" and mark == CALL_END:
            self._close_call()
        elif place == "arguments" and mark == ARGUMENT_BEGIN:
            self._read_text(mark)
        elif place in ("id", "arguments"):
            self._abandon_call(f"{mark} stands inside the call")
            self._read_mark(mark)
        elif place == "section" and mark == CALL_BEGIN:
            self._place = "id"
        elif place == "section" and mark == SECTION_END:
            self._place = "content"
        elif place != "section" and mark == SECTION_BEGIN:
            # Models call from within their reasoning without closing it.
            self._release_held()
            self._place = "section"
        else:
            self._read_text(mark)

    def _begin_arguments(self) -> None:
        self._place = "arguments"
        id = "".join(self._id)
        self._name = called_tool(id)
        if self._name is not None:
            self._deltas.append(Delta("tool_call", index=self._begun, id=id, name=self._name))
            self._begun += 1

    def _close_call(self) -> None:
        found = read_call("".join(self._id), "".join(self._arguments))
        if isinstance(found, ToolCall):
            self._calls.append(found)
        else:
            self._problems.append(found)
            if self._name is None:
                self._add_content(found.text)
        self._leave_call()

    def _abandon_call(self, detail: str) -> None:
        text = CALL_BEGIN + "".join(self._id)
        if self._place == "arguments":
            text += ARGUMENT_BEGIN + "".join(self._arguments)
        self._problems.append(ToolCallProblem("unclosed", text, detail))
        if self._name is None:
            self._add_content(text)
        else:  # its parts have been given out already
            self._content.append(text)
        self._leave_call()

    def _leave_call(self) -> None:
        self._id, self._arguments, self._name = [], [], None
        self._place = "section"

    def _add_content(self, text: str) -> None:
        if text:
            self._content.append(text)
            self._deltas.append(Delta("content", text))

    def _add_reasoning(self, text: str) -> None:
        if text:
            self._reasoning.append(text)
            self._deltas.append(Delta("reasoning", text))


def _beginning_at_the_end(text: str, mark: str) -> int:
    """How many characters at the end of `text` are the beginning of `mark`, but not all of it."""
    longest = min(len(mark) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if text.endswith(mark[:n])), 0)
