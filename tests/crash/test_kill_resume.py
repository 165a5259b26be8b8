"""A run that is killed, or told to stop, goes on to the same bits as one left alone."""

import itertools
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from ..k2_process import TINY, Result, SignalAt, k2, sources, start
from .outcome import assert_same_outcome, logged

RUN = [
    *("run", "nano", "--data", "text", "--out", "run", *TINY),
    "--training.steps=24",
    "--training.checkpoint_every=4",
    "--training.evaluate_every=6",
]
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing happened to."""
    work = tmp_path_factory.mktemp("undisturbed") / "work"
    sources(work / "text")
    assert k2(*RUN, cwd=work).code == 0
    return work / "run"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with the same sources."""
    folder = tmp_path / "work"
    sources(folder / "text")
    return folder


def finish(work: Path, undisturbed: Path) -> None:
    """Give the command until it ends well; the outcome is that of the undisturbed run."""
    last = k2(*RUN, cwd=work)
    assert last.code == 0, last
    assert_same_outcome(work / "run", undisturbed)


def stop_after(work: Path, steps: int, number: signal.Signals) -> Result:
    """Start the command and send it a signal after that many steps."""
    running = start(*RUN, cwd=work)
    running.wait_until(lambda: steps_done(work) >= steps)
    running.send(number)
    return running.wait()


def steps_done(work: Path) -> int:
    log = work / "run" / "events.jsonl"
    return log.read_bytes().count(b'"kind": "step"') if log.exists() else 0


@pytest.mark.parametrize(
    ("path", "count", "left"),
    [
        ("config.toml.partial", 1, [".lock"]),
        ("data.partial/shards.partial/train", 1, ["data.partial/shards.partial"]),
        ("step-00000008.partial/training_state.pt", 1, ["checkpoints/step-00000008.partial"]),
    ],
)
def test_killed_while_it_writes(
    path: str, count: int, left: list[str], work: Path, undisturbed: Path
) -> None:
    killed = k2(*RUN, cwd=work, signal_at=SignalAt(path, count))
    assert killed.code == KILLED, killed
    assert [name for name in left if not (work / "run" / name).exists()] == []
    finish(work, undisturbed)


def test_killed_twice_between_checkpoints(work: Path, undisturbed: Path) -> None:
    for steps in (6, 15):
        assert stop_after(work, steps, signal.SIGKILL).code == KILLED
    assert steps_done(work) >= 15
    finish(work, undisturbed)
    assert [event["step"] for event in logged(work / "run", "resume")] in ([4, 12], [4, 16])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_told_to_stop_it_saves_first(
    number: signal.Signals, code: int, work: Path, undisturbed: Path
) -> None:
    stopped = stop_after(work, 5, number)
    step = steps_done(work)
    assert stopped.code == code, stopped
    assert 5 <= step < 24
    line = f"stopped by {number.name} after step {step}; the same command resumes\n"
    assert stopped.stderr == line
    assert [event["kind"] for event in logged(work / "run", "stop", "checkpoint")][-2:] == [
        "stop",
        "checkpoint",
    ]
    assert logged(work / "run", "stop") == [{"kind": "stop", "step": step, "reason": number.name}]
    assert (work / "run" / "checkpoints" / f"step-{step:08d}" / "training_state.pt").exists()
    last = k2(*RUN, cwd=work)
    assert last.code == 0, last
    assert logged(work / "run", "resume") == [{"kind": "resume", "step": step}]
    assert_same_outcome(work / "run", undisturbed)


def test_told_to_stop_while_it_saves_it_does_one_more_step(work: Path, undisturbed: Path) -> None:
    at = SignalAt("step-00000008.partial/training_state.pt", 1, signal.SIGTERM)
    stopped = k2(*RUN, cwd=work, signal_at=at)
    assert stopped.code == 143, stopped
    assert logged(work / "run", "stop") == [{"kind": "stop", "step": 9, "reason": "SIGTERM"}]
    assert (work / "run" / "checkpoints" / "step-00000009").exists()
    finish(work, undisturbed)


def test_told_to_stop_in_the_last_step_it_finishes(work: Path, undisturbed: Path) -> None:
    at = SignalAt("step-00000024.partial/training_state.pt", 1, signal.SIGTERM)
    assert k2(*RUN, cwd=work, signal_at=at).code == 0
    assert_same_outcome(work / "run", undisturbed)


def test_interrupted_before_the_first_step(work: Path, undisturbed: Path) -> None:
    at = SignalAt("tokens.bin", 1, signal.SIGINT)
    stopped = k2(*RUN, cwd=work, signal_at=at)
    assert stopped.code == 130, stopped
    assert stopped.stderr == "k2: interrupted; the same command resumes\n"
    finish(work, undisturbed)


def test_a_second_interrupt_does_not_wait_for_the_step(work: Path) -> None:
    # Its first sample would take hours.
    running = start(*RUN, "--training.sample_tokens=1000000", cwd=work)
    running.wait_until(lambda: bool(logged(work / "run", "validation")))
    running.send(signal.SIGINT)
    time.sleep(0.2)
    assert running.alive
    running.send(signal.SIGINT)
    stopped = running.wait()
    assert stopped.code == 130, stopped
    assert stopped.stderr == "k2: interrupted; the same command resumes\n"
    assert [path.name for path in (work / "run" / "checkpoints").iterdir()] == ["step-00000004"]


def test_a_second_process_is_kept_out(work: Path, undisturbed: Path) -> None:
    running = start(*RUN, cwd=work)
    running.wait_until(lambda: (work / "run" / "config.toml").exists())
    assert k2(*RUN, cwd=work).error() == "k2: run: another process is working on this run"
    assert running.wait().code == 0
    assert_same_outcome(work / "run", undisturbed)


@pytest.mark.crash
@pytest.mark.parametrize(("seed", "dtype"), [(0, "float32"), (1, "float32"), (2, "bfloat16")])
def test_killed_ten_times_at_random(seed: int, dtype: str, work: Path, tmp_path: Path) -> None:
    long = [
        *RUN,
        f"--training.dtype={dtype}",
        "--training.steps=150",
        "--training.checkpoint_every=3",
        "--training.evaluate_every=25",
    ]
    sources(tmp_path / "other" / "text")
    assert k2(*long, cwd=tmp_path / "other").code == 0
    moments, done = random.Random(seed), []
    for _ in range(10):
        running = start(*long, cwd=work)
        time.sleep(moments.uniform(0.02, 0.4))
        running.send(signal.SIGKILL)
        assert running.wait().code == KILLED
        done.append(steps_done(work))
    assert 3 < done[-1] < 150
    last = k2(*long, cwd=work)
    assert last.code == 0, last
    assert_same_outcome(work / "run", tmp_path / "other" / "run")
    print(f"killed after steps {done}")


@pytest.mark.crash
@pytest.mark.timeout(1200)
def test_killed_before_each_change_to_a_file(tmp_path: Path) -> None:
    # Three checkpoints, of which two are kept.
    short = [*RUN, "--training.steps=6", "--training.checkpoint_every=2"]
    sources(tmp_path / "0" / "text")
    assert k2(*short, cwd=tmp_path / "0").code == 0
    for count in itertools.count(1):
        work = tmp_path / str(count)
        sources(work / "text")
        killed = k2(*short, cwd=work, signal_at=SignalAt(count=count))
        if killed.code == 0:
            break
        assert killed.code == KILLED, killed
        last = k2(*short, cwd=work)
        assert last.code == 0, (count, last)
        assert_same_outcome(work / "run", tmp_path / "0" / "run")
        shutil.rmtree(work)
    print(f"killed at {count - 1} places")
    assert count > 40
