"""Any OpenAI-compatible server as a Generator: ours, vLLM, SGLang, llama.cpp, a provider's.

    caller -> what is cached or in flight already (response_cache, single_flight)
           -> the rest as requests (openai_wire), each until it is answered (endpoint_requests):
              its turn (adaptive_concurrency), its cost (token_budget), its attempts
              (endpoint_failures, openai_transport)

Nothing is logged, and the key goes nowhere but to the endpoint.
"""

import asyncio
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from openk2.core.errors import UserError
from openk2.core.generation import DEFAULT_SAMPLING, Completion, Constraint, SamplingOptions
from openk2.core.records import Message, ToolSpec
from openk2.integrations.adaptive_concurrency import AdaptiveConcurrency, AimdLimit
from openk2.integrations.endpoint_failures import EndpointUnavailable, RetryPolicy, one_line
from openk2.integrations.openai_wire import (
    CHAT,
    COMPLETIONS,
    chat_payload,
    completion_payload,
    encode,
)
from openk2.integrations.response_cache import ResponseCache, sample_keys
from openk2.integrations.single_flight import SingleFlight
from openk2.integrations.token_budget import Budget, BudgetExceeded

if TYPE_CHECKING:
    from openk2.integrations.endpoint_requests import EndpointRequests

__all__ = [
    "AimdLimit",
    "Budget",
    "BudgetExceeded",
    "EndpointStatistics",
    "EndpointUnavailable",
    "OpenAIEndpoint",
    "RetryPolicy",
]

API_KEY_VARIABLE = "OPENAI_API_KEY"


@dataclass(frozen=True)
class EndpointStatistics:
    """What an endpoint did since it was opened.

    requests       HTTP requests sent, `retries` of them after a failure
    cache_hits     samples that were in the cache
    shared         samples that another task was waiting for already
    concurrency    requests allowed at once now, `running` of them under way, `waiting` for a turn
    tokens, cost   spent from the budget, by all that share it; `estimated_tokens` of the tokens
                   were never confirmed by a server
    """

    requests: int
    retries: int
    cache_hits: int
    shared: int
    concurrency: int
    running: int
    waiting: int
    tokens: int
    estimated_tokens: int
    cost: float


class OpenAIEndpoint:
    """A core.protocols.Generator over HTTP. For the tasks of one event loop.

    base_url          up to and without "/chat/completions", e.g. http://127.0.0.1:8000/v1
    api_key           None: the environment's OPENAI_API_KEY, and without that none is sent
    cache             a file for answers (response_cache.py); None: each call asks anew
    budget            what may be spent, shared with whoever else has it; None: counted only
    retries           when a failed request is tried again
    limit             how many requests at once, to begin with and at most
    timeout           seconds until an attempt is given up
    several_choices   ask for all samples of a prompt at once (`n`), as most servers allow. A server
                      that answers with fewer is asked one by one from then on
    max_tokens_name   newer models of OpenAI want "max_completion_tokens"
    max_answer_bytes  a longer answer is a failure
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        *,
        cache: Path | None = None,
        budget: Budget | None = None,
        retries: RetryPolicy | None = None,
        limit: AimdLimit | None = None,
        timeout: float = 600.0,
        several_choices: bool = True,
        max_tokens_name: str = "max_tokens",
        max_answer_bytes: int = 32 << 20,
    ) -> None:
        """Raises UserError for a bad URL or key, a bad cache file and a missing extra."""
        self.base_url = _checked_url(base_url)
        self.model = model
        self.budget = budget or Budget()
        self._several_choices = several_choices
        self._max_tokens_name = max_tokens_name
        self._requests = _open_requests(
            self.base_url,
            model,
            _checked_key(api_key or os.environ.get(API_KEY_VARIABLE) or None),
            self.budget,
            retries or RetryPolicy(),
            limit or AimdLimit(),
            timeout,
            max_answer_bytes,
        )
        self._cache = ResponseCache(cache) if cache is not None else None
        self._flights = SingleFlight[Completion]()
        self._cache_hits = 0

    async def chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec] = (),
        options: SamplingOptions = DEFAULT_SAMPLING,
        *,
        samples: int = 1,
        tool_choice: str = "auto",
        response_format: Constraint | None = None,
    ) -> list[Completion]:
        """See core.protocols.Generator. `tokens` are empty; `log_probs` come with top_log_probs."""
        payload = chat_payload(messages, tools, options, tool_choice, response_format)
        return await self._samples(CHAT, payload, options, samples)

    async def complete(
        self,
        prompt: str,
        options: SamplingOptions = DEFAULT_SAMPLING,
        *,
        samples: int = 1,
        response_format: Constraint | None = None,
    ) -> list[Completion]:
        """See core.protocols.Generator. `tokens` are empty; `log_probs` come with top_log_probs."""
        payload = completion_payload(prompt, options, response_format)
        return await self._samples(COMPLETIONS, payload, options, samples)

    async def close(self) -> None:
        """Stop what is under way and give back connections and files."""
        await self._flights.close()
        await self._requests.transport.close()
        if self._cache is not None:
            await self._cache.close()

    def statistics(self) -> EndpointStatistics:
        gate = self._requests.concurrency
        return EndpointStatistics(
            requests=self._requests.sent,
            retries=self._requests.retries,
            cache_hits=self._cache_hits,
            shared=self._flights.shared,
            concurrency=gate.limit.allowed,
            running=gate.running,
            waiting=gate.waiting,
            tokens=self.budget.tokens,
            estimated_tokens=self.budget.estimated_tokens,
            cost=self.budget.cost,
        )

    async def _samples(
        self, route: str, payload: dict[str, Any], options: SamplingOptions, samples: int
    ) -> list[Completion]:
        if samples < 1:
            raise UserError(f"samples is {samples}; it must be at least 1")
        if self.budget.limited and options.max_tokens is None:
            raise UserError(
                "a budget needs requests whose cost is bounded; set max_tokens in their options"
            )
        if "max_tokens" in payload:
            payload[self._max_tokens_name] = payload.pop("max_tokens")
        payload = {"model": self.model, **payload}
        keys = sample_keys(self.base_url, route, encode(payload), samples)
        asked = _Asked(route, payload, options.seed, options.max_tokens, keys)
        if self._cache is None:
            made = await self._ask_all(asked, range(samples))
            return [made[number] for number in range(samples)]
        cache = self._cache

        async def recall_or_ask(wanted: list[str]) -> dict[str, Completion]:
            found = await cache.get(wanted)
            self._cache_hits += len(found)
            missing = set(wanted) - found.keys()
            made = await self._ask_all(asked, [n for n, key in enumerate(keys) if key in missing])
            return found | {keys[number]: answer for number, answer in made.items()}

        found = await self._flights.get(keys, recall_or_ask)
        return [found[key] for key in keys]

    async def _ask_all(self, asked: "_Asked", numbers: Sequence[int]) -> dict[int, Completion]:
        """The samples of these numbers, in one request if the server knows how."""
        made: dict[int, Completion] = {}
        if self._several_choices and len(numbers) > 1:
            made = await self._ask(asked, numbers)
            self._several_choices = len(made) == len(numbers)
        rest = [number for number in numbers if number not in made]
        # All of them to the end, although one failed: what is paid for goes into the cache.
        results = await asyncio.gather(
            *(self._ask(asked, [number]) for number in rest), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
            made |= result
        return made

    async def _ask(self, asked: "_Asked", numbers: Sequence[int]) -> dict[int, Completion]:
        """One request for these samples; it may bring only the first of them.

        What it brings goes into the cache at once.
        """
        answers = await self._requests.ask(
            asked.route, asked.body(numbers), len(numbers), asked.max_tokens
        )
        made = dict(zip(numbers, answers, strict=False))
        if self._cache is None:
            return made
        stored = await self._cache.put({asked.keys[number]: made[number] for number in made})
        return {number: stored[asked.keys[number]] for number in made}


@dataclass(frozen=True)
class _Asked:
    """What a caller asked for; `keys` are the cache's names of the samples."""

    route: str
    payload: dict[str, Any]
    seed: int | None
    max_tokens: int | None
    keys: list[str]

    def body(self, numbers: Sequence[int]) -> bytes:
        """The request for these samples.

        A server draws the n samples of one seed differently, but the same again for the next
        request with that seed: one that begins at a later sample has a seed of its own.
        """
        payload = dict(self.payload)
        if self.seed is not None and numbers[0] > 0:
            digest = hashlib.sha256(f"{self.seed} {numbers[0]}".encode()).digest()
            payload["seed"] = int.from_bytes(digest[:4]) >> 1
        if len(numbers) > 1:
            payload["n"] = len(numbers)
        return encode(payload)


def _open_requests(
    base_url: str,
    model: str,
    api_key: str | None,
    budget: Budget,
    retries: RetryPolicy,
    limit: AimdLimit,
    timeout: float,
    max_answer_bytes: int,
) -> "EndpointRequests":
    # Here, because importing openai takes half a second that only those who use it should pay.
    try:
        from openk2.integrations.endpoint_requests import EndpointRequests
        from openk2.integrations.openai_transport import OpenAITransport
    except ModuleNotFoundError as error:
        raise UserError(
            f"an endpoint needs {error.name}, which is not installed; "
            "run: pip install 'openk2[endpoint]'"
        ) from error
    transport = OpenAITransport(
        base_url,
        model,
        api_key,
        timeout=timeout,
        longest_retry_after=retries.longest_retry_after,
        max_answer_bytes=max_answer_bytes,
    )
    return EndpointRequests(transport, AdaptiveConcurrency(limit), budget, retries)


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        well_formed = parts.scheme in ("http", "https") and bool(parts.hostname)
        with_password = "@" in parts.netloc
        _ = parts.port  # ValueError where it is no number
    except ValueError:
        well_formed = with_password = False
    if with_password:
        raise UserError("the base URL holds a password; give it as the API key instead")
    if not well_formed:
        raise UserError(
            f"{one_line(url)!r}: is not a base URL; give one such as http://127.0.0.1:8000/v1"
        )
    return url.rstrip("/")


def _checked_key(key: str | None) -> str | None:
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise UserError(
            f"the API key holds spaces, line ends or other signs that no header can; check "
            f"what was given or {API_KEY_VARIABLE}"
        )
    return key
