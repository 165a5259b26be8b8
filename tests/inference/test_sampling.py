"""Drawing tokens, against the definitions written out one row at a time in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.core.generation import SamplingOptions
from openk2.inference.sampling import Drawn, OptionTable, draw, uniform
from openk2.inference.sequences import repeats, sample_key

VOCABULARY = 150  # more than the candidates that filters look at first


def drawn(logits: torch.Tensor, options: list[SamplingOptions], position: int = 0) -> Drawn:
    table = OptionTable(len(options))
    for lane, one in enumerate(options):
        table.set(lane, one, sample_key(one.seed or 0, lane))
    lanes = np.arange(len(options))
    return draw(logits.clone(), table, lanes, np.full(len(options), position))


def reference(logits: np.ndarray, options: SamplingOptions) -> np.ndarray:
    """The probabilities that the options leave."""
    values = logits.astype(np.float64).copy()
    for token, bias in options.logit_bias.items():
        values[token] += -np.inf if bias <= -100 else bias
    values /= options.temperature
    order = np.argsort(-values, kind="stable")
    weights = np.exp(values - values.max())
    kept = order[: options.top_k or None]
    whole = weights[kept].sum()
    before = np.cumsum(weights[kept]) - weights[kept]
    kept = kept[(before < options.top_p * whole) & (weights[kept] >= options.min_p)]
    probabilities = np.zeros_like(weights)
    probabilities[kept] = weights[kept]
    return probabilities / probabilities.sum()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.lists(
        st.builds(
            SamplingOptions,
            temperature=st.sampled_from((0.3, 1.0, 1.7)),
            top_p=st.sampled_from((1.0, 0.99, 0.6, 0.05)),
            top_k=st.sampled_from((0, 1, 7, 100, 140, 500)),
            min_p=st.sampled_from((0.0, 0.02, 0.5)),
            logit_bias=st.dictionaries(
                st.integers(0, VOCABULARY - 1), st.sampled_from((-100.0, -3.0, 4.0)), max_size=4
            ),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_log_probs_are_those_of_the_filtered_distribution(
    seed: int, options: list[SamplingOptions]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(options), VOCABULARY, generator=generator) * 2
    result = drawn(logits, options, position=seed)
    for row, one in enumerate(options):
        probability = reference(logits[row].numpy(), one)[result.tokens[row]]
        # A cumulative share that meets top_p within rounding may fall on either side.
        if one.top_p == 1:
            assert probability > 0
        if probability > 0:
            assert result.log_probs[row] == pytest.approx(np.log(probability), abs=2e-3)


def test_frequencies_are_the_probabilities() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 12)
    draws = 20_000
    options = SamplingOptions(temperature=0.8, top_k=9)
    table = OptionTable(1)
    table.set(0, options, sample_key(3, 0))
    rows = draw(
        logits.repeat(draws, 1), table, np.zeros(draws, dtype=np.int64), np.arange(draws)
    ).tokens
    counted = np.bincount(rows, minlength=12)
    expected = reference(logits[0].numpy(), options) * draws
    assert (counted[expected == 0] == 0).all()
    chi_square = ((counted - expected)[expected > 0] ** 2 / expected[expected > 0]).sum()
    assert chi_square < 26.1  # 8 degrees of freedom, one in a thousand


def test_greedy_is_the_likeliest_with_the_models_own_log_prob() -> None:
    logits = torch.randn(3, VOCABULARY)
    options = [SamplingOptions(temperature=0), SamplingOptions(seed=4), SamplingOptions(top_p=0.1)]
    result = drawn(logits, options)
    assert result.tokens[0] == int(logits[0].argmax())
    own = logits.log_softmax(-1)
    assert result.log_probs[0] == pytest.approx(float(own[0].max()), abs=1e-5)
    assert result.log_probs[1] == pytest.approx(float(own[1, result.tokens[1]]), abs=1e-5)


def test_the_likeliest_tokens_of_the_distribution_drawn_from() -> None:
    logits = torch.randn(2, VOCABULARY)
    options = [SamplingOptions(temperature=0.5, top_log_probs=3), SamplingOptions()]
    result = drawn(logits, options)
    assert list(result.top) == [0]
    values, ids = (logits[0] / 0.5).log_softmax(-1).topk(3)
    assert [token for token, _ in result.top[0]] == ids.tolist()
    assert [value for _, value in result.top[0]] == pytest.approx(values.tolist(), abs=1e-5)


def test_a_mask_is_never_left_and_nothing_allowed_is_nan() -> None:
    logits = torch.randn(3, VOCABULARY)
    table = OptionTable(3)
    for lane in range(3):
        table.set(lane, SamplingOptions(), sample_key(lane, 0))
    words = np.zeros((2, -(-VOCABULARY // 32)), dtype=np.int32)
    words[0, 140 // 32] |= np.int32(1 << (140 % 32))
    result = draw(logits, table, np.arange(3), np.arange(3), (np.array([0, 2]), words))
    assert result.tokens[0] == 140
    assert result.log_probs[0] == 0
    assert np.isnan(result.log_probs[2])


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50), st.integers(0, 2**20))
def test_random_numbers_stay_below_one_also_times_a_float(keys: list[int], position: int) -> None:
    key = np.array(keys, dtype=np.uint64)
    numbers = uniform(key, np.full(len(keys), position))
    assert numbers.dtype == np.float32
    assert ((numbers >= 0) & (numbers < 1)).all()
    for total in (np.float32(1.0), np.float32(3.7), np.float32(1e-30)):
        assert (numbers * total < total).all()


def test_random_numbers_are_uniform_and_do_not_follow_each_other() -> None:
    keys = np.full(50_000, sample_key(1, 0), dtype=np.uint64)
    numbers = uniform(keys, np.arange(50_000)).astype(np.float64)
    assert abs(numbers.mean() - 0.5) < 0.005
    assert abs(numbers.var() - 1 / 12) < 0.002
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.02
    assert len({sample_key(seed, sample) for seed in range(50) for sample in range(50)}) == 2500


def test_repetition() -> None:
    assert repeats([5, 1, 2, 1, 2, 1, 2], 3)
    assert not repeats([5, 1, 2, 1, 2, 1, 2], 4)
    assert not repeats([1, 2, 3, 4], 2)
    assert repeats([9] * 4, 4)


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"top_k": -1},
        {"min_p": 2.0},
        {"max_tokens": 0},
        {"stop": ("",)},
        {"logit_bias": {1: float("inf")}},
    ],
)
def test_options_out_of_range_are_named(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        SamplingOptions(**fields)  # type: ignore[arg-type]
