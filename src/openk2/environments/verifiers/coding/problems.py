"""Problems drawn by chance: chains of steps, the hidden cases that judge them, their identity."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from openk2.environments.base import seeded_random
from openk2.environments.verifiers.coding.domains import DOMAINS, Domain
from openk2.environments.verifiers.coding.dynamic_cores import DYNAMIC_CORES
from openk2.environments.verifiers.coding.graph_cores import GRAPH_CORES
from openk2.environments.verifiers.coding.grid_cores import GRID_CORES
from openk2.environments.verifiers.coding.list_cores import LIST_CORES
from openk2.environments.verifiers.coding.number_cores import NUMBER_CORES
from openk2.environments.verifiers.coding.steps import Chain, Step, StepUse, draw_use
from openk2.environments.verifiers.coding.transforms import TRANSFORMS

__all__ = ["CORES", "EXAMPLES", "HIDDEN", "Cases", "ChainProblem", "canonical", "draw_problem"]

CORES: tuple[Step, ...] = (*LIST_CORES, *GRID_CORES, *GRAPH_CORES, *DYNAMIC_CORES, *NUMBER_CORES)
STEPS: Mapping[str, Step] = {step.name: step for step in (*CORES, *TRANSFORMS)}
EXAMPLES, HIDDEN, PROBES = 3, 12, 16
# A share of equal outputs above which a guess would be worth too much; a bool has two values only.
MOST_COMMON = {"bool": 0.75}
MOST_COMMON_OTHERWISE = 0.5

Arguments = tuple[Any, ...]


@dataclass(frozen=True)
class Cases:
    """Inputs: `examples` stand in the prompt, `hidden` judge; none is in both."""

    examples: list[Arguments]
    hidden: list[Arguments]


@dataclass(frozen=True)
class ChainProblem:
    """A chain with the seed and the largest size of its cases."""

    chain: Chain
    seed: int
    size: int

    @property
    def domain(self) -> Domain:
        """What the core takes."""
        return DOMAINS[self.chain.core.step.takes]

    def cases(self) -> Cases:
        """The examples and the hidden cases, the same at every call."""
        return draw_cases(self.domain, self.seed, self.size)

    def identity(self) -> str:
        """What the chain does to inputs that are the same for all problems of its domain."""
        name = self.chain.core.step.takes
        outputs = canonical([self.chain(*case) for case in _probes(name)])
        return f"{name}:{hashlib.sha256(outputs.encode()).hexdigest()[:24]}"

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {**self.chain.to_json(), "seed": self.seed, "size": self.size}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "ChainProblem":
        """The problem of `to_json`."""
        before, core, after = stored["before"], stored["core"], stored["after"]
        chain = Chain(_uses(before), _uses([core])[0], _uses(after))
        return cls(chain, stored["seed"], stored["size"])


def canonical(value: Any) -> str:
    """Equal texts for equal values."""
    return json.dumps(value, sort_keys=True)


def _uses(listed: Iterable[Sequence[Any]]) -> tuple[StepUse, ...]:
    return tuple(StepUse(STEPS[name], parameters) for name, parameters in listed)


@cache
def _probes(domain: str) -> list[Arguments]:
    rng = seeded_random("coding probes", domain)
    return [DOMAINS[domain].draw(rng, 2 * number) for number in range(PROBES)]


def draw_cases(
    domain: Domain, seed: int, size: int, examples: int = EXAMPLES, hidden: int = HIDDEN
) -> Cases:
    """Distinct cases: examples of a size that can be read, hidden ones from the smallest up."""
    rng, seen = seeded_random("coding cases", seed), set[str]()

    def draw(wanted: int) -> Arguments:
        while True:
            case = domain.draw(rng, wanted)
            text = canonical(case)
            if text not in seen:
                seen.add(text)
                return case
            wanted += 1

    shown = [draw(6 + 2 * number) for number in range(examples)]
    sizes = [0, 1, 2, *(3 + (size - 3) * number // (hidden - 4) for number in range(hidden - 3))]
    return Cases(shown, [draw(wanted) for wanted in sizes])


def draw_chain(rng: random.Random, difficulty: float, kinds: Sequence[str]) -> Chain:
    """A chain that gives one of `kinds`; more steps and a harder core with the difficulty."""
    while True:
        weights = [0.02 + max(0.0, 0.35 - abs(core.level - difficulty)) for core in CORES]
        core = draw_use(rng, rng.choices(CORES, weights)[0])
        extra = round(3 * difficulty + rng.random() * 0.9)
        first = DOMAINS[core.step.takes]
        count_before = rng.randint(0, extra) if first.free else 0
        before = _walk(rng, first.arguments[0].kind, count_before, keep=True)
        after = _walk(rng, core.step.gives, extra - count_before, keep=False)
        chain = Chain(before, core, after)
        if chain.gives in kinds:
            return chain


def _walk(rng: random.Random, kind: str, length: int, *, keep: bool) -> tuple[StepUse, ...]:
    """A walk of transforms from `kind`; `keep` has each one stay there. Shorter at a dead end."""
    uses: list[StepUse] = []
    while len(uses) < length:
        fitting = [
            one for one in TRANSFORMS if one.takes == kind and (one.gives == kind or not keep)
        ]
        if not fitting:
            break
        uses.append(draw_use(rng, rng.choice(fitting)))
        kind = uses[-1].step.gives
    return tuple(uses)


def draw_problem(rng: random.Random, difficulty: float, kinds: Sequence[str]) -> ChainProblem:
    """A problem whose hidden outputs vary and in which every step matters."""
    while True:
        chain = draw_chain(rng, difficulty, kinds)
        problem = ChainProblem(chain, rng.getrandbits(48), 10 + round(18 * difficulty))
        hidden = problem.cases().hidden
        outputs = [canonical(chain(*case)) for case in hidden]
        limit = MOST_COMMON.get(chain.gives, MOST_COMMON_OTHERWISE)
        varied = Counter(outputs).most_common(1)[0][1] <= limit * len(outputs)
        unchanged = sum(
            text == canonical(case[0]) for case, text in zip(hidden, outputs, strict=True)
        )
        if not varied or unchanged > len(hidden) // 2 or max(map(len, outputs)) > 2000:
            continue
        if all(
            [canonical(other(*case)) for case in hidden] != outputs for other in chain.shorter()
        ):
            return problem
