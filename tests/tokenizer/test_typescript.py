"""TypeScript declarations against a second writer of K2.5's; any schema at all is written."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from renderers.kimi_k25 import _encode_tools_typescript

from openk2.core.records import ToolSpec
from openk2.tokenizer.typescript import typescript_declarations

from .dialogs import JSON_VALUES
from .test_bpe import TEXTS

FIELD_NAMES = st.sampled_from(["city", "unit", "at", "名", "b-c"])
DESCRIPTIONS = st.sampled_from(["What.", "Two\nlines", "a\n\nb\n", ""])
KEYWORDS = [
    *("type", "properties", "required", "items", "enum", "anyOf", "oneOf", "allOf", "const"),
    *("not", "$ref", "$defs", "definitions", "additionalProperties", "description", "default"),
    *("minimum", "maxLength", "pattern", "minItems"),
]


def with_extras(schema: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    extras = st.fixed_dictionaries(
        {},
        optional={
            "description": DESCRIPTIONS,
            "default": JSON_VALUES,
            "minimum": st.integers(),
            "maximum": st.floats(allow_nan=False),
            "minLength": st.integers(0, 9),
            "pattern": st.sampled_from(["^a$", "[0-9]+"]),
            "maxItems": st.integers(0, 9),
        },
    )
    return st.builds(lambda a, b: {**a, **b}, extras, schema)


def kinds(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(names).map(lambda name: {"type": name})


LEAVES = with_extras(
    st.one_of(
        kinds("string", "number", "integer", "boolean", "null"),
        st.lists(st.sampled_from(["string", "null", "object", "array"]), min_size=1).map(
            lambda names: {"type": names}
        ),
        st.lists(st.one_of(TEXTS, st.integers(), st.none(), st.booleans()), min_size=1).map(
            lambda values: {"enum": values}
        ),
        st.sampled_from([{"$ref": "#/$defs/node"}, {"$ref": "#/$defs/Leaf"}, {"$ref": "#"}]),
    )
)


def objects(fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return with_extras(
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(FIELD_NAMES, fields, max_size=4),
            },
            optional={
                "required": st.lists(FIELD_NAMES),
                "additionalProperties": st.one_of(st.booleans(), fields),
            },
        )
    )


SCHEMAS = st.recursive(
    st.one_of(LEAVES, st.just({}), st.booleans()),
    lambda inner: st.one_of(
        objects(inner),
        with_extras(st.builds(lambda item: {"type": "array", "items": item}, inner)),
        with_extras(st.builds(lambda types: {"anyOf": types}, st.lists(inner, min_size=1))),
    ),
    max_leaves=8,
)
DEFINITIONS = {
    "Leaf": {"type": "string", "description": "A leaf.", "enum": ["x"]},
    "node": {
        "type": "object",
        "properties": {
            "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            "leaf": {"$ref": "#/$defs/Leaf"},
        },
        "required": ["leaf"],
    },
}


def sorted_keys(value: Any) -> Any:
    """As the released tokenizer hands schemas to its writer."""
    if isinstance(value, list):
        return [sorted_keys(item) for item in value]
    if isinstance(value, dict):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    return value


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(objects(SCHEMAS), DESCRIPTIONS), min_size=1, max_size=2))
def test_declarations_are_those_of_the_second_writer(
    drawn: list[tuple[dict[str, Any], str]],
) -> None:
    tools = [
        ToolSpec(f"tool_{number}", description, {**schema, "$defs": DEFINITIONS})
        for number, (schema, description) in enumerate(drawn)
    ]
    theirs = _encode_tools_typescript([sorted_keys(tool.to_openai()) for tool in tools])
    assert typescript_declarations(tools) == theirs


ANY_SCHEMA = st.recursive(
    st.one_of(
        JSON_VALUES,
        st.sampled_from(["string", "object", "array", "#", "#/$defs/a", "http://x/y", "nope"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from(KEYWORDS), ANY_SCHEMA))
def test_any_json_at_all_is_written(schema: dict[str, Any]) -> None:
    for parameters in (schema, {"properties": {"a": schema}}, {"$defs": {"a": schema}}):
        text = typescript_declarations([ToolSpec("f", parameters=parameters)])
        assert text.startswith("# Tools\n\n## functions\nnamespace functions {\n")
        assert text.endswith(") => any;\n}\n")
        assert "type f = (_: " in text


@pytest.mark.parametrize(
    ("schema", "type"),
    [
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "string | number"),
        ({"allOf": [{"type": "string"}, {"properties": {}}]}, "string & {}"),
        ({"const": "x"}, '"x"'),
        ({"const": None}, "null"),
        ({"enum": []}, "never"),
        ({"items": {"type": "integer"}}, "Array<number>"),
        ({"type": "date"}, "any"),
        ({"type": ["string", 3]}, "string | any"),
        ({"$ref": "#/$defs/missing"}, "any"),
        ({"$ref": "https://example.com/schema"}, "any"),
        ({"not": {"type": "string"}}, "any"),
        ({"properties": {"b": True}, "required": ["b"]}, "{\n    b: any\n  }"),
    ],
)
def test_types_that_the_release_does_not_write(schema: dict[str, Any], type: str) -> None:
    tool = ToolSpec("f", parameters={"type": "object", "properties": {"a": schema}})
    assert f"(_: {{\n  a?: {type}\n}}) => any;" in typescript_declarations([tool])


def test_definitions_of_older_drafts_are_interfaces_too() -> None:
    parameters = {
        "properties": {"a": {"$ref": "#/definitions/node"}},
        "definitions": {"node": {"properties": {"up": {"$ref": "#"}}}},
    }
    assert typescript_declarations([ToolSpec("f", parameters=parameters)]) == (
        "# Tools\n\n## functions\nnamespace functions {\n"
        "interface parameters {\n  a?: node\n}\n"
        "interface node {\n  up?: parameters\n}\n"
        "type f = (_: parameters) => any;\n}\n"
    )


def test_a_very_deep_schema_ends_with_any() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(100_000):
        schema = {"type": "object", "properties": {"a": schema}}
    text = typescript_declarations([ToolSpec("f", parameters=schema)])
    assert text.count("a?: {") == 32
    assert "a?: any" in text
