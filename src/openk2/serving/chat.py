"""POST /v1/chat/completions: the assistant's next turn."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from openk2.core.generation import Constraint
from openk2.core.records import Message, ToolSpec
from openk2.inference.requests import GenerationRequest, TokenScore, Update
from openk2.serving.answering import collect, pieces, scored_tokens
from openk2.serving.api_errors import bad_request
from openk2.serving.chat_messages import (
    read_messages,
    read_response_format,
    read_tool_choice,
    read_tools,
)
from openk2.serving.event_stream import EventStream
from openk2.serving.log_probs import chat_log_probs
from openk2.serving.request_models import ChatRequest
from openk2.serving.sample_text import StopCutter
from openk2.serving.service import Service, while_connected
from openk2.serving.usage import Usage
from openk2.tokenizer import ChatFormat, Delta

__all__ = ["dialog_tokens", "router"]

router = APIRouter()
FORBIDDEN = -100.0
# A message has at least its role's token, its role, a middle and an end.
TOKENS_OF_A_MESSAGE = 4


@router.post("/v1/chat/completions")
async def chat_completions(request: Request) -> Response:
    service: Service = request.app.state.service
    asked = await service.read(request, ChatRequest)
    service.check_model(asked.model)
    generation = await asyncio.to_thread(_generation, asked, service)
    exchange = service.desk.submit([generation])
    try:
        await while_connected(request, exchange.accepted())
        choices = {
            (0, sample): ChatChoice(sample, asked, generation, service.chat_format)
            for sample in range(generation.samples)
        }
        usage = Usage([generation])
        if asked.stream:
            head = service.head("chat.completion.chunk", "chatcmpl")
            options = asked.stream_options
            include_usage = options is not None and options.include_usage
            return EventStream(exchange, pieces(exchange, choices, usage, head, include_usage))
        await while_connected(request, collect(exchange, choices, usage))
    except BaseException:
        exchange.close()
        raise
    exchange.close()
    answer = service.head("chat.completion", "chatcmpl")
    answer["choices"] = [choice.whole() for choice in choices.values()]
    answer["usage"] = usage.report()
    if asked.return_token_ids:
        answer["prompt_token_ids"] = list(generation.prompt)
    return JSONResponse(answer)


def _generation(asked: ChatRequest, service: Service) -> GenerationRequest:
    tools = read_tools(asked.tools)
    messages, tokens = dialog_tokens(service, asked.messages, tools, generation_prompt=True)
    param = "max_tokens" if asked.max_completion_tokens is None else "max_completion_tokens"
    wanted = getattr(asked, param)
    if wanted == 0:
        raise bad_request("it must be at least 1", param)
    max_tokens = service.new_tokens(len(tokens), wanted, "messages")
    options = service.options(asked, max_tokens, asked.top_logprobs or 0)
    constraint: Constraint | None = read_response_format(asked.response_format)
    calls = read_tool_choice(
        asked.tool_choice,
        tools,
        asked.parallel_tool_calls is not False,
        service.chat_format.next_call_index(messages),
    )
    if calls is None:
        # Without tools, or when told not to call, the model must not begin a section of calls.
        begin = service.tokenizer.special["<|tool_calls_section_begin|>"]
        options = replace(options, logit_bias={**options.logit_bias, begin: FORBIDDEN})
    elif constraint is not None and calls.choice == "auto":
        message = 'a format for the content goes with tool_choice "none"; the model may call tools'
        raise bad_request(message, "response_format")
    else:
        constraint = calls
    return GenerationRequest(tuple(tokens), options, asked.n or 1, constraint)


def dialog_tokens(
    service: Service,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[ToolSpec],
    generation_prompt: bool,
) -> tuple[list[Message], list[int]]:
    """The dialog as messages and as tokens; ApiError for what is not a dialog or cannot fit."""
    if len(messages) * TOKENS_OF_A_MESSAGE > service.context:
        raise bad_request(f"{len(messages)} messages", "messages", "context_length_exceeded")
    read = read_messages(messages)
    characters = sum(
        len(message.content)
        + len(message.reasoning or "")
        + sum(len(call.arguments) for call in message.tool_calls)
        for message in read
    )
    service.check_length(characters, "messages")
    rendered = service.chat_format.render(read, tools, generation_prompt=generation_prompt)
    return read, rendered.tokens


class ChatChoice:
    """One choice of a chat: content, reasoning and tool calls."""

    def __init__(
        self, index: int, asked: ChatRequest, generation: GenerationRequest, chat_format: ChatFormat
    ) -> None:
        options = generation.options
        self._index = index
        self._tokenizer = chat_format.tokenizer
        self._turn = chat_format.stream()
        self._stop_tokens = frozenset(options.stop_tokens)
        self._cutters = {"content": StopCutter(options.stop), "reasoning": StopCutter(options.stop)}
        self._show_log_probs, self._show_ids = bool(asked.logprobs), asked.return_token_ids
        self._begun = False
        self._texts: dict[str, str] = {"content": "", "reasoning": ""}
        self._calls: list[dict[str, Any]] = []
        self._log_probs: list[dict[str, Any]] = []
        self._ids: list[int] = []
        self._finish_reason: str | None = None

    def begin(self, prompt_scores: Sequence[TokenScore]) -> None:
        """A chat's prompt is not scored."""

    def feed(self, update: Update) -> dict[str, Any] | None:
        deltas = self._turn.feed([t for t in update.tokens if t not in self._stop_tokens])
        if update.finish_reason is not None:
            deltas += self._turn.flush()
        delta = self._delta(deltas)
        if update.finish_reason is not None:
            for kind, cutter in self._cutters.items():
                self._say(delta, kind, cutter.finish())
            calls = bool(self._calls) and update.finish_reason == "stop"
            self._finish_reason = "tool_calls" if calls else update.finish_reason
        piece: dict[str, Any] = {"index": self._index, "delta": delta, "logprobs": None}
        piece["finish_reason"] = self._finish_reason
        if self._show_log_probs:
            scored = [one for one in scored_tokens(update) if one[0] not in self._stop_tokens]
            entries = chat_log_probs(self._tokenizer, scored)
            self._log_probs += entries
            piece["logprobs"] = {"content": entries, "refusal": None}
        if self._show_ids:
            self._ids += update.tokens
            piece["token_ids"] = list(update.tokens)
        if not self._begun:
            self._begun = True
            delta["role"] = "assistant"
            delta.setdefault("content", "")
        shown = (
            delta
            or update.finish_reason
            or (update.tokens and (self._show_log_probs or self._show_ids))
        )
        return piece if shown else None

    def _delta(self, deltas: Sequence[Delta]) -> dict[str, Any]:
        """In OpenAI's shape, consecutive texts put together."""
        delta: dict[str, Any] = {}
        calls: dict[int, dict[str, Any]] = {}
        for one in deltas:
            if one.kind in ("content", "reasoning"):
                self._say(delta, one.kind, self._cutters[one.kind].feed(one.text))
            elif one.kind == "tool_call":
                self._calls.append(_call(one.id, one.name, ""))
                calls[one.index] = {"index": one.index, **_call(one.id, one.name, "")}
            else:
                self._calls[one.index]["function"]["arguments"] += one.text
                empty = {"index": one.index, "function": {"arguments": ""}}
                calls.setdefault(one.index, empty)["function"]["arguments"] += one.text
        if calls:
            delta["tool_calls"] = list(calls.values())
        return delta

    def _say(self, delta: dict[str, Any], kind: str, text: str) -> None:
        if text:
            field = "content" if kind == "content" else "reasoning_content"
            delta[field] = delta.get(field, "") + text
            self._texts[kind] += text

    def whole(self) -> dict[str, Any]:
        content = self._texts["content"]
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if self._calls and not content else content,
            "refusal": None,
        }
        if self._texts["reasoning"]:
            message["reasoning_content"] = self._texts["reasoning"]
        if self._calls:
            message["tool_calls"] = self._calls
        whole = {"index": self._index, "message": message, "logprobs": None}
        if self._show_log_probs:
            whole["logprobs"] = {"content": self._log_probs, "refusal": None}
        if self._show_ids:
            whole["token_ids"] = self._ids
        return {**whole, "finish_reason": self._finish_reason}


def _call(id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
