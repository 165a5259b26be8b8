"""Checkpoints: a folder per step, whole or absent, from which training goes on exactly.

checkpoints/step-00000100/
    config.json, model.safetensors   the official layout: any tool loads it
    tokenizer.json
    training_state.pt                step, size of the event log, optimizer state
"""

import shutil
from pathlib import Path
from typing import Any

import torch

from openk2.core.errors import UserError
from openk2.core.run_folder import atomic_folder
from openk2.models import KimiK2MoEModel
from openk2.models.checkpoint_layout import read_weights, write_weights
from openk2.optimizers import MuonClipOptimizer, check_state_dict

__all__ = ["checkpoint_path", "restore_checkpoint", "save_checkpoint"]


def checkpoint_path(folder: Path, step: int) -> Path:
    """The folder of the checkpoint after `step`."""
    return folder / f"step-{step:08d}"


def save_checkpoint(
    folder: Path,
    step: int,
    model: KimiK2MoEModel,
    optimizer: MuonClipOptimizer,
    events_size: int,
    tokenizer_file: Path,
    keep: int,
) -> Path:
    """Write the checkpoint after `step`, then delete all but the newest `keep`."""
    path = checkpoint_path(folder, step)
    folder.mkdir(exist_ok=True)
    if not path.exists():
        with atomic_folder(path) as partial:
            write_weights(model, partial)
            shutil.copy(tokenizer_file, partial / "tokenizer.json")
            state = {
                "step": step,
                "events_size": events_size,
                "optimizer": optimizer.state_dict(),
            }
            # Through a Python file, so that a full disk is an OSError and not an iostream's text.
            with (partial / "training_state.pt").open("wb") as file:
                torch.save(state, file)
    for old in sorted(folder.glob("step-????????"))[:-keep]:
        # By another name first: what a kill leaves of it is no checkpoint, and is swept.
        shutil.rmtree(old.rename(old.with_name(old.name + ".partial")))
    return path


def restore_checkpoint(
    path: Path, model: KimiK2MoEModel, optimizer: MuonClipOptimizer
) -> tuple[int, int]:
    """Fill model and optimizer; returns the step and the size of the event log at that moment.

    Raises UserError when the checkpoint is damaged or was written by a run of another shape.
    """
    file = path / "training_state.pt"
    try:
        # weights_only: a checkpoint may have been downloaded, and a pickle can run anything.
        state: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
        step, events_size = int(state["step"]), int(state["events_size"])
        check_state_dict(state["optimizer"], optimizer.param_groups, complete=True)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; the checkpoint cannot be trained on") from None
    except Exception as error:
        reason = "it lacks " if isinstance(error, KeyError) else ""
        reason += str(error).split("\n")[0]
        raise UserError(
            f"{file}: not a readable training state: {reason}; delete {path} to resume from the "
            "checkpoint before it"
        ) from None
    read_weights(model, path)
    optimizer.load_state_dict(state["optimizer"])
    return step, events_size
