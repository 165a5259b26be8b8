"""Repair tasks: every bug matters, every form of change is read, and the shown tests are true."""

import ast
import difflib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from openk2.environments.base import split_of
from openk2.environments.verifiers.coding.mutations import (
    KINDS_OF_BUGS,
    Runaway,
    bug_sites,
    guarded,
    mutated,
)
from openk2.environments.verifiers.coding.patches import (
    Change,
    PatchProblem,
    patched,
    stated_changes,
)
from openk2.environments.verifiers.coding.problems import CORES
from openk2.environments.verifiers.coding.repair import RepairProblem, RepairProblems
from openk2.environments.verifiers.coding.steps import source_of

ENVIRONMENT = RepairProblems()


def _files_as_response(files: dict[str, str]) -> str:
    return "\n".join(f"`{path}`:\n```python\n{text}```\n" for path, text in files.items())


def _diff(old: str, new: str, path: str) -> str:
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), f"a/{path}", f"b/{path}", "", "", 9
    )
    return "\n".join(line.rstrip("\n") for line in lines)


@pytest.mark.parametrize("index", range(4))
def test_each_bug_left_in_costs_the_reward(index: int) -> None:
    task = ENVIRONMENT.task(index, "train", 0.6)
    problem = RepairProblem.from_json(task.truth)
    assert 2 <= len(problem.bugs) <= 3
    for bug in problem.bugs:
        almost = problem.repository.files([bug])
        assert almost != problem.repository.files()
        score = ENVIRONMENT.verify(task, _files_as_response(almost))
        assert score.reward == 0.0 and score.parts["format"] == 1.0
        shown, hidden = problem.repository.calls(problem.visible)
        wrong = [
            problem.repository.member(bug.function).cases[i] for i in problem.repository.fails(bug)
        ]
        assert any(call.function == bug.function and call.arguments in wrong for call in hidden)
        assert any(call.function == bug.function and call.arguments in wrong for call in shown)
    assert ENVIRONMENT.verify(task, _files_as_response(problem.repository.files())).reward == 1.0


def test_diffs_and_search_and_replace_are_paid() -> None:
    for index in range(4):
        task = ENVIRONMENT.task(index, "train", 0.4)
        problem = RepairProblem.from_json(task.truth)
        broken, fixed = problem.repository.files(problem.bugs), problem.repository.files()
        diffs, sections = [], []
        for path in broken:
            if broken[path] != fixed[path]:
                diffs.append(f"```diff\n{_diff(broken[path], fixed[path], path)}\n```")
                sections.append(
                    f"{path}\n```python\n<<<<<<< SEARCH\n{broken[path]}=======\n{fixed[path]}"
                    ">>>>>>> REPLACE\n```"
                )
        for response in ("\n".join(diffs), "\n".join(sections)):
            score = ENVIRONMENT.verify(task, response)
            assert score.reward == 1.0, (score, response)


def test_the_shown_tests_fail_with_the_bugs_and_pass_without(tmp_path: Path) -> None:
    """By pytest itself, which no grade ever relies on."""
    task = ENVIRONMENT.task(2, "train", 0.5)
    problem = RepairProblem.from_json(task.truth)
    shown, _ = problem.repository.calls(problem.visible)
    failed = {}
    for name, bugs in (("broken", problem.bugs), ("fixed", ())):
        files = problem.repository.files(bugs) | problem.repository.test_files(shown)
        for path, text in files.items():
            place = tmp_path / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--tb=no",
            "tests",
        ]
        run = subprocess.run(
            command, cwd=tmp_path / name, env={"PYTHONPATH": "."}, capture_output=True, text=True
        )
        lines = [line.split()[1] for line in run.stdout.splitlines() if line.startswith("FAILED")]
        failed[name] = (run.returncode, set(lines))
    assert failed["fixed"] == (0, set())
    assert failed["broken"][0] == 1
    assert set(problem.failing()) <= failed["broken"][1]
    assert all(name in task.prompt for name in problem.failing())


def test_every_mutation_changes_the_text_and_every_kind_occurs() -> None:
    kinds = set()
    for core in CORES:
        tree = ast.parse(source_of(core.function)).body[0]
        assert isinstance(tree, ast.FunctionDef)
        for kind, node in bug_sites(tree):
            kinds.add(kind)
            assert ast.unparse(mutated(tree, kind, node)) != ast.unparse(tree)
    assert kinds == set(KINDS_OF_BUGS)


def test_an_endless_mutant_is_stopped() -> None:
    (loop,) = ast.parse("def spin(n):\n    while n >= 0:\n        n += 1\n    return n").body
    (caller,) = ast.parse("def start(n):\n    return spin(n)").body
    assert isinstance(loop, ast.FunctionDef) and isinstance(caller, ast.FunctionDef)
    start = guarded("start", {"spin": loop, "start": caller}, "import math")
    with pytest.raises(Runaway):
        start(0)
    assert start(-1) == -1


FILES = {"kit/a.py": "x = 1\ny = 2\nx = 1\n", "kit/b.py": "z = 3\n"}


@pytest.mark.parametrize(
    ("response", "changes"),
    [
        ("kit/b.py\n```python\nz = 4\n```", [Change("kit/b.py", None, "z = 4\n")]),
        ("**`kit/b.py`:**\n\n```py\nz = 4\n```", [Change("kit/b.py", None, "z = 4\n")]),
        ("I ran this:\n```python\nprint(1)\n```", []),
        ("kit/b.py\n```\n<<<<<<< SEARCH\nz = 3\n=======\nz = 4\n>>>>>>> REPLACE\n```",
         [Change("kit/b.py", "z = 3\n", "z = 4\n")]),
        ("```diff\n--- a/kit/a.py\n+++ b/kit/a.py\n@@ -9 +9 @@\n-y = 2\n+y = 3\n x = 1\n```",
         [Change("kit/a.py", "y = 2\nx = 1\n", "y = 3\nx = 1\n")]),
    ],
)  # fmt: skip
def test_changes_are_read(response: str, changes: list[Change]) -> None:
    assert stated_changes(response) == changes
    assert patched(FILES, changes).keys() == FILES.keys()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ([Change("kit/c.py", None, "")], "not a module"),
        ([Change("conftest.py", None, "")], "not a module"),
        ([Change("kit/../kit/a.py", None, "")], "not a module"),
        ([Change("kit/a.py", "x = 1\n", "x = 2\n")], "exactly one place"),
        ([Change("kit/a.py", "q = 1\n", "x = 2\n")], "exactly one place"),
        ([Change("kit/a.py", "", "x = 2\n")], "exactly one place"),
        ([Change("kit/a.py", "= 2\n", "= 3\n")], "exactly one place"),
        ([Change("kit/b.py", None, "\0")], "no text|not a text"),
    ],
)
def test_changes_that_do_not_fit_are_refused(changes: list[Change], why: str) -> None:
    with pytest.raises(PatchProblem, match=why):
        patched(FILES, changes)


def test_marks_out_of_order_are_refused() -> None:
    for body in ("<<<<<<< SEARCH\na\n", "<<<<<<< SEARCH\n>>>>>>> REPLACE\n"):
        with pytest.raises(PatchProblem):
            stated_changes(f"kit/a.py\n```python\n{body}```")


def test_repositories_have_two_to_five_modules_and_grow_with_difficulty() -> None:
    sizes = []
    for difficulty in (0.0, 1.0):
        problem = ENVIRONMENT.generate(random.Random(1), difficulty)
        repository = RepairProblem.from_json(problem.truth).repository
        sizes.append(len(repository.files()) - 1)
        assert 2 <= sizes[-1] <= 5
    assert sizes[0] < sizes[1]


def test_what_one_split_shows_no_other_asks_for() -> None:
    for split in ("train", "test"):
        for index in range(3):
            stored = RepairProblems().task(index, split, 0.5).truth
            for chain in RepairProblem.from_json(stored).repository.chains:
                assert split_of("coding.functions", chain.identity()) == split
