"""OpenAI's wire format: what is asked, and what hostile answers become."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.core.errors import UserError
from openk2.core.generation import (
    Completion,
    JsonSchemaFormat,
    RegexFormat,
    SamplingOptions,
    ToolCallFormat,
)
from openk2.core.records import Message, ToolCall, ToolSpec
from openk2.core.terminal import printable
from openk2.integrations.endpoint_failures import TransientFailure, retry_after
from openk2.integrations.openai_wire import (
    CHAT,
    COMPLETIONS,
    chat_payload,
    completion_payload,
    encode,
    read_answers,
)
from openk2.integrations.token_budget import Usage

WEATHER = ToolSpec("weather", "tells it", {"type": "object", "properties": {}})
HELLO = [Message("user", "hello")]


def ask(**changed: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "messages": HELLO,
        "tools": (),
        "options": SamplingOptions(),
        "tool_choice": "auto",
        "response_format": None,
    }
    return chat_payload(**{**arguments, **changed})


def test_defaults_are_left_out() -> None:
    assert ask() == {"messages": [{"role": "user", "content": "hello"}]}
    assert completion_payload("x", SamplingOptions(), None) == {"prompt": "x"}


def test_every_sampling_option_has_its_field() -> None:
    options = SamplingOptions(
        temperature=0.0,
        top_p=0.9,
        top_k=5,
        min_p=0.1,
        max_tokens=7,
        seed=0,
        stop=("a", "b"),
        stop_tokens=(3,),
        logit_bias={9: 1.5, 2: -100},
        top_log_probs=2,
        repetition_limit=4,
    )
    shared = {
        "temperature": 0.0,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "max_tokens": 7,
        "seed": 0,
        "stop": ["a", "b"],
        "stop_token_ids": [3],
        "logit_bias": {"2": -100, "9": 1.5},
        "repetition_limit": 4,
    }
    chat = json.loads(encode(ask(options=options)))
    del chat["messages"]
    assert chat == {**shared, "logprobs": True, "top_logprobs": 2}
    plain = json.loads(encode(completion_payload("x", options, None)))
    assert plain == {"prompt": "x", **shared, "logprobs": 2}


def test_a_dialog_with_calls_is_written_as_openai_has_it() -> None:
    dialog = [
        Message("system", "be brief"),
        Message("user", "weather?", name="ada"),
        Message("assistant", "", "hm", (ToolCall("functions.weather:0", "weather", '{ "a":1}'),)),
        Message("tool", "rain", tool_call_id="functions.weather:0", name="weather"),
    ]
    function = {"name": "weather", "arguments": '{ "a":1}'}
    call = {"id": "functions.weather:0", "type": "function", "function": function}
    assert ask(messages=dialog)["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "weather?", "name": "ada"},
        {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [call]},
        {
            "role": "tool",
            "content": "rain",
            "tool_call_id": "functions.weather:0",
            "name": "weather",
        },
    ]


def test_tool_choice() -> None:
    named = {"type": "function", "function": {"name": "weather"}}
    tools = [WEATHER.to_openai()]
    for choice, written in [
        ("auto", {}),
        ("none", {"tool_choice": "none"}),
        ("required", {"tool_choice": "required"}),
        ("weather", {"tool_choice": named}),
    ]:
        payload = ask(tools=[WEATHER], tool_choice=choice)
        assert payload == {"messages": payload["messages"], "tools": tools, **written}
    assert ask(tool_choice="none") == ask()
    with pytest.raises(UserError, match="there are no tools; give tools"):
        ask(tool_choice="required")
    with pytest.raises(UserError, match="tool_choice is 'wether'; it must be"):
        ask(tools=[WEATHER], tool_choice="wether")


def test_response_formats() -> None:
    def schema(value: Any) -> dict[str, Any]:
        described = {"name": "answer", "schema": value, "strict": True}
        return {"type": "json_schema", "json_schema": described}

    for constraint, expected in [
        (JsonSchemaFormat({"type": "array"}), schema({"type": "array"})),
        (JsonSchemaFormat(), schema({})),
        (JsonSchemaFormat(False), schema({"not": {}})),
        (RegexFormat("a+"), {"type": "regex", "pattern": "a+"}),
    ]:
        assert ask(response_format=constraint)["response_format"] == expected
        payload = completion_payload("x", SamplingOptions(), constraint)
        assert payload["response_format"] == expected
    with pytest.raises(UserError, match="ToolCallFormat, which no endpoint takes; give the tools"):
        ask(response_format=ToolCallFormat((WEATHER,)))


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), b"bytes"])
def test_what_json_lacks_is_the_callers_error(value: Any) -> None:
    with pytest.raises(UserError, match=r"cannot be written as JSON: .*mend the tools' schemas"):
        encode(ask(tools=[ToolSpec("t", "", {"default": value})]))


def test_lone_surrogates_are_written_and_read() -> None:
    assert b"\\ud800" in encode(completion_payload("\ud800", SamplingOptions(), None))
    body = r'{"choices": [{"text": "\ud800 \ud83d\ude00 \udc00"}]}'
    (completion,), _ = read_answers(COMPLETIONS, 10, body, 1)
    assert completion.text == "\ufffd 😀 \ufffd"


def turn(message: Any, **choice: Any) -> Completion:
    body = {"choices": [{"message": message, "finish_reason": "stop", **choice}]}
    (completion,), _ = read_answers(CHAT, 10, json.dumps(body), 1)
    return completion


def call(arguments: Any, id: Any = "c1", name: Any = "weather") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_a_turn_with_reasoning_and_calls() -> None:
    calls = [call('{"a": 1}', "functions.weather:3"), call("{}", "x")]
    completion = turn(
        {"content": None, "reasoning_content": "hm", "tool_calls": calls},
        finish_reason="tool_calls",
    )
    made = (
        ToolCall("functions.weather:3", "weather", '{"a": 1}'),
        ToolCall("x", "weather", "{}"),
    )
    assert completion.message == Message("assistant", "", "hm", made)
    assert (completion.text, completion.finish_reason) == ("", "stop")
    assert turn({"content": "x", "reasoning": "vLLM's name"}).message == Message(
        "assistant", "x", "vLLM's name"
    )


def test_calls_that_cannot_be_made_are_problems() -> None:
    deep = "[" * 100_000
    message = turn({"tool_calls": [call("{"), call("[]"), call(deep), call("{}", None)]}).message
    assert message is not None
    assert message.tool_calls == ()
    assert [(p.kind, p.text) for p in message.problems] == [
        ("arguments", "{"),
        ("arguments", "[]"),
        ("arguments", deep),
        ("id", "weather{}"),
    ]


def test_finish_reasons() -> None:
    for reason, read in [
        ("stop", "stop"),
        ("length", "length"),
        ("repetition", "repetition"),
        ("content_filter", "content_filter"),
        (None, "unknown"),
        (3, "unknown"),
        ("\x1b[2J" + "x" * 99, "␛[2J" + "x" * 33 + "..."),
    ]:
        assert turn({"content": ""}, finish_reason=reason).finish_reason == read
    with pytest.raises(TransientFailure, match="broke the answer off: aborted"):
        turn({"content": ""}, finish_reason="aborted")


def test_log_probs_are_all_numbers_or_none() -> None:
    def probs(*values: Any) -> dict[str, Any]:
        return {"content": [{"token": "a", "logprob": value} for value in values]}

    assert turn({}, logprobs=probs(-0.5, 0, -1e3)).log_probs == (-0.5, 0.0, -1000.0)
    for wrong in (None, "x", float("nan"), float("-inf"), -(10**400)):
        assert turn({}, logprobs=probs(-0.5, wrong)).log_probs == ()
    for wrong in (None, 3, [], {"content": 3}, {"content": [3]}):
        assert turn({}, logprobs=wrong).log_probs == ()
    body = {"choices": [{"text": "ab", "logprobs": {"token_logprobs": [-1.5, -2.5]}}]}
    (completion,), _ = read_answers(COMPLETIONS, 1, json.dumps(body), 1)
    assert completion.log_probs == (-1.5, -2.5)


def test_usage_is_the_servers_or_estimated() -> None:
    choices = [{"text": "x" * 40}, {"text": "x" * 80}, {"text": ""}]
    said = {
        "prompt_tokens": 11,
        "completion_tokens": 31,
        "prompt_tokens_details": {"cached_tokens": 8},
    }
    completions, usage = read_answers(
        COMPLETIONS, 100, json.dumps({"choices": choices, "usage": said}), 3
    )
    assert usage == Usage(11, 31)
    assert [c.completion_tokens for c in completions] == [10, 21, 0]
    assert all((c.prompt_tokens, c.cached_tokens) == (11, 8) for c in completions)
    for wrong in (
        *(None, 3, {}, {**said, "prompt_tokens": -1}, {**said, "prompt_tokens": True}),
        *({**said, "completion_tokens": "9"}, {**said, "completion_tokens": 10**30}),
    ):
        completions, usage = read_answers(
            COMPLETIONS, 100, json.dumps({"choices": choices, "usage": wrong}), 3
        )
        assert usage == Usage(25, 30, estimated=True)
        assert [c.completion_tokens for c in completions] == [10, 20, 0]


@given(st.integers(0, 1000), st.lists(st.text("ab", max_size=60), min_size=1, max_size=9))
def test_shares_of_the_usage_sum_to_it(total: int, texts: list[str]) -> None:
    body = {
        "choices": [{"text": text} for text in texts],
        "usage": {"prompt_tokens": 1, "completion_tokens": total},
    }
    completions, _ = read_answers(COMPLETIONS, 1, json.dumps(body), len(texts))
    shares = [c.completion_tokens for c in completions]
    assert sum(shares) == total
    assert min(shares) >= 0


FIELDS = [
    *("choices", "message", "content", "text", "tool_calls", "function", "name", "arguments", "id"),
    *("usage", "prompt_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens"),
    *("logprobs", "token_logprobs", "logprob", "finish_reason", "error", "reasoning"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(FIELDS), JSON)
BODIES = st.one_of(
    st.text(),
    JSON.map(json.dumps),
    st.builds(
        lambda choices, body: json.dumps({**body, "choices": choices}),
        st.lists(OBJECTS | st.fixed_dictionaries({"message": OBJECTS}), max_size=3),
        OBJECTS,
    ),
    st.integers(1, 100_000).map(lambda depth: '{"choices": [{"text": ' + "[" * depth),
    st.integers(1, 100_000).map(lambda digits: '{"choices": ' + "9" * digits + "}"),
)


@settings(deadline=None)  # a long body takes long under load
@given(st.sampled_from([CHAT, COMPLETIONS]), BODIES, st.integers(1, 3))
def test_any_answer_is_completions_or_a_failure_of_one_line(
    route: str, body: str, choices: int
) -> None:
    try:
        completions, usage = read_answers(route, 100, body, choices)
    except TransientFailure as failure:
        assert len(str(failure).splitlines()) == 1
        assert printable(str(failure)) == str(failure)
        str(failure).encode()
    else:
        assert 1 <= len(completions) <= choices
        assert sum(completion.completion_tokens for completion in completions) == usage.output
        for completion in completions:
            completion.text.encode()
            assert (completion.message is not None) == (route == CHAT)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ("", "is not JSON"),
        ('{"choices": [{"text": "cut', "is not JSON"),
        ("<html>\nBad gateway", "is not JSON: '<html> Bad gateway'"),
        ("[1]", "is not a JSON object"),
        ('{"choices": []}', "has no choices$"),
        ('{"error": {"message": "no\\nmemory", "code": 500}}', "no choices, but an error: no mem"),
        (r'{"error": "\ud800 \u001b[2J"}', r"an error: \? ␛\[2J$"),
        ('{"choices": [3]}', "a choice that is not an object"),
        ('{"choices": [{"text": 3}]}', "text is int, not text"),
    ],
)
def test_failures_say_what_came(body: str, detail: str) -> None:
    with pytest.raises(TransientFailure, match=detail):
        read_answers(COMPLETIONS, 1, body, 1)


@given(st.none() | st.text() | st.floats().map(str) | st.integers().map(str))
def test_any_retry_after_is_a_wait_within_bounds(header: str | None) -> None:
    assert 0 <= retry_after(header, 60.0) <= 60


def test_retry_after_in_seconds_and_as_a_date() -> None:
    assert retry_after("2.5", 60) == 2.5
    assert retry_after("3600", 60) == 60
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT", 60) == 0
    assert retry_after("Wed, 21 Oct 2099 07:28:00 GMT", 60) == 60
    assert retry_after(None, 60) == 0
