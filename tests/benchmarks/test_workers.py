"""Programs timed in processes of their own: turns, errors, and that none is left behind."""

import multiprocessing
from functools import partial
from pathlib import Path

import pytest
import worker_programs

from benchmarks.timing import Build, interleaved_workers, started


def test_rounds_are_interleaved_in_processes_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "calls"
    builds = {name: partial(worker_programs.writes, name, file) for name in "ab"}
    with started(builds) as workers:
        timings = interleaved_workers(workers, range(3, 6))
    lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
    assert [name + number for name, number, _ in lines] == ["a3", "b3", "a4", "b4", "a5", "b5"]
    assert len({process for _, _, process in lines}) == 2
    assert [timing.n for timing in timings.values()] == [3, 3]
    assert not multiprocessing.active_children()


def test_the_seconds_are_those_of_the_work() -> None:
    with started({"a": worker_programs.sleeps}) as workers:
        assert workers["a"].run(0) >= 0.2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (worker_programs.fails_while_built, "bad failed in its process:(.|\n)*no such weights"),
        (worker_programs.fails_in_round_1, "bad failed in its process:(.|\n)*ZeroDivisionError"),
        (worker_programs.dies, "bad: its process ended with code 7"),
    ],
)
def test_a_program_that_fails_fails_the_benchmark(build: Build, message: str) -> None:
    builds: dict[str, Build] = {"good": worker_programs.sleeps, "bad": build}
    with pytest.raises(RuntimeError, match=message), started(builds) as workers:
        interleaved_workers(workers, range(2))
    assert not multiprocessing.active_children()
