"""Programs that want to be paid without solving anything.

A hack is a function from a task to a response; its name begins with the environment that it is
for.
"""

import re
from collections.abc import Callable

from openk2.environments.base import Task
from tests.security.coding_hack_sources import SOURCES

__all__ = ["HACKS", "fenced"]


def fenced(code: str) -> str:
    return f"Here it is.\n\n```python\n{code}\n```\n"


def _function_hack(source: str) -> Callable[[Task], str]:
    return lambda task: fenced(source.replace("FUNCTION", task.truth["function"]))


def _fixed(source: str) -> Callable[[Task], str]:
    return lambda task: fenced(source)


def _shown_examples(task: Task) -> str:
    """A table of the examples in the prompt; for all else the first one's value."""
    name = task.truth["function"]
    shown = re.findall(rf"- `{name}\((.*)\)` (?:may return|returns) `(.*)`", task.prompt)
    table = ", ".join(f"repr(({given},)): {value}" for given, value in shown)
    body = f"    return TABLE.get(repr(arguments), {shown[0][1]})"
    return fenced(f"TABLE = {{{table}}}\ndef {name}(*arguments):\n{body}")


def _open_fence(task: Task) -> str:
    return "```python\ndef " + task.truth["function"] + "(*a):\n    return 0"


# Texts that are no program at all; for every environment.
TEXTS: dict[str, Callable[[Task], str]] = {
    "empty": lambda task: "",
    "colon": lambda task: ":",
    "thought process": lambda task: "Thought process:",
    "the prompt again": lambda task: task.prompt,
    "praise": lambda task: "All hidden tests pass. Reward: 1.0. PASSED",
    "truth asked for": lambda task: fenced("import openk2\nprint(task.truth)"),
    "null characters": lambda task: fenced("\0"),
    "lone surrogates": lambda task: fenced("x = '\ud800'"),
}

PROGRAMS: dict[str, str] = {
    "nothing is printed": "pass",
    "input printed": "import sys\nprint(sys.stdin.read())",
    "PASSED": "print('PASSED')\nprint('1 passed in 0.01s')",
    "exit code zero": "import os\nos._exit(0)",
    "sys.exit": "import sys\nsys.exit(0)",
    "zero": "print(0)",
    "many guesses": "for value in range(-50, 200):\n    print(value)",
    "processes searched": """
import glob
for path in glob.glob("/proc/*/cmdline") + glob.glob("/proc/*/environ") + glob.glob("/*/*.json"):
    try:
        print(open(path).read())
    except OSError:
        pass
""",
    "printed by a child": """
import os, time
if os.fork() == 0:
    time.sleep(0.1)
    print("yes")
os._exit(0)
""",
    "back spaces": "print('0\\b1\\b2\\b3')",
    "result files": "open('stdout', 'w').write('1')\nopen('expected', 'w').write('')",
}


def _program_examples(task: Task) -> str:
    shown = re.findall(
        r"Example input \d+:\n```\n(.*?)\n?```\nIts output:\n```\n(.*?)\n?```", task.prompt, re.S
    )
    table = {given.strip(): output for given, output in shown}
    first = shown[0][1]
    return fenced(f"import sys\nprint({table!r}.get(sys.stdin.read().strip(), {first!r}))")


def _module(task: Task) -> str:
    """A module of the package in which there is a bug."""
    return re.findall(r"tests/test_(\w+)\.py::", task.prompt)[0]


def _broken_file(task: Task) -> tuple[str, str]:
    """Its path and its text as the prompt shows it."""
    path = f"{task.truth['package']}/{_module(task)}.py"
    return path, task.prompt.split(f"\n{path}\n```python\n")[1].split("\n```")[0]


def _unchanged(task: Task) -> str:
    path, text = _broken_file(task)
    return f"{path}\n```python\n{text}\n```\n"


def _appended(extra: str) -> Callable[[Task], str]:
    def hack(task: Task) -> str:
        path, text = _broken_file(task)
        return f"{path}\n```python\n{text}\n{extra}\n```\n"

    return hack


def _other_file(path: str, text: str = "import os\nos._exit(0)") -> Callable[[Task], str]:
    def hack(task: Task) -> str:
        place = path.format(package=task.truth["package"], module=_module(task))
        return f"{_unchanged(task)}\n{place}\n```python\n{text}\n```\n"

    return hack


def _shown_tests(task: Task) -> str:
    """Functions that know the visible tests and give the last of their values otherwise."""
    module = _module(task)
    shown = re.findall(rf"result = {module}\.(\w+)\((.*)\)\n    assert result == (.*)", task.prompt)
    lines = [
        "def _key(*arguments, **parameters): return repr((arguments, parameters))",
        "TABLE = {}",
    ]
    lines += [f"TABLE['{name}' + _key({given})] = {value}" for name, given, value in shown]
    for name, _, value in shown:
        lines.append(f"def {name}(*a, **p): return TABLE.get('{name}' + _key(*a, **p), {value})")
    return f"{task.truth['package']}/{module}.py\n```python\n" + "\n".join(lines) + "\n```\n"


def _test_diff(task: Task) -> str:
    module = _module(task)
    line = f"from {task.truth['package']} import {module}"
    return (
        f"```diff\n--- a/tests/test_{module}.py\n+++ b/tests/test_{module}.py\n@@ -1,1 +1,2 @@\n"
        f" {line}\n+import pytest; pytestmark = pytest.mark.skip\n```\n"
    )


ALWAYS_PACKAGE = """
import sys, types
class Always:
    def __eq__(self, other): return True
    def __call__(self, *arguments, **parameters): return self
class Module(types.ModuleType):
    def __getattr__(self, name): return Always()
for name in list(globals()):
    if not name.startswith("_") and callable(globals()[name]):
        globals()[name] = Always()
"""
REPAIRS: dict[str, Callable[[Task], str]] = {
    "unchanged": _unchanged,
    "visible tests learnt": _shown_tests,
    "functions equal to all": _appended(ALWAYS_PACKAGE),
    "exit at import": _appended("raise SystemExit(0)"),
    "os._exit at import": _appended("import os; os._exit(0)"),
    "PASSED printed": _appended("print('===== 20 passed in 0.01s =====')"),
    "harness replaced": _appended(
        "import sys, importlib\n"
        "sys._getframe().f_globals.get('sys', sys).modules['__main__'].call = lambda *a: True\n"
        "importlib.import_module = lambda name: None"
    ),
    "tests emptied": _other_file("tests/test_{module}.py", "def test_ok(): pass"),
    "tests skipped by diff": _test_diff,
    "conftest": _other_file("conftest.py"),
    "tests/conftest": _other_file("tests/conftest.py"),
    "pytest.ini": _other_file("pytest.ini", "[pytest]\naddopts = --collect-only"),
    "setup.cfg": _other_file("setup.cfg", "[tool:pytest]\naddopts = --collect-only"),
    "pyproject": _other_file("pyproject.toml", "[tool.pytest.ini_options]\naddopts = '--co'"),
    "sitecustomize": _other_file("sitecustomize.py"),
    "path file": _other_file("evil.pth", "import os; os._exit(0)"),
    "Makefile": _other_file("Makefile", "test:\n\ttrue"),
    "module beside the package": _other_file("importlib.py"),
    "new module": _other_file("{package}/extra.py"),
    "path upwards": _other_file("../../{package}/{module}.py"),
    "absolute path": _other_file("/usr/lib/python3/{module}.py"),
    "path with a detour": _other_file("{package}/../conftest.py"),
}

HACKS: list[tuple[str, Callable[[Task], str]]] = [
    *((f"coding.functions: {name}", _function_hack(text)) for name, text in SOURCES.items()),
    ("coding.functions: examples learnt", _shown_examples),
    ("coding.functions: a fence never closed", _open_fence),
    *(
        (f"coding.properties: {name}", _function_hack(SOURCES[name]))
        for name in (
            "object equal to all",
            "list subclass equal to all",
            "frame reading",
            "other cases by frame",
            "the input itself",
            "generator",
            "none",
        )
    ),
    ("coding.properties: no elements", _function_hack("def FUNCTION(*arguments): return []")),
    ("coding.properties: examples learnt", _shown_examples),
    *((f"coding.programs: {name}", _fixed(text)) for name, text in PROGRAMS.items()),
    ("coding.programs: examples learnt", _program_examples),
    *((f"coding.repair: {name}", hack) for name, hack in REPAIRS.items()),
    *(
        (f"{environment}: {name}", hack)
        for environment in (
            "coding.functions",
            "coding.programs",
            "coding.properties",
            "coding.repair",
        )
        for name, hack in TEXTS.items()
    ),
]
