"""From a request to sequences: checks, seeds, and grammars compiled while others are served."""

import secrets
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from openk2.inference.constrained import Grammar, GrammarError, Grammars
from openk2.inference.requests import GenerationRequest, PausedRequest, PausedSample
from openk2.inference.sequences import Prefill, Sequence, sample_key
from openk2.tokenizer import Tokenizer

__all__ = ["Admission"]

PATIENCE = 0.05  # seconds that an engine with nothing else to do waits for a grammar at a time


@dataclass(eq=False)
class _Arrival:
    number: int
    paused: PausedRequest
    grammar: "Future[Grammar] | None"


class Admission:
    """The requests that are not queued yet, because their grammar is being compiled."""

    def __init__(
        self,
        vocabulary_size: int,
        context_length: int,
        tokenizer: Tokenizer | None,
        workers: ThreadPoolExecutor,
    ) -> None:
        self._vocabulary_size, self._context_length = vocabulary_size, context_length
        self._tokenizer, self._workers = tokenizer, workers
        self._token_table = tokenizer.token_table() if tokenizer is not None else None
        self._grammars: Grammars | None = None
        self._arrivals: deque[_Arrival] = deque()

    @property
    def waiting(self) -> int:
        """Samples of the requests that are here."""
        return sum(len(arrival.paused.samples) for arrival in self._arrivals)

    def take(self, number: int, paused: PausedRequest) -> str | None:
        """Check a request and begin to compile its grammar; why it is refused, or None."""
        request = paused.request
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        grammar = None
        if request.constraint is not None and self._tokenizer is not None:
            if self._grammars is None:
                ends = [self._tokenizer.special[name] for name in ("<|im_end|>", "[EOS]")]
                self._grammars = Grammars(self._tokenizer, ends, self._vocabulary_size)
            grammar = self._workers.submit(self._grammars.compile, request.constraint)
        self._arrivals.append(_Arrival(number, paused, grammar))
        return None

    def _refusal(self, request: GenerationRequest) -> str | None:
        length, options = len(request.prompt), request.options
        if not length:
            return "the prompt is empty; give it at least one token"
        if min(request.prompt) < 0 or max(request.prompt) >= self._vocabulary_size:
            return f"the prompt holds token ids outside 0 .. {self._vocabulary_size - 1}"
        if length >= self._context_length:
            return (
                f"the prompt has {length} tokens, and prompt and continuation together have room "
                f"for {self._context_length}; shorten it"
            )
        if request.samples < 1:
            return f"{request.samples} samples were asked for; it must be at least 1"
        if any(not 0 <= token < self._vocabulary_size for token in options.logit_bias):
            return f"logit_bias names token ids outside 0 .. {self._vocabulary_size - 1}"
        if self._tokenizer is None and (options.stop or request.constraint is not None):
            return "stop texts and grammars need an engine with a tokenizer"
        return None

    def ready(self, patient: bool) -> Iterator[tuple[int, "list[Prefill] | str"]]:
        """Requests to queue, as prompts with their samples, or why they are refused.

        `patient`: the engine has nothing else to do and may wait a moment.
        """
        compiling = [a.grammar for a in self._arrivals if a.grammar is not None]
        if patient and compiling and len(compiling) == len(self._arrivals):
            wait(compiling, PATIENCE, return_when="FIRST_COMPLETED")
        left: deque[_Arrival] = deque()
        for arrival in self._arrivals:
            if arrival.grammar is not None and not arrival.grammar.done():
                left.append(arrival)
                continue
            grammar = None
            if arrival.grammar is not None:
                try:
                    grammar = arrival.grammar.result()
                except GrammarError as error:
                    yield arrival.number, str(error)
                    continue
            yield arrival.number, self._prefills(arrival, grammar)
        self._arrivals = left

    def remove(self, number: int) -> list[Sequence]:
        """Forget a request; its samples if it was here."""
        for arrival in self._arrivals:
            if arrival.number == number:
                self._arrivals.remove(arrival)
                prefills = self._prefills(arrival, None)
                return [sequence for prefill in prefills for sequence in prefill.sequences]
        return []

    def _prefills(self, arrival: _Arrival, grammar: Grammar | None) -> list[Prefill]:
        """One prompt for all samples that begin; one of its own for each that goes on."""
        request, number = arrival.paused.request, arrival.number
        seed = request.options.seed
        seed = secrets.randbits(63) if seed is None else seed
        sequences = [
            self._sequence(number, request, sample, seed, grammar)
            for sample in arrival.paused.samples
        ]
        fresh = deque(sequence for sequence in sequences if not sequence.tokens)
        prefills = []
        if fresh:
            prefills.append(Prefill(request.prompt, fresh, request.prompt_log_probs))
        for sequence in sequences:
            if sequence.tokens:
                tokens = (*request.prompt, *sequence.tokens)
                prefills.append(Prefill(tokens, deque([sequence])))
        return prefills

    def _sequence(
        self,
        number: int,
        request: GenerationRequest,
        sample: PausedSample,
        seed: int,
        grammar: Grammar | None,
    ) -> Sequence:
        options = request.options
        room = self._context_length - len(request.prompt)
        matcher = None if grammar is None else grammar.matcher()
        if matcher is not None:
            for token in sample.tokens:
                matcher.advance(token)
        return Sequence(
            request=number,
            sample=sample.sample,
            prompt=request.prompt,
            options=options,
            key=sample_key(seed, sample.sample) if sample.key is None else sample.key,
            max_tokens=min(options.max_tokens or room, room),
            stop_tokens=frozenset(options.stop_tokens),
            token_table=self._token_table if options.stop else None,
            matcher=matcher,
            tokens=list(sample.tokens),
            log_probs=list(sample.log_probs),
            top=list(sample.top),
        )
