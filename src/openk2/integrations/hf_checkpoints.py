"""Checkpoint folders as Hugging Face tools know them."""

from pathlib import Path

import torch

from openk2.core.errors import UserError
from openk2.core.run_folder import atomic_folder
from openk2.models import KimiK2MoEModel
from openk2.models.checkpoint_layout import write_weights
from openk2.tokenizer import Tokenizer
from openk2.tokenizer.hugging_face_files import write_hugging_face_files

__all__ = ["save_pretrained"]


def save_pretrained(
    model: KimiK2MoEModel,
    folder: str | Path,
    dtype: torch.dtype | None = None,
    tokenizer_from: Path | None = None,
) -> Path:
    """Write `model` so that stock transformers loads it as DeepseekV3ForCausalLM.

    `dtype` converts the weights; `tokenizer_from` is a folder whose tokenizer.json goes along, with
    what transformers wants beside it: chat template, special tokens, stop tokens. The folder
    appears whole or not at all; raises UserError if it exists already, or for a bad tokenizer.
    """
    folder = Path(folder)
    if folder.exists():
        raise UserError(f"{folder}: exists already; choose another folder")
    tokenizer = None
    if tokenizer_from is not None:
        tokenizer = Tokenizer.load(tokenizer_from / "tokenizer.json")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(folder) as partial:
        write_weights(model, partial, dtype)
        if tokenizer is not None:
            write_hugging_face_files(tokenizer, partial, model.config.max_position_embeddings)
    return folder
