"""Write a program: each hidden input is given to a process of its own, whose output is compared."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from openk2.core.records import Score
from openk2.environments.base import GraderFailure, Problem, Task, VerifiableEnvironment
from openk2.environments.sandbox import SandboxUnavailable, run_python
from openk2.environments.verifiers.coding.formats import FORMATS, READERS, WRITERS, same_output
from openk2.environments.verifiers.coding.functions import fenced, orders
from openk2.environments.verifiers.coding.grading import LIMITS, no_code, verdict
from openk2.environments.verifiers.coding.problems import ChainProblem, draw_problem
from openk2.environments.verifiers.coding.response import CODE_FORMAT, submitted_code
from openk2.environments.verifiers.coding.steps import source_of

__all__ = ["ProgramProblems"]

OPENINGS = (
    "Write a Python program that reads standard input and writes standard output.",
    "Your program, in Python, gets one input on standard input and prints one result.",
    "Program the following in Python. Read from standard input; print the result.",
    "Write a complete Python script for this task; it talks over stdin and stdout.",
)


class ProgramProblems(VerifiableEnvironment):
    """The problems of coding.functions as programs."""

    name = "coding.programs"
    twin = "coding.functions"

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        problem = draw_problem(rng, difficulty, tuple(WRITERS))
        return Problem(_prompt(rng, problem), problem.to_json(), problem.identity())

    def grade(self, truth: Mapping[str, Any], response: str) -> Score:
        code = submitted_code(response)
        if code is None:
            return no_code()
        problem = ChainProblem.from_json(truth)
        hidden = problem.cases().hidden
        for number, case in enumerate(hidden):
            # One process for each input, and none after the first failure: a program that hangs
            # costs one time limit.
            try:
                result = run_python(code, stdin=_input(problem, case), limits=LIMITS)
            except SandboxUnavailable as failure:
                raise GraderFailure(str(failure)) from failure
            where = f"input {number + 1} of {len(hidden)}"
            if result.status != "ok":
                return verdict(
                    number, len(hidden), f"{where}: {result.status} {result.stderr[-200:]}"
                )
            if not same_output(result.stdout, _output(problem, case)):
                return verdict(number, len(hidden), f"{where}: a wrong output")
        return verdict(len(hidden), len(hidden), "")

    def solve(self, task: Task) -> str:
        problem = ChainProblem.from_json(task.truth)
        names, writer = problem.domain.names, WRITERS[problem.chain.gives]
        readers = [READERS[one.kind] for one in problem.domain.arguments]
        sources = [source_of(function) for function in (*dict.fromkeys(readers), writer)]
        calls = [
            f"{name} = {reader.__name__}(lines)"
            for name, reader in zip(names, readers, strict=True)
        ]
        main = [
            'lines = iter(sys.stdin.read().split("\\n"))',
            *calls,
            f"print({writer.__name__}(result_of({', '.join(names)})))",
        ]
        head = "import sys\nfrom collections.abc import Iterator"
        program = problem.chain.program("result_of", names)
        return fenced("\n\n".join([head, program, *sources, "\n".join(main)]))


def _input(problem: ChainProblem, case: Sequence[Any]) -> str:
    arguments = problem.domain.arguments
    written = (WRITERS[one.kind](value) for one, value in zip(arguments, case, strict=True))
    return "".join(f"{text}\n" for text in written)


def _output(problem: ChainProblem, case: Sequence[Any]) -> str:
    return WRITERS[problem.chain.gives](problem.chain(*case)) + "\n"


def _prompt(rng: random.Random, problem: ChainProblem) -> str:
    lines = [rng.choice(OPENINGS), "", "The input, in this order:"]
    lines += [
        f"- `{one.name}`, {one.meaning}: {FORMATS[one.kind]}." for one in problem.domain.arguments
    ]
    lines += ["", orders(rng, problem), ""]
    lines += [f"Print the result: {FORMATS[problem.chain.gives]}.", ""]
    lines.append("White space at the ends of lines and of the output is ignored; all else counts.")
    for number, case in enumerate(problem.cases().examples, 1):
        lines += ["", f"Example input {number}:", "```", _input(problem, case).rstrip("\n"), "```"]
        lines += ["Its output:", "```", _output(problem, case).rstrip("\n"), "```"]
    return "\n".join([*lines, "", CODE_FORMAT])
