"""Sharded MuonClip equals MuonClip in one process: real processes, gloo on loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=[2, 4])
def results(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    world = request.param
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *launch, "-m", "tests.distributed.run_layouts"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def of_kind(results: list[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    found = [result for result in results if result["what"] == what]
    assert found
    return found


def test_twenty_updates_are_those_of_one_process(results: list[dict[str, Any]]) -> None:
    updates = of_kind(results, "updates")
    assert len(updates) in (11, 21)  # layouts, in two dtypes, and with replicas that share
    for result in updates:
        assert result["difference"] <= 1e-6, result


def test_training_with_qk_clip_is_that_of_one_process(results: list[dict[str, Any]]) -> None:
    for result in of_kind(results, "training"):
        assert result["difference"] <= 1e-9, result
        assert result["clipped"] > 0 and result["same_factors"], result


def test_a_run_resumes_in_another_layout(results: list[dict[str, Any]]) -> None:
    for result in of_kind(results, "resume"):
        assert result["difference"] <= 1e-6, result


def test_no_more_is_sent_than_needed(results: list[dict[str, Any]]) -> None:
    for result in of_kind(results, "updates"):
        assert result["bytes"] <= 1.2 * result["fewest_bytes"], result
        if result["layout"].startswith("expert parallel") and "cut" not in result["layout"]:
            assert result["shared"] or result["bytes"] == 0, result
        if "fsdp" in result["layout"]:
            assert result["bytes"] > 0, result


def test_bfloat16_halves_what_is_sent(results: list[dict[str, Any]]) -> None:
    updates = [result for result in of_kind(results, "updates") if not result["shared"]]
    sent = {(result["layout"], result["dtype"]): result["bytes"] for result in updates}
    for layout, dtype in sent:
        if dtype == "bfloat16":
            assert sent[layout, "float32"] == 2 * sent[layout, "bfloat16"], layout
