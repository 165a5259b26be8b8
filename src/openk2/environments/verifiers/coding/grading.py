"""Running hidden cases and comparing what came back, in this process, by type and value.

The child holds the program and the inputs. The expected outputs never enter it, so nothing that it
reads or forges helps: a verdict needs one right value of exact builtin types for every case.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from openk2.core.records import Score
from openk2.core.terminal import printable
from openk2.environments.base import GraderFailure
from openk2.environments.sandbox import Limits, SandboxUnavailable, call_function

__all__ = ["LIMITS", "judge_calls", "no_code", "same_value", "verdict"]

LIMITS = Limits(wall_s=5.0, cpu_s=2.0, memory_bytes=256 << 20, output_bytes=1 << 20)
TOLERANCE = 1e-9  # relative, of floats; prompts state it


def same_value(value: Any, expected: Any) -> bool:
    """Equality of type and value at every level: True is not 1, a tuple is not a list.

    Floats may differ by a relative 1e-9. As deep as `expected` and no deeper.
    """
    if type(value) is not type(expected):
        return False
    if isinstance(expected, float):
        return math.isclose(value, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    if isinstance(expected, list | tuple):
        return len(value) == len(expected) and all(map(same_value, value, expected))
    if isinstance(expected, dict):
        if {(type(key), key) for key in value} != {(type(key), key) for key in expected}:
            return False
        return all(same_value(value[key], one) for key, one in expected.items())
    return bool(value == expected)


def judge_calls(
    source: str,
    function: str,
    cases: Sequence[Sequence[Any]],
    right: Callable[[int, Any], bool],
    limits: Limits = LIMITS,
) -> Score:
    """The verdict on `function` of a module: `right(i, value)` for every case i, or nothing.

    Raises GraderFailure where the sandbox cannot be had.
    """
    try:
        result = call_function(source, function, cases, limits=limits)
    except SandboxUnavailable as failure:
        raise GraderFailure(str(failure)) from failure
    if len(result.outcomes) != len(cases):
        raise GraderFailure(f"{len(result.outcomes)} outcomes came for {len(cases)} cases")
    passed, reason = 0, ""
    for number, outcome in enumerate(result.outcomes):
        if outcome.status == "ok" and right(number, outcome.value):
            passed += 1
        elif not reason:
            if outcome.status == "ok":
                detail = "a wrong value"
            elif result.status != "ok":
                detail = f"the run ended with status {result.status}"
            else:
                detail = f"{outcome.status} {outcome.error or ''}"
            reason = f"case {number + 1} of {len(cases)}: {detail}"
    return verdict(passed, len(cases), reason)


def verdict(passed: int, count: int, reason: str) -> Score:
    """All cases or nothing; the share is shown but not paid."""
    line = " ".join(printable(reason)[:300].split())
    parts = {"format": 1.0, "cases": passed / count}
    return Score(float(passed == count), parts, line or f"all {count} cases passed")


def no_code(reason: str = "no closed ```python block, or no text that Python can read") -> Score:
    """The verdict on a response that hands in no program."""
    return Score(0.0, {"format": 0.0, "cases": 0.0}, reason)
