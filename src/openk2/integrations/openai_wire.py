"""OpenAI's wire format: what is asked as JSON, and answers, which are hostile, as Completions.

The format is that of OpenAI's API reference (chat and completions), with the extensions that vLLM,
SGLang and our own server share: `top_k`, `min_p`, `stop_token_ids`, `reasoning_content`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from openk2.core.errors import UserError
from openk2.core.generation import (
    DEFAULT_SAMPLING,
    Completion,
    Constraint,
    JsonSchemaFormat,
    RegexFormat,
    SamplingOptions,
)
from openk2.core.records import Message, ToolCall, ToolCallProblem, ToolSpec
from openk2.integrations.endpoint_failures import TransientFailure, one_line
from openk2.integrations.token_budget import Usage

__all__ = [
    "CHAT",
    "COMPLETIONS",
    "chat_payload",
    "completion_payload",
    "encode",
    "read_answers",
]

CHAT = "/chat/completions"
COMPLETIONS = "/completions"

# Text of no known length in tokens is counted with one token per so many bytes.
BYTES_PER_TOKEN = 4
# Beyond this, floats are no longer counts: no honest server says so much.
LARGEST = 2**53
# Finish reasons of our own server and of others for an answer that is none.
BROKEN_OFF = ("aborted", "failed", "error")


# --- asking


def chat_payload(
    messages: Sequence[Message],
    tools: Sequence[ToolSpec],
    options: SamplingOptions,
    tool_choice: str,
    response_format: Constraint | None,
) -> dict[str, Any]:
    """The body of a chat request, without the model and the number of samples."""
    names = [tool.name for tool in tools]
    payload: dict[str, Any] = {"messages": [_wire_message(message) for message in messages]}
    if tools:
        payload["tools"] = [tool.to_openai() for tool in tools]
    if tool_choice in names:
        payload["tool_choice"] = {"type": "function", "function": {"name": tool_choice}}
    elif tool_choice == "required" and not tools:
        raise UserError('tool_choice is "required" and there are no tools; give tools')
    elif tool_choice not in ("none", "auto", "required"):
        raise UserError(
            f"tool_choice is {one_line(tool_choice)!r}; it must be none, auto, required or a tool"
        )
    elif tools and tool_choice != "auto":
        payload["tool_choice"] = tool_choice
    if options.top_log_probs:
        payload |= {"logprobs": True, "top_logprobs": options.top_log_probs}
    return payload | _sampling(options) | _wire_format(response_format)


def completion_payload(
    prompt: str, options: SamplingOptions, response_format: Constraint | None
) -> dict[str, Any]:
    """The body of a request to continue plain text, without the model and the number of samples."""
    payload: dict[str, Any] = {"prompt": prompt}
    if options.top_log_probs:
        payload["logprobs"] = options.top_log_probs
    return payload | _sampling(options) | _wire_format(response_format)


def encode(payload: Mapping[str, Any]) -> bytes:
    """`payload` as JSON, the same bytes for the same request; UserError for what JSON lacks."""
    try:
        return json.dumps(payload, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"the request cannot be written as JSON: {one_line(str(error))}; mend the tools' "
            "schemas or the response format"
        ) from error


def _sampling(options: SamplingOptions) -> dict[str, Any]:
    """What differs from the defaults."""
    values: dict[str, Any] = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        "top_k": options.top_k,
        "min_p": options.min_p,
        "max_tokens": options.max_tokens,
        "seed": options.seed,
        "stop": options.stop,
        "repetition_limit": options.repetition_limit,
    }
    payload = {
        name: value for name, value in values.items() if value != getattr(DEFAULT_SAMPLING, name)
    }
    if options.stop_tokens:
        payload["stop_token_ids"] = options.stop_tokens
    if options.logit_bias:
        bias = sorted(options.logit_bias.items())
        payload["logit_bias"] = {str(token): value for token, value in bias}
    return payload


def _wire_message(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning is not None:
        wire["reasoning_content"] = message.reasoning
    if message.tool_calls:
        wire["content"] = message.content or None
        wire["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        wire["name"] = message.name
    return wire


def _wire_format(constraint: Constraint | None) -> dict[str, Any]:
    match constraint:
        case None:
            return {}
        case JsonSchemaFormat(schema):
            if isinstance(schema, bool):
                schema = {} if schema else {"not": {}}
            described = {"name": "answer", "schema": schema, "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": described}}
        case RegexFormat(pattern):
            return {"response_format": {"type": "regex", "pattern": pattern}}
        case _:
            raise UserError(
                "response_format is a ToolCallFormat, which no endpoint takes; give the tools as "
                "`tools` and say `tool_choice`"
            )


# --- reading


def read_answers(route: str, asked: int, text: str, choices: int) -> tuple[list[Completion], Usage]:
    """The choices in the server's `text`, 1 to `choices` of them, and what they cost together.

    `asked` is the request's length in bytes. Raises TransientFailure for anything that is no such
    answer.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise TransientFailure(f"the answer is not JSON: {one_line(text, 100)!r}") from None
    if not isinstance(body, dict):
        raise TransientFailure("the answer is not a JSON object")
    found = body.get("choices")
    if not (isinstance(found, list) and found):
        raise TransientFailure(f"the answer has no choices{_error_in(body)}")
    completions = [_read_choice(route, choice) for choice in found[:choices]]
    lengths = [_tokens(_written(completion)) for completion in completions]
    usage, cached = _read_usage(body.get("usage"), _tokens(asked), sum(lengths))
    shares = _apportion(usage.output, lengths)
    return [
        replace(
            completion,
            prompt_tokens=usage.input,
            completion_tokens=share,
            cached_tokens=cached,
        )
        for completion, share in zip(completions, shares, strict=True)
    ], usage


def _error_in(body: Mapping[str, Any]) -> str:
    """Some servers say 200 and put the error into the body."""
    error = body.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    return f", but an error: {one_line(message)}" if isinstance(message, str) else ""


def _read_choice(route: str, choice: Any) -> Completion:
    if not isinstance(choice, dict):
        raise TransientFailure("the answer has a choice that is not an object")
    message = _read_message(choice.get("message")) if route == CHAT else None
    return Completion(
        text=_text(choice.get("text"), "text") if message is None else message.content,
        finish_reason=_finish_reason(choice.get("finish_reason")),
        log_probs=_log_probs(choice.get("logprobs")),
        message=message,
    )


def _read_message(message: Any) -> Message:
    if not isinstance(message, dict):
        raise TransientFailure("the answer has a choice without a message")
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    found = message.get("tool_calls") or []
    if not isinstance(found, list):
        raise TransientFailure("the answer's tool_calls are not a list")
    calls: list[ToolCall] = []
    problems: list[ToolCallProblem] = []
    for item in found:
        call = _read_call(item)
        (calls if isinstance(call, ToolCall) else problems).append(call)  # type: ignore[arg-type]
    return Message(
        role="assistant",
        content=_text(message.get("content"), "content", missing=""),
        reasoning=_text(reasoning, "reasoning_content") if reasoning else None,
        tool_calls=tuple(calls),
        problems=tuple(problems),
    )


def _read_call(item: Any) -> ToolCall | ToolCallProblem:
    function = item.get("function") if isinstance(item, dict) else None
    if not isinstance(function, dict):
        raise TransientFailure("the answer has a tool call without a function")
    name = _text(function.get("name"), "a tool call's name")
    arguments = _text(function.get("arguments"), "a tool call's arguments", missing="")
    call = ToolCall(_text(item.get("id"), "a tool call's id", missing=""), name, arguments)
    if not call.id:
        return ToolCallProblem("id", f"{name}{arguments}", "the call has no id to answer to")
    try:
        call.parsed_arguments()
    except ValueError as error:
        return ToolCallProblem("arguments", arguments, f"{call.id}: {error}")
    return call


def _text(value: Any, what: str, missing: str | None = None) -> str:
    """A text of the answer; half surrogate pairs, which JSON can write and UTF-8 not, replaced."""
    if value is None and missing is not None:
        return missing
    if not isinstance(value, str):
        raise TransientFailure(f"the answer's {what} is {type(value).__name__}, not text")
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _finish_reason(reason: Any) -> str:
    """The core's name for it; what nobody knows stays as it is."""
    if not isinstance(reason, str):
        return "unknown"
    if reason in BROKEN_OFF:
        raise TransientFailure(f"the server broke the answer off: {reason}")
    # A turn that ends in calls has ended by itself; the calls are in the message.
    return "stop" if reason in ("tool_calls", "function_call") else one_line(_text(reason, ""), 40)


def _log_probs(found: Any) -> tuple[float, ...]:
    """Of the sampled tokens, from either route's form; none if any of them is not a number."""
    if not isinstance(found, dict):
        return ()
    if isinstance(found.get("content"), list):
        values = [t.get("logprob") if isinstance(t, dict) else None for t in found["content"]]
    elif isinstance(found.get("token_logprobs"), list):
        values = found["token_logprobs"]
    else:
        return ()
    numbers = [float(v) for v in values if isinstance(v, int | float) and -LARGEST < v < LARGEST]
    return tuple(numbers) if len(numbers) == len(values) else ()


def _read_usage(found: Any, prompt: int, completion: int) -> tuple[Usage, int]:
    """Usage and cached tokens as the server says, or as estimated where it does not."""
    counts = found if isinstance(found, dict) else {}
    details = counts.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    read, written = _count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens"))
    if read is None or written is None:
        return Usage(prompt, completion, estimated=True), 0
    return Usage(read, written), _count(cached) or 0


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < LARGEST else None


def _written(completion: Completion) -> int:
    """Bytes of everything that the model wrote."""
    parts = [completion.text]
    if completion.message is not None:
        parts += [completion.message.reasoning or ""]
        parts += [call.name + call.arguments for call in completion.message.tool_calls]
        parts += [problem.text for problem in completion.message.problems]
    return sum(len(part.encode()) for part in parts)


def _tokens(size: int) -> int:
    return math.ceil(size / BYTES_PER_TOKEN)


def _apportion(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole parts that sum to it, about as `weights`: usage is said for all choices."""
    shares, sum_of_weights, given, passed = [], sum(weights) or len(weights), 0, 0
    for weight in weights:
        passed += weight if sum(weights) else 1
        shares.append(total * passed // sum_of_weights - given)
        given += shares[-1]
    return shares
