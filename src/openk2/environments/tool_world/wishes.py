"""Wishes for writing tools, some of which a rule forbids: then the right thing is to refuse."""

from collections.abc import Mapping
from typing import Any

from openk2.environments.tool_world.conditions import Condition
from openk2.environments.tool_world.domain import Entity
from openk2.environments.tool_world.goals import ACTOR, Draft, FieldOf, Goal
from openk2.environments.tool_world.state import Row
from openk2.environments.tool_world.values import Flag

__all__ = ["Wish"]

# Whether a wish is sure to be granted must not show in how it is said.
FALLBACK = (
    ". If that is not possible, tell me {facts}",
    ". Should there be a rule against it, give me {facts}",
    ". If it cannot be done, let me know {facts}",
)


class Wish:
    """A goal for a writing tool, which a rule may forbid: then the right thing is to refuse."""

    def __init__(self, draft: Draft, tool: str) -> None:
        self.draft = draft
        self.tool = tool
        self._policies = [p.condition for p in draft.domain.policies if tool in p.tools]
        self._target: tuple[Entity, str] | None = None
        self._rules: tuple[Condition, ...] = ()
        self._broken: Condition | None = None

    @property
    def forbidden(self) -> bool:
        """Whether a rule was chosen for it to break."""
        return self._broken is not None

    def pick(self, entity: Entity, conditions: tuple[Condition, ...]) -> tuple[Row, str] | None:
        """The row that the rules look at; it breaks one of them if the wish is to be forbidden."""
        rng, self._rules = self.draft.rng, (*conditions, *self._policies)
        picked = None
        if rng.random() < self.draft.refusals:
            for rule in rng.sample(self._rules, len(self._rules)):
                picked = self.draft.pick(entity, self._rules, rule)
                if picked is not None:
                    self._broken = rule
                    break
        if picked is None:
            picked = self.draft.pick(entity, self._rules)
        if picked is not None:
            self._target = (entity, picked[1])
        return picked

    def goal(self, arguments: Mapping[str, Any], request: str) -> Goal:
        """The goal, with the words of what to do if it cannot be had; sometimes it can, even so."""
        rng, broken = self.draft.rng, self._broken
        doubted = broken or (
            rng.choice(self._rules) if self._rules and rng.random() < 0.5 else None
        )
        if doubted is None or self._target is None:
            return Goal("write", self.tool, arguments, request)
        entity, name = self._target
        alike = {
            given.variable
            for given in arguments.values()
            if isinstance(given, FieldOf)
            and self.draft.variables[given.variable].entity == entity.name
        }
        facts = self._facts(entity, name, doubted.evidence, len(alike) == 1)
        request += rng.choice(FALLBACK).format(facts=facts)
        if broken is None:
            return Goal("write", self.tool, arguments, request)
        tells = [FieldOf(name, entity.key)]
        if broken.evidence:
            tells.append(self.draft.follow(name, broken.evidence))
        reason = broken.describe(f"the {entity.words}")
        return Goal("refuse", self.tool, arguments, request, tuple(tells), reason)

    def _facts(self, entity: Entity, name: str, evidence: tuple[str, ...], clear: bool) -> str:
        """What the user wants to hear instead: the key, and the field that decides.

        `clear` when the request points at one row of the entity only.
        """
        facts, owner, whose = f"the {entity.words} ID", "it", "its"
        if name == ACTOR:
            facts, owner, whose = f"my {entity.words} ID", "I am", "my"
        elif not clear:
            facts += f" of {self.draft.phrase(name)}"
        if not evidence:
            return facts
        for reference in evidence[:-1]:
            owner = f"{whose} {reference.removesuffix('_id').replace('_', ' ')}"
            whose = f"{owner}'s"
            entity = self.draft.domain.entity[entity.references[reference]]
        field = entity.by_name[evidence[-1]]
        if isinstance(field.kind, Flag):
            return f"{facts}, and whether {owner} {'' if name == ACTOR else 'is '}{field.words}"
        return f"{facts} and {whose} {field.words}"
