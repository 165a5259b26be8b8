"""The command line: what it prints, what it refuses, and that a refusal changes nothing."""

import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from openk2.cli import main

from .k2_process import TINY, Result, k2, real, sources

COMMANDS = ("run", "pretrain", "show", "export", "environments", "mcp", "doctor")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sources in `text` and a finished run in `done`; tests only read these."""
    folder = tmp_path_factory.mktemp("cli") / "work"
    sources(folder / "text")
    finished = k2("run", "nano", "--data", "text", "--out", "done", *TINY, cwd=folder)
    assert finished.code == 0, finished
    return folder


def run(work: Path, *arguments: str) -> Result:
    """`k2 run nano` on the sources with the tiny model."""
    return k2("run", "nano", "--data", "text", *TINY, *arguments, cwd=work)


def strict_json(text: str) -> Any:
    """JSON as the standard has it: no NaN, no Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def listing(folder: Path) -> dict[str, float]:
    """Every path below `folder`, with the time of its last change."""
    return {str(path): path.lstat().st_mtime for path in folder.rglob("*")}


def test_help_needs_no_torch_and_is_quick() -> None:
    script = (
        "import sys; from openk2.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as exit: assert not exit.code, exit.code\n"
        "heavy = {'torch', 'numpy', 'rich', 'tokenizers', 'safetensors'} & sys.modules.keys()\n"
        "print(sorted(heavy), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == "[]\n"
    assert all(command in done.stdout for command in COMMANDS)
    begin = time.perf_counter()
    assert real("--help").stdout == done.stdout
    print(f"k2 --help takes {time.perf_counter() - begin:.2f} s")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str) -> None:
    shown = real(command, "--help")
    assert shown.code == 0
    assert f"usage: k2 {command}" in shown.stdout
    assert "--json" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ([], ["COMMAND"]),
        (["train"], ["'train'", "'run'", "'pretrain'"]),
        (["show"], ["RUN"]),
        (["show", "a", "b"], ["unrecognized", "b"]),
        (["show", "a", "--jsno"], ["--jsno"]),
        (["show", "a", "--model.hidden_size=3"], ["--model.hidden_size=3"]),
        (["export", "a"], ["--out"]),
        (["export", "a", "--out", "b", "--dtype", "int8"], ["--dtype", "'int8'", "'bfloat16'"]),
        (["run"], ["recipe"]),
        (["run", "nano", "--out"], ["--out"]),
    ],
)
def test_arguments_that_argparse_refuses(arguments: list[str], fragments: list[str]) -> None:
    message = real(*arguments).error()
    assert "--help" in message
    assert [f for f in fragments if f not in message] == []


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["run", "nano", "--dry-rum"], ["--dry-rum"]),
        (["run", "nano", "stray"], ["'stray'", "--key.sub=value"]),
        (["run", "nnano"], ["no recipe 'nnano'", "nano, micro", ".toml"]),
        (["run", "absent.toml"], ["absent.toml", "no such file"]),
        (["run", "text"], ["no recipe 'text'"]),
        (["run", "folder.toml"], ["folder.toml", "directory"]),
        (["run", "other.toml"], ["other.toml", "unknown key 'server'"]),
        (["run", "nano", "--modle.hidden_size=3"], ["'modle'", "did you mean 'model'?"]),
        (["run", "nano", "--model.hiden_size=3"], ["'hiden_size'", "'hidden_size'?"]),
        (["run", "nano", "--training.steps"], ["--training.steps needs a value"]),
        (["run", "--training.steps", "5", "nano"], ["write --training.steps=value"]),
        (["run", "nano", "--data", "text", "--data.paths=text"], ["--data and --data.paths"]),
        (["run", "nano", "--strict", "--data.strict=true"], ["--strict and --data.strict"]),
        (["show", "a\x1b[31m"], ["a\u241b[31m"]),
        (["run", "nano", "--training.steps=1e3"], ["training.steps", "expected int", "'1e3'"]),
        (["run", "nano", "--out", "text"], ["text", "not empty", "choose another --out"]),
        (["run", "nano", "--out", "text/00.py"], ["text/00.py", "is a file"]),
        (["run", "nano", "--out", "text/00.py/run"], ["text/00.py/run", "Not a directory"]),
        (["run", "nano", "--out", "x" * 300], ["xxx", "File name too long"]),
        (["run", "nano", "--out", "loop/run"], ["loop", "symbolic links"]),
        (["run", "nano", "--out", "dangling"], ["dangling"]),
        (["run", "nano", "--out", "new", "--data", "x" * 300], ["xxx", "File name too long"]),
        (["show", "nowhere"], ["nowhere", "is not a run folder"]),
        (["show", "text"], ["text", "is not a run folder"]),
        (["show", "text/00.py"], ["text/00.py", "is not a run folder"]),
        (["export", "text", "--out", "new"], ["text", "no checkpoint", "train it first"]),
        (["export", "nowhere", "--out", "new"], ["nowhere", "no checkpoint"]),
        (["export", "done", "--out", "text"], ["text", "exists already", "another folder"]),
        (["export", "done", "--out", "text/00.py/new"], ["text/00.py"]),
    ],
)
def test_a_refusal_is_one_line_and_changes_nothing(
    work: Path, arguments: list[str], fragments: list[str]
) -> None:
    (work / "folder.toml").mkdir(exist_ok=True)
    (work / "other.toml").write_text("[server]\nport = 80\n")
    for name, target in (("loop", "loop"), ("dangling", "nowhere")):
        if not (work / name).is_symlink():
            (work / name).symlink_to(target)
    before = listing(work)
    message = k2(*arguments, cwd=work).error()
    assert [f for f in fragments if f not in message] == []
    assert listing(work) == before


def test_the_real_command_refuses_in_one_line(work: Path) -> None:
    assert "no recipe 'nnano'" in real("run", "nnano", cwd=work).error()


def test_a_setting_with_spaces_is_a_setting_wherever_it_stands(work: Path) -> None:
    prompt = "--training.sample_prompt=Once upon a time"
    for arguments in (
        ["run", "nano", "--data", "text", prompt],
        ["run", prompt, "nano", "--data", "text"],
        ["pretrain", prompt, "--data", "text"],
    ):
        shown = k2(*arguments, "--dry-run", "--json", *TINY, cwd=work)
        assert shown.code == 0, shown
        config = json.loads(shown.stdout)["config"]
        assert config["training"]["sample_prompt"] == "Once upon a time"
        assert config["data"]["paths"] == ["text"]


def test_arguments_that_are_not_utf8(work: Path) -> None:
    # The embedded corpus cannot stand in for a file whose name no configuration can hold.
    name = os.fsdecode(b"caf\xe9")
    before = listing(work)
    for arguments in (["--data", name], [f"--training.sample_prompt={name}"]):
        message = k2("run", "nano", "--out", "new", *arguments, cwd=work).error()
        assert "UTF-8" in message
    assert listing(work) == before


def test_dry_run_prints_toml_and_writes_nothing(work: Path) -> None:
    before = listing(work)
    shown = run(work, "--dry-run", "--out", "new", "--model.rms_norm_eps=1e-05")
    assert shown.code == 0, shown
    assert shown.stderr == ""
    config = tomllib.loads(shown.stdout)
    assert config["model"]["hidden_size"] == 28
    assert config["model"]["rms_norm_eps"] == 1e-05
    assert config["data"]["paths"] == ["text"]
    # As configured: a saved recipe does not pin the cores that were free when it was printed.
    assert config["training"]["threads"] == "none"
    assert config["training"]["device"] == "auto"
    assert "1 threads (OMP_NUM_THREADS says so)" in shown.stdout
    assert "# muon" in shown.stdout
    assert listing(work) == before


def test_the_printed_configuration_is_a_recipe(work: Path) -> None:
    printed = run(work, "--dry-run").stdout
    (work.parent / "printed.toml").write_text(printed)
    again = k2("run", "../printed.toml", "--dry-run", cwd=work)
    assert tomllib.loads(again.stdout) == tomllib.loads(printed)


def test_dry_run_json(work: Path) -> None:
    shown = run(work, "--dry-run", "--json", "--optimizer.qk_clip_threshold=inf")
    assert shown.code == 0, shown
    result = strict_json(shown.stdout)
    assert result["config"]["optimizer"]["qk_clip_threshold"] is None
    assert result["config"]["training"]["threads"] is None
    assert result["machine"]["threads"] == 1
    assert result["estimate"]["tokens"] == 6 * 4 * 32
    assert result["estimate"]["seconds"] > 0


def test_a_dry_run_of_an_impossible_configuration_is_refused(work: Path) -> None:
    assert "hidden_size is 0" in run(work, "--dry-run", "--model.hidden_size=0").error()


def test_run_json_is_alone_on_standard_output(work: Path) -> None:
    result = run(work, "--json", "--out", "json")
    assert result.code == 0, result
    summary = strict_json(result.stdout)
    assert summary["status"] == "finished"
    assert summary["step"] == 6
    assert "step 6/6" in result.stderr
    shown = strict_json(k2("show", "json", "--json", cwd=work).stdout)
    assert shown == summary


def test_show_prints_the_figures_and_writes_the_report(work: Path) -> None:
    report = work / "done" / "report.html"
    written = report.read_bytes()
    report.unlink()
    shown = k2("show", "done", cwd=work)
    assert shown.code == 0
    assert "finished at step 6 of 6" in shown.stdout
    assert report.read_bytes() == written


def test_the_same_command_on_a_finished_run_changes_nothing_but_the_report(work: Path) -> None:
    events = (work / "done" / "events.jsonl").read_bytes()
    again = run(work, "--out", "done")
    assert again.code == 0, again
    assert "finished at step 6 of 6" in again.stdout
    assert (work / "done" / "events.jsonl").read_bytes() == events
    assert json.loads(k2("show", "done", "--json", cwd=work).stdout)["status"] == "finished"


def test_export_json(work: Path) -> None:
    result = k2("export", "done", "--out", "exported/model", "--json", cwd=work)
    assert result.code == 0, result
    made = strict_json(result.stdout)
    assert made["folder"] == "exported/model"
    assert made["dtype"] == "bfloat16"
    files = {path.name for path in (work / "exported" / "model").iterdir()}
    assert files == {
        *("config.json", "model.safetensors", "generation_config.json"),
        *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("serve", "nowhere"), "nowhere: no such folder"),
        (("serve", "done", "--port", "99999"), "--port is 99999"),
        (("serve", "done", "--max-lanes", "0"), "--max-lanes is 0"),
        (("serve", "done", "--threads", "0"), "--threads is 0"),
        (("serve", "done", "--timeout", "-1"), "--timeout -1"),
        (("serve", "done", "--host", "0.0.0.0"), "--insecure"),
        (("chat", "nowhere", "--message", "hi"), "nowhere: no such folder"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    work: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    result = k2(*arguments, cwd=work)
    assert result.code == 2, result
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


def test_doctor() -> None:
    shown = real("doctor", "--json")
    assert shown.code == 0, shown
    assert strict_json(shown.stdout)["threads"] == 1
    assert "torch" in real("doctor").stdout


def test_the_installed_command_from_text_to_report_on_an_ascii_terminal(work: Path) -> None:
    result = real(
        *("run", "nano", "--data", "text", "--out", "ascii", *TINY),
        "--training.sample_prompt=😀 é",
        cwd=work,
        PYTHONIOENCODING="ascii",
    )
    assert result.code == 0, result
    assert r"\U0001f600" in result.stdout
    assert (work / "ascii" / "report.html").stat().st_size > 10_000
    # The process that these tests fork from a server computes what a process of its own does.
    weights = Path("checkpoints", "step-00000006", "model.safetensors")
    assert (work / "ascii" / weights).read_bytes() == (work / "done" / weights).read_bytes()


def test_a_reader_that_goes_away_leaves_no_traceback(work: Path) -> None:
    for command in ("doctor", "show done --json"):
        pipe = f"{sys.executable} -m openk2.cli {command} | head -c 0"
        done = subprocess.run(["sh", "-c", pipe], cwd=work, capture_output=True, text=True)
        assert done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_output_that_cannot_be_written_is_an_error(work: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "openk2.cli", "doctor", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_whose_name_is_markup(work: Path) -> None:
    result = run(work, "--out", "r[/b]", "--strict")
    assert result.code == 0, result
    assert "into r[/b]" in result.stdout
    assert "bytes replaced, skipped 0" in result.stdout
    assert tomllib.loads((work / "r[" / "b]" / "config.toml").read_text())["data"]["strict"]


def test_show_prints_the_figures_where_the_report_cannot_be_written(work: Path) -> None:
    folder = work / "blocked"
    folder.mkdir()
    for name in ("config.toml", "events.jsonl"):
        (folder / name).write_bytes((work / "done" / name).read_bytes())
    (folder / "report.html").mkdir()
    shown = k2("show", "blocked", cwd=work)
    assert shown.code == 0, shown
    assert "finished at step 6 of 6" in shown.stdout
    assert shown.stderr == "k2: blocked: the report was not written: Is a directory\n"
    assert not list(folder.glob("*.partial"))


def test_an_interrupt_promises_only_a_run_that_it_resumes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("openk2.cli.limit_spinning", lambda: None)
    monkeypatch.setattr("openk2.cli.commands.probe_machine", interrupt)
    monkeypatch.setattr("openk2.cli.commands.parse_overrides", interrupt)
    for arguments, line in (
        (["doctor"], "k2: interrupted\n"),
        (["run", "nano", "--dry-run"], "k2: interrupted\n"),
        (["run", "nano"], "k2: interrupted; the same command resumes\n"),
    ):
        assert main(arguments) == 130
        assert capsys.readouterr().err == line
