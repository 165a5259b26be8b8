"""Reading assistant turns: well-formed, broken and random, whole and in pieces."""

import json
import re
from itertools import compress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from renderers.kimi_k2 import KimiK2Renderer

from openk2.core.records import Message, ToolCall
from openk2.tokenizer import SPECIAL_TOKENS, ChatFormat, Delta
from openk2.tokenizer.tool_calls import called_tool

from .dialogs import TokenizerForRenderers, assistant_turns
from .test_bpe import TEXTS, small_tokenizer

TOOL_TOKENS = [name for name, envelope in SPECIAL_TOKENS.items() if not envelope]
SPECIAL = re.compile("(" + "|".join(map(re.escape, SPECIAL_TOKENS)) + ")")


def tokens_of(text: str) -> list[int]:
    """The ids of a text in which special tokens are meant."""
    return [
        token
        for part in SPECIAL.split(text)
        for token in (
            [small_tokenizer().special[part]]
            if part in SPECIAL_TOKENS
            else small_tokenizer().encode(part)
        )
    ]


# The format's own pieces in any order, and tokens of all kinds, some of no vocabulary.
RANDOM_TOKENS = st.lists(
    st.one_of(
        st.sampled_from([*TOOL_TOKENS, "<think>", "</think>", "{}", "\n", "é"]).map(tokens_of),
        st.sampled_from(
            [
                "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0",
                "<|tool_call_begin|>functions.g:1<|tool_call_argument_begin|>",
                "<|tool_call_argument_begin|>{}<|tool_call_end|>",
                '{"a": 1}<|tool_call_end|>',
            ]
        ).map(tokens_of),
        st.lists(st.integers(-2, small_tokenizer().vocabulary_size + 2), max_size=3),
    ),
    max_size=20,
).map(lambda parts: [token for part in parts for token in part])


def parsed(text: str, thinking: Any = "off") -> Message:
    return ChatFormat(small_tokenizer(), thinking).parse(tokens_of(text))


def section(*calls: str) -> str:
    return f"<|tool_calls_section_begin|>{''.join(calls)}<|tool_calls_section_end|>"


def call(id: str, arguments: str) -> str:
    return f"<|tool_call_begin|>{id}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"


@settings(deadline=None, max_examples=300)
@given(RANDOM_TOKENS, st.sampled_from(["off", "kept"]), st.data())
def test_any_tokens_in_any_pieces_are_read_like_the_whole(
    tokens: list[int], thinking: Any, data: st.DataObject
) -> None:
    chat_format = ChatFormat(small_tokenizer(), thinking)
    whole = chat_format.parse(tokens)
    stream = chat_format.stream()
    deltas: list[Delta] = []
    rest = list(tokens)
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        deltas += stream.feed(rest[:size])
        rest = rest[size:]
    deltas += stream.flush()
    assert stream.flush() == []
    assert stream.finish() == whole
    check_deltas(deltas, whole)


KINDS = ("content", "reasoning")
CALL_BEGUN = re.compile(
    re.escape("<|tool_call_begin|>") + "(.*?)" + re.escape("<|tool_call_argument_begin|>"),
    re.DOTALL,
)


def check_deltas(deltas: list[Delta], message: Message) -> None:
    """Put together, the deltas are the message, but for the calls that broke after they began."""
    shown = {kind: "".join(d.text for d in deltas if d.kind == kind) for kind in KINDS}
    assert shown["reasoning"] == (message.reasoning or "")
    begun = [delta for delta in deltas if delta.kind == "tool_call"]
    assert [delta.index for delta in begun] == list(range(len(begun)))
    arguments = [
        "".join(d.text for d in deltas if d.kind == "tool_arguments" and d.index == index)
        for index in range(len(begun))
    ]
    calls = [ToolCall(d.id, d.name, a) for d, a in zip(begun, arguments, strict=True)]
    broken = [
        problem
        for problem in message.problems
        if (parts := CALL_BEGUN.match(problem.text)) and called_tool(parts[1])
    ]
    assert len(calls) == len(message.tool_calls) + len(broken)
    remaining = iter(calls)
    assert all(call in remaining for call in message.tool_calls)
    kept = "".join(problem.text for problem in broken if problem.kind == "unclosed")
    assert len(shown["content"]) == len(message.content) - len(kept)
    assert kept or shown["content"] == message.content


@settings(deadline=None)
@given(assistant_turns(given_ids=True), st.sampled_from(["off", "kept"]))
def test_a_written_turn_is_read_back(turn: Message, thinking: Any) -> None:
    chat_format = ChatFormat(small_tokenizer(), thinking, default_system=None)
    head = len(chat_format.render([], generation_prompt=True).tokens)
    tokens = chat_format.render([turn]).tokens[head:]
    read = chat_format.parse(tokens)
    assert read.tool_calls == turn.tool_calls
    assert not read.problems
    assert chat_format.parse(tokens[:-1]) == read
    if "</think>" not in (turn.reasoning or ""):
        assert read.content == turn.content
        expected = turn.reasoning if thinking == "kept" else None
        assert read.reasoning == (expected or None)
    stream = chat_format.stream()
    check_deltas(stream.feed(tokens), stream.finish())


@settings(deadline=None)
@given(TEXTS, st.lists(st.dictionaries(TEXTS, st.integers(), max_size=2), max_size=3))
def test_calls_are_those_of_the_second_reader(
    content: str, arguments: list[dict[str, int]]
) -> None:
    content = content.strip().replace("<think>", "").replace("</think>", "")
    calls = tuple(
        ToolCall(f"functions.f-{number}:{number}", f"f-{number}", json.dumps(found))
        for number, found in enumerate(arguments)
    )
    chat_format = ChatFormat(small_tokenizer())
    rendered = chat_format.render([Message("assistant", content, tool_calls=calls)])
    tokens = list(compress(rendered.tokens, rendered.loss_mask))
    theirs = KimiK2Renderer(TokenizerForRenderers(small_tokenizer())).parse_response(tokens)
    ours = chat_format.parse(tokens)
    assert ours.content == theirs.content == content
    assert [(c.id, c.name, c.parsed_arguments()) for c in ours.tool_calls] == [
        (c.id, c.name, c.arguments) for c in theirs.tool_calls
    ]
    assert ours.tool_calls == calls


@pytest.mark.parametrize(
    ("id", "name"),
    [
        ("functions.get-weather:0", "get-weather"),
        ("functions.maps.search:123456789012345678901234567890", "maps.search"),
        ("functions.functions.f:-3", "functions.f"),
        (" functions.f:7\n", "f"),
        ("f:1", "f"),
        ("functions.a:b:2", "a:b"),
        ("functions.天气:0", "天气"),
    ],
)
def test_names_and_indices(id: str, name: str) -> None:
    message = parsed(section(call(id, "{}")))
    assert message == Message("assistant", tool_calls=(ToolCall(id, name, "{}"),))


@pytest.mark.parametrize(
    "id", ["", "f", "functions.f", "functions.f:", "functions.:0", ":0", "a:x"]
)
def test_an_id_without_name_or_index_is_a_problem_and_text(id: str) -> None:
    message = parsed("a" + section(call(id, "{}"), call("functions.f:0", "{}")) + "b")
    assert [call.name for call in message.tool_calls] == ["f"]
    assert message.content == "a" + call(id, "{}") + "b"
    (problem,) = message.problems
    assert (problem.kind, problem.text) == ("id", call(id, "{}"))


@pytest.mark.parametrize(
    ("arguments", "detail"),
    [
        ("", "Expecting value"),
        ('{"a": 1', "Expecting"),
        ("[1]", "not a JSON object"),
        ("null", "not a JSON object"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "4300 digits"),
    ],
)
def test_arguments_that_are_no_object_are_a_problem(arguments: str, detail: str) -> None:
    message = parsed(
        section(call("functions.f:0", arguments), call("functions.g:1", '{"a": [{}]}'))
    )
    assert message.tool_calls == (ToolCall("functions.g:1", "g", '{"a": [{}]}'),)
    assert message.content == ""
    (problem,) = message.problems
    assert (problem.kind, problem.text) == ("arguments", call("functions.f:0", arguments))
    assert detail in problem.detail


def test_text_around_several_sections() -> None:
    one, two, three = (call(f"functions.f:{n}", "{}") for n in range(3))
    message = parsed(f"a{section(one, two)}b{section()}{section(three)}c<|im_end|>d")
    assert message.content == "abc"
    assert [c.id for c in message.tool_calls] == ["functions.f:0", "functions.f:1", "functions.f:2"]
    assert message.problems == ()


OPEN = "<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{"


@pytest.mark.parametrize("unclosed", ["<|tool_call_begin|>", "<|tool_call_begin|>func", OPEN])
@pytest.mark.parametrize("end", ["", "<|im_end|>", "<|tool_calls_section_end|>", "next"])
def test_an_unclosed_call_stays_in_the_text(unclosed: str, end: str) -> None:
    following = call("functions.g:1", "{}") if end == "next" else end
    message = parsed(f"a<|tool_calls_section_begin|>{unclosed}{following}")
    assert message.content == "a" + unclosed
    assert [c.name for c in message.tool_calls] == ["g"] * (end == "next")
    (problem,) = message.problems
    assert (problem.kind, problem.text) == ("unclosed", unclosed)


@pytest.mark.parametrize(
    "text",
    [
        OPEN + "}<|tool_call_end|>",  # outside of a section
        "<|tool_calls_section_end|>a<|tool_call_end|>",
        "<|im_user|>user<|im_middle|>b[PAD][UNK]",
        "<|tool_call_argument_begin|>",
    ],
)
def test_special_tokens_where_they_mean_nothing_are_text(text: str) -> None:
    assert parsed(text) == Message("assistant", text)


def test_special_tokens_within_arguments_are_text() -> None:
    arguments = '{"a": "<|im_user|><|tool_call_argument_begin|>"}'
    message = parsed(section(call("functions.f:0", arguments)))
    assert message.tool_calls == (ToolCall("functions.f:0", "f", arguments),)


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        ("<think>a</think>b", "a", "b"),
        ("<think></think>b", None, "b"),
        ("<think>a", "a", ""),
        ("<think>a</thi", "a</thi", ""),
        ("<think>a</think", "a</think", ""),
        ("<thi", None, "<thi"),
        ("<thinks>a</think>", None, "<thinks>a</think>"),
        ("a<think>b</think>", None, "a<think>b</think>"),
        ("<think>a</</think>b</think>", "a</", "b</think>"),
        ("<think>a" + section(call("functions.f:0", "{}")) + "b</think>", "a", "b</think>"),
        (section(call("functions.f:0", "{}")) + "<think>", None, "<think>"),
        ("<think>a</thi" + section(call("functions.f:0", "{}")) + "b", "a</thi", "b"),
        ("<thi" + section(call("functions.f:0", "{}")) + "nk>b", None, "<think>b"),
    ],
)
def test_reasoning_is_what_an_opening_think_encloses(
    text: str, reasoning: str | None, content: str
) -> None:
    message = parsed(text, "kept")
    assert (message.reasoning, message.content) == (reasoning, content)
    assert len(message.tool_calls) == text.count("{}")
    assert parsed(text).reasoning is None


def test_arguments_and_text_come_at_once() -> None:
    chat_format = ChatFormat(small_tokenizer(), "kept")
    stream = chat_format.stream()
    arguments = '{"city": "São 😀"}'
    text = "<think>hm é</think>ok 汉" + section(call("functions.f:3", arguments))
    pieces: list[tuple[str, list[Delta]]] = []
    for token in tokens_of(text):
        pieces.append((small_tokenizer().token_table()[token].decode(errors="ignore"), []))
        pieces[-1][1].extend(stream.feed([token]))
    deltas = [delta for _, brought in pieces for delta in brought]
    assert "".join(d.text for d in deltas if d.kind == "reasoning") == "hm é"
    assert "".join(d.text for d in deltas if d.kind == "content") == "ok 汉"
    assert [d for d in deltas if d.kind == "tool_call"] == [
        Delta("tool_call", index=0, id="functions.f:3", name="f")
    ]
    assert "".join(d.text for d in deltas if d.kind == "tool_arguments") == arguments
    assert not any("\ufffd" in delta.text for delta in deltas)
    # Within the arguments every token that ends a character is given out with that token.
    inside = [p for p in pieces if p[1] and p[1][0].kind == "tool_arguments"]
    assert len(inside) >= len(small_tokenizer().encode(arguments)) - 5


def test_a_mark_cuts_an_unfinished_character() -> None:
    first, second = small_tokenizer().encode("\u0800")[:2]
    tokens = [first, *tokens_of(section(call("functions.f:0", "{}"))), second]
    message = ChatFormat(small_tokenizer()).parse(tokens)
    assert message.content == "\ufffd\ufffd"
    assert [c.id for c in message.tool_calls] == ["functions.f:0"]


@pytest.mark.parametrize("token", TOOL_TOKENS)
@pytest.mark.parametrize("before", ["", "<think>", "<|tool_calls_section_begin|>"])
def test_a_long_run_of_one_mark_is_read_in_its_stride(token: str, before: str) -> None:
    """Time that grew with the square of the length would not end here."""
    stream = ChatFormat(small_tokenizer(), "kept").stream()
    stream.feed(tokens_of(before))
    for _ in range(20_000):
        stream.feed(tokens_of(token))
    message = stream.finish()
    opened = message.content.count("<|tool_call_begin|>") if before.endswith("n|>") else 0
    assert len(message.problems) == opened
