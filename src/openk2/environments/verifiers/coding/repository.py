"""Small packages with unit tests, made of the operations that problems are made of."""

import ast
import copy
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from openk2.environments.base import seeded_random
from openk2.environments.verifiers.coding.domains import DOMAINS
from openk2.environments.verifiers.coding.mutations import guarded, mutated
from openk2.environments.verifiers.coding.problems import ChainProblem, canonical
from openk2.environments.verifiers.coding.steps import PREAMBLE, StepUse, source_of

__all__ = ["Bug", "Call", "Member", "Repository"]

# The domain whose first argument is of a kind: inputs for functions that take one value of it.
DOMAIN_OF_KIND = {"ints": "ints", "text": "text", "words": "words", "counts": "counts"} | {
    "matrix": "matrix",
    "int": "number",
}
MODULE_NAMES = {
    "transforms": "steps",
    "list_cores": "listing",
    "grid_cores": "grids",
    "graph_cores": "graphs",
    "dynamic_cores": "optimum",
    "number_cores": "numeric",
}
PIPELINES = "pipelines"
CASES = 24  # of each function; two are shown as tests, the others are hidden


@dataclass(frozen=True)
class Bug:
    """A mutation of one function: see mutations.bug_sites."""

    function: str
    kind: str
    node: int


@dataclass(frozen=True)
class Call:
    """One test: a call and nothing about what it gives."""

    module: str
    function: str
    arguments: tuple[Any, ...]
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Member:
    """A function of the package.

    tree         its correct definition, with a docstring
    reference    what it computes
    parameters   keyword arguments of its tests
    seed         decides its cases
    """

    module: str
    name: str
    tree: ast.FunctionDef
    reference: Callable[..., Any]
    domain: str
    parameters: Mapping[str, Any]
    seed: int

    @cached_property
    def cases(self) -> list[tuple[Any, ...]]:
        """Different arguments, small ones first."""
        rng, found = seeded_random("coding repository", self.seed, self.name), dict[str, Any]()
        for number in range(8 * CASES):
            if len(found) == CASES:
                break
            case = DOMAINS[self.domain].draw(rng, 1 + number)
            found.setdefault(canonical(case), case)
        return list(found.values())


@dataclass(frozen=True)
class Repository:
    """A package made of chains: their operations by topic, and a module that puts them together."""

    package: str
    chains: tuple[ChainProblem, ...]
    names: tuple[str, ...]
    seed: int

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """Its functions, each once, the pipelines last."""
        members: dict[str, Member] = {}
        for problem in self.chains:
            for use in problem.chain.uses:
                members.setdefault(use.step.name, _operation(use, self.seed))
        for name, problem in zip(self.names, self.chains, strict=True):
            members[name] = _pipeline(name, problem, self.seed)
        return tuple(members.values())

    def member(self, name: str) -> Member:
        """The function of that name."""
        return next(one for one in self.members if one.name == name)

    def files(self, bugs: Iterable[Bug] = ()) -> dict[str, str]:
        """The package's modules by path, with `bugs` in them."""
        trees = {one.name: one.tree for one in self.members}
        for bug in bugs:
            trees[bug.function] = mutated(trees[bug.function], bug.kind, bug.node)
        modules: dict[str, list[str]] = {}
        for one in self.members:
            modules.setdefault(one.module, []).append(ast.unparse(trees[one.name]))
        files = {f"{self.package}/__init__.py": f'"""The package {self.package}."""\n'}
        for module, functions in modules.items():
            head = self._imports() if module == PIPELINES else _used(PREAMBLE, functions)
            files[f"{self.package}/{module}.py"] = "\n\n\n".join([*head, *functions]) + "\n"
        return files

    def _imports(self) -> list[str]:
        by_module: dict[str, list[str]] = {}
        for one in self.members:
            if one.module != PIPELINES:
                by_module.setdefault(one.module, []).append(one.name)
        lines = [
            f"from {self.package}.{module} import {', '.join(sorted(names))}"
            for module, names in sorted(by_module.items())
        ]
        return ["\n".join(lines)]

    def fails(self, bug: Bug) -> list[int]:
        """The numbers of the cases of the bug's function that it gets wrong."""
        member = self.member(bug.function)
        trees = {one.name: one.tree for one in self.members}
        trees[bug.function] = mutated(member.tree, bug.kind, bug.node)
        broken = guarded(bug.function, trees, PREAMBLE)
        return [
            number for number, case in enumerate(member.cases) if not _agrees(broken, member, case)
        ]

    def calls(self, visible: Mapping[str, Sequence[int]]) -> tuple[list[Call], list[Call]]:
        """The visible tests, those of the numbers given for each function, and the hidden ones."""
        shown: list[Call] = []
        hidden: list[Call] = []
        for one in self.members:
            for number, case in enumerate(one.cases):
                call = Call(one.module, one.name, case, one.parameters)
                (shown if number in visible[one.name] else hidden).append(call)
        return shown, hidden

    def expected(self, call: Call) -> Any:
        """What a correct package gives."""
        return self.member(call.function).reference(*call.arguments, **call.parameters)

    def test_files(self, visible: Sequence[Call]) -> dict[str, str]:
        """The visible tests as pytest files by path."""
        modules: dict[str, list[str]] = {}
        for number, call in enumerate(visible, 1):
            given = [repr(one) for one in call.arguments]
            given += [f"{name}={value!r}" for name, value in call.parameters.items()]
            modules.setdefault(call.module, []).append(
                f"def test_{call.function}_{number}():\n"
                f"    result = {call.module}.{call.function}({', '.join(given)})\n"
                f"    assert result == {self.expected(call)!r}"
            )
        return {
            f"tests/test_{module}.py": "\n\n\n".join(
                [f"from {self.package} import {module}", *tests]
            )
            + "\n"
            for module, tests in modules.items()
        }


def _agrees(broken: Callable[..., Any], member: Member, case: tuple[Any, ...]) -> bool:
    """Whether a mutated function, which may fail in any way, gives what the correct one does."""
    try:
        result = canonical(broken(*copy.deepcopy(case), **member.parameters))
    except Exception:
        return False
    return result == canonical(member.reference(*case, **member.parameters))


def _operation(use: StepUse, seed: int) -> Member:
    step = use.step
    domain = step.takes if step.takes in DOMAINS else DOMAIN_OF_KIND[step.takes]
    phrase = re.sub(r"\{(\w+)(?:!r)?\}", r"`\1`", step.phrase)
    module = MODULE_NAMES[step.function.__module__.rpartition(".")[2]]
    return Member(
        module,
        step.name,
        _documented(step.function, phrase),
        step.function,
        domain,
        use.parameters,
        seed,
    )


def _pipeline(name: str, problem: ChainProblem, seed: int) -> Member:
    chain, names = problem.chain, problem.domain.names
    tree = ast.parse(f"def {name}({', '.join(names)}):\n" + chain.body(names)).body[0]
    assert isinstance(tree, ast.FunctionDef)
    orders = " ".join(f"({i}) {use.phrase}" for i, use in enumerate(chain.uses, 1))
    tree.body.insert(0, ast.Expr(ast.Constant(orders)))
    return Member(
        PIPELINES, name, ast.fix_missing_locations(tree), chain, chain.core.step.takes, {}, seed
    )


@cache
def _documented(function: Callable[..., Any], phrase: str) -> ast.FunctionDef:
    tree = ast.parse(source_of(function)).body[0]
    assert isinstance(tree, ast.FunctionDef)
    tree.body.insert(0, ast.Expr(ast.Constant(phrase)))
    return ast.fix_missing_locations(tree)


def _used(preamble: str, functions: Sequence[str]) -> list[str]:
    """Those imports that the functions mention, none or one block."""
    text = "\n".join(functions)
    lines = []
    for line in preamble.splitlines():
        names = line.partition("import ")[2].split(", ")
        used = [name for name in names if re.search(rf"\b{name}\b", text)]
        if used:
            lines.append(line.partition("import ")[0] + "import " + ", ".join(used))
    return ["\n".join(lines)] if lines else []
