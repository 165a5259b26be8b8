"""How a text is to be continued, under which constraint, and what came of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from openk2.core.records import Message, ToolSpec

__all__ = [
    "DEFAULT_SAMPLING",
    "Completion",
    "Constraint",
    "FinishReason",
    "JsonSchemaFormat",
    "RegexFormat",
    "SamplingOptions",
    "ToolCallFormat",
]

# stop: a stop token or string, or the end of the grammar; repetition: the same words over and over;
# failed: the model's numbers are not finite, or the grammar allows no token.
FinishReason = Literal["stop", "length", "repetition", "aborted", "failed"]


@dataclass(frozen=True)
class SamplingOptions:
    """How to draw tokens. Filters apply in this order: bias, temperature, top-k, top-p, min-p.

    temperature      0 takes the likeliest token
    top_p            keep the likeliest tokens that together reach this probability
    top_k            keep that many; 0 keeps all
    min_p            drop tokens below this share of the likeliest one's probability
    max_tokens       at most so many new tokens; None: up to the end of the context
    seed             the token at a position is a function of the prompt, the options, the seed and
                     the sample's number: None draws a seed
    stop             texts that end the sample, not part of it
    stop_tokens      ids that end the sample, part of its tokens but not of its text
    logit_bias       id -> added to its logit; -100 and below forbids it
    top_log_probs    record so many of the likeliest tokens at each position
    repetition_limit end the sample when its last tokens are one phrase this many times over;
                     0 never
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_tokens: tuple[int, ...] = ()
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    top_log_probs: int = 0
    repetition_limit: int = 0

    def __post_init__(self) -> None:
        """ValueError naming the option that is out of range."""
        bounds: tuple[tuple[str, float, float], ...] = (
            ("temperature", 0, 100),
            ("top_p", 0, 1),
            ("top_k", 0, math.inf),
            ("min_p", 0, 1),
            ("top_log_probs", 0, 100),
            ("repetition_limit", 0, math.inf),
        )
        for name, low, high in bounds:
            value = getattr(self, name)
            if not (isinstance(value, int | float) and low <= value <= high):
                until = f"and {high:g}" if high < math.inf else "and more"
                raise ValueError(f"{name} is {value!r}; it must lie between {low} {until}")
        if self.top_p == 0:
            raise ValueError("top_p is 0; it must be above 0")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}; it must be at least 1")
        if any(not text for text in self.stop):
            raise ValueError("stop holds an empty text, which every text contains")
        if any(not math.isfinite(bias) for bias in self.logit_bias.values()):
            raise ValueError("logit_bias holds a value that is not finite")


DEFAULT_SAMPLING = SamplingOptions()


@dataclass(frozen=True)
class JsonSchemaFormat:
    """The whole text is JSON that the schema admits; `{}` and `True` admit any JSON."""

    schema: Mapping[str, Any] | bool = True


@dataclass(frozen=True)
class RegexFormat:
    """The whole text matches the pattern (Rust's regex syntax, anchored at both ends)."""

    pattern: str


@dataclass(frozen=True)
class ToolCallFormat:
    """K2's tool call section with each tool's schema: the paper's "enforcer" (appendix B).

    choice        "auto": free text until the model begins a section by itself; "required": at least
                  one call; else the name of the one tool to call
    parallel      several calls may follow each other in the section
    first_index   the number of the first call: calls are counted over the whole dialog
    """

    tools: tuple[ToolSpec, ...]
    choice: str = "auto"
    parallel: bool = True
    first_index: int = 0


Constraint = JsonSchemaFormat | RegexFormat | ToolCallFormat


@dataclass(frozen=True)
class Completion:
    """One continuation.

    text            the new text, envelope tokens left out, tool call tokens kept
    tokens          its ids, with the stop token that ended it; empty where a server hides them
    log_probs       of each token, under the distribution that it was drawn from
    message         of a chat: the turn, parsed
    prompt_tokens   how many tokens the prompt had; `cached_tokens` of them were not computed anew
    """

    text: str
    finish_reason: str
    tokens: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()
    message: Message | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
