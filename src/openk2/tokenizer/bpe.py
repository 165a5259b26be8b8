"""Byte-level BPE with Kimi K2's pre-split pattern and special tokens.

- Every string of valid Unicode round-trips exactly: no normaliser, no prefix space, no unknowns.
- The first 256 ids are the bytes, then come the merges, and the special tokens last, as in the
  release.
- `encode` never makes a special token: a document that contains the text "<|im_end|>" is bytes
  like any other. Special ids come only from `special`, by name, from code that means them.
- One file, tokenizer.json, which the `tokenizers` and `transformers` libraries read too.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from openk2.core.errors import UserError
from openk2.core.run_folder import write_atomically

__all__ = ["SPECIAL_TOKENS", "Tokenizer"]

# The release's pattern as it stands: Oniguruma, the engine inside `tokenizers`, knows the class
# intersection `&&` that it needs.
SPLIT_PATTERN = "|".join(
    [
        r"[\p{Han}]+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)

# The learner's time grows with the square of the longest piece, and a file may hold one run of
# millions of letters (a genome, a blob); so it sees long pieces in parts of 64 characters.
LEARNED_RUN = r"[\s\S]{1,64}"

# Name -> whether it is an envelope, which `decode(..., skip_special=True)` drops. The tool tokens
# are not, so that a reader of the text can still parse the calls. Order as in the release.
SPECIAL_TOKENS = {
    "[BOS]": True,
    "[EOS]": True,
    "<|im_end|>": True,
    "<|im_user|>": True,
    "<|im_assistant|>": True,
    "<|start_header_id|>": True,
    "<|end_header_id|>": True,
    "[EOT]": True,
    "<|im_system|>": True,
    "<|tool_calls_section_begin|>": False,
    "<|tool_calls_section_end|>": False,
    "<|tool_call_begin|>": False,
    "<|tool_call_argument_begin|>": False,
    "<|tool_call_end|>": False,
    "<|im_middle|>": True,
    "[UNK]": True,
    "[PAD]": True,
}


def _byte_alphabet() -> dict[str, int]:
    """The character that stands for each byte in a byte-level vocabulary (from GPT-2): itself where
    it prints and is no blank, and the next free one from U+0100 on where not."""
    printing = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(256)).difference(printing))
    alphabet = {chr(byte): byte for byte in printing}
    return alphabet | {chr(0x100 + number): byte for number, byte in enumerate(others)}


BYTE_OF = _byte_alphabet()


class Tokenizer:
    """Text <-> token ids.

    special           ids of the special tokens by name
    vocabulary_size   number of ids, special tokens included
    fingerprint       SHA-256 of tokenizer.json, to tell which tokenizer made a token shard
    """

    def __init__(self, description: str) -> None:
        """`description` is the text of a tokenizer.json; use `train` or `load` instead."""
        parsed = json.loads(description)
        plain = json.dumps({**parsed, "added_tokens": []})
        self._description = description
        self._full = tokenizers.Tokenizer.from_str(description)
        # A twin that knows no special tokens, hence cannot make one from a document's text.
        self._plain = tokenizers.Tokenizer.from_str(plain)
        vocabulary: dict[str, int] = self._full.get_vocab()
        missing = [name for name in SPECIAL_TOKENS if name not in vocabulary]
        if missing:
            raise ValueError(f"it has no special token {missing[0]}")
        self.special = {name: vocabulary[name] for name in SPECIAL_TOKENS}
        self.vocabulary_size = len(vocabulary)
        self.fingerprint = hashlib.sha256(description.encode()).hexdigest()

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary_size: int) -> "Tokenizer":
        """Learn the merges of `texts`; the same texts give the same tokenizer on any machine.

        `vocabulary_size` counts the bytes, the merges and the special tokens; texts with too few
        repeated pairs give fewer merges, hence a smaller vocabulary. Raises UserError below the
        size that the bytes and the special tokens take.
        """
        smallest = 256 + len(SPECIAL_TOKENS)
        if vocabulary_size < smallest:
            raise UserError(f"vocabulary_size is {vocabulary_size}; it must be at least {smallest}")
        split = pre_tokenizers.Split(tokenizers.Regex(SPLIT_PATTERN), "isolated")
        shorten = pre_tokenizers.Split(tokenizers.Regex(LEARNED_RUN), "isolated")
        to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        learner = tokenizers.Tokenizer(models.BPE())
        learner.pre_tokenizer = pre_tokenizers.Sequence([split, shorten, to_bytes])
        learner.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary_size - len(SPECIAL_TOKENS),
            min_frequency=2,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        learner.train_from_iterator(texts, trainer)
        learner.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
        learner.add_tokens(
            [
                tokenizers.AddedToken(name, special=special, normalized=False)
                for name, special in SPECIAL_TOKENS.items()
            ]
        )
        return cls(learner.to_str())

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Read a tokenizer.json; UserError if it is missing, damaged or not one of ours."""
        try:
            return cls(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path}: cannot read the tokenizer: {error.strerror}") from None
        except Exception as error:  # the Rust parser raises bare Exception
            raise UserError(f"{path}: not a tokenizer of OpenK2: {error}") from None

    def save(self, path: Path) -> None:
        """Write tokenizer.json to `path`, whole or not at all."""
        write_atomically(path, self._description.encode())

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; never a special one. `decode` gives the text back exactly."""
        ids: list[int] = self._plain.encode(text).ids
        return ids

    def encode_batch(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """`encode` of each text, on all cores (RAYON_NUM_THREADS limits them)."""
        return (encoding.ids for encoding in self._plain.encode_batch_fast(texts))

    def decode(self, ids: Sequence[int], skip_special: bool = False) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD.

        With `skip_special` the envelope tokens are left out and the tool tokens stay.
        """
        text: str = self._full.decode(ids, skip_special_tokens=skip_special)
        return text

    @functools.cached_property
    def _table(self) -> list[bytes]:
        table = [b""] * self.vocabulary_size
        for token, id in self._full.get_vocab().items():
            in_alphabet = all(character in BYTE_OF for character in token)
            table[id] = bytes(map(BYTE_OF.__getitem__, token)) if in_alphabet else token.encode()
        return table

    def token_table(self) -> list[bytes]:
        """The bytes that each id stands for; for a special token, its name.

        One list for all callers, not to be changed. The bytes of ids in a row, decoded with U+FFFD
        for what is not UTF-8, are what `decode` gives.
        """
        return self._table

    def token_bytes(self) -> list[int]:
        """How many bytes of text each id stands for; 0 for special tokens.

        The sum over `encode(text)` is the length of the text in UTF-8.
        """
        lengths = [len(token) for token in self._table]
        for id in self.special.values():
            lengths[id] = 0
        return lengths
