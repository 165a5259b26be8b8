"""Operations that problems are composed of, and programs made of them.

A problem is a chain: steps that prepare the first argument, a core, steps that go on with its
result. Each operation is a plain function of this package, so one text serves three ends: it
computes the expected outputs, it is the honest solution, and it is the code of repair tasks.
"""

import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

__all__ = ["KINDS", "PREAMBLE", "Chain", "Step", "StepUse", "draw_use", "source_of"]

# What passes between steps, and what a prompt calls it.
KINDS: Mapping[str, str] = {
    "int": "an integer",
    "bool": "True or False",
    "float": "a float",
    "text": "a string",
    "ints": "a list of integers",
    "words": "a list of strings",
    "counts": "a dict from strings to integers",
    "matrix": "a list of lists of integers",
}

# Every operation may use these modules and nothing else from outside itself.
PREAMBLE = "import heapq\nimport math\nfrom collections import Counter, deque\n"


@dataclass(frozen=True)
class Step:
    """One operation.

    function     pure; its keyword arguments are the parameters
    takes        of a core: the name of its domain; of another step: the kind it takes
    gives        the kind of its result
    phrase       an order to the reader, with {parameters}
    parameters   name -> the values that can be drawn
    level        how hard it is on its own, in [0, 1]; used for cores
    """

    function: Callable[..., Any]
    takes: str
    gives: str
    phrase: str
    parameters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    level: float = 0.0

    @property
    def name(self) -> str:
        """The function's name: the step's name in truths and identities."""
        return self.function.__name__


@dataclass(frozen=True)
class StepUse:
    """A step with its parameters drawn."""

    step: Step
    parameters: Mapping[str, Any]

    @property
    def phrase(self) -> str:
        """The order, parameters filled in."""
        return self.step.phrase.format(**self.parameters)

    def __call__(self, *arguments: Any) -> Any:
        return self.step.function(*arguments, **self.parameters)

    def call_text(self, arguments: str) -> str:
        """The call as Python text."""
        given = "".join(f", {name}={value!r}" for name, value in self.parameters.items())
        return f"{self.step.name}({arguments}{given})"


def draw_use(rng: random.Random, step: Step) -> StepUse:
    """`step` with random parameters."""
    drawn = {name: rng.choice(values) for name, values in step.parameters.items()}
    return StepUse(step, drawn)


@dataclass(frozen=True)
class Chain:
    """Steps before the core act on the first argument, steps after it on the result."""

    before: tuple[StepUse, ...]
    core: StepUse
    after: tuple[StepUse, ...]

    @property
    def uses(self) -> tuple[StepUse, ...]:
        """All of them in order."""
        return (*self.before, self.core, *self.after)

    @property
    def gives(self) -> str:
        """The kind of the result."""
        return self.uses[-1].step.gives

    def __call__(self, *arguments: Any) -> Any:
        first, *others = arguments
        for use in self.before:
            first = use(first)
        result = self.core(first, *others)
        for use in self.after:
            result = use(result)
        return result

    def shorter(self) -> list["Chain"]:
        """The chains without one step whose kind stays the same: each must give other results."""
        chains = [
            Chain(self.before[:i] + self.before[i + 1 :], self.core, self.after)
            for i in range(len(self.before))
        ]
        for i, use in enumerate(self.after):
            if use.step.takes == use.step.gives:
                chains.append(Chain(self.before, self.core, self.after[:i] + self.after[i + 1 :]))
        return chains

    def to_json(self) -> dict[str, Any]:
        """Names and parameters; `problems.chain_from` reads them."""
        listed = [[use.step.name, dict(use.parameters)] for use in self.uses]
        start = len(self.before)
        return {
            "before": listed[:start],
            "core": listed[start],
            "after": listed[start + 1 :],
        }

    def body(self, names: Sequence[str]) -> str:
        """The lines of a function with arguments `names` that calls the operations in turn."""
        lines = [f"    {names[0]} = {use.call_text(names[0])}" for use in self.before]
        lines.append(f"    result = {self.core.call_text(', '.join(names))}")
        lines.extend(f"    result = {use.call_text('result')}" for use in self.after)
        return "\n".join([*lines, "    return result"]) + "\n"

    def program(self, function: str, names: Sequence[str]) -> str:
        """A complete module that defines `function`: the honest solution."""
        sources = {use.step.name: source_of(use.step.function) for use in self.uses}
        head = f"def {function}({', '.join(names)}):\n"
        return "\n\n".join([PREAMBLE, *sources.values(), head + self.body(names)])


@cache
def source_of(function: Callable[..., Any]) -> str:
    """The text that defines a function of this package."""
    return inspect.getsource(function)
