"""The probe of the machine: what the user says comes first, what is measured next."""

import os
import subprocess
import sys

import pytest

from openk2.core.device import free_memory_bytes, limit_spinning, probe_machine


@pytest.mark.parametrize("value", ["3", "3,2", " 3 "])
def test_the_environment_variable_comes_before_the_probe(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    machine = probe_machine()
    assert machine.threads == 3
    assert "OMP_NUM_THREADS" in machine.threads_reason


def test_a_configured_count_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run keeps the threads it began with, or it would not be the same to the bit."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    machine = probe_machine(threads=7)
    assert machine.threads == 7
    assert "configuration" in machine.threads_reason


@pytest.mark.parametrize("value", ["", "0", "-2", "many", "²"])
def test_a_variable_that_names_no_count_is_passed_over(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    machine = probe_machine()
    assert 1 <= machine.threads <= machine.cores
    assert "OMP_NUM_THREADS" not in machine.threads_reason


def test_measured_threads_are_no_more_than_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    machine = probe_machine()
    assert machine.cores == len(os.sched_getaffinity(0))
    assert 1 <= machine.threads <= machine.cores
    assert "core" in machine.threads_reason


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cannot bind to a core here")
def test_a_process_bound_to_one_core_gets_one_thread() -> None:
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from openk2.core.device import probe_machine\n"
        "machine = probe_machine(); print(machine.cores, machine.threads, machine.threads_reason)\n"
    )
    environment = {key: v for key, v in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == "1 1 one core is there\n"


def test_dtype_is_the_one_asked_for_or_explained() -> None:
    asked = probe_machine(threads=1, dtype="bfloat16")
    assert (asked.dtype, asked.dtype_reason) == ("bfloat16", "the configuration says so")
    chosen = probe_machine(threads=1)
    has = "bf16" in chosen.dtype_reason
    assert chosen.dtype == ("bfloat16" if has else "float32")


def test_sizes_are_those_of_this_machine() -> None:
    machine = probe_machine(threads=1)
    assert machine.python == ".".join(map(str, sys.version_info[:3]))
    assert machine.cpu
    assert 2**27 < free_memory_bytes() <= machine.memory_bytes


def test_limit_spinning_sets_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    limit_spinning()
    assert int(os.environ["GOMP_SPINCOUNT"]) > 0


@pytest.mark.parametrize("value", ["0", "infinity", "77"])
def test_limit_spinning_never_overrides(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", value)
    limit_spinning()
    assert os.environ["GOMP_SPINCOUNT"] == value
