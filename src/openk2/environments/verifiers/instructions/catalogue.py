"""All constraints by id."""

from collections.abc import Mapping
from typing import Any

from openk2.core.errors import UserError
from openk2.environments.verifiers.instructions import (
    case,
    keywords,
    layout,
    length,
    letters,
    punctuation,
    structure,
    whole,
)
from openk2.environments.verifiers.instructions.constraint import Constraint

__all__ = ["CATALOGUE", "from_record"]

CATALOGUE: Mapping[str, type[Constraint]] = {
    constraint.id: constraint
    for module in (length, keywords, letters, case, punctuation, layout, whole, structure)
    for constraint in module.CONSTRAINTS
}


def from_record(record: Mapping[str, Any]) -> Constraint:
    """The constraint that `record()` described; UserError for an id or parameters unknown."""
    parameters = dict(record)
    found = CATALOGUE.get(parameters.pop("id", ""))
    if found is None:
        raise UserError(
            f"no constraint {record.get('id')!r}; ids are the keys of instructions.CATALOGUE"
        )
    return found.from_parameters(parameters)
