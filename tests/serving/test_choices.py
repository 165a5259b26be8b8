"""An answer is what its pieces add up to, whatever the tokens and however they come."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openk2.core.generation import SamplingOptions
from openk2.inference.requests import GenerationRequest, Update
from openk2.serving.answering import merged
from openk2.serving.chat import ChatChoice
from openk2.serving.completions import TextChoice
from openk2.serving.request_models import ChatRequest, CompletionRequest
from openk2.tokenizer import ChatFormat, Tokenizer

TOKENIZER = Tokenizer.train(["the weather in Paris is fine, naïve 天气; {}[]:0 "] * 9, 320)
SPECIAL = TOKENIZER.special
FORMAT = ChatFormat(TOKENIZER, thinking="kept")
TOKENS = st.one_of(
    st.integers(0, TOKENIZER.vocabulary_size - 1),
    st.sampled_from([id for name, id in SPECIAL.items() if "tool" in name]),
    st.sampled_from(TOKENIZER.encode("functions.a:0{}<think></think>")),
)
# The chunks in which an engine's steps reach a client.
CHUNKS = st.lists(st.lists(TOKENS, max_size=6), min_size=1, max_size=8)


def updates(chunks, finish_reason):
    """As the engine sends them; every token is as likely as its number says."""
    made = [Update(1, 0, tuple(chunk), tuple(-0.01 * token for token in chunk)) for chunk in chunks]
    return [*made, Update(1, 0, finish_reason=finish_reason)]


def request(**options):
    stop_tokens = FORMAT.stop_tokens
    return GenerationRequest((1, 2, 3), SamplingOptions(stop_tokens=stop_tokens, **options))


def chat_choice(stop, **fields):
    asked = ChatRequest(messages=[{"role": "user", "content": "x"}], **fields)
    return ChatChoice(0, asked, request(stop=stop), FORMAT)


def fed(choice, chunks, finish_reason):
    """The pieces that a stream shows."""
    pieces = [choice.feed(update) for update in updates(chunks, finish_reason)]
    return [json.loads(json.dumps(piece)) for piece in pieces if piece is not None]


def message_of(pieces):
    """As OpenAI's clients add deltas up."""
    message = {"content": "", "reasoning_content": "", "tool_calls": {}}
    for piece in pieces:
        delta = piece["delta"]
        for field in ("content", "reasoning_content"):
            message[field] += delta.get(field) or ""
        for call in delta.get("tool_calls", ()):
            if "id" in call:
                assert call["index"] == len(message["tool_calls"])
                made = {"id": call["id"], "type": call["type"], "function": {**call["function"]}}
                message["tool_calls"][call["index"]] = made
            else:
                function = message["tool_calls"][call["index"]]["function"]
                function["arguments"] += call["function"]["arguments"]
    return message


@pytest.mark.parametrize("stop", [(), ("e", "the w")])
@given(chunks=CHUNKS, finish_reason=st.sampled_from(["stop", "length"]))
def test_a_chats_pieces_add_up(stop, chunks, finish_reason):
    choice = chat_choice(stop, logprobs=True, return_token_ids=True)
    pieces = fed(choice, chunks, finish_reason)
    whole, added = choice.whole(), message_of(pieces)
    assert (whole["message"]["content"] or "") == added["content"]
    assert whole["message"].get("reasoning_content", "") == added["reasoning_content"]
    assert whole["message"].get("tool_calls", []) == list(added["tool_calls"].values())
    assert whole["finish_reason"] == pieces[-1]["finish_reason"] is not None
    assert (whole["finish_reason"] == "tool_calls") == (
        bool(added["tool_calls"]) and finish_reason == "stop"
    )
    drawn = [token for chunk in chunks for token in chunk]
    assert whole["token_ids"] == drawn
    assert [id for piece in pieces for id in piece["token_ids"]] == drawn
    scored = [entry for piece in pieces for entry in piece["logprobs"]["content"]]
    assert scored == whole["logprobs"]["content"]
    assert len(scored) == sum(token not in FORMAT.stop_tokens for token in drawn)
    # Steps that reach the client together give the same.
    together = [(0, update) for update in updates(chunks, finish_reason)]
    ((_, update),) = merged(together)
    at_once = chat_choice(stop, logprobs=True, return_token_ids=True)
    at_once.feed(update)
    assert at_once.whole() == whole


@pytest.mark.parametrize("stop", [(), ("e", "the w")])
@pytest.mark.parametrize("echo", [False, True])
@given(chunks=CHUNKS)
def test_a_texts_pieces_add_up(stop, echo, chunks):
    def choice():
        asked = CompletionRequest(prompt="x", logprobs=1, echo=echo, return_token_ids=True)
        return TextChoice(0, asked, request(stop=stop), TOKENIZER)

    one, at_once = choice(), choice()
    pieces = fed(one, chunks, "stop")
    whole = one.whole()
    assert "".join(piece["text"] for piece in pieces) == whole["text"]
    for name, values in whole["logprobs"].items():
        assert [one for piece in pieces for one in piece["logprobs"][name]] == values
    ((_, update),) = merged([(0, update) for update in updates(chunks, "stop")])
    at_once.feed(update)
    assert at_once.whole() == whole
    if echo:
        assert whole["text"].startswith(TOKENIZER.decode([1, 2]))


def test_reasoning_and_calls_come_apart_from_the_content():
    call = "functions.get-weather:4"
    tokens = [
        *TOKENIZER.encode("<think>hm</think>let me see"),
        SPECIAL["<|tool_calls_section_begin|>"],
        SPECIAL["<|tool_call_begin|>"],
        *TOKENIZER.encode(call),
        SPECIAL["<|tool_call_argument_begin|>"],
        *TOKENIZER.encode('{"a": 1}'),
        SPECIAL["<|tool_call_end|>"],
        SPECIAL["<|tool_calls_section_end|>"],
        SPECIAL["<|im_end|>"],
    ]
    choice = chat_choice(())
    pieces = fed(choice, [[token] for token in tokens], "stop")
    message = choice.whole()["message"]
    assert message["reasoning_content"] == "hm" and message["content"] == "let me see"
    (made,) = message["tool_calls"]
    assert made["id"] == call
    assert made["function"] == {"name": "get-weather", "arguments": '{"a": 1}'}
    begun = [p for p in pieces if any("id" in c for c in p["delta"].get("tool_calls", ()))]
    assert len(begun) == 1
    assert begun[0]["delta"]["tool_calls"][0]["function"]["name"] == "get-weather"
