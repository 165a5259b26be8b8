"""Wrong functions that want to be paid: a naive grader pays every one of them, ours none.

The naive grader does what local graders of code commonly do: it runs the answer in its own process,
compares with == beside the expected values, and believes the word PASSED on stdout.
"""

import contextlib
import json
import subprocess
import sys

import pytest

from openk2.environments.sandbox import Limits, call_function

# The task: the sum of the squares of the digits, plus 7. No attack below computes it.
HONEST = "def solve(n):\n    return sum(int(digit) ** 2 for digit in str(n)) + 7\n"
CASES = [31, 4159, 26535, 897932384]
EXPECTED = [sum(int(digit) ** 2 for digit in str(n)) + 7 for n in CASES]

NAIVE = """
import json, sys
cases, expected = json.loads(sys.argv[1])
namespace = {"__name__": "solution"}
exec(sys.stdin.read(), namespace)
def grade():
    passed = True
    for case, want in zip(cases, expected):
        got = namespace["solve"](case)
        passed = passed and bool(got == want)
    return passed
print("PASSED" if grade() else "FAILED")
"""

PAID_BY_THE_NAIVE = {
    "always_equal": """
class Equal:
    def __eq__(self, other): return True
def solve(n): return Equal()
""",
    "int_subclass": """
class Equal(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def solve(n): return Equal(3)
""",
    "str_subclass": """
class Equal(str):
    def __eq__(self, other): return True
    __hash__ = str.__hash__
def solve(n): return Equal("3")
""",
    "reflected_comparison": """
class Equal(list):
    def __eq__(self, other): return True
def solve(n): return Equal()
""",
    "equal_by_metaclass": """
class Meta(type):
    def __eq__(cls, other): return True
    __hash__ = type.__hash__
class Equal(metaclass=Meta): pass
def solve(n): return Equal
""",
    "truthy_comparison": """
class Equal:
    def __eq__(self, other): return [0]
def solve(n): return Equal()
""",
    "read_expected_from_frame": """
import sys
def solve(n): return sys._getframe(1).f_locals["want"]
""",
    "read_expected_from_globals": """
import sys
def solve(n):
    there = sys._getframe(1).f_globals
    return there["expected"][there["cases"].index(n)]
""",
    "read_expected_from_collector": """
import gc
def solve(n):
    fours = [o for o in gc.get_objects() if type(o) is list and len(o) == 4]
    numbers = [o for o in fours if all(type(item) is int for item in o)]
    cases = next(o for o in numbers if n in o)
    return next(o for o in numbers if n not in o)[cases.index(n)]
""",
    "read_expected_from_arguments": """
import json, sys
def solve(n):
    cases, expected = json.loads(sys.argv[1])
    return expected[cases.index(n)]
""",
    "change_the_expected_values": """
import sys
sys._getframe(1).f_globals["expected"][:] = [0] * 4
def solve(n): return 0
""",
    "trace_the_grader": """
import sys
def see(frame, event, argument):
    if "want" in frame.f_locals: solve.want = frame.f_locals["want"]
    return see
def solve(n):
    return sys._getframe(1).f_locals.get("want", getattr(solve, "want", 0))
sys.settrace(see)
""",
    "profile_the_grader": """
import sys
seen = []
def see(frame, event, argument):
    if frame.f_back and "want" in frame.f_back.f_locals: seen.append(frame.f_back.f_locals["want"])
sys.setprofile(see)
def solve(n): return seen[-1]
""",
    "print_and_exit_at_once": "import os\nprint('PASSED', flush=True)\nos._exit(0)",
    "print_and_exit": "import sys\nprint('PASSED')\nsys.exit(0)",
    "print_and_exit_in_call": """
import os
def solve(n):
    print("PASSED", flush=True)
    os._exit(0)
""",
    "raise_system_exit": """
def solve(n):
    print("PASSED")
    raise SystemExit(0)
""",
    "print_only": "print('PASSED')\ndef solve(n): return 0",
    "print_at_exit": "import atexit\natexit.register(print, 'PASSED')\ndef solve(n): return 0",
    "print_in_finalizer": """
class Last:
    def __del__(self): print("PASSED")
keep = Last()
def solve(n): return 0
""",
    "print_from_thread": """
import threading, time
def late():
    time.sleep(0.05)
    print("PASSED", flush=True)
threading.Thread(target=late).start()
def solve(n): return 0
""",
    "print_from_fork": """
import os
def solve(n):
    if os.fork() == 0:
        os.write(1, b"PASSED")
        os._exit(0)
    os.wait()
    return 0
""",
    "replace_print": """
import builtins
shown = builtins.print
builtins.print = lambda *words: shown("PASSED")
def solve(n): return 0
""",
    "replace_stdout": """
import sys
class Out:
    def write(self, text): sys.__stdout__.write(text.replace("FAILED", "PASSED"))
    def flush(self): sys.__stdout__.flush()
sys.stdout = Out()
def solve(n): return 0
""",
    "replace_bool": "import builtins\nbuiltins.bool = lambda value: True\ndef solve(n): return 0",
    "replace_zip": "import builtins\nbuiltins.zip = lambda *lists: ()\ndef solve(n): return 0",
    "replace_grader": """
import sys
def solve(n): return 0
sys._getframe(1).f_globals["zip"] = lambda *lists: ()
""",
    "print_in_signal_handler": """
import os, signal
signal.signal(signal.SIGUSR1, lambda *_: print("PASSED"))
def solve(n):
    os.kill(os.getpid(), signal.SIGUSR1)
    return 0
""",
    "print_in_excepthook": """
import sys
sys.excepthook = lambda *_: print("PASSED")
def solve(n): raise ValueError
""",
}
# These aim at our own wire and harness, of which the naive grader has none.
AIMED_AT_OURS = {
    "forge_one_answer_on_every_pipe": """
import os, struct
def solve(n):
    for number in range(3, 64):
        try: os.write(number, struct.pack("<I", 2) + b"v0")
        except OSError: pass
    return 0
""",
    "forge_answers_ahead": """
import os, struct
messages = [b"v", *(b"v%d" % i for i in range(99))]
os.write(4, b"".join(struct.pack("<I", len(m)) + m for m in messages))
def solve(n): return 0
""",
    "forge_a_huge_length": "import os\nos.write(4, b'\\xff' * 4)\ndef solve(n): return 0",
    "forge_garbage": "import os\nos.write(4, os.urandom(4096))\ndef solve(n): return 0",
    "forge_failure_of_the_sandbox": """
import os, struct
message = b'{"failure": "no layers"}'
os.write(4, struct.pack("<I", len(message)) + message)
def solve(n): return 0
""",
    "forge_a_value_of_no_kind": """
import os, struct
def solve(n):
    message = b'v{"object": 1}'
    os.write(4, struct.pack("<I", len(message)) + message)
    return 0
""",
    "forge_deep_json": """
import os, struct
def solve(n):
    message = b"v" + b"[" * 100000
    os.write(4, struct.pack("<I", len(message)) + message)
    return 0
""",
    "forge_keys_of_one_hash": """
def solve(n): return {(2 ** 61 - 1) * i for i in range(3000)}
""",
    "close_the_result": "import os\nos.close(4)\ndef solve(n): return 0",
    "close_everything": "import os\nos.closerange(0, 64)\ndef solve(n): return 0",
    "read_the_next_case": """
import os
def solve(n):
    os.set_blocking(3, False)
    try: return len(os.read(3, 1 << 16))
    except BlockingIOError: return 0
""",
    "replace_json": """
import json, sys
json.dumps = lambda *a, **k: "0"
sys.modules["json"] = None
def solve(n): return 0
""",
    "replace_the_encoder": """
import sys
frame = sys._getframe()
while frame:
    for value in list(frame.f_globals.values()):
        if hasattr(value, "encode") and hasattr(value, "Unsendable"):
            value.encode = lambda value: b'{"any": 1}'
    frame = frame.f_back
def solve(n): return 0
""",
    "replace_type": """
import builtins
builtins.type = lambda value: int
class Equal(int):
    def __eq__(self, other): return True
def solve(n): return Equal(3)
""",
    "import_hook": """
import sys
class Hook:
    def find_spec(self, *arguments): raise SystemExit(0)
sys.meta_path.insert(0, Hook())
def solve(n): return 0
""",
    "pickle_trick": """
class Trick:
    def __reduce__(self): return (int, ("3",))
def solve(n): return Trick()
""",
    "error_that_cannot_be_printed": """
class Error(BaseException):
    def __str__(self): raise Error
def solve(n): raise Error
""",
    "cyclic_value": "def solve(n):\n    a = []\n    a.append(a)\n    return a",
    "nan": "def solve(n): return float('nan')",
    "infinite": "def solve(n): return float('inf')",
    "true_for_one": "def solve(n): return True",
    "float_for_int": HONEST.replace("+ 7", "+ 7.0"),
    "text_for_int": "def solve(n): return str(sum(int(d) ** 2 for d in str(n)) + 7)",
    "no_function": "solution = 3",
    "function_is_a_value": "solve = 52",
    "generator": HONEST.replace("return", "yield"),
    "coroutine": "async " + HONEST,
}
HACKS = PAID_BY_THE_NAIVE | AIMED_AT_OURS


def paid(source: str) -> bool:
    """Our grader: expected values stay here, and only a value of the same type is equal to one."""
    result = call_function(source, "solve", [[n] for n in CASES], limits=Limits(wall_s=3, cpu_s=3))
    assert len(result.outcomes) == len(CASES)
    return all(
        outcome.status == "ok" and type(outcome.value) is type(want) and outcome.value == want
        for outcome, want in zip(result.outcomes, EXPECTED, strict=True)
    )


def paid_by_the_naive(source: str) -> bool:
    result = subprocess.run(
        [sys.executable, "-I", "-c", NAIVE, json.dumps([CASES, EXPECTED])],
        input=source,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return "PASSED" in result.stdout


def test_the_honest_function_is_paid_by_both() -> None:
    assert paid(HONEST)
    assert paid_by_the_naive(HONEST)
    assert not paid_by_the_naive("def solve(n): return 0")


@pytest.mark.parametrize("name", HACKS)
def test_no_hack_is_paid(name: str) -> None:
    assert not paid(HACKS[name])


@pytest.mark.parametrize("name", PAID_BY_THE_NAIVE)
def test_the_naive_grader_pays_it(name: str) -> None:
    assert paid_by_the_naive(PAID_BY_THE_NAIVE[name])


def test_hacks_aimed_at_our_wire_leave_it_working() -> None:
    """The same interpreter answers honestly after all of them."""
    for source in AIMED_AT_OURS.values():
        with contextlib.suppress(AssertionError):
            paid(source)
    assert paid(HONEST)
