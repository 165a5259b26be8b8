"""Generators: the engine in this process, and our server as any OpenAI-compatible endpoint."""

import asyncio
import json

import pytest

from openk2.core.errors import UserError
from openk2.core.generation import JsonSchemaFormat, SamplingOptions
from openk2.core.protocols import Generator
from openk2.core.records import Message, ToolSpec
from openk2.inference import Engine, EngineGenerator
from openk2.tokenizer import Tokenizer
from tests.inference.small_engine import small_model

TOOL = ToolSpec(
    "look-up",
    "Look a word up.",
    {
        "type": "object",
        "properties": {"word": {"enum": ["moon", "sun"]}},
        "required": ["word"],
        "additionalProperties": False,
    },
)
DIALOG = [Message("user", "What is the moon?")]


async def exercise(generator: Generator) -> None:
    """What any generator does, whatever the model."""
    options = SamplingOptions(max_tokens=12, seed=5)
    chats = [generator.chat(DIALOG, options=options, samples=2) for _ in range(3)]
    first, *others = await asyncio.gather(*chats)
    assert len(first) == 2
    for other in others:
        assert [c.text for c in other] == [c.text for c in first]
    assert first[0].message is not None
    assert first[0].message.role == "assistant"
    (called,) = await generator.chat(DIALOG, [TOOL], SamplingOptions(), tool_choice="required")
    assert called.message is not None
    assert len(called.message.tool_calls) >= 1
    for index, call in enumerate(called.message.tool_calls):
        assert call.id == f"functions.look-up:{index}"
        assert call.parsed_arguments()["word"] in ("moon", "sun")
    schema = JsonSchemaFormat({"type": "array", "items": {"type": "boolean"}, "maxItems": 3})
    # A server that is asked for no number of tokens completes with sixteen.
    enough = SamplingOptions(max_tokens=256)
    (formed,) = await generator.complete("values: ", enough, response_format=schema)
    assert isinstance(json.loads(formed.text), list)
    assert formed.finish_reason == "stop"
    with pytest.raises(UserError, match="tokens"):
        await generator.complete("word " * 9000)
    await generator.close()


def test_the_engine_in_this_process() -> None:
    tokenizer = Tokenizer.train(["what the moon is, the sun is not"] * 9, 320)
    model = small_model(vocab_size=tokenizer.vocabulary_size, max_position_embeddings=4096)
    asyncio.run(exercise(EngineGenerator(Engine(model, tokenizer), tokenizer)))


def test_an_engine_that_is_closed_fails_what_is_in_flight() -> None:
    tokenizer = Tokenizer.train(["what the moon is, the sun is not"] * 9, 320)
    model = small_model(vocab_size=tokenizer.vocabulary_size, max_position_embeddings=4096)
    generator = EngineGenerator(Engine(model, tokenizer), tokenizer)

    async def close_early() -> str:
        options = SamplingOptions(logit_bias={tokenizer.special["[EOS]"]: -100.0})
        call = asyncio.create_task(generator.complete("moon", options))
        await asyncio.sleep(0.05)
        await generator.close()
        (completion,) = await call
        return completion.finish_reason

    assert asyncio.run(close_early()) == "failed"
