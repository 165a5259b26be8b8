"""Checkpoint folders as Hugging Face tools know them."""

import shutil
from pathlib import Path

import torch

from openk2.core.errors import UserError
from openk2.core.run_folder import atomic_folder
from openk2.models import KimiK2Config, KimiK2MoEModel
from openk2.models.checkpoint_layout import read_weights, write_weights
from openk2.models.config import read_config_json

__all__ = ["load_pretrained", "save_pretrained"]


def load_pretrained(
    folder: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> KimiK2MoEModel:
    """A model from a folder in the official layout (model_type kimi_k2 or deepseek_v3).

    `dtype` is that of the parameters but the routers', which stay in float32 as all buffers do.
    Strict: raises UserError for a tensor that is missing, extra, misshapen or quantised, and for a
    config that is not of this architecture.
    """
    folder = Path(folder)
    config = KimiK2Config.from_hf(folder)
    _refuse_quantised(folder / "config.json")
    with torch.device("meta"):
        model = KimiK2MoEModel(config)
    # Not model.to(dtype): the buffers are float32 by contract, S_max of QK-Clip among them.
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    for router in model.routers():
        router.float()
    model.to_empty(device=device)
    model.reset_state()
    read_weights(model, folder)
    return model


def _refuse_quantised(file: Path) -> None:
    quantization = read_config_json(file).get("quantization_config")
    if quantization is not None:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else None
        raise UserError(
            f"{file}: the weights are {method or 'quantised'}; dequantise them to bfloat16 first"
        )


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
