"""Which JSON Schemas a grammar can enforce, and a clear refusal of all others.

llguidance turns most of JSON Schema, draft 2020-12, into a grammar. A schema comes from a stranger,
so what would make it enforce less than is written, hang or never end is refused before it sees it:

- keywords that it has no rule for: see UNENFORCED; `uniqueItems: false` says nothing and may stay,
  as may `minProperties` up to 1 (it does not see that two additional keys are the same one);
- `oneOf` whose branches it cannot tell apart by type, a string literal or such a property;
- `format` other than date-time, time, date, duration, email, hostname, ipv4, ipv6, uuid, uri, and
  `pattern` with look-arounds, back references or repetitions of repetitions beyond all measure;
- references that leave the schema ("#/..." alone is followed, nothing is ever fetched), and those
  that lead back to themselves with no way out, which no text of finite length satisfies;
- numbers that a float does not hold exactly, where the grammar would be off by the rounding.

Properties come in the order in which the schema lists them. A number that is to be a multiple has
at most 15 digits before the point, which every reader of JSON holds exactly. Unknown keywords and
annotations bear no meaning in JSON Schema and have none here.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

__all__ = ["GrammarError", "enforceable"]

MAX_BYTES = 1 << 20  # of the schema as compact JSON
MAX_DEPTH = 100  # arrays and objects within each other; the parser behind stops at 128
# The same along references, each taken once. The compiler recurses with some 3 kB of stack a level.
MAX_REFERRED_DEPTH = 1000
# The automaton for "a multiple of n" has n states: this many take about half a second.
MAX_MULTIPLE = 100_000
MAX_PROPERTIES = 2_500  # named in the whole schema; compiling takes their number squared
MAX_LITERAL = 10_000  # characters of a name or of a string in const or enum
MAX_PATTERN = 10_000  # characters
MAX_REPETITION = 10_000  # of one atom of a pattern, e.g. 600 in (a{20}b){30}
LARGEST_MULTIPLE = 10**15 - 1
LARGEST_FLOAT = 1 << 1023
MAX_ROUNDS = 20  # of following references to references; one or two are usual

UNENFORCED = frozenset(
    {
        "not",
        "if",
        "then",
        "else",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
        "contains",
        "minContains",
        "maxContains",
        "uniqueItems",
        "additionalItems",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
        "$dynamicRef",
        "$recursiveRef",
    }
)
INNER_SCHEMA = ("items", "additionalProperties")
INNER_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
INNER_MAPS = ("properties", "patternProperties", "$defs", "definitions")
LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")


class GrammarError(ValueError):
    """The constraint cannot be enforced; one line that says which part and why."""


def enforceable(schema: Mapping[str, Any] | bool, name: str) -> Any:
    """A copy of `schema` in plain dicts and lists, fit for the compiler.

    `name` is what messages call the schema. Raises GrammarError. What is wrong in a way that the
    compiler reports by itself (a type that does not exist, a minimum above the maximum) passes.
    """
    root = plain(schema, name, MAX_DEPTH)
    if not isinstance(root, dict | bool):
        raise GrammarError(f"{name}: a schema is an object or a boolean")
    if len(json.dumps(root)) > MAX_BYTES:
        raise GrammarError(f"{name}: the schema is larger than {MAX_BYTES >> 20} MiB")
    if not isinstance(root, dict):
        return root
    root.pop("$id", None)  # without its own address a schema refers to itself alone
    multiples: list[Decimal] = []
    properties = 0
    targets: dict[str, Any] = {"#": root}
    depths: dict[int, int] = {}
    deepest = depth(root, depths)
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [("#", root)]
    while waiting:
        path, node = waiting.pop()
        if not isinstance(node, dict) or id(node) in seen:
            continue
        seen.add(id(node))
        check_keywords(node, f"{name}: {path}")
        if "multipleOf" in node:
            bound(node)
        if type(node.get("multipleOf")) in (int, float):
            multiples.append(Decimal(repr(node["multipleOf"])))
        named = node.get("properties")
        properties += len(named) if isinstance(named, dict) else 0
        if properties > MAX_PROPERTIES:
            raise GrammarError(f"{name}: there are more than {MAX_PROPERTIES} properties")
        reference = node.get("$ref")
        if isinstance(reference, str) and reference not in targets:
            targets[reference] = resolved(root, reference, f"{name}: {path}")
            waiting.append((reference, targets[reference]))
            deepest += depth(targets[reference], depths)
            if deepest > MAX_REFERRED_DEPTH:
                raise GrammarError(f"{name}: references lead too deep, one from within the other")
        waiting.extend((f"{path}/{key}", inner) for key, inner in inner_schemas(node))
    if common_multiple(multiples) > MAX_MULTIPLE:
        raise GrammarError(f"{name}: the values of multipleOf need more than {MAX_MULTIPLE} states")
    check_ends(targets, name)
    return root


def plain(value: Any, name: str, depth: int) -> Any:
    """A deep copy in JSON's own types; GrammarError where it is none or nested too deeply."""
    if depth < 0:
        raise GrammarError(f"{name}: the schema is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        if any(not isinstance(key, str) or len(key) > MAX_LITERAL for key in value):
            raise GrammarError(f"{name}: a name is no string of at most {MAX_LITERAL} characters")
        return {plain(k, name, 0): plain(v, name, depth - 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, name, depth - 1) for item in value]
    if isinstance(value, str):
        check_characters(value, name)
    if isinstance(value, int | float) and not abs(value) < LARGEST_FLOAT:
        raise GrammarError(f"{name}: the schema holds a number that no float can hold")
    if value is None or isinstance(value, str | int | float):
        return value
    raise GrammarError(f"{name}: the schema holds a {type(value).__name__}, which JSON has not")


def depth(node: Any, depths: dict[int, int]) -> int:
    """Levels of arrays and objects in `node`; `depths` remembers, by id."""
    if not isinstance(node, dict | list):
        return 0
    if id(node) not in depths:
        inner = node.values() if isinstance(node, dict) else node
        depths[id(node)] = 1 + max((depth(part, depths) for part in inner), default=0)
    return depths[id(node)]


def check_characters(text: str, place: str) -> None:
    """GrammarError for text that cannot be written in UTF-8."""
    if re.search("[\ud800-\udfff]", text):
        raise GrammarError(f"{place}: half a surrogate pair is no character")


def check_keywords(node: dict[str, Any], place: str) -> None:
    """GrammarError for what the compiler would ignore or get wrong in this one schema."""
    # In an older dialect the compiler would pass over newer keywords: all are read as 2020-12.
    node.pop("$schema", None)
    if node.get("uniqueItems") is False:
        del node["uniqueItems"]
    unenforced = sorted(UNENFORCED.intersection(node))
    if unenforced:
        raise GrammarError(f"{place}: {unenforced[0]} cannot be enforced")
    if isinstance(node.get("items"), list):
        raise GrammarError(f"{place}: items is a list, as in draft 7: write prefixItems")
    if isinstance(node.get("$id"), str):
        raise GrammarError(f"{place}: $id within a schema cannot be followed")
    minimum = node.get("minProperties", 0)
    if isinstance(minimum, int) and minimum > 1:
        raise GrammarError(f"{place}: minProperties above 1 cannot be enforced; write required")
    limits = [node[keyword] for keyword in LIMITS if keyword in node]
    for literal in literals([*limits, node.get("const"), node.get("enum")]):
        if isinstance(literal, str) and len(literal) > MAX_LITERAL:
            raise GrammarError(f"{place}: a string is longer than {MAX_LITERAL} characters")
        # The compiler reads floats and works with 64-bit integers.
        if isinstance(literal, int | float) and not (
            abs(literal) < 1 << 63 and float(literal) == literal
        ):
            raise GrammarError(f"{place}: {literal:.17g} is too large to be compared exactly")
    patterns = node.get("patternProperties")
    for pattern in [node.get("pattern"), *(patterns if isinstance(patterns, dict) else ())]:
        if isinstance(pattern, str):
            check_pattern(pattern, place)


def bound(node: dict[str, Any]) -> None:
    """Limit the size of a multiple, on the sides that the schema leaves open."""
    stated = {keyword: node[keyword] for keyword in LIMITS if keyword in node}
    numbers = [limit for limit in stated.values() if isinstance(limit, int | float)]
    if any(abs(number) > LARGEST_MULTIPLE for number in numbers):
        return
    if "minimum" not in stated and "exclusiveMinimum" not in stated:
        node["minimum"] = -LARGEST_MULTIPLE
    if "maximum" not in stated and "exclusiveMaximum" not in stated:
        node["maximum"] = LARGEST_MULTIPLE


def check_pattern(pattern: str, place: str) -> None:
    """GrammarError for a pattern whose automaton would not fit, and for an unfinished one."""
    check_characters(pattern, place)
    if len(pattern) > MAX_PATTERN:
        raise GrammarError(f"{place}: the pattern is longer than {MAX_PATTERN} characters")
    if len(pattern) - len(pattern.rstrip("\\")) & 1:
        raise GrammarError(f"{place}: the pattern ends in a backslash that escapes nothing")
    largest = repetition(pattern)
    if largest > MAX_REPETITION:
        raise GrammarError(f"{place}: the pattern repeats a part more than {MAX_REPETITION} times")


def repetition(pattern: str) -> int:
    """How often counted repetitions, taken one within the other, can repeat a part at most.

    3 for (ab){3}, 15 for (a{5}b?){2,3}. Escapes and character classes are stepped over.
    """
    piece = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*+\]|\{(\d+)(?:,(\d*))?\}|.", re.DOTALL)
    groups, atom = [1], 1  # the most within each open group, and within the part just read
    for found in piece.finditer(pattern):
        text, least, most = found.group(0), found.group(1), found.group(2)
        if least is not None:
            # More than nine digits are beyond any bound, and int() is slow on millions.
            counts = [int(count[:10]) for count in (least, most) if count]
            atom *= max([1, *counts])
            groups[-1] = max(groups[-1], atom)
        elif text == "(":
            groups.append(1)
        elif text == ")" and len(groups) > 1:
            atom = groups.pop()
            groups[-1] = max(groups[-1], atom)
        elif text not in "?*+":
            atom = 1
    return max(groups)


def literals(values: list[Any]) -> Iterator[Any]:
    """What nested lists and objects hold, names included."""
    for value in values:
        if isinstance(value, dict):
            yield from literals([*value, *value.values()])
        elif isinstance(value, list):
            yield from literals(value)
        else:
            yield value


def common_multiple(values: list[Decimal]) -> int:
    """The least common multiple, in units of the last decimal place of any of them."""
    places = max((-int(value.normalize().as_tuple().exponent) for value in values), default=0)
    # More than twenty digits are beyond any bound.
    largest = Decimal(10) ** 20
    whole = [int(min(abs(value).scaleb(max(places, 0)), largest)) for value in values]
    return math.lcm(*(number for number in whole if number))


def resolved(root: Any, reference: str, place: str) -> Any:
    """The schema that a JSON pointer "#/..." leads to."""
    found = root
    if reference != "#" and not reference.startswith("#/"):
        raise GrammarError(f"{place}: only references within the schema (#/...) can be followed")
    for part in unquote(reference).split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and key.isdecimal() and int(key[:9]) < len(found):
            found = found[int(key)]
        elif isinstance(found, dict) and key in found:
            found = found[key]
        else:
            raise GrammarError(f"{place}: $ref leads to {reference[:80]!r}, which does not exist")
    return found


def inner_schemas(node: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The schemas directly within a schema, each with where it is."""
    for keyword in INNER_SCHEMA:
        if keyword in node:
            yield keyword, node[keyword]
    for keyword in INNER_LISTS:
        if isinstance(node.get(keyword), list):
            yield from ((f"{keyword}/{i}", inner) for i, inner in enumerate(node[keyword]))
    for keyword in INNER_MAPS:
        if isinstance(node.get(keyword), dict):
            yield from ((f"{keyword}/{key}", inner) for key, inner in node[keyword].items())


def check_ends(targets: dict[str, Any], name: str) -> None:
    """GrammarError for a schema that holds itself in each of its values.

    The least fixed point of "has a value of finite depth", from no reference upwards.
    """
    finite: set[str] = set()
    order = list(targets)
    for _ in range(MAX_ROUNDS):
        known = len(finite)
        # To and fro: what depends on later references, and what on earlier ones.
        order.reverse()
        for reference in order:
            if reference not in finite and ends(targets[reference], finite):
                finite.add(reference)
        if len(finite) == len(targets):
            return
        if len(finite) == known:
            endless = next(reference for reference in reversed(targets) if reference not in finite)
            raise GrammarError(f"{name}: {endless} holds itself without end; no text satisfies it")
    raise GrammarError(f"{name}: the references within the schema are too entangled to follow")


def ends(node: Any, finite: set[str]) -> bool:
    """Whether `node` has a value of finite depth, if the references in `finite` are all that do.

    Never False for a schema that has one, except where keywords contradict each other.
    """
    if not isinstance(node, dict):
        return True
    reference = node.get("$ref")
    if isinstance(reference, str) and reference not in finite:
        return False
    for options in (node.get("anyOf"), node.get("oneOf")):
        if isinstance(options, list) and not any(ends(option, finite) for option in options):
            return False
    parts = node.get("allOf")
    if isinstance(parts, list) and not all(ends(part, finite) for part in parts):
        return False
    named = node.get("type")
    types = [named] if isinstance(named, str) else named if isinstance(named, list) else []
    if not types or "const" in node or "enum" in node:
        return True
    return any(
        object_ends(node, finite)
        if name == "object"
        else array_ends(node, finite)
        if name == "array"
        else True
        for name in types
    )


def object_ends(node: dict[str, Any], finite: set[str]) -> bool:
    properties, required = node.get("properties"), node.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list):
        return True
    rest = node.get("additionalProperties", True)
    return all(ends(properties.get(key, rest), finite) for key in required if isinstance(key, str))


def array_ends(node: dict[str, Any], finite: set[str]) -> bool:
    least, first = node.get("minItems", 0), node.get("prefixItems")
    if not isinstance(least, int):
        return True
    first = first if isinstance(first, list) else []
    needed = first[:least] + ([node.get("items", True)] if least > len(first) else [])
    return all(ends(part, finite) for part in needed)
