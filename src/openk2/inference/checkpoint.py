"""A folder that a user names, be it of a run or of an export, as model and tokenizer."""

from pathlib import Path

import torch

from openk2.core.errors import UserError
from openk2.core.run_folder import RunFolder, latest_checkpoint
from openk2.models import KimiK2MoEModel
from openk2.models.pretrained import load_pretrained
from openk2.tokenizer import Tokenizer

__all__ = ["find_checkpoint", "load_checkpoint", "load_tokenizer"]


def find_checkpoint(path: Path) -> Path:
    """The folder with the weights: the newest checkpoint of a run, or the folder itself.

    Raises UserError if there is nothing to load.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; give a run's folder or an exported one")
    if (path / "config.json").exists():
        return path
    run = RunFolder(path)
    newest = latest_checkpoint(run.checkpoints)
    if newest is None:
        begun = run.config.exists()
        what = "holds no checkpoint yet; train it first" if begun else "holds no model"
        raise UserError(f"{path}: {what}")
    return newest


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer beside a checkpoint's weights; UserError if there is none."""
    return Tokenizer.load(folder / "tokenizer.json")


def load_checkpoint(
    path: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[KimiK2MoEModel, Tokenizer]:
    """Model and tokenizer of a run folder or an exported folder, on `device` in `dtype`.

    Raises UserError if either is missing or damaged, or if the model has fewer tokens.
    """
    folder = find_checkpoint(path)
    tokenizer = load_tokenizer(folder)
    model = load_pretrained(folder, device, dtype).eval()
    if tokenizer.vocabulary_size > model.config.vocab_size:
        raise UserError(
            f"{folder}: tokenizer.json has {tokenizer.vocabulary_size} tokens, the model "
            f"{model.config.vocab_size}; they do not belong together"
        )
    return model, tokenizer
