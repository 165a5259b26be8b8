import re
import resource
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.core.generation import JsonSchemaFormat
from openk2.inference.constrained import GrammarError
from tests.inference.untrained_model import allowed_tokens, grammars

INTEGER = {"type": "integer"}


def nested(levels: int) -> dict:
    schema: dict = {}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def chain(length: int) -> dict:
    links = {str(i): {"anyOf": [{"$ref": f"#/$defs/{i - 1}"}]} for i in range(1, length + 1)}
    return {"$ref": f"#/$defs/{length}", "$defs": {**links, "0": {"type": "null"}}}


REFUSED = {
    "no value": ({"type": "string", "enum": []}, "anyOf is empty"),
    "false": (False, "schema is false"),
    "minimum above maximum": ({**INTEGER, "minimum": 3, "maximum": 1}, "minimum (3) is greater"),
    "no such multiple": ({**INTEGER, "minimum": 1, "maximum": 2, "multipleOf": 5}, "multiple of 5"),
    "itself": ({"$ref": "#"}, "# holds itself without end"),
    "itself required": (
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        "# holds itself without end",
    ),
    "itself in an optional property": (
        {
            "properties": {"a": {"$ref": "#/$defs/a"}},
            "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}, "minItems": 1}},
        },
        "#/$defs/a holds itself without end",
    ),
    "5 MB of properties": (
        {"properties": {f"property_{i}": {"type": "string"} for i in range(120_000)}},
        "larger than 1 MiB",
    ),
    "5 MB of text": ({"description": "x" * 5_000_000}, "larger than 1 MiB"),
    "many properties": ({"properties": {f"p{i}": {} for i in range(3000)}}, "2500 properties"),
    "10,000 levels": (nested(900), "more than 100 levels"),
    "a chain of references": (chain(3000), "references lead too deep"),
    "a URL": ({"$ref": "http://localhost:1/schema.json"}, "only references within the schema"),
    "an anchor": ({"$ref": "#name", "$defs": {"a": {"$anchor": "name"}}}, "only references within"),
    "nowhere in a list": ({"$ref": "#/anyOf/" + "9" * 5000, "anyOf": [{}]}, "does not exist"),
    "nowhere": ({"$ref": "#/$defs/none"}, "'#/$defs/none', which does not exist"),
    "hidden keyword": ({"$ref": "#/x-y", "x-y": {"not": {}}}, "#/x-y: not cannot be enforced"),
    "nested repetition": (
        {"type": "string", "pattern": "(a{1000}){1000}"},
        "more than 10000 times",
    ),
    "bad regex": ({"type": "string", "pattern": "("}, "unclosed group"),
    "look-ahead": ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
    "look-behind": ({"type": "string", "pattern": "(?<!a)b"}, "look-around"),
    "back reference": ({"type": "string", "pattern": "(a)\\1"}, "backreferences"),
    "long pattern": ({"type": "string", "pattern": "a" * 20_000}, "longer than 10000"),
    "half an escape": ({"type": "string", "pattern": "a\\"}, "escapes nothing"),
    "100,000 values": ({"enum": list(range(100_000))}, "too large or too complex"),
    "a huge value": ({"const": "x" * 500_000}, "longer than 10000 characters"),
    "a multiple of a large number": ({**INTEGER, "multipleOf": 1_000_003}, "multipleOf need more"),
    "multiples that multiply": (
        {**INTEGER, "allOf": [{"multipleOf": 9973}, {"multipleOf": 9967}]},
        "multipleOf need more",
    ),
    "branches that explode": (
        {"allOf": [{"anyOf": [{"required": [f"p{i}_{j}"]} for j in range(10)]} for i in range(10)]},
        "schema too large",
    ),
    "overlapping oneOf": ({"oneOf": [INTEGER, {"type": "number"}]}, "write anyOf"),
    "a rounded constant": ({"const": 2**53 + 1}, "too large to be compared exactly"),
    "a number beyond floats": ({"minimum": 10**400}, "no float can hold"),
    "not a number": ({"minimum": float("nan")}, "no float can hold"),
    "type of a type": ({"type": 3}, "type must be a string"),
    "unknown type": ({"type": "text"}, "Invalid type: text"),
    "properties as a list": ({"type": "object", "properties": []}, "properties must be an object"),
    "minimum as text": ({**INTEGER, "minimum": "3"}, "'minimum'"),
    "negative length": ({"type": "string", "minLength": -1}, "'minLength'"),
    "a list": ([], "an object or a boolean"),
    "a set": ({"enum": {1}}, "holds a set"),
    "half a character": ({"const": "\ud800"}, "half a surrogate pair"),
    "unknown format": ({"type": "string", "format": "password"}, "Unknown format: password"),
    "options of the compiler": ({"x-guidance": {"lenient": True}, "not": {}}, "not cannot be"),
    "another dialect": (
        {"$schema": "http://json-schema.org/draft-04/schema#", "if": {}},
        "if cannot be enforced",
    ),
    "a list of items": ({"type": "array", "items": [{}]}, "write prefixItems"),
    "minProperties": ({"type": "object", "minProperties": 2}, "minProperties above 1"),
    "uniqueItems": ({"type": "array", "uniqueItems": True}, "uniqueItems cannot be enforced"),
    "contains": ({"type": "array", "contains": {}}, "contains cannot be enforced"),
    "deep below": (
        {"properties": {"a": {"items": {"anyOf": [{"propertyNames": {}}]}}}},
        "#/properties/a/items/anyOf/0: propertyNames cannot be enforced",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_enforced_is_refused_in_one_line(case):
    schema, message = REFUSED[case]
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(GrammarError, match=re.escape(message)) as refusal:
        grammars().compile(JsonSchemaFormat(schema))
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 400
    assert time.monotonic() - start < 10  # about a second; no hang, on the busiest machine
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # kB


keywords = st.sampled_from(
    [
        *["type", "properties", "required", "additionalProperties", "items", "minItems", "anyOf"],
        *["allOf", "oneOf", "enum", "const", "$ref", "$defs", "minimum", "multipleOf", "pattern"],
    ]
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["object", "array", "string", "integer", "#", "#/$defs/a", "#/properties/a"]),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(keywords, st.just("a")), inner, max_size=4),
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(keywords, values, max_size=5))
def test_any_json_as_a_schema_is_compiled_or_refused(schema):
    try:
        walk = grammars().compile(JsonSchemaFormat(schema)).matcher()
    except GrammarError as refusal:
        assert "\n" not in str(refusal)
    else:
        assert allowed_tokens([walk]).any()
