"""Loading and saving folders of the official layout: precision, quantised weights, chat."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from openk2.core.errors import UserError
from openk2.core.records import Message
from openk2.integrations.hf_checkpoints import save_pretrained
from openk2.models.pretrained import load_pretrained
from openk2.tokenizer import ChatFormat

from ..models.test_config import RELEASED
from ..parity.random_models import random_batch, random_model
from ..tokenizer.test_bpe import small_tokenizer


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


def test_an_export_with_a_tokenizer_chats_in_transformers(tmp_path: Path) -> None:
    tokenizer = small_tokenizer()
    tokenizer.save(tmp_path / "tokenizer.json")
    model = random_model(0)
    folder = save_pretrained(model, tmp_path / "export", tokenizer_from=tmp_path)
    theirs = AutoTokenizer.from_pretrained(folder)
    assert theirs.model_max_length == model.config.max_position_embeddings
    rendered = theirs.apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True, return_dict=False
    )
    ours = ChatFormat(tokenizer).render([Message("user", "hi")], generation_prompt=True)
    assert rendered == ours.tokens
    generation = AutoModelForCausalLM.from_pretrained(folder).generation_config
    assert generation.eos_token_id == [tokenizer.special["<|im_end|>"], tokenizer.special["[EOS]"]]
    assert generation.pad_token_id == tokenizer.special["[PAD]"]


def test_a_damaged_tokenizer_is_not_exported(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json: not a tokenizer of OpenK2"):
        save_pretrained(random_model(0), tmp_path / "export", tokenizer_from=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]
