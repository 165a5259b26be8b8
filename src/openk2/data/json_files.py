"""The JSON files of a corpus, which a disk or a person may have damaged."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openk2.core.errors import UserError

__all__ = ["check_fields", "read_object"]


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; UserError if it is missing or something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: damaged: it is no JSON object")
    return found


def check_fields(path: Path, found: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
    """UserError unless `found`, read from `path`, has all fields of `kinds`, each of its type."""
    for name, kind in kinds.items():
        if not isinstance(found.get(name), kind):
            raise UserError(
                f"{path}: damaged: {name} is {found.get(name)!r:.40}, not of type {kind.__name__}"
            )
