"""Write a function: hidden calls with fresh arguments decide."""

import random
from collections.abc import Mapping
from typing import Any

from openk2.core.records import Score
from openk2.environments.base import Problem, Task, VerifiableEnvironment
from openk2.environments.verifiers.coding.grading import judge_calls, no_code, same_value
from openk2.environments.verifiers.coding.problems import ChainProblem, draw_problem
from openk2.environments.verifiers.coding.response import CODE_FORMAT, submitted_code
from openk2.environments.verifiers.coding.steps import KINDS

__all__ = ["FunctionProblems", "fenced", "orders"]

NAMES = ("solve", "compute", "process", "evaluate_input", "transform", "analyse", "answer_for")
OPENINGS = (
    "Write a Python function `{call}`.",
    "Implement `{call}` in Python.",
    "We need a Python function `{call}`. Please write it.",
    "Your task is to program the function `{call}` in Python.",
)
ORDERS = (
    "Carry out these steps in order; the result of the last one is the result:",
    "The result is what is left after these steps, done one after the other:",
    "To get the result, do the following in this order:",
)
EXAMPLES = ("Examples:", "For instance:", "Some calls and what they return:")


class FunctionProblems(VerifiableEnvironment):
    """Functions over lists, strings, dicts, matrices, graphs, numbers and small languages."""

    name = "coding.functions"

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        problem = draw_problem(rng, difficulty, tuple(KINDS))
        function = rng.choice(NAMES)
        truth = {"function": function, **problem.to_json()}
        return Problem(_prompt(rng, problem, function), truth, problem.identity())

    def grade(self, truth: Mapping[str, Any], response: str) -> Score:
        code = submitted_code(response)
        if code is None:
            return no_code()
        problem = ChainProblem.from_json(truth)
        hidden = problem.cases().hidden
        expected = [problem.chain(*case) for case in hidden]
        return judge_calls(
            code, truth["function"], hidden, lambda i, value: same_value(value, expected[i])
        )

    def solve(self, task: Task) -> str:
        problem = ChainProblem.from_json(task.truth)
        return fenced(problem.chain.program(task.truth["function"], problem.domain.names))


def fenced(code: str) -> str:
    """A response that hands in `code`."""
    return f"```python\n{code.rstrip()}\n```\n"


def orders(rng: random.Random, problem: ChainProblem) -> str:
    """What is to be done, as a list where it is more than one thing."""
    chain, first = problem.chain, problem.domain.names[0]
    if len(chain.uses) == 1:
        return chain.core.phrase
    text = [rng.choice(ORDERS), *(f"{i}. {use.phrase}" for i, use in enumerate(chain.uses, 1))]
    if chain.before:
        text.append(f"Each step sees `{first}` as the steps before it left it.")
    return "\n".join(text)


def _prompt(rng: random.Random, problem: ChainProblem, function: str) -> str:
    arguments = problem.domain.arguments
    call = f"{function}({', '.join(problem.domain.names)})"
    lines = [rng.choice(OPENINGS).format(call=call)]
    lines += [f"- `{one.name}` is {one.meaning}." for one in arguments]
    lines += ["", orders(rng, problem), ""]
    kind = KINDS[problem.chain.gives]
    exact = " (correct to a relative 1e-9)" if problem.chain.gives == "float" else ""
    lines += [f"Return the result, exactly {kind}{exact}.", "", rng.choice(EXAMPLES)]
    for case in problem.cases().examples:
        written = ", ".join(repr(argument) for argument in case)
        lines.append(f"- `{function}({written})` returns `{problem.chain(*case)!r}`")
    return "\n".join([*lines, "", CODE_FORMAT])
