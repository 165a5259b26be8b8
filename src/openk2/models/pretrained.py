"""A model from a checkpoint folder."""

from pathlib import Path

import torch

from openk2.core.errors import UserError
from openk2.models.checkpoint_layout import read_weights
from openk2.models.config import KimiK2Config, read_config_json
from openk2.models.k2_moe import KimiK2MoEModel

__all__ = ["load_pretrained"]


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
