"""The corpus of attacks only grows: every hole that was found stays in it, under its own name."""

import importlib
from collections import Counter

import pytest

from openk2.environments.registry import FAMILIES

FEWEST = {"sandbox_attacks": 100, "hacks": 300}


def named(module: str, constant: str) -> list[str]:
    found = getattr(importlib.import_module(f"tests.security.{module}"), constant)
    names = [one[0] if isinstance(one, tuple) else one.name for one in found]
    twice = [name for name, times in Counter(names).items() if times > 1]
    assert not twice, f"{module}: {twice}"
    return names


def test_every_family_has_its_hacks() -> None:
    families = (*FAMILIES, "judges")
    hacks = [
        (family, name) for family in families for name in named(f"test_hacks_{family}", "HACKS")
    ]
    assert len(hacks) >= FEWEST["hacks"]
    assert set(families) == {family for family, _ in hacks}


@pytest.mark.parametrize(("module", "constant"), [("test_sandbox_attacks", "ATTACKS")])
def test_the_sandbox_has_its_attacks(module: str, constant: str) -> None:
    assert len(named(module, constant)) >= FEWEST["sandbox_attacks"]
