"""Log-probabilities in the shapes of OpenAI's two APIs."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from openk2.inference.requests import TopTokens
from openk2.tokenizer import StreamDecoder, Tokenizer

__all__ = ["ScoredToken", "TextLogProbs", "chat_log_probs", "token_name"]

# (token, its log-probability or None for a prompt's first, the likeliest instead)
ScoredToken = tuple[int, float | None, TopTokens]
# OpenAI's figure for "as good as never"; JSON has no -Infinity.
NEVER = -9999.0


def chat_log_probs(tokenizer: Tokenizer, scored: Iterable[ScoredToken]) -> list[dict[str, Any]]:
    """`choices[].logprobs.content` of a chat."""
    table = tokenizer.token_table()

    def entry(token: int, log_prob: float | None) -> dict[str, Any]:
        spelled = _bytes(table, token)
        return {
            "token": token_name(spelled),
            "logprob": _finite(log_prob),
            "bytes": list(spelled),
        }

    return [
        {
            **entry(token, log_prob),
            "top_logprobs": [entry(other, value) for other, value in top],
        }
        for token, log_prob, top in scored
    ]


class TextLogProbs:
    """`choices[].logprobs` of a completion, piece by piece.

    text_offset counts characters of the choice's text; of tokens that share a character, the later
    ones begin where it ends, as far as the text goes by then.
    """

    def __init__(self, tokenizer: Tokenizer, alternatives: int) -> None:
        self._table = tokenizer.token_table()
        self._decoder = StreamDecoder(tokenizer, skip_special=True)
        self._alternatives = alternatives
        self._offset = 0

    def piece(self, scored: Sequence[ScoredToken]) -> dict[str, Any]:
        """The lists for these tokens, which follow those of the piece before."""
        tokens, values, tops, offsets = [], [], [], []
        for token, log_prob, top in scored:
            name = token_name(_bytes(self._table, token))
            tokens.append(name)
            values.append(None if log_prob is None else _finite(log_prob))
            tops.append(None if log_prob is None else self._top(name, log_prob, top))
            offsets.append(self._offset)
            self._offset += len(self._decoder.feed([token]))
        return {
            "tokens": tokens,
            "token_logprobs": values,
            "top_logprobs": tops if self._alternatives else None,
            "text_offset": offsets,
        }

    def _top(self, name: str, log_prob: float, top: TopTokens) -> dict[str, float]:
        """By name, likeliest first: of two tokens with one name the likelier counts."""
        found: dict[str, float] = {}
        for other, value in top[: self._alternatives]:
            found.setdefault(token_name(_bytes(self._table, other)), _finite(value))
        found.setdefault(name, _finite(log_prob))
        return found


def token_name(spelled: bytes) -> str:
    """A token's text; of one that is not whole characters the bytes, as OpenAI shows them."""
    try:
        return spelled.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in spelled)


def _bytes(table: Sequence[bytes], token: int) -> bytes:
    # Rows of the embedding beyond the tokenizer's vocabulary stand for nothing.
    return table[token] if token < len(table) else b""


def _finite(log_prob: float | None) -> float:
    return log_prob if log_prob is not None and math.isfinite(log_prob) else NEVER
