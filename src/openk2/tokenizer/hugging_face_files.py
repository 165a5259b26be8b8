"""The files by which Hugging Face tools know a tokenizer, its chat template and its stop tokens."""

import json
from pathlib import Path

from openk2.core.run_folder import write_atomically
from openk2.tokenizer.bpe import SPECIAL_TOKENS, Tokenizer
from openk2.tokenizer.chat_template import chat_template

__all__ = ["write_hugging_face_files"]


def write_hugging_face_files(tokenizer: Tokenizer, folder: Path, context_length: int) -> None:
    """Write tokenizer.json, tokenizer_config.json, chat_template.jinja and generation_config.json.

    `context_length`, in tokens, is what the model was made for.
    """
    roles = {"bos_token": "[BOS]", "eos_token": "[EOS]", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **roles,
        "additional_special_tokens": [
            name
            for name, envelope in SPECIAL_TOKENS.items()
            if envelope and name not in roles.values()
        ],
        "clean_up_tokenization_spaces": False,
        "model_max_length": context_length,
    }
    generation = {
        "bos_token_id": tokenizer.special["[BOS]"],
        "eos_token_id": [tokenizer.special["<|im_end|>"], tokenizer.special["[EOS]"]],
        "pad_token_id": tokenizer.special["[PAD]"],
    }
    tokenizer.save(folder / "tokenizer.json")
    for name, content in (
        ("tokenizer_config.json", json.dumps(settings, indent=2) + "\n"),
        ("generation_config.json", json.dumps(generation, indent=2) + "\n"),
        ("chat_template.jinja", chat_template()),
    ):
        write_atomically(folder / name, content.encode())
