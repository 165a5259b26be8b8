"""A run that is killed, or told to stop, goes on to the same bits as one left alone."""

import random
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
    return running.signal(number)


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


def test_interrupted_before_the_first_step(work: Path, undisturbed: Path) -> None:
    at = SignalAt("tokens.bin", 1, signal.SIGINT)
    stopped = k2(*RUN, cwd=work, signal_at=at)
    assert stopped.code == 130, stopped
    assert stopped.stderr == "k2: interrupted; the same command resumes\n"
    finish(work, undisturbed)


def test_a_second_interrupt_does_not_wait(work: Path, undisturbed: Path) -> None:
    # The first comes while the checkpoint is saved, the second while the report is written.
    running = start(*RUN, "--training.sample_tokens=100000", cwd=work)
    running.wait_until(lambda: steps_done(work) >= 6)
    time.sleep(0.05)
    del undisturbed
    assert running.signal(signal.SIGINT).code == 130


def test_a_second_process_is_kept_out(work: Path, undisturbed: Path) -> None:
    running = start(*RUN, cwd=work)
    running.wait_until(lambda: (work / "run" / "config.toml").exists())
    assert k2(*RUN, cwd=work).error() == "k2: run: another process is working on this run"
    assert running.wait().code == 0
    assert_same_outcome(work / "run", undisturbed)


@pytest.mark.crash
@pytest.mark.parametrize("seed", range(3))
def test_killed_ten_times_at_random(seed: int, work: Path, undisturbed: Path) -> None:
    moments = random.Random(seed)
    kills = 0
    while kills < 10:
        running = start(*RUN, cwd=work)
        time.sleep(moments.uniform(0.005, 0.4))
        if running.signal(signal.SIGKILL).code == 0:
            break  # done before its turn came
        kills += 1
    print(f"{kills} kills; resumed from {[e['step'] for e in logged(work / 'run', 'resume')]}")
    finish(work, undisturbed)


@pytest.mark.crash
@pytest.mark.timeout(1800)
def test_killed_before_each_change_to_a_file(tmp_path: Path, undisturbed: Path) -> None:
    count = 0
    while True:
        count += 1
        work = tmp_path / str(count) / "work"
        sources(work / "text")
        killed = k2(*RUN, cwd=work, signal_at=SignalAt(count=count))
        if killed.code == 0:
            break
        assert killed.code == KILLED, killed
        finish(work, undisturbed)
    print(f"killed at {count - 1} places")
    assert count > 100
