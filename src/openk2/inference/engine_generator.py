"""The engine in this process as a `core.protocols.Generator`."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from openk2.core.errors import UserError
from openk2.core.generation import (
    DEFAULT_SAMPLING,
    Completion,
    Constraint,
    SamplingOptions,
    ToolCallFormat,
)
from openk2.core.records import Message, ToolSpec
from openk2.inference.engine import Engine
from openk2.inference.engine_thread import EngineThread
from openk2.inference.requests import Generation, GenerationRequest, Sample, Update
from openk2.tokenizer import ChatFormat, Tokenizer

__all__ = ["EngineGenerator"]


class EngineGenerator:
    """Chats and completions by one engine; concurrent calls batch together.

    The engine runs in a thread of its own, over the weights that a trainer may hold (see
    `EngineThread` for when they may change). Completions carry the tokens and log-probabilities
    that training needs.
    """

    def __init__(
        self, engine: Engine, tokenizer: Tokenizer, chat: ChatFormat | None = None
    ) -> None:
        """`chat` is the dialog format; default: K2's, without thinking."""
        self._engine, self._tokenizer = engine, tokenizer
        self._chat = chat or ChatFormat(tokenizer)
        self._thread = EngineThread(engine)

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
        """See `core.protocols.Generator`."""
        constraint = response_format
        if tools and tool_choice != "none":
            if response_format is not None and tool_choice == "auto":
                raise UserError("a response format and free tool calls exclude each other")
            first = self._chat.next_call_index(messages)
            constraint = ToolCallFormat(tuple(tools), tool_choice, first_index=first)
        rendered = self._chat.render(messages, tools, generation_prompt=True)
        ends = (*options.stop_tokens, *self._chat.stop_tokens)
        options = replace(options, stop_tokens=ends)
        request = GenerationRequest(tuple(rendered.tokens), options, samples, constraint)
        generation = await self._run(request)
        return [
            replace(
                self._completion(sample, generation, request),
                message=self._chat.parse(sample.tokens),
            )
            for sample in generation.samples
        ]

    async def complete(
        self,
        prompt: str,
        options: SamplingOptions = DEFAULT_SAMPLING,
        *,
        samples: int = 1,
        response_format: Constraint | None = None,
    ) -> list[Completion]:
        """See `core.protocols.Generator`. Text ends at [EOS]; an empty prompt begins with [BOS]."""
        special = self._tokenizer.special
        tokens = self._tokenizer.encode(prompt) or [special["[BOS]"]]
        options = replace(options, stop_tokens=(*options.stop_tokens, special["[EOS]"]))
        request = GenerationRequest(tuple(tokens), options, samples, response_format)
        generation = await self._run(request)
        return [self._completion(sample, generation, request) for sample in generation.samples]

    async def close(self) -> None:
        """End the engine's thread; calls in flight fail."""
        await asyncio.to_thread(self._thread.close)

    async def _run(self, request: GenerationRequest) -> Generation:
        loop = asyncio.get_running_loop()
        generation = Generation([Sample() for _ in range(request.samples)])
        finished = asyncio.Event()

        def take(updates: list[Update]) -> None:
            for update in updates:
                generation.add(update)
            if generation.refused or all(s.finish_reason for s in generation.samples):
                finished.set()

        def receive(updates: list[Update]) -> None:
            loop.call_soon_threadsafe(take, updates)

        number = self._thread.submit(request, receive)
        try:
            await finished.wait()
        except asyncio.CancelledError:
            self._thread.abort(number)
            raise
        if generation.refused is not None:
            raise UserError(generation.refused)
        return generation

    def _completion(
        self, sample: Sample, generation: Generation, request: GenerationRequest
    ) -> Completion:
        return Completion(
            text=self._engine.text(sample.tokens, request),
            finish_reason=sample.finish_reason or "failed",
            tokens=tuple(sample.tokens),
            log_probs=tuple(sample.log_probs),
            prompt_tokens=len(request.prompt),
            completion_tokens=len(sample.tokens),
            cached_tokens=generation.cached_tokens,
        )
