import json
import random
import re
from types import MappingProxyType

import numpy as np
import pytest
import regex
from jsonschema import Draft202012Validator

from openk2.core.generation import JsonSchemaFormat, RegexFormat, ToolCallFormat
from openk2.core.records import ToolSpec
from openk2.inference.constrained import GrammarError, Matcher, fill_masks
from tests.inference.untrained_model import STOP_NAMES, allowed_tokens, draw, grammars, tokenizer

STOPS = [tokenizer().special[name] for name in STOP_NAMES]
INTEGER = {"type": "integer"}


def matcher(constraint) -> Matcher:
    return grammars().compile(constraint).matcher()


def admits(schema, text: str) -> bool:
    """Whether `text`, token by token, can be drawn, and a stop token after it."""
    walk = matcher(JsonSchemaFormat(schema))
    for token in [*tokenizer().encode(text), STOPS[0]]:
        # The mask may want a text spelled in the tokenizer's own tokens; so does this one.
        if not allowed_tokens([walk])[0, token]:
            return False
        walk.advance(token)
    return walk.finished and not walk.problem


@pytest.mark.parametrize(
    "pattern", ["[ab]{3,5}c?", "(the|there|[cit]y?)+", "x*", "-?[0-9]+\\.[0-9]{2}", "a|"]
)
def test_masks_are_the_tokens_that_keep_a_match_possible(pattern):
    """Against the regex library's partial matching, along random texts."""
    judge = regex.compile(pattern)
    table = tokenizer().token_table()
    special = set(tokenizer().special.values())
    rng = random.Random(0)
    for _ in range(5):
        walk, text = matcher(RegexFormat(pattern)), ""
        while not walk.finished and len(text) < 30:
            allowed = set(allowed_tokens([walk])[0].nonzero()[0].tolist())
            possible = set(STOPS) if judge.fullmatch(text) else set()
            for token, piece in enumerate(table):
                if token not in special and piece.isascii():
                    longer = text + piece.decode()
                    if judge.fullmatch(longer, partial=True):
                        possible.add(token)
            # Where one text is left, only the tokenizer's own spelling of it is admitted.
            forced = len(allowed) == 1 and allowed < possible
            assert allowed == possible or forced, text
            token = rng.choice(sorted(allowed))
            walk.advance(token)
            text += table[token].decode() if token not in special else ""


def test_where_one_text_is_left_the_tokenizer_spells_it():
    name = "functions.temperature:0"
    walk = matcher(RegexFormat(re.escape(name)))
    spelled = []
    while not walk.finished:
        allowed = allowed_tokens([walk])[0].nonzero()[0].tolist()
        spelled.append(allowed[-1])
        if allowed[-1] not in STOPS:
            assert len(allowed) == 1
        walk.advance(allowed[-1])
    assert spelled[:-1] == tokenizer().encode(name)


def test_every_stop_token_ends_json_and_nothing_else_follows():
    for stop in STOPS:
        walk = matcher(JsonSchemaFormat({"const": {"a": 1}}))
        while not allowed_tokens([walk])[0, STOPS].any():
            walk.advance(int(allowed_tokens([walk])[0].argmax()))
            assert not walk.finished
        assert sorted(allowed_tokens([walk])[0].nonzero()[0].tolist()) == sorted(STOPS)
        walk.advance(stop)
        assert walk.finished and not walk.problem


def test_any_json_is_json():
    constraints = [
        JsonSchemaFormat(),
        JsonSchemaFormat({}),
        JsonSchemaFormat({"type": "object"}),
    ] * 10
    for constraint, tokens in zip(
        constraints, draw([grammars().compile(c) for c in constraints], 1), strict=True
    ):
        assert tokens is not None and tokens[-1] in STOPS
        value = json.loads(tokenizer().decode(tokens[:-1]))
        assert isinstance(value, dict) or constraint.schema in (True, {})


def test_ids_beyond_the_tokenizer_are_never_admitted():
    known = tokenizer().vocabulary_size
    assert grammars().vocabulary_size > known
    walks = [matcher(JsonSchemaFormat()), matcher(RegexFormat("(?s:.*)"))]
    for _ in range(20):
        masks = allowed_tokens(walks)
        assert masks[:, :known].any(axis=1).all() and not masks[:, known:].any()
        for walk, mask in zip(walks, masks, strict=True):
            walk.advance(int(mask[:known].nonzero()[0][5]))


def test_special_tokens_match_no_text():
    everything = allowed_tokens([matcher(RegexFormat("(?s:.*)"))])[0]
    special = set(tokenizer().special.values()) - set(STOPS)
    assert not everything[sorted(special)].any()
    assert admits({"const": "<|im_end|>"}, '"<|im_end|>"')


def test_masks_in_a_batch_are_those_alone():
    auto = matcher(ToolCallFormat((ToolSpec("a"),)))
    walks = [
        matcher(JsonSchemaFormat()),
        auto,
        matcher(RegexFormat("[a-f]+")),
        matcher(RegexFormat("x")),
    ]
    words = np.zeros((len(walks), (grammars().vocabulary_size + 31) // 32), np.int32)
    fill_masks(walks, words)
    for row, walk in enumerate(walks):
        alone = np.zeros((1, words.shape[1]), np.int32)
        fill_masks([walk], alone)
        assert (words[row] == alone[0]).all()
    assert (words[1] == -1).all() and not auto.active


def test_matchers_of_one_grammar_walk_apart():
    grammar = grammars().compile(RegexFormat("[ab]x|[ab]y"))
    first, second = grammar.matcher(), grammar.matcher()
    before = allowed_tokens([second])
    first.advance(tokenizer().encode("a")[0])
    assert (allowed_tokens([second]) == before).all()
    assert not (allowed_tokens([first]) == before).all()


def test_the_same_constraint_is_compiled_once():
    one, same, other = (
        JsonSchemaFormat({"type": "array", "items": INTEGER}),
        JsonSchemaFormat(MappingProxyType({"type": "array", "items": INTEGER})),
        JsonSchemaFormat({"type": "array", "items": {"type": "number"}}),
    )
    assert grammars().compile(one) is grammars().compile(same)
    assert grammars().compile(one) is not grammars().compile(other)


def test_a_token_that_was_not_admitted_is_a_problem_and_the_end():
    walk = matcher(RegexFormat("ab"))
    walk.advance(tokenizer().encode("x")[0])
    assert walk.problem and walk.finished and "\n" not in walk.problem


def test_what_outgrows_the_limits_while_it_is_drawn_can_only_end():
    """Thousands of ways to read one prefix: the grammar compiles, the walk does not fit."""
    ways = [
        {"type": "object", "properties": {f"p{i}": {"type": "null"} for i in range(n, n + 30)}}
        for n in range(60)
    ]
    for way in ways:
        way["additionalProperties"] = False
    walk = matcher(JsonSchemaFormat({"type": "array", "items": {"anyOf": ways}}))
    assert allowed_tokens([walk])[0].any() and not walk.problem
    for token in tokenizer().encode('[{"p'):
        walk.advance(token)
        mask = allowed_tokens([walk])[0]
    assert "max is" in walk.problem
    assert sorted(mask.nonzero()[0].tolist()) == sorted(STOPS)
    walk.advance(STOPS[0])
    assert walk.finished


OPEN = {"type": "object", "properties": {"a": INTEGER}}
TREE = {
    "type": "object",
    "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["children"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (OPEN, ['{"a": 1}', '{"b": "x"}', "{}"], ['{"\\u0061": "x"}', '{"a": 1, "a": "x"}']),
        ({**OPEN, "additionalProperties": False}, ['{"a":1}'], ['{"b": 1}']),
        ({**OPEN, "additionalProperties": INTEGER}, ['{"b": 1}'], ['{"b": "x"}']),
        ({**OPEN, "required": ["a", "b"]}, ['{"a": 1, "b": []}'], ["{}", '{"a": 1}']),
        ({"type": ["integer", "null"]}, ["3", "null"], ["true", "3.5", '"x"']),
        (TREE, ['{"children": [{"children": []}]}'], ["{}", '{"children": [3]}']),
        ({"type": "array", "prefixItems": [INTEGER], "items": False}, ["[1]"], ["[1, 2]", '["x"]']),
        ({"type": "array", "minItems": 1, "maxItems": 2}, ["[1]", "[1,[]]"], ["[]", "[1, 2, 3]"]),
        ({"anyOf": [INTEGER, {"const": "x"}]}, ["1", '"x"'], ['"y"', "null"]),
        ({"oneOf": [INTEGER, {"type": "string"}]}, ["1", '"x"'], ["null"]),
        ({"allOf": [{"minimum": 3}, {"maximum": 5}], "type": "number"}, ["3", "4.5"], ["2", "6"]),
        ({"enum": ["a", 1, None, {"k": [True]}]}, ['"a"', '{"k": [true]}'], ['"b"', "true", "0"]),
        ({"const": 0}, ["0"], ["false", "1"]),
        ({"type": "number", "exclusiveMinimum": 5}, ["5.1"], ["5", "5.0", "4"]),
        ({"type": "number", "exclusiveMaximum": 0}, ["-0.5"], ["0", "-0.0"]),
        ({"type": "integer", "multipleOf": 7}, ["14", "-7"], ["15"]),
        ({"type": "number", "multipleOf": 0.25}, ["0.75"], ["0.8", "1E999", "1" + "0" * 400]),
        ({"type": "string", "minLength": 2, "maxLength": 2}, ['"ab"', '"😀é"'], ['"a"', '"😀"']),
        ({"type": "string", "pattern": "^a[bc]$"}, ['"ab"'], ['"abc"', '"xab"']),
        ({"type": "string", "pattern": "b"}, ['"abc"'], ['"ac"']),
        ({"type": "string", "format": "date"}, ['"2025-07-28"'], ['"yesterday"']),
        ({"type": "array", "items": {"type": "array", "items": INTEGER}}, ["[[1], []]"], ["[1]"]),
    ],
)
def test_keywords_are_enforced(schema, good, bad):
    for text in good:
        assert Draft202012Validator(schema).is_valid(json.loads(text))
        assert admits(schema, text), text
    for text in bad:
        assert not admits(schema, text), text


def test_white_space_is_bounded():
    assert admits(OPEN, '{"a": 1, "b": [1, 2]}')
    for text in ('{ "a": 1}', '{"a":  1}', '{"a": 1 }', '{"a": 1,\n"b": 2}', " {}"):
        assert not admits(OPEN, text), text


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "unclosed group"),
        ("(a{1000}){1000}", "more than 10000 times"),
        ("a{999999999}", "more than 10000 times"),
        ("[a{9}](b{3}c){99999999999999999999}", "more than 10000 times"),
        ("(?=a)", "look-around"),
        ("\\ba", "lookarounds"),
        ("a\\", "escapes nothing"),
        ("(" * 5000 + ")" * 5000, "nested"),
        ("a" * 5_000_000, "longer than"),
        ("\ud800", "half a surrogate pair"),
    ],
)
def test_hostile_patterns_are_refused(pattern, message):
    with pytest.raises(GrammarError, match=re.escape(message)):
        grammars().compile(RegexFormat(pattern))


@pytest.mark.parametrize(
    "pattern",
    [
        *["(a+)+$", "(a|a)*(a|aa)+b", "(x+x+)+y", "(a?){9}a{9}", "", "a/b", "/", "#", "//", "a b"],
        *["[/]", "\\\\", '"', "\n", "\\/", "é+", "\\p{Lu}{3}", "[{}]{2}", "\\{9{3}", "[]a]{2}"],
    ],
)
def test_patterns_mean_what_they_mean(pattern):
    """Catastrophic ones for a backtracking engine, and those that a grammar's text could garble."""
    (tokens,) = draw([grammars().compile(RegexFormat(pattern))], 0, patience=0)
    assert tokens is not None and tokens[-1] in STOPS
    assert regex.fullmatch(pattern, tokenizer().decode(tokens[:-1]))


def test_annotations_and_unknown_keywords_do_not_matter():
    described = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "https://example.com/tool",
        "title": "T",
        "description": "d",
        "default": {"not": {}},
        "examples": [{"if": 1}],
        "x-order": 3,
        "uniqueItems": False,
        "properties": {"not": INTEGER, "if": INTEGER},
    }
    old = {"$schema": "http://json-schema.org/draft-04/schema#", "const": 3}
    assert not admits({"properties": {"a": old}}, '{"a": 4}')
    assert admits(described, '{"not": 3}') and not admits(described, '{"not": "x"}')
