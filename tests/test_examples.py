"""The examples run from end to end, at a size of seconds, and say what they promise."""

import math
import re
import runpy
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("optimizer", [[], ["--adamw"]])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma", "deepseek_v3"])
@pytest.mark.filterwarnings("ignore:QK-Clip. in . layers")
def test_muonclip_any_model(
    family: str,
    optimizer: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = str(EXAMPLES / "muonclip_any_model.py")
    flags = ["--steps", "3", "--tau", "0.1", "--family", family, *optimizer]
    monkeypatch.setattr("sys.argv", [script, *flags])
    with torch.random.fork_rng():
        runpy.run_path(script, run_name="__main__")
    printed = capsys.readouterr().out
    planned = re.search(r"muon [\d,]+ elements, adamw [\d,]+ elements", printed)
    assert (planned is None) == bool(optimizer)
    steps = [line.split() for line in printed.split("heads clipped\n")[1].splitlines()]
    assert [int(line[0]) for line in steps] == [1, 3]
    losses = [float(line[1]) for line in steps]
    assert losses[1] < losses[0] == pytest.approx(math.log(256), abs=0.2)
    assert float(steps[0][2]) > 0.1 and int(steps[0][3]) > 0


@pytest.mark.parametrize("flag", ["--steps", "--tau", "--lr"])
def test_a_flag_that_is_not_positive_is_one_line(
    flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = str(EXAMPLES / "muonclip_any_model.py")
    monkeypatch.setattr("sys.argv", [script, flag, "0"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith("--steps, --tau and --lr must be positive\n")


def test_own_tool_world(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "own_tool_world.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert printed.count("the plan earns 1.0, talk earns 0.0") == 3
    assert "Before you use return_bike: the hours of the rental must be at least 2." in printed
    assert "rent_bike" in printed and "changed: rental" in printed
