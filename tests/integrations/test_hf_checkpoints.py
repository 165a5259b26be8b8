"""Loading and saving folders of the official layout: precision, quantised weights."""

import json
from pathlib import Path

import pytest
import torch

from openk2.core.errors import UserError
from openk2.integrations.hf_checkpoints import load_pretrained, save_pretrained

from ..models.test_config import RELEASED
from ..parity.random_models import random_batch, random_model


def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    folder = save_pretrained(random_model(0), tmp_path / "export")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = RELEASED["quantization_config"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="weights are fp8; dequantise them to bfloat16 first"):
        load_pretrained(folder)


def test_bfloat16_keeps_routers_and_buffers_in_float32(tmp_path: Path) -> None:
    folder = save_pretrained(random_model(0), tmp_path / "export")
    model = load_pretrained(folder, dtype=torch.bfloat16)
    for name, parameter in model.named_parameters():
        expected = torch.float32 if ".gate.weight" in name else torch.bfloat16
        assert parameter.dtype == expected, name
    assert all(b.dtype == torch.float32 for b in model.buffers() if b.is_floating_point())
    tokens, documents = random_batch(model.config, 0, packed=False)
    with model.exact_max_logits() as found:
        model(tokens, documents)
    assert all(s.dtype == torch.float32 and s.isfinite().all() for s in found)


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_the_dtype_in_config_json_is_that_of_the_tensors(
    dtype: torch.dtype | None, tmp_path: Path
) -> None:
    folder = save_pretrained(random_model(0), tmp_path / "float32")
    model = load_pretrained(folder, dtype=torch.bfloat16)
    written = json.loads(
        (save_pretrained(model, tmp_path / "x", dtype) / "config.json").read_text()
    )
    expected = "float32" if dtype == torch.float32 else "bfloat16"
    assert written["dtype"] == written["torch_dtype"] == expected
