"""Configurations are dataclasses; on disk they are TOML, read strictly.

A key that no field has is an error that names the nearest one; a value of the wrong type is an
error that says where. `None` is written as the string "none", since TOML has no null.
"""

import dataclasses
import difflib
import json
import math
import re
import tomllib
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from openk2.core.errors import UserError

__all__ = [
    "differences",
    "from_dict",
    "load_toml",
    "parse_overrides",
    "to_dict",
    "to_toml",
    "with_overrides",
]

Config = TypeVar("Config")

SURROGATE = re.compile("[\ud800-\udfff]")


def from_dict(cls: type[Config], values: Mapping[str, Any], where: str = "config") -> Config:
    """Build `cls` from nested mappings; keys left out take the field's default.

    Raises UserError for an unknown key, a missing key, a wrong type or an impossible value (the
    dataclass's own ValueError), each naming `where`.
    """
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise UserError(f"{where}: unknown key '{key}'{_nearest(key, fields)}")
    missing = [
        name
        for name, field in fields.items()
        if name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UserError(f"{where}: missing key '{missing[0]}'")
    arguments = {
        key: _convert(hints[key], value, f"{where}: {key}") for key, value in values.items()
    }
    try:
        return cls(**arguments)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def to_dict(config: Any) -> dict[str, Any]:
    """The nested dictionary of a config, tuples as lists."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def load_toml(cls: type[Config], path: Path) -> Config:
    """Read `path` strictly into `cls`."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    return from_dict(cls, values, str(path))


def to_toml(config: Any) -> str:
    """The TOML text that `load_toml` reads back to an equal config."""
    return "\n".join(_toml_lines(to_dict(config), ())).strip() + "\n"


def parse_overrides(arguments: Sequence[str]) -> dict[str, str]:
    """`--key.sub=value` as a mapping from dotted key to text."""
    overrides: dict[str, str] = {}
    for argument in arguments:
        if not argument.startswith("--") or len(argument) == 2:
            raise UserError(f"unexpected argument '{argument}'; a setting is --key.sub=value")
        key, equals, value = argument[2:].partition("=")
        if not equals:
            raise UserError(f"--{key} needs a value: write --{key}=value")
        overrides[key.replace("-", "_")] = value
    return overrides


def with_overrides(config: Config, overrides: Mapping[str, str], where: str = "--") -> Config:
    """A copy of `config` with each dotted key set from text; validated like a TOML file."""
    values = to_dict(config)
    for dotted, text in overrides.items():
        _set(values, type(config), dotted, dotted.split("."), text, where)
    return from_dict(type(config), values, "config")


def differences(old: Any, new: Any) -> list[str]:
    """`key: old value -> new value` for every leaf in which two configs differ."""
    left, right = dict(_leaves(to_dict(old))), dict(_leaves(to_dict(new)))
    return [
        f"{key}: {left.get(key)!r} -> {right.get(key)!r}"
        for key in sorted(left.keys() | right.keys())
        if left.get(key) != right.get(key)
    ]


def _nearest(key: str, names: Any) -> str:
    close = difflib.get_close_matches(key, list(names), n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; the keys here are {', '.join(names)}"


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, options = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None or value == "none":
            if type(None) in options:
                return None
            raise UserError(f"{where}: needs a value, not none")
        return _convert(next(o for o in options if o is not type(None)), value, where)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise UserError(f"{where}: expected a table, got {value!r}")
        return from_dict(hint, value, where)  # type: ignore[arg-type]
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"{where}: expected a list, got {value!r}")
        return tuple(_convert(options[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            raise UserError(f"{where}: is too large for a float") from None
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{where}: expected {hint.__name__}, got {value!r}")
    _check_value(value, where)
    return value


def _check_value(value: Any, where: str) -> None:
    """UserError for what has the right type and is no setting all the same."""
    # NaN passes many a range check and equals nothing, so its run could never be resumed.
    if isinstance(value, float) and math.isnan(value):
        raise UserError(f"{where}: is nan, not a number; give a number")
    # How Python shows the bytes of an argument that is not UTF-8; no TOML file can hold them.
    if isinstance(value, str) and SURROGATE.search(value):
        raise UserError(f"{where}: {value!r} is not UTF-8 text; give or rename it in UTF-8")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _toml_value(value: Any) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, float):
        return repr(value)  # repr round-trips; "inf" and "nan" are TOML too
    # A TOML basic string takes the escapes of JSON; JSON leaves DEL bare, which TOML forbids.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_lines(values: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [f"{key} = {_toml_value(v)}" for key, v in values.items() if not isinstance(v, Mapping)]
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = (*path, key)
            lines += ["", f"[{'.'.join(inner)}]", *_toml_lines(value, inner)]
    return lines


def _leaves(values: Mapping[str, Any], path: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _leaves(value, f"{path}{key}.")
        else:
            found.append((path + key, value))
    return found


def _set(
    values: dict[str, Any], cls: Any, dotted: str, keys: list[str], text: str, where: str
) -> None:
    """Walk to the dotted key, parse `text` by the field's type, and set it."""
    hints = get_type_hints(cls)
    key = keys[0]
    if key not in hints:
        raise UserError(f"{where}{dotted}: unknown key '{key}'{_nearest(key, hints)}")
    hint = hints[key]
    if get_origin(hint) in (Union, types.UnionType):
        if text == "none" and len(keys) == 1:
            values[key] = None
            return
        hint = next(option for option in get_args(hint) if option is not type(None))
    if len(keys) > 1:
        if not dataclasses.is_dataclass(hint):
            raise UserError(f"{where}{dotted}: '{key}' has no keys of its own")
        if values[key] is None:
            raise UserError(f"{where}{dotted}: '{key}' is none here; set it in a TOML file")
        _set(values[key], hint, dotted, keys[1:], text, where)
        return
    if dataclasses.is_dataclass(hint):
        names = ", ".join(f"{dotted}.{name}" for name in get_type_hints(hint))
        raise UserError(f"{where}{dotted}: is a table; set one of {names}")
    values[key] = _parse(hint, text, f"{where}{dotted}")


def _parse(hint: Any, text: str, where: str) -> Any:
    if hint is str:
        return text
    if get_origin(hint) is tuple:
        return [_parse(get_args(hint)[0], item, where) for item in text.split(",") if item]
    if hint is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise UserError(f"{where}: expected true or false, got '{text}'")
    try:
        return hint(text)
    except ValueError:
        raise UserError(f"{where}: expected {hint.__name__}, got '{text}'") from None
