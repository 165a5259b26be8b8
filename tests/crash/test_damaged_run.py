"""A run folder that somebody, or a failing disk, damaged: one line that names the file."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from openk2.core.errors import UserError
from openk2.models.checkpoint_layout import official_tensors
from openk2.optimizers import MuonClipOptimizer
from openk2.training.checkpointing import restore_checkpoint, save_checkpoint

from ..k2_process import TINY, SignalAt, k2, sources
from ..parity.random_models import random_model
from .outcome import assert_same_outcome

RUN = ["run", "nano", "--data", "text", "--out", "run", *TINY]
NEWEST = "run/checkpoints/step-00000004"
Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was killed after its second checkpoint, beside a whole one."""
    work = tmp_path_factory.mktemp("killed") / "work"
    sources(work / "text")
    assert k2(*RUN, cwd=work).code == 0
    (work / "run").rename(work / "whole")
    assert k2(*RUN, cwd=work, signal_at=SignalAt("step-00000006.partial")).code == -9
    assert (work / NEWEST).exists()
    return work


@pytest.fixture
def work(killed: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(killed, tmp_path / "work")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` but what is made of the others, and what a kill left behind."""
    files = (p for p in folder.rglob("*") if p.is_file() and ".partial" not in str(p))
    return {str(p.relative_to(folder)): p.read_bytes() for p in files if p.name != "report.html"}


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff\x00garbage\n" * 30)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [halve, garbage, empty, Path.unlink])
@pytest.mark.parametrize(
    "name",
    [
        f"{NEWEST}/training_state.pt",
        f"{NEWEST}/model.safetensors",
        "run/config.toml",
        "run/events.jsonl",
        "run/data/corpus.json",
        "run/data/tokenizer.json",
        "run/data/shards/train/manifest.json",
        "run/data/shards/train/tokens.bin",
        "run/data/shards/validation/offsets.bin",
        "run/data/shards/train/token_bytes.bin",
    ],
)
def test_a_damaged_file_is_named_and_nothing_else_lost(
    name: str, damage: Damage, work: Path
) -> None:
    damage(work / name)
    before = contents(work)
    message = k2(*RUN, cwd=work).error()
    folder, file = name.rsplit("/", 1)
    assert file in message or folder in message
    after = contents(work)
    if file == "events.jsonl":  # which is opened, and loses its torn last line, before it is read
        log = before.pop(name, b"")
        assert log.startswith(after.pop(name))
    assert after == before


def truncate_state(saved: dict[str, Any]) -> None:
    saved["state"][0]["momentum_buffer"] = saved["state"][0]["momentum_buffer"][:-1]


def forget_state(saved: dict[str, Any]) -> None:
    del saved["state"][0]


def forget_average(saved: dict[str, Any]) -> None:
    del saved["state"][saved["param_groups"][1]["params"][0]]["exp_avg_sq"]


def forget_rate(saved: dict[str, Any]) -> None:
    del saved["param_groups"][0]["lr"]


def forget_group(saved: dict[str, Any]) -> None:
    del saved["param_groups"][1]


@pytest.mark.parametrize(
    "change", [None, truncate_state, forget_state, forget_average, forget_rate, forget_group]
)
def test_an_optimizer_state_of_another_shape_changes_nothing(
    change: Callable[[dict[str, Any]], None] | None, tmp_path: Path
) -> None:
    model = random_model(0)
    optimizer = MuonClipOptimizer.from_model(model, qk_clip_threshold=None)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    (tmp_path / "tokenizer.json").write_text("{}")
    folder = tmp_path / "checkpoints"
    path = save_checkpoint(folder, 7, model, optimizer, 70, tmp_path / "tokenizer.json", keep=1)
    optimizer.step()
    if change is None:
        assert restore_checkpoint(path, model, optimizer) == (7, 70)
        return
    state = torch.load(path / "training_state.pt", weights_only=True)
    change(state["optimizer"])
    torch.save(state, path / "training_state.pt")
    before = {name: tensor.clone() for name, tensor in official_tensors(model)}
    with pytest.raises(UserError, match=r"training_state\.pt: not a readable") as error:
        restore_checkpoint(path, model, optimizer)
    assert "\n" not in str(error.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in official_tensors(model))


def test_a_damaged_checkpoint_can_be_deleted(work: Path, killed: Path) -> None:
    halve(work / NEWEST / "training_state.pt")
    assert f"delete {NEWEST} to resume" in k2(*RUN, cwd=work).error()
    shutil.rmtree(work / NEWEST)
    assert k2(*RUN, cwd=work).code == 0
    assert_same_outcome(work / "run", killed / "whole")


def test_without_any_checkpoint_the_run_begins_anew(work: Path, killed: Path) -> None:
    shutil.rmtree(work / "run" / "checkpoints")
    assert k2(*RUN, cwd=work).code == 0
    assert_same_outcome(work / "run", killed / "whole")


def test_a_lost_corpus_is_made_again(work: Path, killed: Path) -> None:
    shutil.rmtree(work / "run" / "data")
    assert k2(*RUN, cwd=work).code == 0
    assert_same_outcome(work / "run", killed / "whole")


def test_show_names_the_damaged_line(work: Path) -> None:
    log = work / "run" / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:3], b"{]\n", *lines[4:]]))
    assert "run/events.jsonl:4: is not an event" in k2("show", "run", cwd=work).error()
    # The run itself goes on from its checkpoint only if its report can be made of the log.
    assert "run/events.jsonl:4" in k2(*RUN, cwd=work).error()


def test_export_of_damaged_weights(work: Path) -> None:
    halve(work / NEWEST / "model.safetensors")
    before = contents(work)
    message = k2("export", "run", "--out", "model", cwd=work).error()
    assert f"{NEWEST}/model.safetensors" in message
    assert contents(work) == before


def test_show_of_a_run_that_was_killed_before_its_first_event(work: Path) -> None:
    (work / "run" / "events.jsonl").unlink()
    shown = k2("show", "run", cwd=work)
    assert shown.code == 0, shown
    assert "interrupted at step 0" in shown.stdout
