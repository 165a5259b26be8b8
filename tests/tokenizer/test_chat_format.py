"""The chat format against a second writer of it, and the promises that training relies on."""

import json
import random
from dataclasses import replace
from itertools import compress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from renderers.kimi_k2 import KimiK2Renderer

from openk2.core.errors import UserError
from openk2.core.records import Message, ToolCall, ToolSpec
from openk2.tokenizer import DEFAULT_SYSTEM, ChatFormat, Tokenizer
from openk2.tokenizer.chat_format import Thinking

from .dialogs import (
    TOOLS,
    TokenizerForRenderers,
    assistant_turns,
    dialogs,
    openai_message,
    without_reasoning,
)
from .test_bpe import TEXTS, small_tokenizer

WEATHER = ToolSpec(
    "weather", "The weather.", {"type": "object", "properties": {"city": {"type": "string"}}}
)
PREFIX_PRESERVING: list[Thinking] = ["off", "kept"]


def second_writer() -> KimiK2Renderer:
    return KimiK2Renderer(TokenizerForRenderers(small_tokenizer()))


def test_a_dialog_as_the_release_writes_it() -> None:
    dialog = [
        Message("user", "Weather in Paris and Rome?"),
        Message(
            "assistant",
            "Let me see.",
            tool_calls=(
                ToolCall("functions.weather:0", "weather", '{"city": "Paris"}'),
                ToolCall("", "weather", '{"city": "Rome"}'),
            ),
        ),
        Message("tool", "sunny", tool_call_id="functions.weather:0", name="weather"),
        Message("tool", "rain", tool_call_id="functions.weather:1"),
    ]
    written = ChatFormat(small_tokenizer()).render_text(dialog, [WEATHER], generation_prompt=True)
    assert written == (
        '<|im_system|>tool_declare<|im_middle|>[{"function":{"description":"The weather.",'
        '"name":"weather","parameters":{"properties":{"city":{"type":"string"}},"type":"object"}},'
        '"type":"function"}]<|im_end|>'
        "<|im_system|>system<|im_middle|>You are Kimi, an AI assistant created by Moonshot AI."
        "<|im_end|>\n"
        "<|im_user|>user<|im_middle|>Weather in Paris and Rome?<|im_end|>"
        "<|im_assistant|>assistant<|im_middle|>Let me see.<|tool_calls_section_begin|>"
        "<|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>"
        '{"city": "Paris"}<|tool_call_end|>'
        "<|tool_call_begin|>functions.weather:1<|tool_call_argument_begin|>"
        '{"city": "Rome"}<|tool_call_end|>'
        "<|tool_calls_section_end|><|im_end|>"
        "<|im_system|>weather<|im_middle|>## Return of functions.weather:0\nsunny<|im_end|>"
        "<|im_system|>tool<|im_middle|>## Return of functions.weather:1\nrain<|im_end|>"
        "<|im_assistant|>assistant<|im_middle|>"
    )


@settings(deadline=None)
@given(dialogs(given_ids=True, names=False), TOOLS, st.booleans())
def test_tokens_and_mask_are_those_of_the_second_writer(
    dialog: list[Message], tools: list[ToolSpec], generation_prompt: bool
) -> None:
    theirs = second_writer().render(
        [openai_message(message) for message in dialog],
        tools=[tool.to_openai() for tool in tools],
        add_generation_prompt=generation_prompt,
    )
    ours = ChatFormat(small_tokenizer()).render(dialog, tools, generation_prompt)
    assert ours.tokens == theirs.token_ids
    assert ours.loss_mask == theirs.sampled_mask


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_thinking_in_a_content_is_that_of_the_second_writer(thought: str, answer: str) -> None:
    parts = [{"type": "thinking", "thinking": thought}, {"type": "text", "text": answer}]
    theirs = second_writer().render([{"role": "assistant", "content": parts}])
    turn = Message("assistant", answer, reasoning=thought)
    ours = ChatFormat(small_tokenizer(), thinking="kept").render([turn])
    # The break after the default system message is K2-Instruct's, which does not think.
    line_break = theirs.token_ids.index(small_tokenizer().special["<|im_end|>"]) + 1
    del theirs.token_ids[line_break], theirs.sampled_mask[line_break]
    assert (ours.tokens, ours.loss_mask) == (theirs.token_ids, theirs.sampled_mask)


@settings(deadline=None)
@given(dialogs(), TOOLS, st.sampled_from(PREFIX_PRESERVING), st.booleans(), st.data())
def test_a_longer_dialog_extends_the_shorter(
    dialog: list[Message], tools: list[ToolSpec], thinking: Any, typed: bool, data: st.DataObject
) -> None:
    declarations: Any = "typescript" if typed else "json"
    chat_format = ChatFormat(small_tokenizer(), thinking, declarations)
    whole = chat_format.render(dialog, tools)
    part = chat_format.render(dialog[: data.draw(st.integers(1, len(dialog)))], tools)
    assert whole.tokens[: len(part.tokens)] == part.tokens
    assert whole.loss_mask[: len(part.tokens)] == part.loss_mask


@settings(deadline=None)
@given(dialogs(), assistant_turns(), dialogs(), st.sampled_from(PREFIX_PRESERVING))
def test_prompt_and_sampled_turn_and_the_rest_are_the_dialog(
    before: list[Message], turn: Message, after: list[Message], thinking: Any
) -> None:
    chat_format = ChatFormat(small_tokenizer(), thinking)
    prompt = chat_format.render(before, generation_prompt=True).tokens
    sampled = chat_format.render([*before, turn]).tokens[len(prompt) :]
    assert chat_format.render([*before, turn, *after]).tokens[: len(prompt)] == prompt
    read = chat_format.parse(sampled)
    assert not read.problems
    again = chat_format.render([*before, read, *after]).tokens
    assert again == chat_format.render([*before, turn, *after]).tokens
    assert again[: len(prompt) + len(sampled)] == prompt + sampled


@settings(deadline=None)
@given(dialogs(given_ids=True), TOOLS)
def test_the_mask_covers_what_assistants_write(
    dialog: list[Message], tools: list[ToolSpec]
) -> None:
    expected = ""
    for message in dialog:
        if message.role == "assistant":
            expected += f"<think>{message.reasoning or ''}</think>{message.content}"
            calls = "".join(
                f"<|tool_call_begin|>{call.id}<|tool_call_argument_begin|>{call.arguments}"
                "<|tool_call_end|>"
                for call in message.tool_calls
            )
            if calls:
                expected += f"<|tool_calls_section_begin|>{calls}<|tool_calls_section_end|>"
            expected += "<|im_end|>"
    rendered = ChatFormat(small_tokenizer(), "kept").render(dialog, tools)
    produced = compress(rendered.tokens, rendered.loss_mask)
    assert small_tokenizer().decode(list(produced)) == expected


@settings(deadline=None)
@given(dialogs(), TOOLS)
def test_the_text_is_that_of_the_tokens(dialog: list[Message], tools: list[ToolSpec]) -> None:
    chat_format = ChatFormat(small_tokenizer(), "kept")
    tokens = chat_format.render(dialog, tools).tokens
    assert chat_format.tokenizer.decode(tokens) == chat_format.render_text(dialog, tools)


@settings(deadline=None)
@given(dialogs())
def test_what_anyone_writes_makes_no_special_token(dialog: list[Message]) -> None:
    """The special tokens are those of the same dialog with all texts emptied."""
    special = set(small_tokenizer().special.values())
    empty = [
        replace(
            message,
            content="",
            reasoning=None,
            tool_calls=tuple(ToolCall("", "f", "") for _ in message.tool_calls),
        )
        for message in dialog
    ]
    chat_format = ChatFormat(small_tokenizer())
    found, expected = (
        [token for token in chat_format.render(messages).tokens if token in special]
        for messages in (dialog, empty)
    )
    assert found == expected


def test_calls_without_an_id_are_counted_over_the_dialog() -> None:
    calls = (ToolCall("", "f", "{}"), ToolCall("call_9", "g", "{}"), ToolCall("", "h-h", "{}"))
    dialog = [Message("assistant", tool_calls=calls), Message("assistant", tool_calls=calls[2:])]
    chat_format = ChatFormat(small_tokenizer())
    text = chat_format.render_text(dialog)
    ids = [part.split("<|")[0] for part in text.split("<|tool_call_begin|>")[1:]]
    assert ids == ["functions.f:0", "call_9", "functions.h-h:2", "functions.h-h:3"]
    assert chat_format.next_call_index(dialog) == 4


def test_recent_thinking_is_kept_after_the_last_plain_answer_only() -> None:
    call = (ToolCall("", "f", "{}"),)
    dialog = [
        Message("assistant", "a", reasoning="one", tool_calls=call),
        Message("assistant", "b", reasoning="two"),
        Message("assistant", "c", reasoning="three", tool_calls=call),
        Message("assistant", "d", tool_calls=call),
    ]
    text = ChatFormat(small_tokenizer(), "recent").render_text(dialog)
    bodies = [part.split("<|")[0] for part in text.split("assistant<|im_middle|>")[1:]]
    assert bodies == [
        "<think></think>a",
        "<think></think>b",
        "<think>three</think>c",
        "<think></think>d",
    ]
    kept = ChatFormat(small_tokenizer(), "kept").render_text(dialog)
    assert "<think>one</think>a" in kept
    assert "<think>two</think>b" in kept


def test_the_default_system_message_can_be_another_or_none() -> None:
    user = [Message("user", "hi")]
    turn = "<|im_user|>user<|im_middle|>hi<|im_end|>"
    head = "<|im_system|>system<|im_middle|>"
    tokenizer = small_tokenizer()
    assert ChatFormat(tokenizer, default_system=None).render_text(user) == turn
    assert ChatFormat(tokenizer, default_system="Hm").render_text(user) == (
        f"{head}Hm<|im_end|>\n{turn}"
    )
    assert ChatFormat(tokenizer, "kept").render_text(user) == (
        f"{head}{DEFAULT_SYSTEM}<|im_end|>{turn}"
    )
    own = [Message("system", "Be brief."), *user]
    assert ChatFormat(tokenizer).render_text(own) == f"{head}Be brief.<|im_end|>{turn}"


def test_a_turn_ends_with_any_of_the_stop_tokens() -> None:
    chat_format = ChatFormat(small_tokenizer())
    names = [small_tokenizer().decode([token]) for token in chat_format.stop_tokens]
    assert names == ["<|im_end|>", "[EOS]", "[EOT]"]
    text = small_tokenizer().encode("done")
    for token in chat_format.stop_tokens:
        assert chat_format.parse([*text, token, *text]).content == "done"


@settings(deadline=None, max_examples=30)
@given(TOOLS, st.randoms(use_true_random=False))
def test_the_order_of_keys_in_a_tool_does_not_matter(
    tools: list[ToolSpec], shuffler: random.Random
) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, list):
            return [shuffled(item) for item in value]
        if isinstance(value, dict):
            items = [(key, shuffled(item)) for key, item in value.items()]
            shuffler.shuffle(items)
            return dict(items)
        return value

    others = [replace(tool, parameters=shuffled(tool.parameters)) for tool in tools]
    for declarations in ("json", "typescript"):
        chat_format = ChatFormat(small_tokenizer(), declarations=declarations)  # type: ignore
        assert chat_format.render([], tools) == chat_format.render([], others)


@pytest.mark.parametrize("declarations", ["json", "typescript"])
def test_a_schema_too_deep_to_write_is_named(declarations: Any) -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"default": deep}
    tool = ToolSpec("f", parameters={"properties": {"a": deep}})
    with pytest.raises(UserError, match=r"tools: a .* is nested too deeply"):
        ChatFormat(small_tokenizer(), declarations=declarations).render([], [tool])


def test_declarations_are_json_that_reads_back() -> None:
    tool = ToolSpec("b", "Ünï <|im_end|>", {"z": 1, "a": [{"y": None, "x": 2.5}]})
    text = ChatFormat(small_tokenizer()).render_text([], [tool])
    body = text.removeprefix("<|im_system|>tool_declare<|im_middle|>").removesuffix("<|im_end|>")
    assert json.loads(body) == [tool.to_openai()]
    assert "Ünï" in body


def test_the_content_of_a_tool_result_is_encoded_by_itself() -> None:
    tokenizer = Tokenizer.train(["a:\n\n" * 9], 300)
    result = Message("tool", "\n", tool_call_id="a:")
    tokens = ChatFormat(tokenizer).render([result]).tokens
    assert tokens[-3:] == [
        *tokenizer.encode(":\n"),
        *tokenizer.encode("\n"),
        tokenizer.special["<|im_end|>"],
    ]
    assert tokenizer.encode(":\n\n") != tokenizer.encode(":\n") + tokenizer.encode("\n")


def test_reasoning_is_not_written_without_thinking() -> None:
    dialog = [Message("assistant", "a", reasoning="b")]
    chat_format = ChatFormat(small_tokenizer())
    assert chat_format.render(dialog) == chat_format.render(without_reasoning(dialog))
