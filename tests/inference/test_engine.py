"""The engine equals the trainer's forward pass, however requests are batched, cut and shared."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.core.generation import SamplingOptions
from openk2.inference import Engine, GenerationRequest, PausedRequest, Update
from openk2.inference.decoder import Chunk, DecodeGroup, Decoder, StepTokens
from openk2.inference.latent_cache import BLOCK_TOKENS, LatentCache
from tests.inference.small_engine import (
    VOCABULARY,
    empty,
    forward_log_probs,
    requests,
    small_model,
    tokens_of,
)


def test_absorbed_decoding_gives_the_logits_of_the_expanded_forward_pass() -> None:
    """Token by token from the latent cache, against all tokens at once: float32, 1e-5."""
    for changes in ({}, {"q_lora_rank": None}, {"first_k_dense_replace": 0}):
        model = small_model(**changes).eval()
        tokens = torch.randint(0, VOCABULARY, (70,), generator=torch.Generator().manual_seed(1))
        decoder = Decoder(model, torch.float32)
        cache = LatentCache(model.config, 128, torch.float32, torch.device("cpu"))
        blocks = torch.tensor(cache.allocate(3))
        expected = model(tokens[None])[0].detach()
        with torch.inference_mode():
            for position in range(len(tokens)):
                at = torch.tensor([position])
                slot = blocks[at // BLOCK_TOKENS] * BLOCK_TOKENS + at % BLOCK_TOKENS
                mask = torch.zeros(1, 1, 3 * BLOCK_TOKENS)
                mask[..., position + 1 :] = -torch.inf
                group = DecodeGroup(slice(0, 1), blocks[None], mask)
                step = StepTokens(tokens[at], at, slot, [group], [])
                logits = decoder.logits(decoder.forward(step, cache))
                torch.testing.assert_close(logits[0], expected[position], rtol=0, atol=1e-5)
            # The same prompt in two chunks, of which the second attends to the first's cache.
            for begin, end in ((0, 41), (41, 70)):
                at = torch.arange(begin, end)
                slot = blocks[at // BLOCK_TOKENS] * BLOCK_TOKENS + at % BLOCK_TOKENS
                chunk = Chunk(slice(0, end - begin), begin, blocks if begin else None)
                step = StepTokens(tokens[at], at, slot, [], [chunk])
                logits = decoder.logits(decoder.forward(step, cache))
                torch.testing.assert_close(logits, expected[begin:end], rtol=0, atol=1e-5)


def test_log_probs_of_every_sampled_token_are_the_trainers() -> None:
    model = small_model()
    asked = requests(24)
    for request, generation in zip(asked, Engine(model).generate(asked), strict=True):
        for sample in generation.samples:
            expected = forward_log_probs(
                model, request.prompt, sample.tokens, request.options.temperature
            )
            torch.testing.assert_close(torch.tensor(sample.log_probs), expected, rtol=0, atol=1e-5)


def test_batched_alone_and_in_a_tiny_engine_the_same_greedy_tokens() -> None:
    """Eight blocks and six lanes: chunks, refills, waiting samples and preemption on the way."""
    model = small_model()
    asked = requests(16, greedy=True)
    together = tokens_of(Engine(model).generate(asked))
    engine = Engine(model)
    assert [tokens_of(engine.generate([request]))[0] for request in asked] == together
    tiny = Engine(model, max_lanes=6, cache_tokens=8 * BLOCK_TOKENS, prefill_tokens=24)
    assert tokens_of(tiny.generate(asked)) == together
    assert tiny.statistics().preempted > 0
    assert empty(tiny)
    for request, generation in zip(asked, together, strict=True):
        for tokens in generation:
            logits = model(torch.tensor([[*request.prompt, *tokens]]))[0, len(request.prompt) - 1 :]
            assert logits[:-1].argmax(-1).tolist() == tokens


def test_a_prompt_is_computed_once_for_its_samples_and_for_those_that_begin_alike() -> None:
    model = small_model()
    engine = Engine(model)
    prompt = tuple(range(100))
    options = SamplingOptions(max_tokens=4, seed=0)
    engine.generate([GenerationRequest(prompt, options, samples=8)])
    assert engine.statistics().prompt_tokens == 100
    (generation,) = engine.generate([GenerationRequest((*prompt[:80], 7), options)])
    assert generation.cached_tokens == 2 * BLOCK_TOKENS
    assert engine.statistics().prompt_tokens == 100 + 81 - 2 * BLOCK_TOKENS
    # Asked for at the same moment, the second waits for the first's blocks.
    fresh = Engine(model)
    fresh.generate([GenerationRequest((*prompt, index), options) for index in range(5)])
    assert fresh.statistics().prompt_tokens == 101 + 4 * (101 - 3 * BLOCK_TOKENS)


def test_prompt_log_probs() -> None:
    model = small_model()
    prompt = tuple(torch.randint(0, VOCABULARY, (90,)).tolist())
    options = SamplingOptions(max_tokens=1, top_log_probs=3)
    request = GenerationRequest(prompt, options, prompt_log_probs=True)
    (generation,) = Engine(model, prefill_tokens=32).generate([request])
    expected = model(torch.tensor([prompt]))[0, :-1].detach().log_softmax(-1)
    assert [score.token for score in generation.prompt_scores] == list(prompt[1:])
    for row, score in zip(expected, generation.prompt_scores, strict=True):
        assert score.log_prob == pytest.approx(float(row[score.token]), abs=1e-5)
        values, ids = row.topk(3)
        assert [token for token, _ in score.top] == ids.tolist()
        assert [value for _, value in score.top] == pytest.approx(values.tolist(), abs=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 12), max_size=6), st.integers(0, 1000))
def test_a_pause_changes_nothing(pauses: list[int], seed: int) -> None:
    """Paused after any steps, resumed in another engine: the tokens of an unbroken run."""
    model = small_model()
    options = SamplingOptions(max_tokens=40, seed=seed)
    request = GenerationRequest(tuple(range(45)), options, samples=3)
    (unbroken,) = Engine(model).generate([request])
    paused: PausedRequest | None = PausedRequest.at_start(request)
    for steps in pauses:
        engine = Engine(model)
        assert paused is not None
        number = engine.resume(paused)
        for _ in range(steps):
            engine.step()
        paused = engine.pause(number)
        assert empty(engine)
        if paused is None:
            break
    if paused is not None:
        before = {sample.sample: list(sample.tokens) for sample in paused.samples}
        engine = Engine(model)
        engine.resume(paused)
        while not engine.idle:
            for update in engine.step():
                if update.sample >= 0:
                    before[update.sample] += update.tokens
        for number, tokens in before.items():
            assert tokens == unbroken.samples[number].tokens


def test_an_abort_ends_the_open_samples_and_frees_their_blocks() -> None:
    engine = Engine(small_model(), max_lanes=2)
    options = SamplingOptions(max_tokens=50)
    first = engine.submit(GenerationRequest((1, 2, 3), options, samples=3))
    second = engine.submit(GenerationRequest((4, 5), options))
    updates: list[Update] = []
    for _ in range(5):
        updates += engine.step()
    engine.abort(first)
    while not engine.idle:
        updates += engine.step()
    ends = {(u.request, u.sample): u.finish_reason for u in updates if u.finish_reason}
    assert ends == {(first, 0): "aborted", (first, 1): "aborted", (first, 2): "aborted",
                    (second, 0): "length"}  # fmt: skip
    assert empty(engine)


def test_weights_are_the_trainers_own_and_a_change_shows_in_the_next_step() -> None:
    model = small_model()
    engine = Engine(model)
    prompt = tuple(range(64))
    options = SamplingOptions(max_tokens=30, temperature=0)
    engine.submit(GenerationRequest(prompt, options))
    tokens: list[int] = []
    log_probs: list[float] = []

    def steps(count: int) -> None:
        for _ in range(count):
            for update in engine.step():
                tokens.extend(update.tokens)
                log_probs.extend(update.log_probs)

    steps(10)
    before = len(tokens)
    old = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    while not engine.idle:
        steps(1)
    expected = forward_log_probs(model, prompt, tokens)[before:]
    torch.testing.assert_close(torch.tensor(log_probs[before:]), expected, rtol=0, atol=1e-5)
    assert not torch.allclose(expected, forward_log_probs(old, prompt, tokens)[before:], atol=1e-3)
    (again,) = engine.generate([GenerationRequest(prompt, options)])
    (fresh,) = Engine(model).generate([GenerationRequest(prompt, options)])
    assert again.samples[0].tokens == fresh.samples[0].tokens


def test_bfloat16_follows_the_forward_pass_in_bfloat16() -> None:
    model = small_model()
    engine = Engine(model, dtype=torch.bfloat16)
    request = GenerationRequest(tuple(range(50)), SamplingOptions(max_tokens=30, seed=1))
    (generation,) = engine.generate([request])
    (sample,) = generation.samples
    model.compute_dtype = torch.bfloat16
    expected = forward_log_probs(model, request.prompt, sample.tokens).float()
    assert (torch.tensor(sample.log_probs) - expected).abs().mean() < 0.05


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (GenerationRequest(()), "the prompt is empty"),
        (GenerationRequest((VOCABULARY,)), "token ids outside"),
        (GenerationRequest((1,) * 512), "the prompt has 512 tokens"),
        (GenerationRequest((1,), samples=0), "at least 1"),
        (GenerationRequest((1,), SamplingOptions(stop=("x",))), "need an engine with a tokenizer"),
        (GenerationRequest((1,), SamplingOptions(logit_bias={999: 1.0})), "logit_bias names"),
    ],
)
def test_what_cannot_be_run_is_refused_and_others_are_served(
    request_: GenerationRequest, message: str
) -> None:
    good = GenerationRequest((1, 2), SamplingOptions(max_tokens=3))
    engine = Engine(small_model())
    refused, served = engine.generate([request_, good])
    assert refused.refused is not None and message in refused.refused
    assert len(served.samples[0].tokens) == 3
    assert empty(engine)


def test_a_model_that_diverged_ends_the_sample() -> None:
    model = small_model()
    with torch.no_grad():
        model.lm_head.weight.fill_(torch.nan)
    engine = Engine(model)
    (generation,) = engine.generate([GenerationRequest((1, 2), SamplingOptions(max_tokens=5))])
    assert generation.samples[0].finish_reason == "failed"
    assert generation.samples[0].tokens == []


def test_ends() -> None:
    """A stop token belongs to the tokens; repetition and the end of the context end a sample."""
    model = small_model()
    prompt = tuple(range(10))
    free = SamplingOptions(max_tokens=30, temperature=0)
    tokens = Engine(model).generate([GenerationRequest(prompt, free)])[0].samples[0].tokens
    stop = SamplingOptions(max_tokens=30, temperature=0, stop_tokens=(tokens[5],))
    (stopped,) = Engine(model).generate([GenerationRequest(prompt, stop)])
    assert stopped.samples[0].tokens == tokens[: tokens.index(tokens[5]) + 1]
    assert stopped.samples[0].finish_reason == "stop"
    loop = SamplingOptions(logit_bias={7: 1000.0}, repetition_limit=6)
    (repeated,) = Engine(model).generate([GenerationRequest(prompt, loop)])
    assert repeated.samples[0].finish_reason == "repetition"
    assert repeated.samples[0].tokens == [7] * 8
    (full,) = Engine(model).generate([GenerationRequest((1,) * 500, SamplingOptions())])
    assert full.samples[0].finish_reason == "length"
    assert len(full.samples[0].tokens) == 12
