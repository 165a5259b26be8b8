"""Values on their way out of and into the sandbox: JSON of exact builtin types.

A value whose type is a subclass (an int whose __eq__ says True) is refused, not converted. What
JSON lacks is an object with the type's name as its only key: {"tuple": [...]}, {"dict": [[key,
value], ...]}, {"set": [...]}, {"bytes": hex}, {"int": hex} beyond 53 bits, {"float": "nan"}.

Equal values have equal texts but for the order of a dict, which is kept. Both functions are total:
`encode` raises Unsendable, `decode` ValueError, whatever they are given.
"""

import json
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

__all__ = ["DEPTH", "Unsendable", "decode", "encode"]

DEPTH = 100
SMALL = 1 << 53
# Thousands of keys with one hash would keep whoever decodes them busy for minutes.
SAME_HASH = 100


class Unsendable(Exception):
    """A value that is not made of exact builtin types, or nested too deeply."""


def encode(value: Any) -> bytes:
    """`value` as canonical JSON; a memory error is the caller's."""
    return json.dumps(_tree(value, DEPTH), separators=(",", ":"), allow_nan=False).encode()


def _tree(value: Any, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if -SMALL < value < SMALL else {"int": hex(value)}
    if kind is float:
        return value if value - value == 0 else {"float": repr(value)}
    if kind is bytes:
        return {"bytes": value.hex()}
    if depth == 0:
        raise Unsendable(f"nested deeper than {DEPTH}")
    if kind is list:
        return [_tree(item, depth - 1) for item in value]
    if kind is tuple:
        return {"tuple": [_tree(item, depth - 1) for item in value]}
    if kind is dict:
        pairs = value.items()
        return {"dict": [[_tree(key, depth - 1), _tree(item, depth - 1)] for key, item in pairs]}
    if kind is set:
        return {"set": sorted((_tree(item, depth - 1) for item in value), key=json.dumps)}
    raise Unsendable(f"a value of type {kind.__name__}")


def decode(text: bytes) -> Any:
    """The value that `encode` made this of; ValueError for anything else."""
    try:
        return _value(json.loads(text), DEPTH)
    except (RecursionError, TypeError, AttributeError) as error:
        raise ValueError(f"not a value: {error}") from None


def _value(tree: Any, depth: int) -> Any:
    if depth < 0:
        raise ValueError(f"nested deeper than {DEPTH}")
    if isinstance(tree, list):
        return [_value(item, depth - 1) for item in tree]
    if not isinstance(tree, dict):
        return tree
    [(kind, content)] = tree.items()
    match kind:
        case "int":
            return int(content, 16)
        case "float":
            return float(content)
        case "bytes":
            return bytes.fromhex(content)
        case "tuple":
            return tuple(_value(item, depth - 1) for item in content)
        case "set":
            return set(_spread([_value(item, depth - 1) for item in content]))
        case "dict":
            keys = _spread([_value(key, depth - 1) for key, _ in content])
            return dict(zip(keys, (_value(item, depth - 1) for _, item in content), strict=True))
    raise ValueError(f"no kind of value {kind!r}")


def _spread(keys: Sequence[Hashable]) -> Sequence[Hashable]:
    """The keys, unless too many of them share a hash."""
    if keys and max(Counter(map(hash, keys)).values()) > SAME_HASH:
        raise ValueError("keys chosen for their hash")
    return keys
