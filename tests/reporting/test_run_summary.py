"""The summary: each figure against the events it comes from, and its words on a terminal."""

import fcntl
import io
import json
from statistics import median

import pytest
from rich.console import Console
from synthetic_run import START, events, finish, write_run

from openk2.core.errors import UserError
from openk2.reporting.report import write_report
from openk2.reporting.summary import print_summary, summarize, verdict


def test_each_figure_is_that_of_the_events(tmp_path):
    lines = [*events(), finish()]
    summary = summarize(write_run(tmp_path / "run", lines))
    steps = [event for event in lines if event["kind"] == "step"]
    validations = [event for event in lines if event["kind"] == "validation"]
    clipped = sum(head for event in steps for row in event["clipped_heads"] for head in row)
    assert clipped > 100
    assert summary == {
        "run": "nano",
        "status": "finished",
        "stop_reason": None,
        "step": 600,
        "steps": 600,
        "final_validation_bits_per_byte": validations[-1]["bits_per_byte"],
        "best_validation_bits_per_byte": min(event["bits_per_byte"] for event in validations),
        "best_validation_step": 600,
        "gzip_bits_per_byte": 3.05,
        "xz_bits_per_byte": 2.62,
        "tokens": 600 * 4096,
        "tokens_per_second": median(event["tokens_per_second"] for event in steps),
        "training_seconds": 271.5,
        "training_flops": 12_625_920 * 600 * 4096,
        "parameters": {"total": 6_812_416, "activated": 2_104_320, "embedding": 524_288},
        "max_logit": max(map(max, steps[-1]["max_logits"])),
        "highest_max_logit": max(max(map(max, event["max_logits"])) for event in steps),
        "qk_clip_threshold": 30.0,
        "clipped_head_steps": clipped,
        "skipped_steps": 0,
        "skipped_count": 2,
        "replaced_bytes": 17,
        "report": None,
    }
    assert json.loads(json.dumps(summary)) == summary


def test_the_best_validation_is_not_always_the_last(tmp_path):
    lines = list(events(steps=150))
    lines[-1]["bits_per_byte"] = 9.0
    summary = summarize(write_run(tmp_path / "run", lines))
    assert summary["final_validation_bits_per_byte"] == 9.0
    assert summary["best_validation_step"] == 100


def test_an_unfinished_run_sums_its_steps_and_names_its_page(tmp_path):
    lines = list(events(steps=20))
    run = write_run(tmp_path / "run", lines)
    page = write_report(run)
    summary = summarize(run)
    seconds = sum(event["seconds"] for event in lines if event["kind"] == "step")
    assert summary["training_seconds"] == pytest.approx(seconds)
    assert summary["report"] == str(page)
    assert summary["final_validation_bits_per_byte"] is None


def test_a_run_with_no_events_at_all(tmp_path):
    summary = summarize(write_run(tmp_path / "just-started", []))
    assert summary["run"] == "just-started" and summary["step"] == 0
    assert summary["tokens"] == 0 and summary["tokens_per_second"] is None


def test_status_tells_running_from_killed_from_stopped(tmp_path):
    stop = {"kind": "stop", "time": START, "step": 20, "reason": "SIGTERM"}
    run = write_run(tmp_path / "run", events(steps=20))
    assert summarize(run)["status"] == "interrupted"
    with (run / ".lock").open("w") as lock:
        assert summarize(run)["status"] == "interrupted"
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert summarize(run)["status"] == "running"
    assert summarize(run)["status"] == "interrupted"
    stopped = summarize(write_run(tmp_path / "stopped", [*events(steps=20), stop]))
    assert (stopped["status"], stopped["stop_reason"]) == ("stopped", "SIGTERM")
    later = [*events(steps=20), stop, {"kind": "resume", "time": START, "step": 20}]
    assert summarize(write_run(tmp_path / "resumed", later))["status"] == "interrupted"


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("")])
def test_a_path_that_is_not_a_run_is_one_clear_line(tmp_path, make):
    path = tmp_path / "nothing"
    make(path)
    with pytest.raises(UserError) as caught:
        summarize(path)
    assert str(caught.value).startswith(f"{path}: is not a run folder")
    assert "\n" not in str(caught.value)


def test_verdict():
    nothing = {"final_validation_bits_per_byte": None}
    assert verdict(nothing) == "No validation figure yet to compare with xz and gzip."
    figures = {"final_validation_bits_per_byte": 2.5, "xz_bits_per_byte": 2.0}
    assert verdict({**figures, "gzip_bits_per_byte": 4.0}) == (
        "2.500 bits per byte on held-out text: 25.0 % above xz -9 (2.000), "
        "37.5 % below gzip -9 (4.000)."
    )
    assert verdict({**figures, "xz_bits_per_byte": None, "gzip_bits_per_byte": None}) == (
        "2.500 bits per byte on held-out text."
    )


def test_an_event_of_the_wrong_shape_is_one_line_that_names_the_field(tmp_path):
    run = write_run(tmp_path / "run", [*events(steps=2), {"kind": "step", "time": 1}])
    with pytest.raises(UserError, match=r"events\.jsonl:6: a step event without 'step'"):
        summarize(run)


def printed(run):
    file = io.StringIO()
    print_summary(summarize(run), Console(file=file, force_terminal=False, width=120))
    return file.getvalue()


def test_the_terminal_shows_the_figures_and_the_verdict(tmp_path):
    text = printed(write_run(tmp_path / "run", [*events(), finish()]))
    assert "finished at step 600 of 600" in text
    assert "2,457,600 seen in training" in text and "4 min 32 s" in text
    assert "% below xz -9 (2.620)" in text


def test_a_run_s_name_is_not_markup(tmp_path):
    lines = list(events(steps=1))
    lines[0]["name"] = "[bold]x[/bold]"
    assert "[bold]x[/bold]" in printed(write_run(tmp_path / "run", lines))


def test_a_run_s_name_cannot_steer_the_terminal(tmp_path):
    lines = list(events(steps=1))
    lines[0]["name"] = "a\x1b[31m\x07\x9b"
    text = printed(write_run(tmp_path / "run", lines))
    assert "a\u241b[31m\u2407\ufffd" in text and "\x1b" not in text
