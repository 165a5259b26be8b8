"""Drawing the next token of many sequences at once, each with its own options.

The random number of a token is a function of the sequence's seed and the token's position alone.
So a sample is the same in any batch, and a sequence that was paused, moved or preempted goes on as
if it had not been.

S rows (sequences), V vocabulary, R rows with a grammar.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from openk2.core.generation import SamplingOptions

__all__ = ["Allowed", "Drawn", "OptionTable", "draw", "uniform"]

FIRST_CANDIDATES = 64  # of a row whose filters keep few tokens: more are looked at where needed

# Rows with a grammar, and for each a bit for every token: [R], int32 [R, ceil(V / 32)].
Allowed = tuple["IntArray", "npt.NDArray[np.int32]"]
IntArray = npt.NDArray[np.int64]


class OptionTable:
    """The options of up to `lanes` sequences as columns, so that a step handles them together."""

    def __init__(self, lanes: int) -> None:
        self.temperature = np.ones(lanes)
        self.top_p = np.ones(lanes)
        self.top_k = np.zeros(lanes, dtype=np.int64)
        self.min_p = np.zeros(lanes)
        self.key = np.zeros(lanes, dtype=np.uint64)
        self.top_log_probs = np.zeros(lanes, dtype=np.int64)
        self.biased = np.zeros(lanes, dtype=np.bool_)
        self.special = np.zeros(lanes, dtype=np.bool_)  # not simply the model's distribution
        self._bias: dict[int, tuple[list[int], list[float]]] = {}

    def set(self, lane: int, options: SamplingOptions, key: int) -> None:
        """`key` is what the sequence's random numbers come from, 64 bits."""
        self.temperature[lane] = options.temperature
        self.top_p[lane], self.top_k[lane] = options.top_p, options.top_k
        self.min_p[lane], self.key[lane] = options.min_p, key
        self.top_log_probs[lane] = options.top_log_probs
        self.biased[lane] = bool(options.logit_bias)
        plain = SamplingOptions(
            max_tokens=options.max_tokens,
            seed=options.seed,
            stop=options.stop,
            stop_tokens=options.stop_tokens,
            repetition_limit=options.repetition_limit,
        )
        self.special[lane] = options != plain
        self._bias[lane] = list(options.logit_bias), list(options.logit_bias.values())

    def add_bias(self, logits_SV: Tensor, lanes: IntArray) -> None:
        """Add each row's logit bias in place; -100 forbids, as in OpenAI's API."""
        for row in np.flatnonzero(self.biased[lanes]):
            ids, values = self._bias[int(lanes[row])]
            known = [(i, -torch.inf if v <= -100 else v) for i, v in zip(ids, values, strict=True)]
            index = torch.tensor([i for i, _ in known], device=logits_SV.device)
            logits_SV[int(row), index] += torch.tensor(
                [v for _, v in known], dtype=logits_SV.dtype, device=logits_SV.device
            )


@dataclass(frozen=True)
class Drawn:
    """What one step drew: see `inference.requests.Update` for the log-probabilities.

    A row whose logits are not finite, or that is allowed no token, has log-probability NaN.
    """

    tokens: list[int]
    log_probs: list[float]
    top: dict[int, tuple[tuple[int, float], ...]]  # row -> the likeliest tokens, where asked for


def uniform(keys: npt.NDArray[np.uint64], positions: IntArray) -> npt.NDArray[np.float32]:
    """A number in [0, 1) for each key and position: two rounds of SplitMix64's finaliser.

    Times a float32 it stays below that, for it stays 2^-22 below 1.
    """
    with np.errstate(over="ignore"):
        state = _mix(keys + positions.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
        state = _mix(state ^ np.uint64(0xD1B54A32D192ED03))
    return ((state >> np.uint64(11)) * (2.0**-53 * (1 - 2.0**-22))).astype(np.float32)


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def draw(
    logits_SV: Tensor,
    table: OptionTable,
    lanes: IntArray,
    positions: IntArray,
    allowed: Allowed | None = None,
) -> Drawn:
    """One token for each row; `logits_SV`, float32, is overwritten.

    `lanes` say which options each row has, `positions` how many tokens precede the new one,
    `allowed` which tokens the rows with a grammar may take.
    """
    if allowed is not None:
        _forbid(logits_SV, *allowed)
    greedy, top = None, {}
    if table.special[lanes].any():
        greedy = table.temperature[lanes] == 0
        _shape(logits_SV, table, lanes, greedy)
        top = _likeliest(logits_SV, table.top_log_probs[lanes])
    largest_S1 = logits_SV.amax(-1, keepdim=True)
    likeliest_S = logits_SV.argmax(-1) if greedy is not None and greedy.any() else None
    weights_SV = logits_SV.sub_(largest_S1).exp_()
    cumulative_SV = weights_SV.cumsum(-1)
    total_S1 = cumulative_SV[:, -1:]
    drawn_S1 = torch.from_numpy(uniform(table.key[lanes], positions)).to(total_S1.device)[:, None]
    chosen_S1 = torch.searchsorted(cumulative_SV, drawn_S1 * total_S1, right=True)
    chosen_S1.clamp_(max=logits_SV.shape[1] - 1)  # of a row of NaN, nothing is found
    if likeliest_S is not None:
        where = torch.from_numpy(greedy).to(chosen_S1.device)
        chosen_S1 = torch.where(where, likeliest_S, chosen_S1[:, 0])[:, None]
    log_probs_S1 = (weights_SV.gather(1, chosen_S1) / total_S1).log_()
    if top:
        log_total_S = (total_S1.log() + largest_S1)[:, 0].tolist()
        top = {
            row: [(token, logit - log_total_S[row]) for token, logit in pairs]
            for row, pairs in top.items()
        }
    return Drawn(
        chosen_S1[:, 0].tolist(),
        log_probs_S1[:, 0].tolist(),
        {row: tuple(pairs) for row, pairs in top.items()},
    )


def _shape(
    logits_SV: Tensor, table: OptionTable, lanes: IntArray, greedy: npt.NDArray[np.bool_]
) -> None:
    """Bias, temperature and filters, in place; greedy rows keep the model's distribution."""
    table.add_bias(logits_SV, lanes)
    temperature = table.temperature[lanes]
    if ((temperature != 1) & ~greedy).any():
        divisor = np.where(greedy, 1.0, temperature)
        logits_SV /= torch.from_numpy(divisor).to(logits_SV)[:, None]
    top_p, top_k, min_p = table.top_p[lanes], table.top_k[lanes], table.min_p[lanes]
    filtered = ~greedy & ((top_p < 1) | (top_k > 0) | (min_p > 0))
    if filtered.any():
        _filter(logits_SV, table, lanes, np.flatnonzero(filtered))


def _forbid(logits_SV: Tensor, rows: IntArray, words_RW: npt.NDArray[np.int32]) -> None:
    """Forbid the rows what their bits do not allow, and ids beyond the bits."""
    vocabulary = logits_SV.shape[1]
    forbidden = np.unpackbits(
        (~words_RW).view(np.uint8), axis=-1, count=vocabulary, bitorder="little"
    )
    forbidden_RV = torch.from_numpy(forbidden.view(np.bool_)).to(logits_SV.device)
    if len(rows) == len(logits_SV):
        logits_SV.masked_fill_(forbidden_RV, -torch.inf)
    else:
        index = torch.from_numpy(rows).to(logits_SV.device)
        logits_SV[index] = logits_SV[index].masked_fill_(forbidden_RV, -torch.inf)


def _filter(logits_SV: Tensor, table: OptionTable, lanes: IntArray, rows: IntArray) -> None:
    """Forbid in place what top-k, top-p and min-p leave out of each of the rows.

    The rows are looked at through their few likeliest tokens; those whose filters reach beyond are
    looked at again, whole.
    """
    index = torch.from_numpy(rows).to(logits_SV.device)
    chosen_SV = logits_SV if len(rows) == len(logits_SV) else logits_SV.index_select(0, index)
    vocabulary = logits_SV.shape[1]
    lane = lanes[rows]
    top_k = np.where(table.top_k[lane] > 0, table.top_k[lane], vocabulary)
    top_k = top_k.clip(max=vocabulary)
    top_p_S, min_p_S = (
        torch.from_numpy(part).to(chosen_SV) for part in (table.top_p[lane], table.min_p[lane])
    )
    threshold, decided = _thresholds(chosen_SV, top_k, top_p_S, min_p_S, FIRST_CANDIDATES)
    if not decided.all():
        left = (~decided).nonzero()[:, 0]
        rest = top_k[left.cpu().numpy()], top_p_S[left], min_p_S[left]
        threshold[left], _ = _thresholds(chosen_SV[left], *rest, vocabulary)
    chosen_SV = chosen_SV.masked_fill(chosen_SV < threshold[:, None], -torch.inf)
    logits_SV.index_copy_(0, index, chosen_SV)


def _thresholds(
    logits_SV: Tensor, top_k: IntArray, top_p_S: Tensor, min_p_S: Tensor, candidates: int
) -> tuple[Tensor, Tensor]:
    """The smallest logit that each row keeps, and whether so many candidates were enough to know.

    Top-p is a share of what top-k leaves; of tokens level with the last one kept, all are kept.
    """
    candidates = min(candidates, logits_SV.shape[1])
    ordered_SC = logits_SV.topk(candidates, dim=-1).values
    limit_S = torch.from_numpy(top_k).to(logits_SV.device)
    rank_C = torch.arange(candidates, device=logits_SV.device)
    within_SC = rank_C < limit_S[:, None]
    weights_SC = (ordered_SC - ordered_SC[:, :1]).exp_()
    # Where top-k does not cut, top-p's whole is the whole row.
    whole_S = torch.where(
        limit_S <= candidates,
        (weights_SC * within_SC).sum(-1),
        (logits_SV - ordered_SC[:, :1]).exp_().sum(-1),
    )
    before_SC = weights_SC.cumsum(-1) - weights_SC
    # A token is kept if those before it have not reached the share yet; hence the first always is.
    keep_SC = within_SC & (before_SC < (top_p_S * whole_S)[:, None])
    keep_SC &= weights_SC >= min_p_S[:, None]
    kept_S = keep_SC.sum(-1).clamp_(min=1)
    threshold_S = ordered_SC.gather(1, kept_S[:, None] - 1)[:, 0]
    # Undecided: top-k cuts beyond the candidates, or even the last of them is kept.
    vocabulary = logits_SV.shape[1]
    decided_S = (limit_S <= candidates) | ((limit_S >= vocabulary) & (kept_S < candidates))
    return threshold_S, decided_S


def _likeliest(logits_SV: Tensor, counts: IntArray) -> dict[int, list[tuple[int, float]]]:
    """Row -> its likeliest tokens with their logits, as many as asked for."""
    most = int(counts.max(initial=0))
    if most == 0:
        return {}
    rows = np.flatnonzero(counts)
    values, ids = logits_SV[torch.from_numpy(rows)].topk(min(most, logits_SV.shape[1]), dim=-1)
    pairs = zip(rows.tolist(), ids.tolist(), values.tolist(), strict=True)
    return {
        row: list(zip(tokens, logits, strict=True))[: int(counts[row])]
        for row, tokens, logits in pairs
    }
