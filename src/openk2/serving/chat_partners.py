"""Whom the terminal chat talks to, and such a one: any server that speaks OpenAI's API."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from openk2.core.errors import UserError
from openk2.core.generation import DEFAULT_SAMPLING, Completion, SamplingOptions
from openk2.core.records import Message, ToolCall, ToolCallProblem, ToolSpec
from openk2.tokenizer import Delta

__all__ = ["ALTERNATIVES", "Answer", "Dialog", "Partner", "ScoredToken", "Server", "to_openai"]

ALTERNATIVES = 5  # tokens shown beside the one that was drawn


@dataclass
class Dialog:
    """What has been said, and how it is to be answered. `tool_choice` as for `Generator.chat`."""

    messages: list[Message] = field(default_factory=list)
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str = "auto"
    options: SamplingOptions = DEFAULT_SAMPLING
    log_probs: bool = False


@dataclass(frozen=True)
class ScoredToken:
    """A drawn token as text, its log-probability, and (text, log-probability) of the likeliest."""

    text: str
    log_prob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Answer:
    """An assistant's turn: `completion.message`; `scores` where the dialog asks for them."""

    completion: Completion
    scores: tuple[ScoredToken, ...] = ()


class Partner(Protocol):
    """Whoever continues a dialog. An interrupt (Ctrl-C) ends the answer, not the program."""

    name: str

    def answer(self, dialog: Dialog, show: Callable[[Delta], None]) -> Answer:
        """The next turn, each piece of it given to `show` as it comes; UserError if refused."""

    def close(self) -> None:
        """End what was started."""


class Server:
    """A server that speaks OpenAI's API, at `url` with or without its /v1."""

    def __init__(self, url: str, api_key: str | None = None, model: str | None = None) -> None:
        """Ask for its models, and talk to the first where none is named; UserError without one."""
        try:
            import openai
        except ModuleNotFoundError:
            raise UserError("a chat with a server needs: pip install 'openk2[endpoint]'") from None

        base = url if urlsplit(url).path.strip("/") else url.rstrip("/") + "/v1"
        self._failures = (openai.OpenAIError, ValueError)
        try:
            self._client = openai.OpenAI(
                base_url=base, api_key=api_key or "none", max_retries=0, timeout=600.0
            )
            self.name = model or next(iter(self._client.models.list())).id
        except StopIteration:
            raise UserError(f"{url}: has no model") from None
        except self._failures as error:
            raise UserError(f"{url}: {_said(error)}") from None

    def answer(self, dialog: Dialog, show: Callable[[Delta], None]) -> Answer:
        turn = _Turn(show)
        try:
            with self._client.chat.completions.create(**self._payload(dialog)) as stream:
                for chunk in stream:
                    turn.take(chunk.model_dump(warnings=False))
        except KeyboardInterrupt:
            turn.finish_reason = "aborted"
        except self._failures as error:
            raise UserError(_said(error)) from None
        return turn.answer()

    def close(self) -> None:
        self._client.close()

    def _payload(self, dialog: Dialog) -> Any:
        options, default = dialog.options, DEFAULT_SAMPLING
        given = {
            name: getattr(options, name)
            for name in ("temperature", "top_p", "max_tokens", "seed", "top_k", "min_p")
            if getattr(options, name) != getattr(default, name)
        }
        # What is not OpenAI's own has to travel apart.
        extra = {name: given.pop(name) for name in ("top_k", "min_p") if name in given}
        payload: dict[str, Any] = {
            "model": self.name,
            "messages": [to_openai(message) for message in dialog.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            "extra_body": extra,
            **given,
        }
        if dialog.tools:
            payload["tools"] = [tool.to_openai() for tool in dialog.tools]
            payload["tool_choice"] = dialog.tool_choice
            if dialog.tool_choice not in ("auto", "none", "required"):
                named = {"name": dialog.tool_choice}
                payload["tool_choice"] = {"type": "function", "function": named}
        if dialog.log_probs:
            payload |= {"logprobs": True, "top_logprobs": ALTERNATIVES}
        return payload


class _Turn:
    """A turn put together from a server's chunks, whose fields may hold anything."""

    def __init__(self, show: Callable[[Delta], None]) -> None:
        self._show = show
        self._content, self._reasoning = "", ""
        self._calls: dict[int, dict[str, str]] = {}
        self._scores: list[ScoredToken] = []
        self._usage: dict[str, Any] = {}
        self.finish_reason = "stop"

    def take(self, chunk: dict[str, Any]) -> None:
        self._usage = _object(chunk.get("usage")) or self._usage
        for choice in _objects(chunk.get("choices")):
            delta = _object(choice.get("delta"))
            if reasoning := _text(delta.get("reasoning_content")):
                self._reasoning += reasoning
                self._show(Delta("reasoning", reasoning))
            if content := _text(delta.get("content")):
                self._content += content
                self._show(Delta("content", content))
            for piece in _objects(delta.get("tool_calls")):
                self._take_call(_count(piece.get("index")), piece)
            for entry in _objects(_object(choice.get("logprobs")).get("content")):
                self._scores.append(_scored(entry))
            self.finish_reason = _text(choice.get("finish_reason")) or self.finish_reason

    def _take_call(self, index: int, piece: dict[str, Any]) -> None:
        function = _object(piece.get("function"))
        if index not in self._calls:
            id, name = _text(piece.get("id")), _text(function.get("name"))
            self._calls[index] = {"id": id, "name": name, "arguments": ""}
            self._show(Delta("tool_call", index=index, id=id, name=name))
        if written := _text(function.get("arguments")):
            self._calls[index]["arguments"] += written
            self._show(Delta("tool_arguments", written, index=index))

    def answer(self) -> Answer:
        calls, problems = [], []
        for _, written in sorted(self._calls.items()):
            call = ToolCall(**written)
            try:
                call.parsed_arguments()
                calls.append(call)
            except ValueError as error:
                problems.append(ToolCallProblem("arguments", call.arguments, str(error)))
        message = Message(
            "assistant",
            self._content,
            reasoning=self._reasoning or None,
            tool_calls=tuple(calls),
            problems=tuple(problems),
        )
        completion = Completion(
            text=self._content,
            finish_reason=self.finish_reason,
            log_probs=tuple(score.log_prob for score in self._scores),
            message=message,
            prompt_tokens=_count(self._usage.get("prompt_tokens")),
            completion_tokens=_count(self._usage.get("completion_tokens")),
            cached_tokens=_count(
                _object(self._usage.get("prompt_tokens_details")).get("cached_tokens")
            ),
        )
        return Answer(completion, tuple(self._scores))


def to_openai(message: Message) -> dict[str, Any]:
    """The message as OpenAI's API has it, reasoning included as servers of open models have it."""
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning is not None:
        written["reasoning_content"] = message.reasoning
    if message.tool_calls:
        written["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    return written


def _scored(entry: dict[str, Any]) -> ScoredToken:
    def pair(entry: dict[str, Any]) -> tuple[str, float]:
        log_prob = entry.get("logprob")
        return _text(entry.get("token")), log_prob if isinstance(log_prob, int | float) else 0.0

    return ScoredToken(*pair(entry), tuple(map(pair, _objects(entry.get("top_logprobs")))))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [_object(item) for item in value] if isinstance(value, list) else []


def _said(error: Exception) -> str:
    """The server's own words where it has some, else what went wrong with it."""
    words = _text(_object(getattr(error, "body", None)).get("message")) or str(error)
    return " ".join(words.split()) or type(error).__name__
