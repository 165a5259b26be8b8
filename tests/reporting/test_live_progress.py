"""Progress: exact plain lines where there is no terminal, a live display where there is one."""

import io
import random
from itertools import count

import pytest
from rich.console import Console
from synthetic_run import START, events, finish, step_event

from openk2.core.events import EventLog
from openk2.reporting.progress import LiveProgress


def step(number, **fields):
    rng = random.Random(number)
    exact = {"loss": 3.5, "bits_per_byte": 1.48, "tokens_per_second": 9752.4, "seconds": 0.5}
    return {
        **step_event(number, rng),
        "max_logits": [[4.0, None], [12.34, -1.0]],
        **exact,
        **fields,
    }


def plain(lines, steps=None, seconds_a_event=1.0, **options):
    """What LiveProgress prints into a file for these events, one every `seconds_a_event`."""
    file = io.StringIO()
    ticks = count()
    console = Console(file=file, force_terminal=False)
    clock = lambda: next(ticks) * seconds_a_event  # noqa: E731
    with LiveProgress(steps, console=console, clock=clock, **options) as progress:
        for event in lines:
            progress(event)
    return file.getvalue()


def test_plain_lines_are_exact():
    lines = [
        {"kind": "run", "time": START, "name": "nano", "steps": 600},
        step(1),
        {"kind": "validation", "time": START, "step": 1, "loss": 3.25, "bits_per_byte": 1.375},
        {"kind": "sample", "time": START, "step": 1, "prompt": "a", "text": "b", "temperature": 0},
        {"kind": "checkpoint", "time": START, "step": 1, "path": "checkpoints/x"},
        {"kind": "stop", "time": START, "step": 1, "reason": "SIGTERM"},
    ]
    assert plain(lines).splitlines() == [
        "step 1/600  loss 3.500  1.480 bits/byte  9,752 tokens/s  max logit 12.3  ETA 5 min 00 s",
        "validation at step 1: loss 3.250, 1.375 bits/byte",
        "checkpoint at step 1: checkpoints/x",
        "stopped at step 1 (SIGTERM), saved",
    ]


def test_one_step_line_every_interval_and_the_last_step_always():
    printed = plain([step(n) for n in range(1, 13)], steps=12, interval=5.0).splitlines()
    assert [line.split()[1] for line in printed] == ["1/12", "6/12", "11/12", "12/12"]
    assert printed[-1].endswith("ETA 0.0 s")


def test_a_resumed_run_starts_in_the_middle():
    lines = [{"kind": "resume", "time": START, "step": 500}, step(501), finish(600)]
    assert plain(lines, steps=600).splitlines() == [
        "resumed from step 500",
        "step 501/600  loss 3.500  1.480 bits/byte  9,752 tokens/s  max logit 12.3  ETA 50 s",
        "finished at step 600 after 4 min 32 s",
    ]


def test_time_left_follows_the_recent_steps():
    slow = [step(n, seconds=10.0) for n in range(1, 51)]
    fast = [step(n, seconds=1.0) for n in range(51, 101)]
    assert plain([*slow, *fast], steps=160, interval=0).splitlines()[-1].endswith("ETA 1 min 00 s")


def test_numbers_that_were_not_finite_and_an_unknown_end():
    (line,) = plain([step(7, loss=None, bits_per_byte=None)]).splitlines()
    assert line == "step 7  loss -  - bits/byte  9,752 tokens/s  max logit 12.3  ETA -"


def test_a_log_file_gets_no_control_characters_and_no_wrapped_lines():
    text = plain([*events(), finish()])
    assert "\r" not in text and "\x1b" not in text
    assert all(
        line.startswith(("step", "validation", "checkpoint", "finished"))
        for line in text.splitlines()
    )


@pytest.fixture
def terminal(monkeypatch):
    """A function that runs events through a terminal of this kind and returns what it got."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    def run(lines):
        file = io.StringIO()
        ticks = count()
        console = Console(force_terminal=True, file=file, width=100)
        with LiveProgress(console=console, clock=lambda: next(ticks) * 0.1) as progress:
            for event in lines:
                progress(event)
        return file.getvalue()

    return run


def test_a_terminal_gets_a_live_display_and_no_plain_lines(terminal):
    text = terminal([*events(), finish()])
    assert "\x1b[" in text and "600/600" in text and "threshold 30" in text
    assert "learning rate" in text and "on held-out text" in text and "▁" in text
    assert "finished at step 600 after 4 min 32 s" in text
    assert "step 1/600" not in text and "tokens/s" not in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor comes back


def test_a_terminal_is_not_redrawn_for_each_step(terminal):
    text = terminal([step(n) for n in range(1, 101)])
    assert text.count("╭") < 40


def test_the_display_survives_a_failing_run_and_gives_the_cursor_back(terminal):
    def failing():
        yield from events(steps=3)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        terminal(failing())
    assert "600" in terminal(events(steps=0))


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_drawing_gets_plain_lines(terminal, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    text = terminal([*events(steps=60)])
    assert text.startswith("step 1/600  loss") and "\x1b" not in text and "╭" not in text


def test_it_observes_an_event_log(tmp_path):
    file = io.StringIO()
    progress = LiveProgress(600, console=Console(file=file, force_terminal=False))
    log = EventLog(tmp_path / "events.jsonl", [progress])
    log.append("resume", step=500)
    log.append("validation", step=500, loss=float("nan"), bits_per_byte=1.5)
    log.close()
    assert file.getvalue() == (
        "resumed from step 500\nvalidation at step 500: loss -, 1.500 bits/byte\n"
    )
