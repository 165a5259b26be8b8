"""What goes into the engine and what comes out of it, token by token."""

from dataclasses import dataclass, field

from openk2.core.generation import Constraint, FinishReason, SamplingOptions

__all__ = [
    "Generation",
    "GenerationRequest",
    "PausedRequest",
    "PausedSample",
    "Sample",
    "TokenScore",
    "TopTokens",
    "Update",
]

# (token, log-probability) of the likeliest tokens at a position, likeliest first.
TopTokens = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class GenerationRequest:
    """One prompt and how to continue it.

    prompt             token ids, at least one
    samples            independent continuations; the prompt is computed once for all of them
    constraint         what the new text must look like
    prompt_log_probs   also give the log-probability of every prompt token but the first
    """

    prompt: tuple[int, ...]
    options: SamplingOptions = field(default_factory=SamplingOptions)
    samples: int = 1
    constraint: Constraint | None = None
    prompt_log_probs: bool = False


@dataclass(frozen=True)
class TokenScore:
    """A token's log-probability in the model's own distribution, and the likeliest instead."""

    token: int
    log_prob: float
    top: TopTokens = ()


@dataclass(slots=True)
class Update:
    """What one step of the engine brought for one sample of one request.

    request         the number that `submit` gave
    sample          0 .. samples-1; -1 where the update is about the request itself
    tokens          new token ids, a stop token included
    log_probs       of each under the distribution it was drawn from: after bias, temperature,
                    filters and grammar. At temperature 0, of the model's own distribution
    top             for each the likeliest tokens of that distribution, where asked for
    finish_reason   set on the sample's last update
    accepted        the request has passed all checks and is in the queue (sample -1, first update)
    refused         why the request cannot be run (sample -1, the only update)
    cached_tokens   on `accepted` 0; on a sample's first tokens, how much of the prompt was cached
    prompt_scores   on the update after the prompt was computed, where asked for (sample -1)
    """

    request: int
    sample: int = -1
    tokens: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()
    top: tuple[TopTokens, ...] = ()
    finish_reason: FinishReason | None = None
    accepted: bool = False
    refused: str | None = None
    cached_tokens: int = 0
    prompt_scores: tuple[TokenScore, ...] = ()


@dataclass
class Sample:
    """One finished continuation: see `Update` for the fields."""

    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    top: list[TopTokens] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    text: str = ""


@dataclass
class Generation:
    """All samples of one request; `refused` says why there are none."""

    samples: list[Sample]
    prompt_scores: tuple[TokenScore, ...] = ()
    cached_tokens: int = 0
    refused: str | None = None

    def add(self, update: Update) -> None:
        """Take what one step brought."""
        if update.sample >= 0:
            sample = self.samples[update.sample]
            sample.tokens += update.tokens
            sample.log_probs += update.log_probs
            sample.top += update.top
            sample.finish_reason = update.finish_reason
            self.cached_tokens += update.cached_tokens
        elif update.refused is not None:
            self.refused = update.refused
        elif update.prompt_scores:
            self.prompt_scores = update.prompt_scores


@dataclass(frozen=True)
class PausedSample:
    """An unfinished continuation: its number, the key of its random numbers, what it has so far."""

    sample: int
    key: int | None
    tokens: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()
    top: tuple[TopTokens, ...] = ()


@dataclass(frozen=True)
class PausedRequest:
    """A request and its unfinished samples, to go on with: plain data, to be kept or sent."""

    request: GenerationRequest
    samples: tuple[PausedSample, ...]

    @classmethod
    def at_start(cls, request: GenerationRequest) -> "PausedRequest":
        """A request of which nothing is done."""
        return cls(request, tuple(PausedSample(i, None) for i in range(request.samples)))
