"""Checkpoint folders as Hugging Face tools know them."""

import shutil
from pathlib import Path

import torch

from openk2.core.errors import UserError
from openk2.core.run_folder import atomic_folder
from openk2.models import KimiK2Config, KimiK2MoEModel
from openk2.models.checkpoint_layout import read_weights, write_weights

__all__ = ["load_pretrained", "save_pretrained"]


def load_pretrained(
    folder: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> KimiK2MoEModel:
    """A model from a folder in the official layout (model_type kimi_k2 or deepseek_v3).

    Strict: raises UserError for a tensor that is missing, extra or misshapen, and for a config
    that is not of this architecture.
    """
    folder = Path(folder)
    with torch.device("meta"):
        model = KimiK2MoEModel(KimiK2Config.from_hf(folder))
    model.to(dtype).to_empty(device=device)
    for router in model.routers():
        router.float()
    model.reset_state()
    read_weights(model, folder)
    return model


def save_pretrained(
    model: KimiK2MoEModel,
    folder: str | Path,
    dtype: torch.dtype | None = None,
    tokenizer_from: Path | None = None,
) -> Path:
    """Write `model` so that stock transformers loads it as DeepseekV3ForCausalLM.

    `dtype` converts the weights; `tokenizer_from` is a folder whose tokenizer.json goes along. The
    folder appears whole or not at all; raises UserError if it exists already.
    """
    folder = Path(folder)
    if folder.exists():
        raise UserError(f"{folder}: exists already; choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(folder) as partial:
        write_weights(model, partial, dtype)
        if tokenizer_from is not None:
            shutil.copy(tokenizer_from / "tokenizer.json", partial)
    return folder
