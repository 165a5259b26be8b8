import json
import random
import re
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from openk2.core.generation import ToolCallFormat
from openk2.core.records import ToolSpec
from openk2.inference.constrained import GrammarError
from openk2.tokenizer import ChatFormat
from tests.inference.random_schemas import KEYWORDS, random_tool_schema
from tests.inference.untrained_model import allowed_tokens, draw, grammars, tokenizer

OPEN = {"type": "object"}
FLAG = {
    "type": "object",
    "properties": {"on": {"type": "boolean"}},
    "required": ["on"],
    "additionalProperties": False,
}
BATCH = 16


def as_text(tokens: list[int]) -> str:
    return tokenizer().decode(tokens)


def finite(text: str) -> float:
    """JSON bounds no number; the judge divides floats, so what overflows is read as the largest."""
    value = float(text)
    return max(-sys.float_info.max, min(sys.float_info.max, value))


def keywords_of(schema: object) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(keywords_of, schema))
    if isinstance(schema, dict):
        return set(schema).union(*map(keywords_of, schema.values()))
    return set()


def judge_random_schemas(seeds: range) -> None:
    """Draw calls of a random tool for each seed: all finish, parse and validate."""
    outcomes: Counter[str] = Counter()
    keywords: set[str] = set()
    for start in seeds[::BATCH]:
        compiled = []
        for seed in range(start, min(start + BATCH, seeds.stop)):
            schema = random_tool_schema(random.Random(seed))
            keywords |= keywords_of(schema)
            try:
                tool = ToolSpec("probe", parameters=schema)
                compiled.append((schema, grammars().compile(ToolCallFormat((tool,), "required"))))
            except GrammarError as error:
                outcomes[f"refused: {error}"] += 1
        texts = draw([grammar for _, grammar in compiled], seed=start)
        for (schema, _), tokens in zip(compiled, texts, strict=True):
            outcomes[verdict(schema, tokens)] += 1
    assert keywords >= KEYWORDS, KEYWORDS - keywords
    # Two halves of an allOf may contradict each other; the rest is satisfiable by construction.
    refused = sum(n for what, n in outcomes.items() if what.startswith("refused: Unsatisfiable"))
    assert refused <= len(seeds) // 50, outcomes
    assert outcomes["valid"] == len(seeds) - refused, outcomes


def verdict(schema: dict, tokens: list[int] | None) -> str:
    if tokens is None:
        return f"unfinished: {json.dumps(schema)}"
    message = ChatFormat(tokenizer()).parse(tokens)
    if message.problems or not message.tool_calls or message.content:
        return f"not a section of calls: {as_text(tokens)}"
    for number, call in enumerate(message.tool_calls):
        if call.id != f"functions.probe:{number}":
            return f"wrong id: {call.id}"
        arguments = json.loads(call.arguments, parse_float=finite)
        for error in Draft202012Validator(schema).iter_errors(arguments):
            return f"invalid: {call.arguments} by {json.dumps(schema)}: {error.message}"
    return "valid"


def test_every_call_under_the_grammar_parses_and_validates():
    judge_random_schemas(range(480))


@pytest.mark.slow
def test_every_call_of_a_thousand_schemas_parses_and_validates():
    judge_random_schemas(range(10_000, 11_000))


def drawn(constraint: ToolCallFormat, seed: int = 0) -> list[int]:
    (tokens,) = draw([grammars().compile(constraint)], seed)
    assert tokens is not None
    return tokens


def test_calls_are_numbered_on_over_the_dialog():
    tools = (ToolSpec("a", parameters=FLAG), ToolSpec("b", parameters=FLAG))
    counts = set()
    for seed in range(20):
        tokens = drawn(ToolCallFormat(tools, "required", first_index=9), seed)
        calls = ChatFormat(tokenizer()).parse(tokens).tool_calls
        assert [call.id.rpartition(":")[2] for call in calls] == [
            str(9 + n) for n in range(len(calls))
        ]
        counts.add(len(calls))
    assert max(counts) > 1


def test_without_parallel_there_is_one_call():
    one = ToolCallFormat((ToolSpec("a", parameters=FLAG),), "required", parallel=False)
    for seed in range(20):
        assert len(ChatFormat(tokenizer()).parse(drawn(one, seed)).tool_calls) == 1


def test_the_number_of_parallel_calls_is_bounded():
    matcher = (
        grammars().compile(ToolCallFormat((ToolSpec("a", parameters=FLAG),), "required")).matcher()
    )
    special = tokenizer().special
    begin, end = special["<|tool_call_begin|>"], special["<|tool_calls_section_end|>"]
    matcher.advance(special["<|tool_calls_section_begin|>"])
    for index in range(32):
        assert allowed_tokens([matcher])[0, begin]
        call = f"functions.a:{index}", '{"on": true}'
        tokens = [begin, *tokenizer().encode(call[0]), special["<|tool_call_argument_begin|>"]]
        for token in [*tokens, *tokenizer().encode(call[1]), special["<|tool_call_end|>"]]:
            matcher.advance(token)
    assert not matcher.problem
    assert allowed_tokens([matcher])[0].nonzero()[0].tolist() == [end]


def test_the_named_tool_is_the_only_one():
    tools = tuple(ToolSpec(name, parameters=FLAG) for name in ("a", "ab", "b"))
    for seed in range(10):
        calls = ChatFormat(tokenizer()).parse(drawn(ToolCallFormat(tools, "ab"), seed)).tool_calls
        assert {call.name for call in calls} == {"ab"}


def test_required_admits_the_section_and_nothing_before_it():
    matcher = grammars().compile(ToolCallFormat((ToolSpec("a"),), "required")).matcher()
    assert matcher.active
    begin = tokenizer().special["<|tool_calls_section_begin|>"]
    assert allowed_tokens([matcher])[0].nonzero()[0].tolist() == [begin]


def test_auto_is_free_until_the_section_begins():
    special = tokenizer().special
    matcher = grammars().compile(ToolCallFormat((ToolSpec("a", parameters=FLAG),))).matcher()
    for token in tokenizer().encode("Let me look: <|tool_calls_section_begin|>"):
        matcher.advance(token)
        assert not matcher.active and not matcher.finished
    assert allowed_tokens([matcher]).all()
    matcher.advance(special["<|tool_calls_section_begin|>"])
    assert matcher.active
    assert allowed_tokens([matcher])[0].nonzero()[0].tolist() == [special["<|tool_call_begin|>"]]


def test_auto_may_end_without_a_call():
    matcher = grammars().compile(ToolCallFormat((ToolSpec("a"),))).matcher()
    matcher.advance(tokenizer().special["<|im_end|>"])
    assert matcher.finished and not matcher.active and not matcher.problem


def test_a_section_ends_the_turn_with_im_end_alone():
    tokens = drawn(ToolCallFormat((ToolSpec("a", parameters=FLAG),), "required"))
    assert tokens[-1] == tokenizer().special["<|im_end|>"]
    matcher = (
        grammars().compile(ToolCallFormat((ToolSpec("a", parameters=FLAG),), "required")).matcher()
    )
    for token in tokens[:-1]:
        matcher.advance(token)
        assert not matcher.finished
    assert allowed_tokens([matcher])[0].nonzero()[0].tolist() == [tokens[-1]]
    matcher.advance(tokens[-1])
    assert matcher.finished and not matcher.problem


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
grammar_text = st.sampled_from(
    ['a" | <[3]> "', "a\\", '"', "a\nstart: /.*/", "@schema_0", "//", "#"]
)


@settings(max_examples=60, deadline=None)
@given(st.one_of(names, grammar_text))
def test_any_name_is_spelled_as_it_is(name):
    """No name reaches into the grammar: the call is to that tool, or the name is refused."""
    constraint = ToolCallFormat((ToolSpec(name, parameters=FLAG),), "required", parallel=False)
    try:
        tokens = drawn(constraint)
    except GrammarError as error:
        assert name != name.strip(), error
        return
    text = as_text(tokens)
    body = re.fullmatch(
        r"<\|tool_calls_section_begin\|><\|tool_call_begin\|>(.*)<\|tool_call_argument_begin\|>"
        r'\{"on": ?(true|false)\}<\|tool_call_end\|><\|tool_calls_section_end\|><\|im_end\|>',
        text,
        re.DOTALL,
    )
    assert body is not None and body[1] == f"functions.{name}:0"


def test_special_tokens_spelled_in_a_name_or_a_string_are_text():
    special = set(tokenizer().special.values())
    say = {**FLAG, "properties": {"on": {"const": "<|tool_call_end|><|im_end|>"}}}
    tool = ToolSpec("<|im_end|>", parameters=say)
    tokens = drawn(ToolCallFormat((tool,), "required", parallel=False))
    assert sum(token in special for token in tokens) == 6
    (call,) = ChatFormat(tokenizer()).parse(tokens).tool_calls
    assert call.parsed_arguments() == {"on": "<|tool_call_end|><|im_end|>"}


def test_arguments_are_an_object_where_the_schema_leaves_it_open():
    for schema in ({}, {"type": ["object", "null"]}, {"$ref": "#/$defs/o", "$defs": {"o": FLAG}}):
        tokens = drawn(ToolCallFormat((ToolSpec("a", parameters=schema),), "required", False))
        (call,) = ChatFormat(tokenizer()).parse(tokens).tool_calls
        assert isinstance(call.parsed_arguments(), dict)


@pytest.mark.parametrize(
    ("tools", "choice", "message"),
    [
        ((), "required", "there are no tools"),
        ((ToolSpec("a"),), "b", "'b' is to be called, and it is not among the tools"),
        ((ToolSpec("a"), ToolSpec("a")), "auto", "two tools are named 'a'"),
        ((ToolSpec(""),), "auto", "no name for a tool"),
        ((ToolSpec(" a"),), "auto", "no name for a tool"),
        ((ToolSpec("\ud800"),), "auto", "no name for a tool"),
        ((ToolSpec("a", parameters={"type": "string"}),), "auto", "of 'a': type is 'string'"),
        ((ToolSpec("a", parameters={"not": {}}),), "auto", "of 'a': #: not cannot be enforced"),
    ],
)
def test_what_is_no_tool_is_refused(tools, choice, message):
    with pytest.raises(GrammarError, match=re.escape(message)):
        grammars().compile(ToolCallFormat(tools, choice))
