"""Every environment by its name, loaded when it is asked for."""

import importlib
from collections.abc import Iterator, Mapping
from typing import cast

from openk2.core.errors import UserError
from openk2.environments.base import Environment

__all__ = ["FAMILIES", "UnknownEnvironment", "VerifiableEnvironments"]

# Each module lists its environment classes in ENVIRONMENTS; their names begin with the family's.
FAMILIES: Mapping[str, str] = {
    family: f"openk2.environments.verifiers.{family}"
    for family in (
        "maths",
        "logic",
        "stem",
        "coding",
        "instructions",
        "faithfulness",
        "safety",
    )
} | {"tool_world": "openk2.environments.tool_world.environment"}


class UnknownEnvironment(UserError, KeyError):
    """No environment has this name."""

    __str__ = UserError.__str__


class VerifiableEnvironments(Mapping[str, Environment]):
    """name -> a fresh environment: `VerifiableEnvironments()["maths.arithmetic"].task(0)`.

    Every look-up makes an environment of its own, so that several episodes can run at a time. Only
    the family that is asked for is imported. Raises UnknownEnvironment for another name.
    """

    def __getitem__(self, name: str) -> Environment:
        family = name.partition(".")[0]
        if family not in FAMILIES:
            raise UnknownEnvironment(f"no environment {name!r}; families: {', '.join(FAMILIES)}")
        classes = _classes(family)
        if name not in classes:
            raise UnknownEnvironment(f"no environment {name!r}; {family} has: {', '.join(classes)}")
        return classes[name]()

    def __contains__(self, name: object) -> bool:
        family = name.partition(".")[0] if isinstance(name, str) else ""
        return family in FAMILIES and name in _classes(family)

    def __iter__(self) -> Iterator[str]:
        for family in FAMILIES:
            yield from _classes(family)

    def __len__(self) -> int:
        return sum(len(_classes(family)) for family in FAMILIES)


def _classes(family: str) -> dict[str, type[Environment]]:
    listed = importlib.import_module(FAMILIES[family]).ENVIRONMENTS
    return {one.name: one for one in cast(tuple[type[Environment], ...], listed)}
