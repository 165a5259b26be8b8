"""From the engine's updates to an answer: whole, or in pieces.

An answer is what its pieces add up to, so a client that streams gets the same as one that waits.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from openk2.inference.requests import TokenScore, Update
from openk2.serving.event_stream import event
from openk2.serving.exchange import Exchange
from openk2.serving.log_probs import ScoredToken
from openk2.serving.usage import Usage

__all__ = ["Choice", "Choices", "collect", "merged", "pieces", "scored_tokens"]

# Seconds of silence after which a comment shows proxies and clients that the stream is alive.
SILENCE = 15.0


class Choice(Protocol):
    """One of an answer's `choices`."""

    def begin(self, prompt_scores: Sequence[TokenScore]) -> None:
        """The prompt has been computed; only for requests that asked for its log-probabilities."""

    def feed(self, update: Update) -> dict[str, Any] | None:
        """What the update adds, as a stream shows it; None where there is nothing to show yet."""

    def whole(self) -> dict[str, Any]:
        """All of it, after the last update."""


Choices = Mapping[tuple[int, int], Choice]  # by position of the prompt and number of the sample


async def collect(exchange: Exchange, choices: Choices, usage: Usage) -> None:
    """Feed the choices until the end. Raises ApiError."""
    while updates := await exchange.updates():
        for _ in _fed(updates, choices, usage):
            pass


async def pieces(
    exchange: Exchange,
    choices: Choices,
    usage: Usage,
    head: Mapping[str, Any],
    include_usage: bool,
) -> AsyncIterator[bytes]:
    """The answer's events. What has come at the same time goes out at once. Raises ApiError."""
    unknown = {"usage": None} if include_usage else {}
    while True:
        try:
            async with asyncio.timeout(SILENCE):
                updates = await exchange.updates()
        except TimeoutError:
            yield b": the request waits or runs\n\n"
            continue
        if not updates:
            break
        shown = [
            event({**head, "choices": [piece], **unknown})
            for piece in _fed(updates, choices, usage)
        ]
        if shown:
            yield b"".join(shown)
    if include_usage:
        yield event({**head, "choices": [], "usage": usage.report()})


def _fed(
    updates: Sequence[tuple[int, Update]], choices: Choices, usage: Usage
) -> list[dict[str, Any]]:
    shown = []
    for position, update in merged(updates):
        usage.add(position, update)
        if update.sample < 0:
            if update.prompt_scores:
                for (at, _), choice in choices.items():
                    if at == position:
                        choice.begin(update.prompt_scores)
            continue
        piece = choices[position, update.sample].feed(update)
        if piece is not None:
            shown.append(piece)
    return shown


def merged(updates: Sequence[tuple[int, Update]]) -> list[tuple[int, Update]]:
    """One update for each sample in `updates`; those about whole requests come first."""
    apart: list[tuple[int, Update]] = []
    by_sample: dict[tuple[int, int], list[Update]] = {}
    for position, update in updates:
        if update.sample < 0:
            apart.append((position, update))
        else:
            by_sample.setdefault((position, update.sample), []).append(update)
    for (position, _), several in by_sample.items():
        update = several[0]
        if len(several) > 1:
            update = replace(
                update,
                tokens=tuple(token for one in several for token in one.tokens),
                log_probs=tuple(value for one in several for value in one.log_probs),
                top=tuple(top for one in several for top in one.top),
                finish_reason=several[-1].finish_reason,
            )
        apart.append((position, update))
    return apart


def scored_tokens(update: Update) -> list[ScoredToken]:
    """The update's tokens with their log-probabilities, and the alternatives where asked for."""
    tops = update.top or ((),) * len(update.tokens)
    return list(zip(update.tokens, update.log_probs, tops, strict=True))
