"""Which tokens a request took, as `usage` reports it."""

from collections.abc import Sequence
from typing import Any

from openk2.inference.requests import GenerationRequest, Update

__all__ = ["Usage"]


class Usage:
    """A prompt counts once, whatever the number of its samples.

    `shown` is False where the new tokens are kept from the client, who asked for none.
    """

    def __init__(self, requests: Sequence[GenerationRequest], shown: bool = True) -> None:
        self._shown = shown
        self._prompt = sum(len(request.prompt) for request in requests)
        self._cached = [0] * len(requests)
        self._completion = 0

    def add(self, position: int, update: Update) -> None:
        self._completion += self._shown * len(update.tokens)
        # The other samples of a prompt find it in the cache because the first one put it there.
        if update.sample == 0:
            self._cached[position] = max(self._cached[position], update.cached_tokens)

    def report(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self._prompt,
            "completion_tokens": self._completion,
            "total_tokens": self._prompt + self._completion,
            "prompt_tokens_details": {"cached_tokens": sum(self._cached)},
        }
