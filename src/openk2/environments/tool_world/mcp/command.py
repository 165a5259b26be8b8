"""How a server is run, and what is known of it before it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["ServerCommand", "StateKind"]

StateKind = Literal["none", "files", "memory"]


@dataclass(frozen=True)
class ServerCommand:
    """A server over stdio.

    argv          the command; in it and in `environment`, {state} is the episode's state folder
    environment   all of it beside what every program needs: nothing is inherited
    readable      what the server reads beside the system's libraries: its own install
    initial       files that the state folder begins with, as text by relative path; None: a folder
    pin           the hash of its tool list when it was taken in; None where that was never done
    state         what its state is, and so what a snapshot must hold: "none"; "files" in the state
                  folder; "memory", brought back by making all calls again
    allowed       tools that are offered though they look suspicious: a person has read them
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    readable: tuple[Path, ...] = ()
    initial: Mapping[str, str | None] = field(default_factory=dict)
    pin: str | None = None
    state: StateKind = "memory"
    allowed: frozenset[str] = frozenset()
