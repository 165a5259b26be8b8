"""Repair a small package: hidden calls of all its functions decide.

The tests that the prompt shows are for the reader. None of a response's tests or settings is ever
run, and no test runner is: the package's modules, as the response leaves them, are called with
inputs that it has not seen, and what comes back is compared here.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openk2.core.records import Score
from openk2.environments.base import Problem, Task, VerifiableEnvironment, split_of
from openk2.environments.verifiers.coding.grading import judge_calls, no_code, same_value
from openk2.environments.verifiers.coding.mutations import bug_sites
from openk2.environments.verifiers.coding.patches import (
    PATCH_FORMAT,
    PatchProblem,
    patched,
    stated_changes,
)
from openk2.environments.verifiers.coding.problems import ChainProblem, draw_problem
from openk2.environments.verifiers.coding.repository import Bug, Repository
from openk2.environments.verifiers.coding.steps import KINDS

__all__ = ["RepairProblem", "RepairProblems"]

PACKAGES = ("toolkit", "atlas", "workshop", "ledger", "compass", "orchard")
PIPELINE_NAMES = ("summary", "overview", "digest", "index_of", "figure", "outline")
OPENINGS = (
    "The Python package `{package}` has {bugs}. Find and repair {them}.",
    "Some tests of the Python package `{package}` fail: it has {bugs}. Please repair {them}.",
    "Below is the small Python package `{package}` with its tests. It has {bugs}; repair {them}.",
)
LONGEST_RESPONSE = 400_000  # characters

# Runs in the sandbox: the modules come from memory, and one function answers for all of them.
HARNESS = """\
import importlib, importlib.abc, importlib.util, json, sys

FILES = json.loads({files!r})

class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        for place in (name.replace(".", "/") + ".py", name.replace(".", "/") + "/__init__.py"):
            if place in FILES:
                package = place.endswith("/__init__.py")
                return importlib.util.spec_from_loader(name, self, origin=place, is_package=package)

    def exec_module(self, module):
        place = module.__spec__.origin
        exec(compile(FILES[place], place, "exec"), module.__dict__)

sys.meta_path.insert(0, _Finder())

def call(module, function, arguments, parameters):
    return getattr(importlib.import_module(module), function)(*arguments, **parameters)
"""


@dataclass(frozen=True)
class RepairProblem:
    """A repository, the bugs in it, and the numbers of each function's two cases that are shown.

    Where a function has a bug, the first of the two fails because of it.
    """

    repository: Repository
    bugs: tuple[Bug, ...]
    visible: Mapping[str, Sequence[int]]

    def failing(self) -> list[str]:
        """The names of visible tests that fail, one for each bug."""
        shown, _ = self.repository.calls(self.visible)
        wrong = {}
        for bug in self.bugs:
            number = self.visible[bug.function][0]
            wrong[bug.function] = self.repository.member(bug.function).cases[number]
        return [
            f"tests/test_{call.module}.py::test_{call.function}_{number}"
            for number, call in enumerate(shown, 1)
            if wrong.get(call.function) == call.arguments
        ]

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        repository = self.repository
        return {
            "package": repository.package,
            "chains": [chain.to_json() for chain in repository.chains],
            "names": list(repository.names),
            "seed": repository.seed,
            "bugs": [[bug.function, bug.kind, bug.node] for bug in self.bugs],
            "visible": {name: list(numbers) for name, numbers in self.visible.items()},
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "RepairProblem":
        """The problem of `to_json`."""
        chains = tuple(ChainProblem.from_json(one) for one in stored["chains"])
        repository = Repository(stored["package"], chains, tuple(stored["names"]), stored["seed"])
        return cls(repository, tuple(Bug(*one) for one in stored["bugs"]), stored["visible"])


class RepairProblems(VerifiableEnvironment):
    """Packages of two to five modules with one to three bugs of known kinds."""

    name = "coding.repair"
    # What a prompt shows in full must not be what another split asks to be written.
    twin = "coding.functions"

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        problem = _draw(rng, difficulty)
        first = problem.repository.chains[0]
        return Problem(_prompt(rng, problem), problem.to_json(), first.identity())

    def grade(self, truth: Mapping[str, Any], response: str) -> Score:
        if len(response) > LONGEST_RESPONSE:
            return no_code(f"the response has {len(response)} characters")
        problem = RepairProblem.from_json(truth)
        try:
            changes = stated_changes(response)
            files = patched(problem.repository.files(problem.bugs), changes)
        except PatchProblem as trouble:
            return no_code(str(trouble))
        if not changes:
            return no_code("no changes were handed in")
        shown, hidden = problem.repository.calls(problem.visible)
        calls = [*hidden, *shown]
        expected = [problem.repository.expected(call) for call in calls]
        package = problem.repository.package
        cases = [
            (f"{package}.{one.module}", one.function, one.arguments, dict(one.parameters))
            for one in calls
        ]
        return judge_calls(
            HARNESS.format(files=json.dumps(files)),
            "call",
            cases,
            lambda i, value: same_value(value, expected[i]),
        )

    def solve(self, task: Task) -> str:
        problem = RepairProblem.from_json(task.truth)
        broken = problem.repository.files(problem.bugs)
        return "\n".join(
            f"{path}\n```python\n{text}```\n"
            for path, text in problem.repository.files().items()
            if text != broken[path]
        )


def _draw(rng: random.Random, difficulty: float) -> RepairProblem:
    """A package whose every bug fails a visible and a hidden test of its own function."""
    count = 1 + round(2 * difficulty)
    while True:
        chains = _draw_chains(rng, difficulty, count)
        names = tuple(rng.sample(PIPELINE_NAMES, count))
        repository = Repository(rng.choice(PACKAGES), chains, names, rng.getrandbits(48))
        members = repository.members
        chosen = rng.sample(members, min(count, len(members)))
        bugs: list[Bug] = []
        visible: dict[str, Sequence[int]] = {
            one.name: (len(one.cases) // 4, len(one.cases) // 2) for one in members
        }
        for member in chosen:
            sites = bug_sites(member.tree)
            for kind, node in rng.sample(sites, min(6, len(sites))):
                bug = Bug(member.name, kind, node)
                wrong = repository.fails(bug)
                if 2 <= len(wrong) < len(member.cases):
                    bugs.append(bug)
                    fine = next(i for i in range(len(member.cases)) if i not in wrong)
                    visible[member.name] = (wrong[0], fine)
                    break
        if len(bugs) == len(chosen):
            return RepairProblem(repository, tuple(bugs), visible)


def _draw_chains(rng: random.Random, difficulty: float, count: int) -> tuple[ChainProblem, ...]:
    """Chains of one split of coding.functions."""
    chains: list[ChainProblem] = []
    while len(chains) < count:
        chain = draw_problem(rng, difficulty, tuple(KINDS))
        splits = {split_of("coding.functions", one.identity()) for one in (chain, *chains)}
        if len(splits) == 1:
            chains.append(chain)
    return tuple(chains)


def _prompt(rng: random.Random, problem: RepairProblem) -> str:
    repository = problem.repository
    many = len(problem.bugs) > 1
    bugs = f"{len(problem.bugs)} bugs" if many else "a bug"
    opening = rng.choice(OPENINGS).format(
        package=repository.package, bugs=bugs, them="them" if many else "it"
    )
    shown, _ = repository.calls(problem.visible)
    lines = [opening, "", "Among the tests that fail:"]
    lines += [f"- {name}" for name in problem.failing()]
    lines += ["", "Docstrings say what each function is to do. The files:"]
    for path, text in (repository.files(problem.bugs) | repository.test_files(shown)).items():
        lines += ["", path, "```python", text.rstrip("\n"), "```"]
    return "\n".join([*lines, "", PATCH_FORMAT])
