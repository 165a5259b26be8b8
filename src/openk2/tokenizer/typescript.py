"""Tools declared as TypeScript, as the tokenizer of Kimi K2.5 writes them.

    # Tools

    ## functions
    namespace functions {
    // What the tool does
    type NAME = (_: {
      // What the argument means
      city: string,
      unit?: "C" | "F"
    }) => any;
    }

Any JSON Schema is written: what TypeScript, or this rendering of it, has no word for is `any`.
Literals are JSON's (true, null), where K2.5's own writer prints Python's (True, None).
"""

import json
from collections.abc import Sequence
from typing import Any

from openk2.core.errors import UserError
from openk2.core.records import ToolSpec

__all__ = ["typescript_declarations"]

INDENT = "  "
DEEPEST = 32  # schemas below that are `any`
ROOT = "parameters"  # the interface that `$ref: "#"` means

TYPES = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "null": "null",
    "object": "{}",
    "array": "Array<any>",
}
CONSTRAINTS = {
    "string": ("maxLength", "minLength", "pattern"),
    "number": ("maximum", "minimum"),
    "integer": ("maximum", "minimum"),
    "array": ("maxItems", "minItems"),
}


def typescript_declarations(tools: Sequence[ToolSpec]) -> str:
    """A namespace with one function type per tool.

    Raises UserError where a default or a listed value is nested too deeply to be written.
    """
    try:
        functions = "\n".join(map(_function, tools))
    except RecursionError:
        raise UserError("tools: a value in a schema is nested too deeply") from None
    return f"# Tools\n\n## functions\nnamespace functions {{\n{functions}\n}}\n"


def _function(tool: ToolSpec) -> str:
    parameters = dict(tool.parameters)
    writer = _TypeWriter(parameters)
    argument = writer.object_type(parameters, "")
    interfaces = [
        f"{_comment(schema, '')}interface {name} {writer.type_of(schema, '')}\n"
        for name, schema in writer.definitions.items()
    ]
    if writer.refers_to_root:
        fields = ",\n".join(writer.fields(parameters, INDENT, sorted(_properties(parameters))))
        body = f"\n{fields}\n" if fields else ""
        interfaces.insert(0, f"interface {ROOT} {{{body}}}\n")
        argument = ROOT
    description = _comment({"description": tool.description}, "")
    return f"{''.join(interfaces)}{description}type {tool.name} = (_: {argument}) => any;"


class _TypeWriter:
    """Writes the types of one tool; `indent` is that of the line on which a type begins."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self.definitions = dict(
            sorted({**_mapping(parameters, "definitions"), **_mapping(parameters, "$defs")}.items())
        )
        self.refers_to_root = False
        self._nesting = 0

    def type_of(self, schema: Any, indent: str) -> str:
        if schema is False:
            return "null"
        if not isinstance(schema, dict) or self._nesting == DEEPEST:
            return "any"
        self._nesting += 1
        written = self._type_of_schema(schema, indent)
        self._nesting -= 1
        return written

    def _type_of_schema(self, schema: dict[str, Any], indent: str) -> str:
        kind = schema.get("type")
        if "$ref" in schema:
            return self._reference(schema["$ref"])
        if isinstance(schema.get("anyOf"), list):
            return self._joined(" | ", schema["anyOf"], indent)
        if isinstance(schema.get("enum"), list):
            return " | ".join(map(_literal, schema["enum"])) or "never"
        if isinstance(kind, list):
            return " | ".join(map(_named, kind)) or "any"
        if kind == "object" or (kind is None and "properties" in schema):
            return self.object_type(schema, indent)
        if kind == "array" or (kind is None and "items" in schema):
            return self._array_type(schema, indent)
        if kind is not None:
            return _named(kind)
        if "const" in schema:
            return _literal(schema["const"])
        if isinstance(schema.get("oneOf"), list):
            return self._joined(" | ", schema["oneOf"], indent)
        if isinstance(schema.get("allOf"), list):
            return self._joined(" & ", schema["allOf"], indent)
        return "any"

    def object_type(self, schema: dict[str, Any], indent: str) -> str:
        """An object's fields by name, those that it must have first."""
        inner = indent + INDENT
        required = _required(schema)
        names = sorted(_properties(schema), key=lambda name: (name not in required, name))
        fields = self.fields(schema, inner, names)
        others = schema.get("additionalProperties")
        if isinstance(others, bool | dict):
            type = "never" if others is False else self.type_of(others, inner)
            fields.append(f"{inner}[k: string]: {type}")
        return "{\n" + ",\n".join(fields) + f"\n{indent}}}" if fields else "{}"

    def fields(self, schema: dict[str, Any], indent: str, names: Sequence[str]) -> list[str]:
        """`name?: type` below its comment, for each of `names`."""
        required = _required(schema)
        written = []
        for name in names:
            field = _properties(schema)[name]
            comment = _comment(field, indent)
            default = field.get("default") if isinstance(field, dict) else None
            if default is not None:
                comment += f"{indent}// Default: {_json(default)}\n"
            optional = "" if name in required else "?"
            written.append(f"{comment}{indent}{name}{optional}: {self.type_of(field, indent)}")
        return written

    def _array_type(self, schema: dict[str, Any], indent: str) -> str:
        item = schema.get("items") or True
        inner = indent + INDENT
        comment = _comment(item, inner)
        if not comment:
            return f"Array<{self.type_of(item, indent)}>"
        return f"Array<\n{comment}{inner}{self.type_of(item, inner)}\n{indent}>"

    def _reference(self, reference: Any) -> str:
        if reference == "#":
            self.refers_to_root = True
            return ROOT
        name = str(reference).rpartition("/")[2]
        known = reference in (f"#/$defs/{name}", f"#/definitions/{name}")
        return name if known and name in self.definitions else "any"

    def _joined(self, operator: str, schemas: list[Any], indent: str) -> str:
        return operator.join(self.type_of(schema, indent) for schema in schemas) or "any"


def _comment(schema: Any, indent: str) -> str:
    """The lines above a type: its description, then its constraints."""
    if not isinstance(schema, dict):
        return ""
    lines = []
    description = schema.get("description")
    if isinstance(description, str) and description:
        lines += [f"{indent}// {line}" if line else "" for line in description.split("\n")]
    # Only a type that is written by its name shows its constraints.
    shows = not schema.keys() & {"$ref", "anyOf", "enum"} and isinstance(schema.get("type"), str)
    names = CONSTRAINTS.get(schema["type"], ()) if shows else ()
    constraints = ", ".join(f"{name}: {schema[name]}" for name in names if name in schema)
    if constraints:
        lines.append(f"{indent}// {constraints}")
    return "".join(f"{line}\n" for line in lines)


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _named(name: Any) -> str:
    return TYPES.get(name, "any") if isinstance(name, str) else "any"


def _mapping(schema: dict[str, Any], key: str) -> dict[str, Any]:
    found = schema.get(key)
    return found if isinstance(found, dict) else {}


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    return _mapping(schema, "properties")


def _required(schema: dict[str, Any]) -> list[Any]:
    found = schema.get("required")
    return found if isinstance(found, list) else []
