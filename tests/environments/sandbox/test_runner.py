"""run_python and call_function: what they promise to callers."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from openk2.core.errors import UserError
from openk2.environments.sandbox import (
    Level,
    Limits,
    Outcome,
    SandboxUnavailable,
    call_function,
    pool,
    probe,
    run_python,
)
from openk2.environments.sandbox.contract import LAYERS, NEEDED, Probe
from tests.environments.sandbox.processes import descendants, wait_until_gone


def test_a_script_reads_and_prints() -> None:
    source = (
        "import sys\nprint(input() * 2, open('a/b.txt').read(), __name__)\n"
        "print(3, file=sys.stderr)"
    )
    result = run_python(source, "hé\n", {"a/b.txt": "ü", "c": b"\xff"})
    assert (result.status, result.exit_code) == ("ok", 0)
    assert (result.stdout, result.stderr) == ("héhé ü __main__\n", "3\n")
    assert result.level == probe().level
    assert 0 < result.wall_s < 5


def test_a_script_imports_its_files_and_runs_what_it_registered() -> None:
    source = (
        "import atexit, threading, time\nfrom helper import word\natexit.register(print, 'last')\n"
        "threading.Thread(target=lambda: (time.sleep(0.05), print('thread'))).start()\nprint(word)"
    )
    result = run_python(source, files={"helper.py": "word = 'first'"})
    assert result.stdout == "first\nthread\nlast\n"


@pytest.mark.parametrize(
    ("source", "status", "code", "told"),
    [
        ("raise ValueError('no')", "error", 1, "ValueError: no"),
        ("1 +", "error", 1, "SyntaxError"),
        ("import sys; sys.exit(7)", "error", 7, ""),
        ("import sys; sys.exit('why')", "error", 1, "why"),
        ("import sys; sys.exit()", "ok", 0, ""),
        ("raise SystemExit(256)", "ok", 0, ""),
        ("import os; os._exit(9)", "error", 9, ""),
        ("def f(): f()\nf()", "error", 1, "RecursionError"),
        ("x = bytearray(10 ** 10)", "memory", 1, "MemoryError"),
        ("import ctypes; ctypes.string_at(0)", "killed", -11, ""),
        ("while True: print('x' * 1000)", "output", -9, ""),
        ("import os\nwhile True: os.write(2, b'x' * 1000)", "output", -9, ""),
        ("import os\nwhile True: os.write(4, b'x' * 1000)", "output", -9, ""),
        ("print('x' * 100_001)", "output", 0, ""),
    ],
)
def test_how_a_script_ends(source: str, status: str, code: int, told: str) -> None:
    result = run_python(source, limits=Limits(output_bytes=100_000))
    assert result.status == status, result
    assert code == result.exit_code or status == "output"
    assert told in result.stderr
    assert len(result.stdout) + len(result.stderr) <= 100_000


def test_a_traceback_shows_the_script_and_nothing_of_the_harness() -> None:
    lines = run_python("def f():\n    1 / 0\nf()").stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1] == '  File "main.py", line 3, in <module>'
    assert "    1 / 0" in lines
    assert "harness" not in "".join(lines)


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "", "a\0b", "."])
def test_a_file_that_would_lie_elsewhere(name: str) -> None:
    with pytest.raises(UserError, match="relative"):
        run_python("", files={name: "x"})


def test_files_with_hostile_names_and_contents() -> None:
    names = {"x" * 300: "", "a\ud800": "", "b": "\ud800", "b/c": ""}
    for name, content in names.items():
        result = run_python("print('ran')", files={"b": "", name: content})
        assert result.status in ("ok", "error")
        assert (result.stdout == "ran\n") == (result.status == "ok")
    assert run_python("", files={"x" * 300: ""}).status == "error"


def test_calls_leave_nothing_for_the_next() -> None:
    source = (
        "import json, os\nprint(hasattr(json, 'mark'), os.listdir('.'), 'X' in os.environ)\n"
        "json.mark = os.environ['X'] = open('file', 'w').write('x') and 'y'"
    )
    assert {run_python(source).stdout for _ in range(3)} == {"False [] False\n"}


def test_a_call_finds_a_bare_interpreter() -> None:
    source = (
        "import os, sys\nprint(sorted(os.environ), [m for m in sys.modules if 'openk2' in m])\n"
        "print([n for n in range(256) if os.path.exists(f'/proc/self/fd/{n}')])\n"
        "print(os.getcwd() == sys.path[0], sys.argv, os.getpid() < 3 or os.getpid())"
    )
    lines = run_python(source).stdout.splitlines()
    assert lines[0] == "[] []"
    assert lines[2].startswith("True ['main.py']")


def test_sets_have_one_order_in_every_call_and_every_interpreter() -> None:
    source = "print({str(n) for n in range(100)})"
    first = run_python(source).stdout
    pool._pool.get(pool.WarmUp()).close()
    assert run_python(source).stdout == first


def test_values_come_back_exact_and_others_are_told() -> None:
    source = (
        "def f(x):\n    if x == 'odd': return object()\n    if x == 'no': 1 / 0\n    return x\n"
    )
    values = [None, True, 1, 1.5, "é\ud800", [1, (2,)], {1: {"a"}, (1, 2): b"x"}, 10**50]
    result = call_function(source, "f", [[value] for value in [*values, "odd", "no"]])
    assert result.status == "ok"
    assert [outcome.value for outcome in result.outcomes[:-2]] == values
    assert [type(outcome.value) for outcome in result.outcomes[:-2]] == list(map(type, values))
    assert result.outcomes[-2] == Outcome("type", error="a value of type object")
    assert result.outcomes[-1] == Outcome("error", error="ZeroDivisionError: division by zero")


def test_a_case_is_not_there_before_the_one_before_is_answered() -> None:
    source = "import os, select\ndef f(n):\n    return bool(select.select([3], [], [], 0.05)[0])\n"
    assert [o.value for o in call_function(source, "f", [[1], [2], [3]]).outcomes] == [False] * 3


@pytest.mark.parametrize(
    ("source", "statuses", "status"),
    [
        ("import os\ndef f(n): return n if n < 2 else os._exit(0)", "ok missing missing", "error"),
        ("def f(n):\n    while n == 2: pass\n    return n", "ok missing missing", "timeout"),
        ("def f(n):\n    return 'x' * 10 ** n", "ok ok missing", "output"),
        ("def f(n): raise SystemExit", "error error error", "ok"),
        ("def f(n): return bytearray(10 ** 10)", "error error error", "ok"),
        ("f = 3", "missing missing missing", "error"),
        ("f =", "missing missing missing", "error"),
        ("import sys; sys.exit(0)", "missing missing missing", "error"),
        ("x = bytearray(10 ** 10)", "missing missing missing", "memory"),
        ("import os; os.close(3)\ndef f(n): return n", "missing missing missing", "error"),
    ],
)  # fmt: skip
def test_there_is_an_outcome_for_every_case(source: str, statuses: str, status: str) -> None:
    limits = Limits(wall_s=0.5, output_bytes=500)
    result = call_function(source, "f", [[1], [2], [3]], limits=limits)
    assert " ".join(outcome.status for outcome in result.outcomes) == statuses
    assert result.status == status
    assert all(outcome.error for outcome in result.outcomes if outcome.status != "ok")


def test_arguments_that_cannot_travel_are_the_callers_mistake() -> None:
    with pytest.raises(UserError, match="object"):
        call_function("def f(x): return x", "f", [[object()]])


def test_modules_are_preloaded_and_the_warm_up_has_run() -> None:
    source = (
        "import sys\nat_start = 'sympy' in sys.modules\n"
        "def f():\n    import sympy\n    return (at_start, sympy.mark)"
    )
    result = call_function(
        source, "f", [[]], preload=("sympy",), warm_up="import sympy\nsympy.mark = 5"
    )
    assert result.outcomes == (Outcome("ok", (True, 5)),)
    assert call_function("import sympy", "f", [[]]).outcomes[0].error.startswith("ModuleNotFound")


def test_a_module_that_cannot_be_preloaded() -> None:
    with pytest.raises(SandboxUnavailable, match="no_such_module"):
        call_function("", "f", [], preload=("no_such_module",))


def test_levels_include_those_below() -> None:
    assert Probe.of(dict.fromkeys(LAYERS, "active")).level == Level.FULL
    assert Probe.of(dict.fromkeys(LAYERS, "why not")).level == Level.NONE
    assert NEEDED[Level.FILTERED] < NEEDED[Level.CONFINED] < NEEDED[Level.FULL]
    assert NEEDED[Level.FILTERED] < NEEDED[Level.ISOLATED] < NEEDED[Level.FULL]
    assert set().union(*NEEDED.values()) <= set(LAYERS)


def test_many_threads_at_once() -> None:
    def one(number: int) -> bool:
        result = call_function("def f(n): return n * n", "f", [[number], [number + 1]])
        return [o.value for o in result.outcomes] == [number**2, (number + 1) ** 2]

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(one, range(400)))


def test_a_dead_zygote_is_replaced() -> None:
    assert run_python("print(1)").stdout == "1\n"
    process = pool._pool.get(pool.WarmUp()).process
    process.kill()
    process.wait()
    assert run_python("print(2)").stdout == "2\n"


def test_a_zygote_that_died_this_moment_is_replaced() -> None:
    """Whoever started it, and waits for it, has not noticed yet."""
    run_python("")
    for _ in range(3):
        started = pool._pool.get(pool.WarmUp()).process.pid
        zygote = max(descendants(started) - {started})
        os.kill(zygote, signal.SIGKILL)
        assert run_python("print(2)").stdout == "2\n"


def test_a_fork_of_the_caller_has_zygotes_of_its_own() -> None:
    run_python("")
    mine = pool._pool.get(pool.WarmUp()).process.pid
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            good = run_python("print(3)").stdout == "3\n"
            code = 0 if good and pool._pool.get(pool.WarmUp()).process.pid != mine else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert run_python("print(4)").stdout == "4\n"


def test_a_fork_of_the_caller_does_not_hold_up_the_calls_that_run() -> None:
    """It holds copies of all pipes, and no end of file comes while it lives."""
    with ThreadPoolExecutor(2) as threads:
        script = "import sys, time\ntime.sleep(0.3)\nprint(sys.stdin.read())"
        printed = threads.submit(run_python, script, "all")
        called = threads.submit(
            call_function, "import time\ndef f(): time.sleep(0.3); return 1", "f", [[]]
        )
        time.sleep(0.15)
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
            os._exit(0)
        try:
            assert (printed.result().status, printed.result().stdout) == ("ok", "all\n")
            assert (called.result().status, called.result().outcomes[0].value) == ("ok", 1)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_the_standard_input_cannot_be_written() -> None:
    source = "import os\ntry: os.write(0, b'x')\nexcept OSError as error: print(error.errno)"
    assert run_python(source, "all").stdout == "1\n"


def test_everything_ends_with_the_caller() -> None:
    """Killed in the middle of a call, a caller leaves neither its zygote nor the child."""
    program = (
        "from openk2.environments.sandbox import run_python, Limits, pool\nrun_python('')\n"
        "print(pool._pool.get(pool.WarmUp()).process.pid, flush=True)\n"
        "run_python('import time; time.sleep(50)', limits=Limits(wall_s=60))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        pid = int(caller.stdout.readline())
        time.sleep(0.1)
        inside = descendants(pid)
        caller.send_signal(signal.SIGKILL)
    assert len(inside) == 3  # who started the zygote, the zygote, its child
    wait_until_gone(inside)


HANGS = {
    "loop": "while True: pass",
    "sleep": "import time; time.sleep(99)",
    "stop_oneself": "import os, signal\nwhile True: os.kill(os.getpid(), signal.SIGSTOP)",
    "loop_in_c": "10 ** 10 ** 8",
    "loop_in_iterator": "import itertools\nany(itertools.repeat(0))",
    "regular_expression": "import re\nre.match('(a*)*b', 'a' * 40)",
    "swallow_everything": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    ),
    "ignore_signals": (
        "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nwhile True: pass"
    ),
    "block_signals": (
        "import signal\nsignal.pthread_sigmask(signal.SIG_SETMASK, range(1, 65))\nwhile True: pass"
    ),
    "deadlock": "import threading\nl = threading.Lock()\nl.acquire()\nl.acquire()",
    "thread_that_stays": "import threading\nthreading.Event().wait\n"
    "threading.Thread(target=threading.Event().wait).start()",
    "hang_at_exit": "import atexit, time\natexit.register(time.sleep, 99)",
    "read_a_pipe": "import os\na, b = os.pipe()\nos.read(a, 1)",
    "wait_for_child": "import os, time\nif os.fork(): os.wait()\nelse: time.sleep(99)",
    "fork_in_turn": "import os\nwhile True:\n    if not os.fork(): os._exit(0)\n    os.wait()",
}  # fmt: skip


@pytest.mark.parametrize("name", HANGS)
def test_what_never_ends_is_ended(name: str) -> None:
    run_python("")
    before = descendants()
    started = time.monotonic()
    result = run_python(HANGS[name], limits=Limits(wall_s=0.3))
    assert result.status == "timeout", result
    assert 0.3 <= time.monotonic() - started < 5
    assert descendants() == before


def test_processor_time_is_limited_too() -> None:
    result = run_python("while True: pass", limits=Limits(wall_s=30, cpu_s=1))
    assert result.status == "timeout"
    assert result.wall_s < 10


DAEMON = """
import os, sys, time
if os.fork() == 0:
    if os.fork() == 0:
        time.sleep(30)
    os._exit(0)
print("started")
"""


def test_no_daemon_survives() -> None:
    """Without the sandbox it does: its standard output stays open after the script has ended."""
    run_python("")
    before = descendants()
    assert run_python(DAEMON).stdout == "started\n"
    assert descendants() == before
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON], stdout=subprocess.PIPE, process_group=0
    ) as left:
        assert left.wait(20) == 0
        os.killpg(left.pid, signal.SIGKILL)  # raises unless somebody is left


def test_the_kernel_ends_a_sandboxed_process_before_any_other() -> None:
    run_python("")
    before = descendants()
    with ThreadPoolExecutor(1) as thread:
        call = thread.submit(run_python, "import time; time.sleep(1)")
        time.sleep(0.3)
        (newest,) = descendants() - before
        assert Path(f"/proc/{newest}/oom_score_adj").read_text() == "1000\n"
        assert call.result().status == "ok"
