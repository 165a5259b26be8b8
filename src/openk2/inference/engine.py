"""The engine: many requests in, their tokens out, one forward pass at a time.

    engine = Engine(model, tokenizer)
    generations = engine.generate([GenerationRequest(tokenizer.encode("def f("))])

A step plans (scheduler), computes (decoder), draws (sampling) and tells (updates). Weights are the
model's own parameters: a trainer in the same process goes on training them, and from the next step
on the engine uses them as they are then. Not thread-safe; `engine_thread` is.
"""

from collections.abc import Iterator
from collections.abc import Sequence as Series
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from openk2.core.device import free_memory_bytes
from openk2.inference.admission import Admission
from openk2.inference.constrained import fill_masks
from openk2.inference.decoder import Decoder
from openk2.inference.latent_cache import BLOCK_TOKENS, LatentCache, latent_bytes_per_token
from openk2.inference.requests import (
    Generation,
    GenerationRequest,
    PausedRequest,
    PausedSample,
    Sample,
    TokenScore,
    TopTokens,
    Update,
)
from openk2.inference.sampling import Allowed, OptionTable, draw
from openk2.inference.scheduler import Scheduler, StepPlan
from openk2.inference.sequences import Prefill, Sequence
from openk2.models import KimiK2MoEModel
from openk2.tokenizer import Tokenizer

__all__ = ["Engine", "EngineStatistics"]

SCORED_ROWS = 256  # positions of a prompt whose logits over the vocabulary are held at once


@dataclass
class EngineStatistics:
    """Gauges of now and counters since the start."""

    running: int = 0
    waiting: int = 0  # samples without a lane, among them those being prepared
    blocks_used: int = 0
    blocks_total: int = 0
    steps: int = 0
    requests: int = 0
    finished: int = 0  # samples
    aborted: int = 0
    preempted: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0  # of them, taken from the cache
    generated_tokens: int = 0


class Engine:
    """Continuous batching over one model."""

    def __init__(
        self,
        model: KimiK2MoEModel,
        tokenizer: Tokenizer | None = None,
        *,
        dtype: torch.dtype | None = None,
        max_lanes: int = 256,
        cache_tokens: int | None = None,
        prefill_tokens: int = 1024,
        cache_dtype: torch.dtype | None = None,
    ) -> None:
        """`tokenizer` is needed for stop texts, grammars and texts in the results.

        dtype            of activations and matrices; default: the parameters' own, no copy
        max_lanes        sequences that run at once
        cache_tokens     room of the latent cache; default: what the lanes could need at most, or a
                         quarter of the free memory
        prefill_tokens   prompt tokens that a step computes at most
        cache_dtype      of the latent cache; default float32 on a CPU, else as `dtype`
        """
        self.model, self.tokenizer = model, tokenizer
        dtype = dtype or model.lm_head.weight.dtype
        self._decoder = Decoder(model, dtype)
        device = self._decoder.device
        config = model.config
        self.context_length = config.max_position_embeddings
        # A CPU multiplies float32 as it is stored; half the bytes would not pay for the rounding.
        cache_dtype = cache_dtype or (torch.float32 if device.type == "cpu" else dtype)
        if cache_tokens is None:
            affordable = _free_bytes(device) // 4 // latent_bytes_per_token(config, cache_dtype)
            cache_tokens = max(min(max_lanes * self.context_length, affordable), 4 * BLOCK_TOKENS)
        cache = LatentCache(config, cache_tokens, cache_dtype, device)
        self._scheduler = Scheduler(cache, max_lanes, self.context_length, prefill_tokens)
        self._options = OptionTable(max_lanes)
        self._numbers = 0
        self._requests: dict[int, GenerationRequest] = {}
        self._open_samples: dict[int, int] = {}  # how many of a request have not ended
        self._workers = ThreadPoolExecutor(2, "openk2-grammar")
        room = min(self.context_length, (cache.blocks - 1) * BLOCK_TOKENS)
        self._admission = Admission(config.vocab_size, room, tokenizer, self._workers)
        self._outbox: list[Update] = []
        self._counters = EngineStatistics(blocks_total=cache.blocks)

    # What others ask for

    def submit(self, request: GenerationRequest, number: int | None = None) -> int:
        """Queue a request; the number that its updates carry: a new one, or the caller's own."""
        return self._arrive(PausedRequest.at_start(request), number)

    def resume(self, paused: PausedRequest, number: int | None = None) -> int:
        """Go on with what `pause` gave back, here or in another engine; a number as in `submit`."""
        return self._arrive(paused, number)

    def abort(self, number: int) -> None:
        """End a request's open samples now, with the finish reason "aborted"."""
        for sequence in self._withdraw(number):
            self._counters.aborted += 1
            self._outbox.append(Update(number, sequence.sample, finish_reason="aborted"))

    def pause(self, number: int) -> PausedRequest | None:
        """Take a request out, with the tokens that its open samples have; None if it has ended.

        For partial rollouts (Kimi K1.5 section 2.6.2): a long sample goes on in a later iteration.
        """
        request = self._requests.get(number)
        open_samples = sorted(self._withdraw(number), key=lambda sequence: sequence.sample)
        if request is None or not open_samples:
            return None
        return PausedRequest(
            request,
            tuple(
                PausedSample(s.sample, s.key, tuple(s.tokens), tuple(s.log_probs), tuple(s.top))
                for s in open_samples
            ),
        )

    def forget_prefixes(self) -> None:
        """Serve no later prompt from the blocks computed so far."""
        self._scheduler.cache.forget_all()

    def close(self) -> None:
        """Give back the threads; the engine takes nothing any more."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    @property
    def idle(self) -> bool:
        """Whether a step would have nothing to do and nothing to tell."""
        scheduler = self._scheduler
        waiting = self._admission.waiting or scheduler.queue or self._outbox
        return not (waiting or scheduler.running)

    def statistics(self) -> EngineStatistics:
        """The figures of this moment."""
        scheduler, counters = self._scheduler, self._counters
        counters.running = len(scheduler.running)
        counters.waiting = sum(len(prefill.sequences) for prefill in scheduler.queue)
        counters.waiting += self._admission.waiting
        counters.blocks_used = scheduler.cache.used
        counters.preempted = scheduler.preempted
        return EngineStatistics(**vars(counters))

    def generate(self, requests: Series[GenerationRequest]) -> list[Generation]:
        """Run the requests to their ends; one `Generation` each, in their order."""
        results: dict[int, Generation] = {}
        numbers = [self.submit(request) for request in requests]
        for number, request in zip(numbers, requests, strict=True):
            results[number] = Generation([Sample() for _ in range(request.samples)])
        while not self.idle:
            for update in self.step():
                if update.request in results:
                    results[update.request].add(update)
        for number, request in zip(numbers, requests, strict=True):
            for sample in results[number].samples:
                sample.text = self.text(sample.tokens, request)
        return [results[number] for number in numbers]

    def stream(self, requests: Series[GenerationRequest]) -> Iterator[Update]:
        """Run the requests, updates as they come; `Update.request` counts from the first given."""
        numbers = {self.submit(request): index for index, request in enumerate(requests)}
        try:
            while not self.idle:
                for update in self.step():
                    if update.request in numbers:
                        update.request = numbers[update.request]
                        yield update
        finally:  # the reader may have had enough
            for number in numbers:
                self._withdraw(number)

    # One step

    @torch.inference_mode()
    def step(self) -> list[Update]:
        """One forward pass over whatever is there; what it brought, in order."""
        self._admit()
        if self._decoder.refresh():
            self._scheduler.restart()
        plan = self._scheduler.plan()
        logits = self._compute(plan) if plan is not None else None
        self._draw(plan, logits)
        outbox, self._outbox = self._outbox, []
        return outbox

    def _compute(self, plan: StepPlan) -> Tensor:
        """Run the plan; logits of the running rows. Finished prompts get theirs themselves."""
        hidden = self._decoder.forward(plan.step, self._scheduler.cache)
        self._scheduler.computed(plan)
        self._counters.steps += 1
        running = len(plan.lanes_S)
        last = [
            rows.stop - 1 for prefill, rows in plan.pieces if prefill.done == len(prefill.tokens)
        ]
        index = torch.tensor([*range(running), *last], dtype=torch.int64, device=hidden.device)
        logits = self._decoder.logits(hidden.index_select(0, index))
        finished = iter(logits[running:])
        for prefill, rows in plan.pieces:
            self._counters.prompt_tokens += rows.stop - rows.start
            if prefill.want_scores:
                self._score(prefill, rows, hidden)
            if prefill.done == len(prefill.tokens):
                prefill.logits = next(finished)
        return logits[:running]

    def _score(self, prefill: Prefill, rows: slice, hidden: Tensor) -> None:
        """Log-probabilities of the prompt's tokens, of which each row predicts the next."""
        count = self._requests[prefill.request].options.top_log_probs
        begin = prefill.done - (rows.stop - rows.start)
        following = prefill.tokens[begin + 1 : prefill.done + 1]
        for first in range(0, len(following), SCORED_ROWS):
            targets = following[first : first + SCORED_ROWS]
            part = hidden[rows.start + first : rows.start + first + len(targets)]
            log_probs = self._decoder.logits(part).log_softmax(-1)
            index = torch.tensor(targets, device=hidden.device)[:, None]
            of_targets = log_probs.gather(1, index)[:, 0].tolist()
            values, ids = log_probs.topk(min(count, log_probs.shape[1]), dim=-1)
            tops = zip(ids.tolist(), values.tolist(), strict=True)
            for token, log_prob, (top_ids, top_values) in zip(
                targets, of_targets, tops, strict=True
            ):
                top = tuple(zip(top_ids, top_values, strict=True))
                prefill.scores.append(TokenScore(token, log_prob, top))
        if prefill.done == len(prefill.tokens):
            self._outbox.append(Update(prefill.request, prompt_scores=tuple(prefill.scores)))

    def _draw(self, plan: StepPlan | None, logits: Tensor | None) -> None:
        """The next token of the running sequences and the first of those that get a lane now."""
        launched = self._scheduler.launch()
        lanes = np.array([sequence.lane for sequence, _ in launched], dtype=np.int64)
        parts = []
        if plan is not None and logits is not None:
            lanes = np.concatenate([plan.lanes_S, lanes])
            parts = [logits]
        for sequence, prefill in launched:
            assert prefill.logits is not None
            self._options.set(sequence.lane, sequence.options, sequence.key)
            self._counters.cached_tokens += sequence.cached_tokens
            parts.append(prefill.logits[None])
        if not len(lanes):
            return
        sequences = [self._scheduler.running[lane] for lane in lanes.tolist()]
        positions = np.array([sequence.length for sequence in sequences])
        allowed = _allowed(sequences, self.model.config.vocab_size)
        # Drawing overwrites its input, and samples to come need a prompt's logits: cat copies.
        rows = torch.cat(parts) if launched else parts[0]
        drawn = draw(rows, self._options, lanes, positions, allowed)
        self._scheduler.drawn(lanes, drawn.tokens)
        pairs = zip(sequences, drawn.tokens, drawn.log_probs, strict=True)
        for row, (sequence, token, log_prob) in enumerate(pairs):
            self._commit(sequence, token, log_prob, drawn.top.get(row, ()))

    def _commit(self, sequence: Sequence, token: int, log_prob: float, top: TopTokens) -> None:
        """Take a drawn token, tell it, and end the sample where it ends with it."""
        reason = sequence.append(token, log_prob)
        number, sample = sequence.request, sequence.sample
        if reason == "failed":
            update = Update(number, sample)
        else:
            self._counters.generated_tokens += 1
            update = Update(number, sample, (token,), (log_prob,))
            if sequence.options.top_log_probs:
                sequence.top.append(top)
                update.top = (top,)
        update.finish_reason = reason
        update.cached_tokens, sequence.cached_tokens = sequence.cached_tokens, 0
        self._outbox.append(update)
        if reason is not None:
            self._scheduler.finish(sequence)
            self._counters.finished += 1
            self._end_sample(number)

    # Requests

    def _arrive(self, paused: PausedRequest, number: int | None) -> int:
        if number is None:
            self._numbers += 1
            number = self._numbers
        refusal = self._admission.take(number, paused)
        if refusal is not None:
            self._outbox.append(Update(number, refused=refusal))
        else:
            self._requests[number] = paused.request
            self._open_samples[number] = len(paused.samples)
            self._counters.requests += 1
        return number

    def _admit(self) -> None:
        """Queue the requests whose grammars are compiled."""
        scheduler = self._scheduler
        patient = not (scheduler.running or scheduler.queue or self._outbox)
        for number, outcome in self._admission.ready(patient):
            if isinstance(outcome, str):
                self._outbox.append(Update(number, refused=outcome))
                del self._requests[number], self._open_samples[number]
                continue
            self._outbox.append(Update(number, accepted=True))
            for prefill in outcome:
                scheduler.add(prefill)

    def _withdraw(self, number: int) -> list[Sequence]:
        """Forget a request; its open samples."""
        if self._requests.pop(number, None) is None:
            return []
        del self._open_samples[number]
        return self._admission.remove(number) + self._scheduler.remove(number)

    def _end_sample(self, number: int) -> None:
        self._open_samples[number] -= 1
        if not self._open_samples[number]:
            del self._open_samples[number], self._requests[number]

    def text(self, tokens: list[int], request: GenerationRequest) -> str:
        """The text of a finished sample, without what ended it."""
        if self.tokenizer is None:
            return ""
        options = request.options
        ended = bool(tokens) and tokens[-1] in options.stop_tokens
        text = self.tokenizer.decode(tokens[:-1] if ended else tokens, skip_special=True)
        ends = [text.find(stop) for stop in options.stop if stop in text]
        return text[: min(ends)] if ends else text


def _allowed(sequences: list[Sequence], vocabulary: int) -> Allowed | None:
    """The rows with a grammar, and a bit for each token that it allows; None if there are none.

    In turn with the forward pass: a mask takes about ten microseconds, and a second thread that
    wants the interpreter, and a core, costs the many small operations of a step more than that.
    """
    guided = [
        (row, sequence.matcher)
        for row, sequence in enumerate(sequences)
        if sequence.matcher is not None and sequence.matcher.active
    ]
    if not guided:
        return None
    words = np.empty((len(guided), -(-vocabulary // 32)), dtype=np.int32)
    fill_masks([matcher for _, matcher in guided], words)
    return np.array([row for row, _ in guided]), words


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_memory_bytes()
