"""Text to token ids and back: byte-level BPE with Kimi K2's special tokens."""

from openk2.tokenizer.bpe import SPECIAL_TOKENS, Tokenizer

__all__ = ["SPECIAL_TOKENS", "Tokenizer"]
