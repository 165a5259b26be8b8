"""Random JSON Schemas that cover what the grammars enforce, most of them satisfiable.

Every schema is a tool's: an object at the top. Keywords that narrow each other (a maximum below the
minimum, say) are drawn so that a value remains; combinations by `allOf` now and then leave none.
"""

import random
from typing import Any

__all__ = ["KEYWORDS", "random_tool_schema"]

Schema = dict[str, Any]

# What the generator must have drawn after some hundred schemas.
KEYWORDS = frozenset(
    [
        *["type", "const", "enum", "properties", "required", "additionalProperties"],
        *["items", "prefixItems", "minItems", "maxItems", "$ref", "$defs", "anyOf", "oneOf"],
        *["allOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
        *["minLength", "maxLength", "pattern", "format"],
    ]
)
NAMES = [
    "city",
    "days",
    "when",
    "Größe",
    "a-b",
    'say "hi"',
    "x.y",
    "名",
    "path\\to",
    "tab\there",
    "",
]
PATTERNS = [
    "^[a-z]{2,5}$",
    "^\\d{3}-\\d{4}$",
    "[A-Z]",
    "^(red|green|blue)$",
    "^[^\\s]+$",
    "^\\w+@\\w+\\.[a-z]{2,3}$",
    "^x",
    "^#[0-9a-fA-F]{6}",
    "^.{2,4}$",
    "^(/[a-z0-9_]+)+$",
]
FORMATS = [
    "date",
    "time",
    "date-time",
    "uuid",
    "ipv4",
    "ipv6",
    "email",
    "hostname",
    "uri",
    "duration",
]
WORDS = [
    "a",
    "celsius",
    'quo"te',
    "back\\slash",
    "new\nline",
    "naïve",
    "日本",
    "</s>",
    "<|im_end|>",
    "",
]


def random_tool_schema(rng: random.Random) -> Schema:
    """The parameters of one tool."""
    definitions = [f"Node{i}" for i in range(rng.randrange(3))]
    schema = random_object(rng, 3, definitions)
    if definitions:
        schema["$defs"] = {name: recursive(rng, name, definitions) for name in definitions}
    return schema


def recursive(rng: random.Random, name: str, definitions: list[str]) -> Schema:
    """A definition that may hold itself, with a way out."""
    reference = {"$ref": f"#/$defs/{name}"}
    shape = rng.randrange(4)
    if shape == 0:  # a list: next or null
        return closed(
            {"value": random_value(rng, 0, []), "next": {"anyOf": [reference, {"type": "null"}]}}
        )
    if shape == 1:  # a tree
        return closed(
            {"name": random_string(rng), "children": {"type": "array", "items": reference}}
        )
    if shape == 2:  # an optional property
        return {**closed({"v": random_number(rng), "more": reference}), "required": ["v"]}
    return random_value(rng, 1, [other for other in definitions if other > name])


def closed(properties: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def random_value(rng: random.Random, depth: int, definitions: list[str]) -> Schema:
    makers = [random_string, random_number, random_literal, random_plain]
    if depth > 0:
        if definitions and rng.random() < 0.2:
            return {"$ref": f"#/$defs/{rng.choice(definitions)}"}
        if rng.random() < 0.6:
            nested = [random_object, random_array, random_choice, random_intersection]
            return rng.choice(nested)(rng, depth - 1, definitions)
    return rng.choice(makers)(rng)


def random_object(rng: random.Random, depth: int, definitions: list[str]) -> Schema:
    names = rng.sample(NAMES, rng.randrange(5))
    properties = {name: random_value(rng, depth, definitions) for name in names}
    schema: Schema = {"type": "object", "properties": properties}
    required = [name for name in names if rng.random() < 0.6]
    additional = rng.randrange(4)
    if additional == 0:
        schema["additionalProperties"] = random_value(rng, depth - 1, definitions)
        if rng.random() < 0.3:
            required.append("extra")
    elif additional < 3:
        schema["additionalProperties"] = False
    if required or rng.random() < 0.5:
        schema["required"] = rng.sample(required, len(required))
    return shuffled(rng, schema)


def random_array(rng: random.Random, depth: int, definitions: list[str]) -> Schema:
    schema: Schema = {"type": "array"}
    first = rng.randrange(3) if rng.random() < 0.3 else 0
    if first:
        schema["prefixItems"] = [random_value(rng, depth, definitions) for _ in range(first)]
    if rng.random() < 0.8:
        schema["items"] = (
            False if first and rng.random() < 0.3 else random_value(rng, depth, definitions)
        )
    if rng.random() < 0.5:
        schema["minItems"] = rng.randint(0, first if schema.get("items") is False else 3)
    if rng.random() < 0.5:
        schema["maxItems"] = schema.get("minItems", 0) + rng.randrange(3)
    return shuffled(rng, schema)


def random_choice(rng: random.Random, depth: int, definitions: list[str]) -> Schema:
    if rng.random() < 0.5:
        return {"anyOf": [random_value(rng, depth, definitions) for _ in range(rng.randint(1, 3))]}
    if rng.random() < 0.5:
        kinds = [random_string(rng), random_number(rng), {"type": "null"}, {"type": "boolean"}]
        return {"oneOf": rng.sample(kinds, rng.randint(1, 4))}
    tags = rng.sample(["circle", "square", "line"], rng.randint(1, 3))
    branches = [closed({"kind": {"const": tag}, "size": random_number(rng)}) for tag in tags]
    return {"oneOf": branches}


def random_intersection(rng: random.Random, depth: int, definitions: list[str]) -> Schema:
    shape = rng.randrange(3)
    if shape == 0:
        low = rng.randint(-50, 50)
        return {
            "type": "integer",
            "allOf": [{"minimum": low}, {"maximum": low + 20}, {"multipleOf": 3}],
        }
    if shape == 1:
        return {"type": "string", "minLength": 1, "allOf": [{"maxLength": 6}, {"pattern": "[a-f]"}]}
    left, right = random_object(rng, 0, []), random_object(rng, 0, [])
    left.pop("additionalProperties", None)
    right.pop("additionalProperties", None)
    for name in set(left["properties"]) & set(right["properties"]):
        del right["properties"][name]
    return {"allOf": [left, right]}


def random_string(rng: random.Random) -> Schema:
    schema: Schema = {"type": "string"}
    kind = rng.randrange(4)
    if kind == 0:
        schema["pattern"] = rng.choice(PATTERNS)
    elif kind == 1:
        schema["format"] = rng.choice(FORMATS)
    elif kind == 2:
        if rng.random() < 0.7:
            schema["minLength"] = rng.randrange(5)
        if rng.random() < 0.7:
            schema["maxLength"] = schema.get("minLength", 0) + rng.randrange(8)
    return shuffled(rng, schema)


def random_number(rng: random.Random) -> Schema:
    kind = rng.choice(["integer", "number"])
    schema: Schema = {"type": kind}
    exact = rng.random() < 0.5
    low = rng.randint(-1000, 1000) if exact or kind == "integer" else round(rng.uniform(-9, 9), 3)
    if rng.random() < 0.5:
        schema[rng.choice(["minimum", "exclusiveMinimum"])] = low
    if rng.random() < 0.5:
        schema[rng.choice(["maximum", "exclusiveMaximum"])] = low + rng.randint(20, 2000)
    if rng.random() < 0.3:
        # Binary fractions: the judge divides floats.
        schema["multipleOf"] = rng.choice([2, 3, 5, 7, 10] if kind == "integer" else [0.5, 0.25, 2])
    return shuffled(rng, schema)


def random_literal(rng: random.Random) -> Schema:
    values = [
        *WORDS,
        0,
        -7,
        12345678901,
        1.5,
        -0.001,
        1e-7,
        True,
        False,
        None,
        [],
        [1, "a"],
        {"k": [None]},
    ]
    if rng.random() < 0.3:
        return {"const": rng.choice(values)}
    return {"enum": rng.sample(values, rng.randint(1, 5))}


def random_plain(rng: random.Random) -> Schema:
    kinds = ["string", "number", "integer", "boolean", "null", "array", "object"]
    if rng.random() < 0.5:
        return {"type": rng.choice(kinds)}
    return {
        "type": rng.sample(kinds, rng.randint(1, 3)),
        "minimum": 3,
        "minLength": 2,
        "maxItems": 2,
    }


def shuffled(rng: random.Random, schema: Schema) -> Schema:
    """The same keywords in another order: none may depend on it."""
    return dict(rng.sample(list(schema.items()), len(schema)))
