"""The loop: events, evaluation, checkpoints, resume."""

import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from openk2.core.errors import UserError
from openk2.core.events import read_events
from openk2.core.run_folder import latest_checkpoint
from openk2.data.corpus import Corpus
from openk2.models.checkpoint_layout import official_tensors
from openk2.models.pretrained import load_pretrained

from .small_run import small_config, small_corpus, small_run

TIMES = ("time", "seconds", "tokens_per_second", "training_seconds")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return small_corpus(tmp_path_factory.mktemp("data") / "corpus")


def events(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    found = [e for e in read_events(folder / "events.jsonl") if e["kind"] in kinds]
    return [{k: v for k, v in e.items() if k not in TIMES} for e in found]


def test_a_run_learns_and_says_everything(corpus: Corpus, tmp_path: Path) -> None:
    config = small_config(steps=30, evaluate_every=10, checkpoint_every=7, keep_checkpoints=2)
    run = small_run(tmp_path / "run", config, corpus)
    run.run()
    steps = events(tmp_path / "run", "step")
    assert [e["step"] for e in steps] == list(range(1, 31))
    assert [e["tokens"] for e in steps] == [256 * n for n in range(1, 31)]
    assert steps[-1]["loss"] < steps[0]["loss"] - 0.5
    for event in steps:
        assert all(sum(layer) == pytest.approx(1) for layer in event["expert_load"])
        assert [max(layer) * 4 - 1 for layer in event["expert_load"]] == pytest.approx(
            event["max_violation"]
        )
        assert len(event["max_logits"]) == 2 and len(event["max_logits"][0]) == 2
        assert event["update_rms"] == pytest.approx(0.2, abs=0.05)
    validations = events(tmp_path / "run", "validation")
    assert [e["step"] for e in validations] == [10, 20, 30]
    assert all(e["bytes"] == corpus.validation.bytes for e in validations)
    nats = validations[-1]["loss"] * validations[-1]["tokens"]
    assert validations[-1]["bits_per_byte"] == pytest.approx(
        nats / math.log(2) / corpus.validation.bytes
    )
    assert [e["step"] for e in events(tmp_path / "run", "checkpoint")] == [7, 14, 21, 28, 30]
    kept = sorted(p.name for p in (tmp_path / "run/checkpoints").iterdir())
    assert kept == ["step-00000028", "step-00000030"]
    assert events(tmp_path / "run", "finish") == [{"kind": "finish", "step": 30}]
    loaded = dict(official_tensors(load_pretrained(tmp_path / "run/checkpoints/step-00000030")))
    assert all(torch.equal(t, loaded[n]) for n, t in official_tensors(run.model))


def test_resume_is_exact(corpus: Corpus, tmp_path: Path) -> None:
    """Going on from step 2 or 4 gives the bits and the events of the run that never stopped."""
    config = small_config(keep_checkpoints=9)
    whole = small_run(tmp_path / "whole", config, corpus)
    whole.run()
    for step in (2, 4):
        shutil.copytree(tmp_path / "whole", tmp_path / f"from{step}")
        for late in (tmp_path / f"from{step}/checkpoints").iterdir():
            if int(late.name[-8:]) > step:
                shutil.rmtree(late)
        resumed = small_run(tmp_path / f"from{step}", config, corpus)
        assert resumed.step == step
        resumed.run()
        for name, tensor in whole.model.state_dict().items():
            assert torch.equal(tensor, resumed.model.state_dict()[name]), name
        for a, b in zip(
            whole.optimizer.state.values(), resumed.optimizer.state.values(), strict=True
        ):
            assert all(torch.equal(a[key], b[key]) for key in a)
        kinds = ("step", "validation", "sample", "checkpoint", "finish")
        assert events(tmp_path / f"from{step}", *kinds) == events(tmp_path / "whole", *kinds)


def test_evaluation_measures_every_head_exactly_and_leaves_no_trace(
    corpus: Corpus, tmp_path: Path
) -> None:
    run = small_run(tmp_path / "run", small_config(), corpus)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    run._evaluate()
    (event,) = events(tmp_path / "run", "validation")
    assert all(math.isfinite(v) for layer in event["max_logits"] for v in layer)
    assert all(torch.equal(t, before[n]) for n, t in run.model.state_dict().items())
    assert (run.model.expert_counts() == 0).all()
    assert all((a.max_logits() == -math.inf).all() for a in run.model.attention_layers())


@pytest.mark.parametrize("damage", ["truncated", "pickle", "missing"])
def test_a_damaged_training_state_is_refused(damage: str, corpus: Corpus, tmp_path: Path) -> None:
    config = small_config(steps=4)
    small_run(tmp_path / "run", config, corpus).run()
    checkpoint = latest_checkpoint(tmp_path / "run/checkpoints")
    assert checkpoint is not None
    file = checkpoint / "training_state.pt"
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:500])
    elif damage == "pickle":
        torch.save({"step": 4, "code": os.getcwd}, file)
    else:
        file.unlink()
    with pytest.raises(UserError, match=r"training_state\.pt"):
        small_run(tmp_path / "run", config, corpus)
