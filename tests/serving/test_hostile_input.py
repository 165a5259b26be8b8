"""Bad input: a 4xx in OpenAI's shape that says what is wrong, and other clients are unharmed."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
USER = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "clock"}}


def chat(**fields):
    return {"messages": USER, "max_tokens": 2, **fields}


def text(**fields):
    return {"prompt": "hi", "max_tokens": 2, **fields}


def called(**function):
    return chat(messages=[{"role": "assistant", "tool_calls": [{"id": "x", **function}]}])


# (path, body, the field that the error names, words of its message)
REFUSED = {
    "no json": (CHAT, b"{", None, "not JSON"),
    "empty body": (CHAT, b"", None, "not JSON"),
    "a list": (CHAT, b"[1]", None, "JSON object"),
    "invalid utf-8": (TEXT, b'{"prompt": "\xff\xfe"}', None, "not JSON"),
    "a lone surrogate": (TEXT, b'{"prompt": "\\ud800"}', None, "not JSON"),
    "NaN": (TEXT, b'{"prompt": "x", "temperature": NaN}', None, "not JSON"),
    "infinity": (TEXT, b'{"prompt": "x", "temperature": 1e999}', "temperature", "less than"),
    "an endless number": (TEXT, b'{"max_tokens": ' + b"9" * 5000 + b"}", None, "not JSON"),
    "a huge number": (TEXT, text(max_tokens=10**30), "max_tokens", "less than"),
    "a huge seed": (TEXT, text(seed=2**63), "seed", "less than"),
    "deep nesting": (CHAT, b'{"a":' * 100_000, None, "recursion"),
    "no messages": (CHAT, {"model": "tiny"}, "messages", "required"),
    "empty messages": (CHAT, chat(messages=[]), "messages", "at least 1"),
    "a text for messages": (CHAT, chat(messages="hi"), "messages", "list"),
    "a number for a message": (CHAT, chat(messages=[3]), "messages[0]", "dict"),
    "no role": (CHAT, chat(messages=[{"content": "x"}]), "messages[0].role", "role"),
    "a made-up role": (CHAT, chat(messages=[{"role": "god"}]), "messages[0].role", "one of"),
    "no content": (CHAT, chat(messages=[{"role": "user"}]), "messages[0].content", "missing"),
    "a picture": (
        CHAT,
        chat(messages=[{"role": "user", "content": [{"type": "image_url"}]}]),
        "messages[0].content[0]",
        "only parts",
    ),
    "a tool's answer to nothing": (
        CHAT,
        chat(messages=[{"role": "tool", "content": "x"}]),
        "messages[0].tool_call_id",
        "answers a call",
    ),
    "a call without a function": (CHAT, called(), "messages[0].tool_calls[0]", "a call is"),
    "a call without arguments": (
        CHAT,
        called(function={"name": "x"}),
        "messages[0].tool_calls[0].function",
        "arguments",
    ),
    "a text for a number": (CHAT, chat(temperature="1"), "temperature", "number"),
    "a truth value for a number": (CHAT, chat(n=True), "n", "integer"),
    "a number for a truth value": (CHAT, chat(stream=1), "stream", "boolean"),
    "too hot": (CHAT, chat(temperature=3), "temperature", "less than or equal to 2"),
    "too many choices": (CHAT, chat(n=10**6), "n", "less than or equal"),
    "no tokens": (CHAT, chat(max_tokens=0), "max_tokens", "at least 1"),
    "an empty stop": (CHAT, chat(stop=["x", ""]), "stop", "empty"),
    "a hundred stops": (CHAT, chat(stop=["x"] * 100), "stop", "at most"),
    "a bias for no token": (CHAT, chat(logit_bias={"the": 1}), "logit_bias", "not a token id"),
    "a bias for token -1": (CHAT, chat(logit_bias={"-1": 1}), "logit_bias", "not a token id"),
    "a bias for token ٣": (CHAT, chat(logit_bias={"٣": 1}), "logit_bias", "not a token id"),
    "a bias beyond": (CHAT, chat(logit_bias={"99999": 1}), "logit_bias", "vocabulary"),
    "a penalty": (CHAT, chat(presence_penalty=1.0), "presence_penalty", "not supported"),
    "old functions": (CHAT, chat(functions=[{"name": "f"}]), "functions", "tools"),
    "top_logprobs alone": (CHAT, chat(top_logprobs=2), None, "logprobs = true"),
    "options of no stream": (CHAT, chat(stream_options={}), None, "stream = true"),
    "a tool of another type": (CHAT, chat(tools=[{"type": "python"}]), "tools[0]", "function"),
    "a tool's name": (
        CHAT,
        chat(tools=[{"type": "function", "function": {"name": "a b"}}]),
        "tools[0].function.name",
        "letters",
    ),
    "a tool twice": (CHAT, chat(tools=[TOOL, TOOL]), "tools[1].function.name", "twice"),
    "a call required of nothing": (CHAT, chat(tool_choice="required"), "tool_choice", "no tools"),
    "a choice that is none": (CHAT, chat(tools=[TOOL], tool_choice="x"), "tool_choice", '"none"'),
    "a number for a choice": (CHAT, chat(tools=[TOOL], tool_choice=5), "tool_choice", '"none"'),
    "a choice of no tool": (
        CHAT,
        chat(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "x"}}),
        "tool_choice",
        "not among the tools",
    ),
    "calls and a format": (
        CHAT,
        chat(tools=[TOOL], response_format={"type": "json_object"}),
        "response_format",
        "tool_choice",
    ),
    "an unknown format": (
        CHAT,
        chat(response_format={"type": "yaml"}),
        "response_format.type",
        "json_schema",
    ),
    "a format without a schema": (
        CHAT,
        chat(response_format={"type": "json_schema"}),
        "response_format.json_schema",
        "schema",
    ),
    "a suffix": (TEXT, text(suffix="x"), "suffix", "suffix"),
    "the best of too few": (TEXT, text(n=3, best_of=2), None, "smaller than n"),
    "the best of a stream": (TEXT, text(n=1, best_of=2, stream=True), None, "streamed"),
    "an object for a prompt": (TEXT, text(prompt={}), "prompt", "string"),
    "mixed prompts": (TEXT, text(prompt=["a", 1]), "prompt", "string"),
    "no prompts": (TEXT, text(prompt=[]), "prompt", "empty"),
    "an empty prompt of tokens": (TEXT, text(prompt=[[]]), "prompt", "at least one token"),
    "a token beyond": (TEXT, text(prompt=[99999]), "prompt", "vocabulary"),
    "a negative token": (TEXT, text(prompt=[-1]), "prompt", "vocabulary"),
    "half a token": (TEXT, text(prompt=[1.5]), "prompt", "string"),
    "too many prompts": (TEXT, text(prompt=["x"] * 10_000), "prompt", "more than"),
    "neither of two": ("/tokenize", {}, None, "either prompt or messages"),
    "no such token": ("/detokenize", {"tokens": [99999]}, "tokens", "vocabulary"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(server, name):
    path, body, param, words = REFUSED[name]
    answer = server.post(path, body)
    assert answer.status == 400, answer.body
    error = answer.error
    assert error["type"] == "invalid_request_error"
    assert (error["param"], words in error["message"]) == (param, True), error


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        (TEXT, text(prompt="the weather " * 300_000), "context_length_exceeded"),
        (TEXT, text(prompt="z" * 5000), "context_length_exceeded"),
        (TEXT, text(prompt=[5] * 5000), "context_length_exceeded"),
        (CHAT, chat(messages=USER * 50_000), "context_length_exceeded"),
        (TEXT, text(prompt=["x"] * 100, n=128), "too_many_sequences"),
    ],
    ids=["megabytes", "characters", "tokens", "messages", "sequences"],
)
def test_too_much_is_refused(server, path, body, code):
    answer = server.post(path, body)
    assert (answer.status, answer.error["code"]) == (400, code)


def test_a_body_over_the_limit_is_refused_and_the_answer_arrives(server):
    """Announced or not: the client reads the answer though it was still sending."""
    body = json.dumps(text(prompt="x" * 10_000_000)).encode()
    announced = server.post(TEXT, body)
    assert (announced.status, announced.error["code"]) == (413, "request_too_large")
    head = f"POST {TEXT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(head.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_unknown_fields_are_ignored_as_openai_does(server):
    body = chat(user="me", store=True, metadata={"a": "b"}, invented={"deep": [1, None]})
    assert server.post(CHAT, body).status == 200


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "#/$defs/none"},
        {"$ref": "#"},
        {"type": "string", "pattern": "(" * 500},
        {"type": "string", "pattern": "((a{1,1000}){1,1000}){1,1000}"},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
    ],
    ids=["type", "dangling", "recursive", "parentheses", "huge regex", "unsatisfiable"],
)
def test_a_hostile_schema_is_refused_by_name(server, schema):
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = server.post(CHAT, chat(response_format=wanted))
    assert answer.status == 400, answer.body
    assert answer.error["message"]


def test_a_hostile_regular_expression_is_refused(server):
    for pattern in ("(", "(?=a)b", "((a{1,1000}){1,1000}){1,1000}"):
        wanted = {"type": "regex", "pattern": pattern}
        assert server.post(CHAT, chat(response_format=wanted)).status == 400, pattern


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/images/generations", "/docs", "/v1"])
def test_what_is_not_there_is_404(server, path):
    assert server.post(path, {}).status == 404
    assert server.get(path).error["message"] == f"there is no GET {path}"


def test_a_method_that_is_not_allowed(server):
    answer = server.get(CHAT)
    assert (answer.status, bool(answer.error)) == (405, True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
FIELDS = (
    *("messages", "tools", "tool_choice", "response_format", "prompt", "stop", "logit_bias", "n"),
    *("logprobs", "stream_options", "max_tokens", "temperature", "seed", "echo", "model"),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    path=st.sampled_from([CHAT, TEXT, "/tokenize", "/detokenize"]),
    fields=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4),
)
def test_no_body_makes_a_500(server, path, fields):
    """Any JSON in any field, over a request that is otherwise right."""
    body = json.dumps({**chat(), **text(), **fields}).encode()
    answer = server.post(path, body)
    assert answer.status in (200, 400, 404), answer.body
    if answer.status != 200:
        assert answer.error
