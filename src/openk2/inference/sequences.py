"""One continuation in the making, and one prompt on its way into the cache."""

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from openk2.core.generation import FinishReason, SamplingOptions
from openk2.inference.requests import TokenScore, TopTokens

if TYPE_CHECKING:
    from openk2.inference.constrained import Matcher

__all__ = ["Prefill", "Sequence", "repeats", "sample_key"]

LONGEST_PHRASE = 64  # tokens that repetition detection looks at as one phrase
REPETITION_EVERY = 8  # tokens between two looks


@dataclass(eq=False)
class Sequence:
    """One sample of one request, from its first token to its last."""

    request: int
    sample: int
    prompt: tuple[int, ...]
    options: SamplingOptions
    key: int  # what its random numbers come from
    max_tokens: int
    stop_tokens: frozenset[int]
    token_table: list[bytes] | None  # the bytes of each id, where there are stop texts
    matcher: "Matcher | None" = None
    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    top: list[TopTokens] = field(default_factory=list)
    lane: int = -1
    blocks: list[int] = field(default_factory=list)
    block_keys: list[bytes] = field(default_factory=list)  # of the full ones
    cached_tokens: int = 0  # of the prompt, not told yet
    _tail: bytes = b""

    def __post_init__(self) -> None:
        self._stop = tuple(text.encode() for text in self.options.stop)
        self._longest_stop = max(map(len, self._stop), default=0)
        for token in self.tokens:  # of a sequence that was paused
            self._find_stop(token)

    @property
    def length(self) -> int:
        """Tokens so far, prompt and new."""
        return len(self.prompt) + len(self.tokens)

    def append(self, token: int, log_prob: float) -> FinishReason | None:
        """Take one more token; why the sample ends with it, or None."""
        broken = self.matcher is not None and self.matcher.problem
        if broken or log_prob != log_prob:  # NaN: there was nothing to draw from
            return "failed"
        self.tokens.append(token)
        self.log_probs.append(log_prob)
        if token in self.stop_tokens or (self._stop and self._find_stop(token)):
            return "stop"
        if self.matcher is not None:
            self.matcher.advance(token)
            if self.matcher.finished:
                return "failed" if self.matcher.problem else "stop"
        if len(self.tokens) >= self.max_tokens:
            return "length"
        limit = self.options.repetition_limit
        if limit and len(self.tokens) % REPETITION_EVERY == 0 and repeats(self.tokens, limit):
            return "repetition"
        return None

    def _find_stop(self, token: int) -> bool:
        """Whether a stop text ends within this token's bytes."""
        if self.token_table is None:
            return False
        new = self.token_table[token] if token < len(self.token_table) else b""
        text = self._tail + new
        self._tail = text[-self._longest_stop :]
        return any(stop in text for stop in self._stop)

    def block_tokens(self, block: int, size: int) -> list[int]:
        """The tokens in its block number `block`."""
        begin, end = block * size, (block + 1) * size
        before = len(self.prompt)
        if begin >= before:
            return self.tokens[begin - before : end - before]
        return [*self.prompt[begin:end], *self.tokens[: max(end - before, 0)]]


@dataclass(eq=False)
class Prefill:
    """Tokens to be cached, and the sequences that go on from their end.

    done     how many are cached
    logits   of the token after the last, once all are
    """

    tokens: tuple[int, ...]
    sequences: deque[Sequence]
    want_scores: bool = False
    done: int = 0
    cached: int = 0
    blocks: list[int] = field(default_factory=list)
    block_keys: list[bytes] = field(default_factory=list)
    logits: Tensor | None = None
    scores: list[TokenScore] = field(default_factory=list)

    @property
    def request(self) -> int:
        return self.sequences[0].request


def repeats(tokens: list[int], times: int) -> bool:
    """Whether the tokens end with one phrase (at most LONGEST_PHRASE tokens) `times` times over."""
    tail = np.asarray(tokens[-LONGEST_PHRASE * times :])
    for period in range(1, min(LONGEST_PHRASE, len(tail) // times) + 1):
        end = tail[-period * times :]
        if times > 1 and (end[period:] == end[:-period]).all():
            return True
    return False


def sample_key(seed: int, sample: int) -> int:
    """64 bits from a request's seed and the sample's number; different for each."""
    entropy = np.random.SeedSequence([seed % 2**64, sample]).generate_state(2, np.uint32)
    return int(entropy[0]) << 32 | int(entropy[1])
