"""A checkpoint as the terminal chat's partner: an engine process that lives as long as the chat."""

import queue
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from openk2.core.errors import UserError
from openk2.core.generation import Completion, ToolCallFormat
from openk2.inference.engine_process import EngineProcess, EngineSettings
from openk2.inference.requests import GenerationRequest, Update
from openk2.serving.chat_partners import ALTERNATIVES, Answer, Dialog, ScoredToken
from openk2.tokenizer import ChatFormat, Delta
from openk2.tokenizer.tool_calls import SECTION_BEGIN

__all__ = ["Checkpoint"]


class Checkpoint:
    """The model of a run folder or of an exported folder."""

    def __init__(self, path: Path, thinking: Any = "off") -> None:
        """Start the engine; UserError where `path` holds no model."""
        self._engine = EngineProcess(path, EngineSettings(max_lanes=1))
        self._tokenizer = self._engine.tokenizer
        self._format = ChatFormat(self._tokenizer, thinking)
        self.name: str = self._engine.model_name

    def answer(self, dialog: Dialog, show: Callable[[Delta], None]) -> Answer:
        prompt = self._format.render(dialog.messages, dialog.tools, generation_prompt=True).tokens
        stops, constraint = self._format.stop_tokens, self._constraint(dialog)
        # Without tools, or when told not to call, the model must not begin a section of calls.
        bias = {} if constraint else {self._tokenizer.special[SECTION_BEGIN]: -100.0}
        options = replace(
            dialog.options,
            stop_tokens=stops,
            logit_bias=bias,
            top_log_probs=ALTERNATIVES if dialog.log_probs else 0,
        )
        request = GenerationRequest(tuple(prompt), options, constraint=constraint)
        stream = self._format.stream()
        tokens: list[int] = []
        log_probs: list[float] = []
        scores: list[ScoredToken] = []
        cached, finish_reason = 0, "aborted"
        try:
            with closing(self._updates(request)) as updates:
                for update in updates:
                    tokens += update.tokens
                    log_probs += update.log_probs
                    scores += self._scored(update) if dialog.log_probs else ()
                    cached = max(cached, update.cached_tokens)
                    finish_reason = update.finish_reason or finish_reason
                    for delta in stream.feed(update.tokens):
                        show(delta)
        except KeyboardInterrupt:
            finish_reason = "aborted"
        if finish_reason == "failed":
            raise UserError("the answer failed: the engine has ended, or met numbers not finite")
        for delta in stream.flush():
            show(delta)
        completion = Completion(
            text=self._tokenizer.decode([token for token in tokens if token not in stops]),
            finish_reason=finish_reason,
            tokens=tuple(tokens),
            log_probs=tuple(log_probs),
            message=stream.finish(),
            prompt_tokens=len(prompt),
            completion_tokens=len(tokens),
            cached_tokens=cached,
        )
        return Answer(completion, tuple(scores))

    def close(self) -> None:
        self._engine.close(timeout=5.0)

    def _constraint(self, dialog: Dialog) -> ToolCallFormat | None:
        if not dialog.tools or dialog.tool_choice == "none":
            return None
        first = self._format.next_call_index(dialog.messages)
        return ToolCallFormat(dialog.tools, dialog.tool_choice, first_index=first)

    def _updates(self, request: GenerationRequest) -> Generator[Update, None, None]:
        """Up to the last one; aborts the request when closed before."""
        inbox: queue.SimpleQueue[list[Update]] = queue.SimpleQueue()
        number = self._engine.submit(request, inbox.put)
        finished = False
        try:
            while not finished:
                for update in inbox.get():
                    if update.refused is not None:
                        finished = True
                        raise UserError(update.refused)
                    finished = finished or update.finish_reason is not None
                    yield update
        finally:
            if not finished:
                self._engine.abort(number)

    def _scored(self, update: Update) -> Iterator[ScoredToken]:
        def text(token: int) -> str:
            return self._tokenizer.token_table()[token].decode(errors="backslashreplace")

        rows = zip(update.tokens, update.log_probs, update.top, strict=True)
        for token, log_prob, top in rows:
            alternatives = tuple((text(other), value) for other, value in top)
            yield ScoredToken(text(token), log_prob, alternatives)
