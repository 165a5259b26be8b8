"""The Jinja template, run by transformers on exported files, writes what ChatFormat writes."""

import functools
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, GenerationConfig

from openk2.core.records import Message, ToolSpec
from openk2.tokenizer import DEFAULT_SYSTEM, SPECIAL_TOKENS, ChatFormat, chat_template
from openk2.tokenizer.hugging_face_files import write_hugging_face_files
from openk2.tokenizer.typescript import typescript_declarations

from .dialogs import TOOLS, dialogs, openai_message
from .test_bpe import small_tokenizer


@functools.cache
def their_tokenizer() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        write_hugging_face_files(small_tokenizer(), Path(folder), context_length=123)
        (Path(folder) / "config.json").write_text(json.dumps({"model_type": "deepseek_v3"}))
        generation = GenerationConfig.from_pretrained(folder)
        special = small_tokenizer().special
        assert generation.eos_token_id == [special["<|im_end|>"], special["[EOS]"]]
        return AutoTokenizer.from_pretrained(folder)


def their_dialog(dialog: list[Message], tools: list[ToolSpec], **settings: Any) -> Any:
    return their_tokenizer().apply_chat_template(
        [openai_message(message) for message in dialog],
        tools=[tool.to_openai() for tool in tools],
        **settings,
    )


def test_the_exported_tokenizer_knows_its_special_tokens() -> None:
    theirs = their_tokenizer()
    assert (theirs.bos_token, theirs.eos_token) == ("[BOS]", "[EOS]")
    assert (theirs.pad_token, theirs.unk_token) == ("[PAD]", "[UNK]")
    assert theirs.model_max_length == 123
    for name, envelope in SPECIAL_TOKENS.items():
        assert theirs.convert_tokens_to_ids(name) == small_tokenizer().special[name]
        assert (name in theirs.all_special_tokens) == envelope
    text = "It's  月之暗面, naïve café\n"
    assert theirs.encode(text) == small_tokenizer().encode(text)
    assert theirs.chat_template == chat_template()


@settings(deadline=None)
@given(
    dialogs(),
    TOOLS,
    st.sampled_from(["off", "kept", "recent"]),
    st.sampled_from([DEFAULT_SYSTEM, None, 'it\'s "q" {{ 1 }} {% if %} \\n\n é 😀']),
    st.booleans(),
)
def test_the_template_writes_the_same_text(
    dialog: list[Message],
    tools: list[ToolSpec],
    thinking: Any,
    default_system: str | None,
    generation_prompt: bool,
) -> None:
    ours = ChatFormat(small_tokenizer(), thinking, default_system=default_system)
    theirs = their_dialog(
        dialog,
        tools,
        chat_template=chat_template(thinking, default_system),
        add_generation_prompt=generation_prompt,
        tokenize=False,
    )
    assert theirs == ours.render_text(dialog, tools, generation_prompt)


@settings(deadline=None)
@given(dialogs(), TOOLS)
def test_tools_can_be_declared_as_typescript(dialog: list[Message], tools: list[ToolSpec]) -> None:
    ours = ChatFormat(small_tokenizer(), declarations="typescript").render_text(dialog, tools)
    declared = typescript_declarations(tools)
    assert their_dialog(dialog, tools, tools_ts_str=declared, tokenize=False) == ours


def told_by_text(dialog: list[Message]) -> list[Message]:
    """The dialog without what its text cannot tell: special tokens that are text, and where the
    header of a tool's result ends, if white space follows."""

    def plain(text: str) -> str:
        return text.replace("<|", "").replace("[", "")

    return [
        replace(
            message,
            content=plain(message.content).lstrip(),
            tool_calls=tuple(
                replace(call, arguments=plain(call.arguments)) for call in message.tool_calls
            ),
        )
        for message in dialog
    ]


@settings(deadline=None)
@given(dialogs())
def test_tokens_are_equal_where_the_text_tells_them(dialog: list[Message]) -> None:
    tool = ToolSpec("f", "Does [it].", {"type": "object", "properties": {"é": {"enum": [1, "a"]}}})
    dialog = told_by_text(dialog)
    ours = ChatFormat(small_tokenizer()).render(dialog, [tool])
    assert their_dialog(dialog, [tool], tokenize=True, return_dict=False) == ours.tokens


@pytest.mark.parametrize("content", [[{"type": "text", "text": "a"}, {"text": "b"}], "ab"])
def test_content_may_come_in_parts_and_arguments_as_an_object(content: Any) -> None:
    call = {"function": {"name": "f", "arguments": {"é": [1, None]}}}
    turn = {"role": "assistant", "content": content, "tool_calls": [call]}
    written = (
        "ab<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0"
        '<|tool_call_argument_begin|>{"é": [1, null]}<|tool_call_end|>'
        "<|tool_calls_section_end|><|im_end|>"
    )
    text = their_tokenizer().apply_chat_template([turn], tokenize=False)
    assert text.endswith("assistant<|im_middle|>" + written)
