"""Tokens per second: the engine against transformers' generate, on the same weights.

What is the same: machine, threads, weights (the preset nano, drawn at random: speed does not depend
on their values), float32, the prompts, how many new tokens each sample gets, and that tokens are
drawn from the model's own distribution. The peer is made strong before it is timed: every cache
(dynamic, static) with every way it has to run experts is tried, and the fastest goes on. It pads a
batch to its longest prompt and computes until its longest sample ends, because that is how generate
works; a criterion ends each of its rows at the row's own length.

Constrained decoding is timed against the same engine without a grammar, for equally many tokens.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import torch
from transformers import DeepseekV3ForCausalLM, StoppingCriteria, StoppingCriteriaList

from benchmarks.stock import EXPERTS, stock_model
from benchmarks.table import Table, verdict
from benchmarks.timing import Timing, interleaved
from openk2.core.generation import SamplingOptions, ToolCallFormat
from openk2.core.records import ToolSpec
from openk2.inference import Engine, GenerationRequest
from openk2.inference.latent_cache import expanded_bytes_per_token, latent_bytes_per_token
from openk2.models import KimiK2Config, KimiK2MoEModel
from openk2.tokenizer import Tokenizer

__all__ = ["CASES", "Case", "run"]

CACHES = ("dynamic", "static")
TRIAL = 32  # new tokens a sample, to find the peer's fastest way
CONSTRAINED_BATCH = 16
LARGEST_COST = 1.10  # of constrained decoding, in time a token


@dataclass(frozen=True)
class Case:
    """Prompts of `prompt` tokens (least, most), K samples each of `new` tokens (least, most)."""

    name: str
    prompts: int
    samples: int
    prompt: tuple[int, int]
    new: tuple[int, int]
    target: float  # the engine's tokens a second over the peer's

    def requests(self, vocabulary: int) -> list[GenerationRequest]:
        """The same for both sides, and the same every time."""
        draw = random.Random(0)
        return [
            GenerationRequest(
                tuple(draw.randrange(vocabulary) for _ in range(draw.randint(*self.prompt))),
                SamplingOptions(max_tokens=draw.randint(*self.new), seed=index),
                samples=self.samples,
            )
            for index in range(self.prompts)
        ]


CASES = (
    Case("one prompt", 1, 1, (64, 64), (128, 128), 3.0),
    Case("64 prompts, K=4, ragged", 64, 4, (16, 128), (16, 256), 5.0),
)


def run(
    rounds: int,
    config: KimiK2Config | None = None,
    cases: Sequence[Case] = CASES,
    constrained_tokens: int = 128,
) -> list[Table]:
    """The peer's table, and that of constrained decoding."""
    config = config or KimiK2Config.preset("nano")
    model = KimiK2MoEModel(config, seed=0).eval()
    peer = stock_model(model, "float32").eval()
    rows = [_against_peer(case, model, peer, rounds) for case in cases]
    columns = ("work", "new tokens", "n", "engine tokens/s", "spread", "peer tokens/s", "spread",
               "peer's best way", "engine / peer", "target", "")  # fmt: skip
    latent = latent_bytes_per_token(config, torch.float32)
    expanded = expanded_bytes_per_token(config, torch.float32)
    note = (
        f"cache: {latent:,} bytes a token in the engine, {expanded:,} expanded as the peer keeps "
        f"it: {expanded / latent:.1f} times as many"
    )
    title = f"Generation, {torch.get_num_threads()} threads, float32: engine against transformers"
    return [
        Table(title, columns, rows, [note]),
        _constrained(model, rounds, constrained_tokens),
    ]


def _against_peer(
    case: Case, model: KimiK2MoEModel, peer: DeepseekV3ForCausalLM, rounds: int
) -> list[str]:
    requests = case.requests(model.config.vocab_size)
    new = sum((request.options.max_tokens or 0) * request.samples for request in requests)
    ways = [
        (f"{cache}, {experts}", partial(_peer, peer, requests, cache, experts))
        for cache, experts in product(CACHES, EXPERTS)
    ]
    short = [
        replace(r, options=replace(r.options, max_tokens=min(r.options.max_tokens or 1, TRIAL)))
        for r in requests
    ]
    trial = interleaved({name: partial(_peer, peer, short, *way.args[2:]) for name, way in ways}, 1)
    way = min(trial, key=lambda name: trial[name].median)
    engine = Engine(model, max_lanes=case.prompts * case.samples)
    works: dict[str, Callable[[], object]] = {
        "engine": partial(_engine, engine, requests, new),
        "peer": dict(ways)[way],
    }
    timings = interleaved(works, rounds)
    engine.close()
    ours, theirs = timings["engine"], timings["peer"]
    ratio = theirs.median / ours.median
    return [
        case.name, f"{new:,}", str(ours.n), *_speed(ours, new), *_speed(theirs, new), way,
        f"{ratio:.2f}", f"{case.target:.1f}", verdict(ratio, case.target),
    ]  # fmt: skip


def _speed(timing: Timing, tokens: int) -> tuple[str, str]:
    return f"{tokens / timing.median:,.0f}", f"{timing.spread:.1%}"


def _engine(engine: Engine, requests: list[GenerationRequest], new: int) -> None:
    generations = engine.generate(requests)
    made = sum(len(sample.tokens) for g in generations for sample in g.samples)
    if made != new:
        raise RuntimeError(f"the engine made {made} tokens, not {new}")
    engine.forget_prefixes()  # every round computes its prompts, as the peer does


class _OwnLengths(StoppingCriteria):
    """Ends every row at a length of its own."""

    def __init__(self, lengths_B: torch.Tensor, prompt: int) -> None:
        self.ends_B = lengths_B + prompt

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        return input_ids.shape[1] >= self.ends_B


@torch.inference_mode()
def _peer(
    peer: DeepseekV3ForCausalLM, requests: list[GenerationRequest], cache: str, experts: str
) -> None:
    peer.set_experts_implementation(experts)
    longest = max(len(request.prompt) for request in requests)
    tokens_BT = torch.zeros(len(requests), longest, dtype=torch.int64)
    mask_BT = torch.zeros_like(tokens_BT)
    for row, request in enumerate(requests):
        tokens_BT[row, longest - len(request.prompt) :] = torch.tensor(request.prompt)
        mask_BT[row, longest - len(request.prompt) :] = 1
    samples = requests[0].samples
    lengths = torch.tensor([r.options.max_tokens for r in requests]).repeat_interleave(samples)
    peer.generate(
        tokens_BT,
        attention_mask=mask_BT,
        do_sample=True,
        top_k=0,
        num_return_sequences=samples,
        max_new_tokens=int(lengths.max()),
        stopping_criteria=StoppingCriteriaList([_OwnLengths(lengths, longest)]),
        cache_implementation=cache,
        eos_token_id=None,
        pad_token_id=0,
    )


TOOL = ToolSpec(
    "write_notes",
    "Keep notes.",
    {
        "type": "object",
        "properties": {
            "notes": {"type": "array", "items": {"type": "string", "minLength": 8}, "minItems": 99}
        },
        "required": ["notes"],
        "additionalProperties": False,
    },
)


def _constrained(model: KimiK2MoEModel, rounds: int, tokens: int) -> Table:
    """Batch 16 with K2's tool call grammar and its schema, and without."""
    texts = ["def f(x):\n    return x\n", "the notes of the day are these\n"]
    tokenizer = Tokenizer.train(texts * 50, model.config.vocab_size)
    engine = Engine(model, tokenizer, max_lanes=CONSTRAINED_BATCH)
    prompt = tuple(tokenizer.encode("the notes of the day are these\n" * 4))
    constraint = ToolCallFormat((TOOL,), choice="required")
    new = CONSTRAINED_BATCH * tokens

    def work(form: ToolCallFormat | None) -> None:
        requests = [
            GenerationRequest(prompt, SamplingOptions(max_tokens=tokens, seed=i), 1, form)
            for i in range(CONSTRAINED_BATCH)
        ]
        _engine(engine, requests, new)

    works = {"free": partial(work, None), "constrained": partial(work, constraint)}
    timings = interleaved(works, rounds)
    engine.close()
    free, constrained = timings["free"], timings["constrained"]
    ratio = constrained.median / free.median
    row = [
        f"batch {CONSTRAINED_BATCH}", f"{new:,}", str(free.n), *_speed(free, new),
        *_speed(constrained, new), f"{ratio:.3f}", f"{LARGEST_COST:.2f}",
        verdict(ratio, LARGEST_COST, larger_is_better=False),
    ]  # fmt: skip
    columns = ("work", "new tokens", "n", "free tokens/s", "spread", "constrained tokens/s",
               "spread", "time ratio", "target", "")  # fmt: skip
    return Table("A tool call's schema enforced token by token, against free text", columns, [row])
