"""JSON Schemas that may come from anybody: compiled with bounds, fetching nothing."""

import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import jsonschema_rs

__all__ = ["compiled_schema", "node_count"]

MAX_SCHEMA_BYTES = 64 * 1024
# Of a schema with its references written out: two of them per level, 30 levels deep, would be a
# billion.
MAX_SCHEMA_NODES = 4_000
MAX_SCHEMA_DEPTH = 32
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
YEARS = range(1900, 2200)  # with any sum of days that a tool adds, the calendar still has them


def compiled_schema(
    schema: Mapping[str, Any], *, formats: bool = False
) -> jsonschema_rs.Draft202012Validator:
    """A validator of anybody's schema that takes bounded time and fetches nothing.

    formats   whether "format" is checked, too; a "date" is then one of the years 1900 to 2199

    Raises ValueError for a schema that is none, refers to anything outside itself or to itself,
    grows beyond all bounds when its references are written out, or has a pattern that cannot be
    matched in linear time.
    """
    try:
        if len(json.dumps(schema)) > MAX_SCHEMA_BYTES:
            raise ValueError(f"its schema is longer than {MAX_SCHEMA_BYTES} bytes")
        _expanded_nodes(schema, schema, 0, frozenset(), {})
        return jsonschema_rs.Draft202012Validator(
            dict(schema),
            retriever=_refuse,
            pattern_options=jsonschema_rs.RegexOptions(),
            validate_formats=formats,
            formats={"date": _is_date},
        )
    except RecursionError:
        raise ValueError("its schema is nested too deeply") from None
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        reason = getattr(error, "message", str(error)).partition("\n")[0]
        raise ValueError(f"its schema is not valid: {reason[:200]}") from None


def _is_date(text: str) -> bool:
    try:  # which also reads other forms of ISO 8601
        return DAY.fullmatch(text) is not None and date.fromisoformat(text).year in YEARS
    except ValueError:
        return False


def node_count(value: Any) -> int:
    """How many values there are in a JSON value, itself and those inside."""
    total, left = 0, [value]
    while left:
        total += 1
        item = left.pop()
        if isinstance(item, Mapping):
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)
    return total


def _refuse(reference: str) -> Any:
    raise ValueError(f"refers to {reference[:100]}")


def _expanded_nodes(
    schema: Any, root: Mapping[str, Any], depth: int, inside: frozenset[str], known: dict[str, int]
) -> int:
    """The nodes of a schema, each reference counted as all that it stands for."""
    if depth > MAX_SCHEMA_DEPTH:
        raise ValueError(f"its schema is nested deeper than {MAX_SCHEMA_DEPTH} levels")
    total = 1
    if isinstance(schema, Mapping):
        if not {"$dynamicRef", "$recursiveRef"}.isdisjoint(schema) or (depth and "$id" in schema):
            raise ValueError("its schema has a $dynamicRef, a $recursiveRef or an inner $id")
        reference = schema.get("$ref")
        if isinstance(reference, str):
            if reference in inside:
                raise ValueError("its schema refers to itself")
            if reference not in known:
                target = _resolved(root, reference)
                known[reference] = _expanded_nodes(
                    target, root, depth + 1, inside | {reference}, known
                )
            total += known[reference]
    children = (
        schema.values()
        if isinstance(schema, Mapping)
        else schema
        if isinstance(schema, list)
        else ()
    )
    for child in children:
        total += _expanded_nodes(child, root, depth + 1, inside, known)
        if total > MAX_SCHEMA_NODES:
            raise ValueError(f"its schema has more than {MAX_SCHEMA_NODES} nodes")
    return total


def _resolved(root: Mapping[str, Any], reference: str) -> Any:
    if reference != "#" and not reference.startswith("#/"):
        raise ValueError(f"its schema refers to {reference[:100]}, which is not inside it")
    place: Any = root
    for step in reference[2:].split("/") if len(reference) > 2 else ():
        key = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(place, Mapping) or key not in place:
            raise ValueError(f"its schema refers to {reference[:100]}, which is not there")
        place = place[key]
    return place
