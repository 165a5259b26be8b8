"""The scripts under reproduce/ at a tiny size: what they write, keep and refuse.

Nothing here looks at what the runs conclude.
"""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="the scripts draw; make setup installs matplotlib")

ROOT = Path(__file__).parents[2]
STEPS = 3


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus in which a step is quick to evaluate: some of this package's own sources."""
    folder = tmp_path_factory.mktemp("text")
    for source in sorted((ROOT / "src" / "openk2" / "models").glob("*.py")):
        (folder / source.name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def reproduce(
    script: str, out: Path, text: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    """`python reproduce/SCRIPT` with one seed and a few steps."""
    command = [
        sys.executable, str(ROOT / "reproduce" / script), "--out", str(out), "--data", str(text),
        "--seeds", "1", "--processes", "0", *options,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def written(out: Path, name: str) -> dict[str, Any]:
    """The script's JSON; its picture is checked to be one."""
    assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG\r\n")
    found: dict[str, Any] = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
    return found


def test_explosion_measures_every_head_exactly_in_every_step_and_keeps_finished_runs(
    tmp_path: Path, text: Path
) -> None:
    out = tmp_path / "out"
    options = ("--steps", str(STEPS), "--tau", "1.0")
    first = reproduce("qk_clip_explosion.py", out, text, *options, "--json")
    assert first.returncode == 0, first.stderr
    rows = json.loads(first.stdout)
    assert [(row["seed"], row["arm"]) for row in rows] == [(0, "Muon"), (0, "MuonClip")]
    found = written(out, "qk_clip_explosion")
    assert found["table"] == rows
    (muon,), (clip,) = found["runs"]["Muon"], found["runs"]["MuonClip"]
    assert len(muon["train_loss"]) == len(muon["max_logits"]) == STEPS
    assert all(math.isfinite(loss) for loss in muon["train_loss"])
    # Logits stay below this tau and their cheap bounds do not: the arms are one run, and agree
    # on S_max only if both measure it exactly.
    for key in ("train_loss", "max_logits", "clipped"):
        assert muon[key] == clip[key]

    # Finished runs are kept: what lies there is read, not run again.
    kept = out / "runs" / "Muon-seed0.json"
    changed = json.loads(kept.read_text(encoding="utf-8"))
    changed["result"]["max_logits"][1][0][0] = 12345.0
    kept.write_text(json.dumps(changed), encoding="utf-8")
    again = reproduce("qk_clip_explosion.py", out, text, *options)
    assert again.returncode == 0, again.stderr
    assert "12345.0" in again.stdout

    refused = reproduce("qk_clip_explosion.py", out, text, "--steps", "2")
    assert refused.returncode == 2
    assert "other settings" in refused.stderr and "Traceback" not in refused.stderr


def test_explosion_says_which_heads_were_clipped(tmp_path: Path, text: Path) -> None:
    tau = 0.001
    done = reproduce(
        "qk_clip_explosion.py", tmp_path / "out", text, "--steps", str(STEPS), "--tau", str(tau)
    )
    assert done.returncode == 0, done.stderr
    runs = written(tmp_path / "out", "qk_clip_explosion")["runs"]
    (muon,), (clip,) = runs["Muon"], runs["MuonClip"]
    assert clip["clipped"] == [
        [[int(logit > tau) for logit in layer] for layer in step] for step in clip["max_logits"]
    ]
    assert "1" in str(clip["clipped"]) and "1" not in str(muon["clipped"])
    assert clip["max_logits"][0] == muon["max_logits"][0]
    assert clip["max_logits"][-1] != muon["max_logits"][-1]


def test_convergence_compares_all_arms_on_the_same_batches(tmp_path: Path, text: Path) -> None:
    out = tmp_path / "out"
    options = ("--steps", str(STEPS), "--rates", "1", "--json")
    done = reproduce("muonclip_convergence.py", out, text, *options)
    assert done.returncode == 0, done.stderr
    tables = json.loads(done.stdout)
    arms = ["MuonClip", "AdamW", "torch Muon"]
    assert all([row["arm"] for row in rows] == arms for rows in tables.values())
    found = written(out, "muonclip_convergence")
    assert found["tables"] == tables
    ours, adamw, muon = (found["runs"][arm][0] for arm in arms)
    assert ours["train_loss"][0] == adamw["train_loss"][0] == muon["train_loss"][0]
    # The same rule, theirs and ours, on views of the stacked experts too: far closer than AdamW.
    gap = abs(ours["train_loss"][-1] - muon["train_loss"][-1])
    assert gap < 0.1 * abs(ours["train_loss"][-1] - adamw["train_loss"][-1])


@pytest.mark.parametrize("script", ["qk_clip_explosion.py", "muonclip_convergence.py"])
def test_dry_run_says_what_would_run_and_writes_nothing(
    script: str, tmp_path: Path, text: Path
) -> None:
    out = tmp_path / "out"
    done = reproduce(script, out, text, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "MuonClip" in done.stdout and "min" in done.stdout
    assert not out.exists()
