"""Write a function of whose many right answers any will do."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openk2.core.records import Score
from openk2.environments.base import Problem, Task, VerifiableEnvironment, seeded_random
from openk2.environments.verifiers.coding.functions import NAMES, OPENINGS, fenced
from openk2.environments.verifiers.coding.grading import judge_calls, no_code
from openk2.environments.verifiers.coding.problems import Cases, canonical
from openk2.environments.verifiers.coding.property_measures import MEASURES
from openk2.environments.verifiers.coding.property_structures import STRUCTURES, Structure
from openk2.environments.verifiers.coding.response import CODE_FORMAT, submitted_code
from openk2.environments.verifiers.coding.steps import source_of

__all__ = ["PropertyProblem", "PropertyProblems"]

HIDDEN, EXAMPLES = 12, 2
LARGEST = 8  # size of a case: at most some thousand candidates
SIGNS = {"at least": ">=", "at most": "<="}
ASKS = (
    "It returns {form}.",
    "What it returns is {form}.",
    "Its result: {form}.",
)
Arguments = tuple[Any, ...]


@dataclass(frozen=True)
class PropertyProblem:
    """Candidates of one structure, the conditions on them and what makes one best.

    conditions   (index of a measure, "remainder" | "at least" | "at most", bound, divisor or 0)
    goal         (index of a measure, "small" or "great"), None where every candidate will do
    """

    structure: str
    conditions: tuple[tuple[int, str, int, int], ...]
    goal: tuple[int, str] | None
    seed: int
    size: int

    @property
    def form(self) -> Structure:
        """What an answer looks like."""
        return STRUCTURES[self.structure]

    def right_answers(self, arguments: Arguments) -> list[list[int]]:
        """All of them, in the candidates' order; empty where there is no answer."""
        fitting = list(self._fitting(arguments))
        if self.goal is None or not fitting:
            return fitting
        index, direction = self.goal
        measure = MEASURES[self.structure][index].function
        worth = [measure(answer, *arguments) for answer in fitting]
        best = max(worth) if direction == "great" else min(worth)
        return [answer for answer, one in zip(fitting, worth, strict=True) if one == best]

    def _fitting(self, arguments: Arguments) -> Iterator[list[int]]:
        measures = MEASURES[self.structure]
        for answer in self.form.candidates(*arguments):
            for index, relation, bound, divisor in self.conditions:
                value = measures[index].function(answer, *arguments)
                if relation == "remainder":
                    holds = value % divisor == bound
                else:
                    holds = value >= bound if relation == "at least" else value <= bound
                if not holds:
                    break
            else:
                yield answer

    def cases(self) -> Cases:
        """The examples and the hidden cases, all different."""
        rng, seen = seeded_random("coding properties", self.seed), dict[str, Arguments]()
        sizes = [4, 5, *(self.size * number // (HIDDEN - 1) for number in range(HIDDEN))]
        for number, size in enumerate(sizes):
            while len(seen) == number:
                case = self.form.draw(rng, size)
                seen.setdefault(canonical(case), case)
                size += 1
        drawn = list(seen.values())
        return Cases(drawn[:EXAMPLES], drawn[EXAMPLES:])

    def program(self, function: str) -> str:
        """A complete module that defines `function`: the honest solution."""
        names = ", ".join(one.name for one in self.form.arguments)
        measures = MEASURES[self.structure]
        indices = {index for index, *_ in self.conditions}
        if self.goal is not None:
            indices.add(self.goal[0])
        tests = [
            f"{measures[index].function.__name__}(answer, {names}) "
            + (f"% {divisor} == {bound}" if divisor else f"{SIGNS[relation]} {bound}")
            for index, relation, bound, divisor in self.conditions
        ]
        worth = "0"
        if self.goal is not None:
            sign = "" if self.goal[1] == "great" else "-"
            worth = f"{sign}{measures[self.goal[0]].function.__name__}(answer, {names})"
        lines = [
            f"def {function}({names}):",
            "    best = most = None",
            f"    for answer in {self.form.candidates.__name__}({names}):",
            f"        if {' and '.join(tests)}:",
            f"            worth = {worth}",
            "            if best is None or worth > most:",
            "                best, most = answer, worth",
            "    return best",
        ]
        sources = [source_of(measures[index].function) for index in sorted(indices)]
        head = "import itertools\nfrom collections.abc import Iterator"
        return "\n\n".join([head, source_of(self.form.candidates), *sources, "\n".join(lines)])

    def identity(self) -> str:
        """Its conditions in any order and its goal."""
        return canonical([self.structure, sorted(self.conditions), self.goal])

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "structure": self.structure,
            "conditions": [list(one) for one in self.conditions],
            "goal": None if self.goal is None else list(self.goal),
            "seed": self.seed,
            "size": self.size,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "PropertyProblem":
        """The problem of `to_json`."""
        conditions = tuple((i, relation, b, d) for i, relation, b, d in stored["conditions"])
        goal = None if stored["goal"] is None else (stored["goal"][0], stored["goal"][1])
        return cls(stored["structure"], conditions, goal, stored["seed"], stored["size"])


class PropertyProblems(VerifiableEnvironment):
    """Choices, arrangements, divisions, colourings, orders, paths, trees, payments, schedules."""

    name = "coding.properties"

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        problem = _draw(rng, difficulty)
        function = rng.choice(NAMES)
        truth = {"function": function, **problem.to_json()}
        return Problem(_prompt(rng, problem, function), truth, problem.identity())

    def grade(self, truth: Mapping[str, Any], response: str) -> Score:
        code = submitted_code(response)
        if code is None:
            return no_code()
        problem = PropertyProblem.from_json(truth)
        hidden = problem.cases().hidden
        right = [problem.right_answers(case) for case in hidden]
        return judge_calls(
            code, truth["function"], hidden, lambda i, value: _is_right(value, right[i])
        )

    def solve(self, task: Task) -> str:
        return fenced(PropertyProblem.from_json(task.truth).program(task.truth["function"]))


def _is_right(value: Any, right: Sequence[list[int]]) -> bool:
    """`right` holds every right answer there is: None is one only where there is no other."""
    if not right:
        return value is None
    return type(value) is list and all(type(one) is int for one in value) and value in right


def _draw(rng: random.Random, difficulty: float) -> PropertyProblem:
    """A problem that mostly has answers, sometimes none, and whose first candidates are wrong."""
    size = 5 + round((LARGEST - 5) * difficulty)
    structure = rng.choice(tuple(STRUCTURES))
    measures = range(len(MEASURES[structure]))
    while True:
        count = min(1 + round(2 * difficulty * rng.random() + 0.3 * difficulty), 3)
        conditions = tuple(_condition(rng, index) for index in rng.sample(measures, count))
        goal = None
        if rng.random() < 0.3 + 0.5 * difficulty:
            goal = (rng.choice(measures), rng.choice(("small", "great")))
        problem = PropertyProblem(structure, conditions, goal, rng.getrandbits(48), size)
        if _demanding(problem):
            return problem


def _condition(rng: random.Random, index: int) -> tuple[int, str, int, int]:
    relation = rng.choice(("remainder", "at least", "at most"))
    if relation == "remainder":
        divisor = rng.randint(2, 5)
        return index, relation, rng.randrange(divisor), divisor
    return index, relation, rng.randint(1, 12), 0


def _demanding(problem: PropertyProblem) -> bool:
    """Whether answers mostly exist and neither None, the first nor the last candidate is one."""
    solvable = first = last = 0
    hidden = problem.cases().hidden
    for case in hidden:
        right = problem.right_answers(case)
        if right:
            candidates = list(problem.form.candidates(*case))
            solvable += 1
            first += candidates[0] in right
            last += candidates[-1] in right
    half = len(hidden) // 2
    return solvable > half and first <= half and last <= half


def _prompt(rng: random.Random, problem: PropertyProblem, function: str) -> str:
    arguments, measures = problem.form.arguments, MEASURES[problem.structure]
    call = f"{function}({', '.join(one.name for one in arguments)})"
    lines = [rng.choice(OPENINGS).format(call=call)]
    lines += [f"- `{one.name}` is {one.meaning}." for one in arguments]
    lines += ["", rng.choice(ASKS).format(form=problem.form.phrase), "", "It must hold that"]
    for index, relation, bound, divisor in problem.conditions:
        what = f"is {relation} {bound}"
        if divisor:
            what = f"leaves the remainder {bound} when divided by {divisor} (Python's %)"
        lines.append(f"- {measures[index].phrase} {what};")
    if problem.goal is not None:
        index, direction = problem.goal
        lines.append(
            f"- of all answers for which this holds, {measures[index].phrase} is as {direction} "
            "as possible;"
        )
    lines[-1] = lines[-1][:-1] + "."
    lines += [
        "",
        "Return a list of integers. Any right answer counts; return None if there is none.",
    ]
    lines += ["", "Examples, each with one right answer:"]
    for case in problem.cases().examples:
        right = problem.right_answers(case)
        written = ", ".join(repr(argument) for argument in case)
        lines.append(
            f"- `{function}({written})` may return `{rng.choice(right) if right else None}`"
        )
    return "\n".join([*lines, "", CODE_FORMAT])
