"""The engine and the grammars together: an untrained model calls tools of random schemas."""

import random
from collections import Counter

import pytest

from openk2.core.generation import SamplingOptions, ToolCallFormat
from openk2.core.records import ToolSpec
from openk2.inference import Engine, GenerationRequest
from tests.inference.random_schemas import random_tool_schema
from tests.inference.small_engine import empty, small_model
from tests.inference.test_tool_call_grammar import verdict
from tests.inference.untrained_model import tokenizer

# What ends a text, an array, an object, the calls: without a bias an untrained model goes on for
# thousands of tokens. Biases choose among the tokens that the grammar allows, never beyond them.
CLOSING = {
    **{'"': 14.0, '"}': 14.0, '"]': 14.0, "}": 11.0, "]": 11.0, "}}": 11.0, "]]": 11.0},
    **{",": 7.0, "n": 8.0},  # n as in null
    **{"@": 11.0, ".": 9.0, "A": 11.0, "a": 10.0, ":": 12.0},  # what patterns wait for
}


def closing_bias() -> dict[int, float]:
    known = tokenizer()
    # A deeper level is the last resort, and of two kinds the array, which may be empty.
    bias = {
        token: -14.0 if b"{" in piece else -9.0
        for token, piece in enumerate(known.token_table())
        if b"{" in piece or b"[" in piece
    }
    for text, value in CLOSING.items():
        (token,) = known.encode(text)
        bias[token] = value
    for name in ("<|tool_calls_section_end|>", "<|im_end|>"):
        bias[known.special[name]] = 10.0
    return bias


def judge(seeds: range) -> None:
    known = tokenizer()
    model = small_model(vocab_size=known.vocabulary_size + 7, max_position_embeddings=4096)
    engine = Engine(model, known, max_lanes=64)
    schemas = [random_tool_schema(random.Random(seed)) for seed in seeds]
    asked = [
        GenerationRequest(
            tuple(known.encode("weather of the city")),
            SamplingOptions(seed=seed, logit_bias=closing_bias()),
            constraint=ToolCallFormat((ToolSpec("probe", parameters=schema),), "required"),
        )
        for seed, schema in zip(seeds, schemas, strict=True)
    ]
    outcomes: Counter[str] = Counter()
    for schema, generation in zip(schemas, engine.generate(asked), strict=True):
        (sample,) = generation.samples
        if generation.refused is not None:
            outcomes[f"refused: {generation.refused}"] += 1
        elif sample.finish_reason == "stop":
            outcomes[verdict(schema, sample.tokens)] += 1
        else:
            outcomes[f"{sample.finish_reason}: {schema}"] += 1
    # Two halves of an allOf may contradict each other; the rest is satisfiable by construction.
    refused = sum(n for what, n in outcomes.items() if what.startswith("refused: Unsatisfiable"))
    assert refused <= len(seeds) // 50, outcomes
    assert outcomes["valid"] == len(seeds) - refused, outcomes
    assert empty(engine)
    engine.close()


def test_every_call_of_the_engine_parses_and_validates() -> None:
    judge(range(100))


@pytest.mark.slow
def test_every_call_of_the_engine_with_a_thousand_schemas() -> None:
    judge(range(20_000, 21_000))
