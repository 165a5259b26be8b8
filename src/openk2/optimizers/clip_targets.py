"""Which attention layers of a model QK-Clip serves, and a ClipTarget for any attention of yours.

A module that is a `ClipTarget` is found as it is. Attention written elsewhere is made into one by
an adapter, a function `attach(model, gqa=..., qk_norm=...)` that adds an `AttentionClipTarget` to
each attention layer it knows and sees that the layer reports its logits; adapters are found as
entry points of the group "openk2.clip_targets", so any package can bring its own.

Shape letters: B batch, T queries, S keys, H query heads, G key heads, Q head width, R rows.
"""

import re
from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from openk2.core.protocols import ClipTarget, HeadMatrices, LogitRows
from openk2.kernels.attention_logits import MaxLogitRecorder, exact_max_logits
from openk2.optimizers.layout import local_rows

__all__ = [
    "AttentionClipTarget",
    "find_clip_targets",
    "fused_head_matrices",
    "fused_query_key_value_rows",
    "norm_gain_rows",
    "query_key_rows",
]

_ATTENTION = re.compile(r"(?i:attention|attn)|M[HLQ]A|GQA")  # in the name of a class


def find_clip_targets(
    model: nn.Module,
    *,
    gqa: Literal["per_head", "group"] = "per_head",
    qk_norm: Literal["clip_gains", "refuse"] = "clip_gains",
) -> list[ClipTarget]:
    """All attention layers of a model as ClipTargets, in the model's order.

    `gqa`, for heads that share a key: "per_head" leaves the key alone and gives the query the whole
    factor, so that only the offending head shrinks; "group" is Megatron's rule, by which all heads
    of a group take the smallest factor, split between query and key. `qk_norm`, for layers that
    normalise queries and keys, where scaling weights changes nothing: "clip_gains" scales the gains
    of the norms, "refuse" raises ValueError. ValueError where there is no attention, or one that
    nobody knows.
    """
    for adapter in entry_points(group="openk2.clip_targets"):
        adapter.load()(model, gqa=gqa, qk_norm=qk_norm)
    # The class is asked too, for wrappers (compiled modules, activation checkpointing) pass on
    # what the module in them has, and a layer that is found twice would be clipped twice.
    targets: list[ClipTarget] = [
        module
        for module in model.modules()
        if isinstance(module, ClipTarget) and hasattr(type(module), "logit_rows")
    ]
    unknown = _attention_without_target(model)
    if unknown or not targets:
        found = (
            f"{unknown[0]} is an attention layer that QK-Clip cannot observe"
            if unknown
            else "no attention layer was found"
        )
        raise ValueError(
            f"{type(model).__name__}: {found}; add an AttentionClipTarget to it and report its "
            "logits, pass clip_targets of your own, or pass qk_clip_threshold=None to train "
            "without QK-Clip"
        )
    return targets


class AttentionClipTarget(nn.Module):
    """QK-Clip for an attention layer of your own: one line to declare it, one call to report.

        class MyAttention(nn.Module):
            def __init__(self, ...):
                self.q_proj, self.k_proj = nn.Linear(...), nn.Linear(...)
                self.qk_clip = AttentionClipTarget(
                    heads, query_key_rows(self.q_proj, self.k_proj, heads, kv_heads)
                )

            def forward(self, x):
                ...
                self.qk_clip.report(q, k, scale, is_causal=True)

    With the log-sum-exp that `kernels.attention_logits.attention_with_log_sum_exp` returns beside
    its output, a report costs next to nothing while no head exceeds the threshold.

    It holds no parameters and adds nothing to the state dict. `rows` say what to scale (see
    `query_key_rows`); `matrices` how fused or per-head weights split. `query` is the projection
    whose rows are the query heads, which says which heads are here under tensor parallelism
    (default: the module of the first rows).
    """

    def __init__(
        self,
        num_attention_heads: int,
        rows: Iterable[LogitRows],
        matrices: Iterable[HeadMatrices] = (),
        query: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.num_attention_heads = num_attention_heads
        self._rows = list(rows)
        self._matrices = list(matrices)
        named = {head for row in self._rows for head in row.heads.unique().tolist()}
        if named != set(range(num_attention_heads)):
            raise ValueError(
                f"the rows name the heads {sorted(named)}, where the layer has "
                f"{num_attention_heads}, counted from 0: make them for as many heads"
            )
        # In a tuple, so that the projection is not registered as a child a second time.
        self._query = (query if query is not None else self._rows[0].module,)
        self._recorder = MaxLogitRecorder(num_attention_heads)

    @property
    def observes(self) -> bool:
        """Whether the forward pass that is running now is to be reported."""
        return self._recorder.threshold is not None and self.training and torch.is_grad_enabled()

    def report(
        self,
        q_BHTQ: Tensor,
        k_BGSQ: Tensor,
        scale: float,
        *,
        is_causal: bool = False,
        mask: Tensor | None = None,
        log_sum_exp_BHT: Tensor | None = None,
        max_scores_BHT: Tensor | None = None,
    ) -> None:
        """Take the queries and keys of one forward pass, as they enter attention, into S_max.

        `mask` broadcasts to [B, H, T, S]: boolean, True where visible, or added to the logits.
        `max_scores_BHT` is the exact maximum of each row, which FlexAttention can return, and
        `log_sum_exp_BHT` an upper bound of it, which every flash kernel returns; with neither, the
        logits are computed for all heads. Does nothing in evaluation mode, without gradients or
        for an empty batch. ValueError for other heads than this process computes.
        """
        if not (self.observes and q_BHTQ.numel() and k_BGSQ.numel()):
            return
        with torch.no_grad():
            if max_scores_BHT is not None:
                largest_H = max_scores_BHT.amax((0, 2)).float()
            else:
                bound_H = None if log_sum_exp_BHT is None else log_sum_exp_BHT.amax((0, 2)).float()
                largest_H = exact_max_logits(
                    q_BHTQ, k_BGSQ, scale, is_causal=is_causal, mask=mask, bound_H=bound_H,
                    threshold=self._recorder.threshold,
                )  # fmt: skip
        self._recorder.record(largest_H, self._first_head(len(largest_H)))

    def _first_head(self, heads: int) -> int:
        """The first of the heads that this process computes, from the rows that it holds."""
        if heads == self.num_attention_heads:
            return 0
        weight = _weight(self._query[0])
        held = local_rows(weight)
        first = int(held.start * self.num_attention_heads // weight.shape[0])
        here = held.stop * self.num_attention_heads // weight.shape[0] - first
        if heads != here:
            raise ValueError(
                f"the queries of {heads} heads were reported, where this process has the rows of "
                f"{here}: report q as [batch, heads, queries, width]"
            )
        return first

    def observe_max_logits(self, threshold: float) -> None:
        """See `core.protocols.ClipTarget`."""
        self._recorder.observe(threshold)

    def max_logits(self) -> Tensor:
        """S_max per head since the last reset, float32 [H]."""
        return self._recorder.max_logits(_weight(self._query[0]).device)

    def reset_max_logits(self) -> None:
        """Forget what was measured."""
        self._recorder.reset()

    def logit_rows(self) -> list[LogitRows]:
        return self._rows

    def head_matrices(self) -> list[HeadMatrices]:
        return self._matrices


def query_key_rows(
    query: nn.Module,
    key: nn.Module,
    num_attention_heads: int,
    num_key_value_heads: int | None = None,
    *,
    gqa: Literal["per_head", "group"] = "per_head",
    head_width: int | None = None,
) -> list[LogitRows]:
    """The rows of separate query and key projections [heads * width, in], biases included.

    Heads with a key of their own split the factor evenly between query and key. Heads that share
    one (`num_key_value_heads` < `num_attention_heads`): see `find_clip_targets`. ValueError where
    heads, widths and weights do not fit together.
    """
    queries, keys = _shares(num_attention_heads, num_key_value_heads, gqa)
    width = head_width or _weight(query).shape[0] // num_attention_heads
    return [
        row
        for module, share in ((query, queries), (key, keys))
        for row in _weight_and_bias(module, *share.rows(width))
        if share.power
    ]


def fused_query_key_value_rows(
    qkv: nn.Module,
    num_attention_heads: int,
    num_key_value_heads: int | None = None,
    head_width: int | None = None,
    *,
    gqa: Literal["per_head", "group"] = "per_head",
    interleaved: bool = False,
) -> list[LogitRows]:
    """The rows of one projection for queries, keys and values of one width, bias included.

    The rows are [all queries | all keys | all values]; `interleaved`: for each key head its
    queries, its key and its value, as Megatron stores them. Otherwise as `query_key_rows`.
    """
    groups = num_key_value_heads or num_attention_heads
    queries, keys = _shares(num_attention_heads, groups, gqa)
    parts = [queries, keys, _Share(keys.heads, 0.0)]
    width = head_width or _weight(qkv).shape[0] // (num_attention_heads + 2 * groups)
    rows = [share.rows(width) for share in parts]
    split = groups if interleaved else 1
    heads, power = (
        torch.cat([x.unflatten(0, (split, -1)) for x in part], 1).flatten(0, 1)
        for part in zip(*rows, strict=True)
    )
    return _weight_and_bias(qkv, heads, power)


def fused_head_matrices(
    qkv: nn.Module,
    num_attention_heads: int,
    num_key_value_heads: int | None = None,
    *,
    interleaved: bool = False,
) -> HeadMatrices:
    """How the rows of `fused_query_key_value_rows` fall into projections and heads.

    Interleaved, a group's queries, its key and its value each are a block of their own.
    """
    groups = num_key_value_heads or num_attention_heads
    width = _weight(qkv).shape[0] // (num_attention_heads + 2 * groups)
    split = groups if interleaved else 1
    projections = (num_attention_heads // split, groups // split, groups // split) * split
    return HeadMatrices(
        qkv,
        "weight",
        tuple(heads * width for heads in projections),
        (width,) * sum(projections),
    )


def norm_gain_rows(
    query_norm: nn.Module,
    key_norm: nn.Module,
    num_attention_heads: int,
    gain_width: int,
    *,
    offset: float = 0.0,
) -> list[LogitRows]:
    """The gains [gain_width] of norms on queries and keys that all heads of a layer share.

    Where queries and keys are normalised, scaling their projections changes nothing. All heads of
    the layer take the smallest factor, half of it in each gain.
    """
    heads = torch.arange(num_attention_heads, device="cpu").expand(gain_width, -1)
    power = torch.full((gain_width,), 0.5, device="cpu")
    return [
        row
        for norm in (query_norm, key_norm)
        for row in _weight_and_bias(norm, heads, power, offset)
    ]


class _Share(NamedTuple):
    """What each head of a projection takes of the factor: the smallest of these heads' factors."""

    heads: Tensor  # int64 [heads of the projection, heads that share one]
    power: float

    def rows(self, width: int) -> tuple[Tensor, Tensor]:
        """`LogitRows.heads` and `LogitRows.power` of heads that are `width` rows each."""
        heads_R = self.heads.repeat_interleave(width, 0)
        return heads_R, torch.full((len(heads_R),), self.power, device="cpu")


def _shares(
    heads: int, groups: int | None, gqa: Literal["per_head", "group"]
) -> tuple[_Share, _Share]:
    """The shares of the query heads and of the key heads, of one width."""
    groups = groups or heads
    size, rest = divmod(heads, groups)
    if rest:
        raise ValueError(f"{heads} query heads do not divide among {groups} key heads")
    if gqa not in ("per_head", "group"):
        raise ValueError(f"gqa {gqa!r} is neither 'per_head' nor 'group'")
    # On the CPU also where a model is built on the meta device, whose tensors have no values.
    head_GS = torch.arange(heads, device="cpu").view(groups, size)
    if gqa == "group" or size == 1:
        return _Share(head_GS.repeat_interleave(size, 0), 0.5), _Share(head_GS, 0.5)
    return _Share(head_GS.view(heads, 1), 1.0), _Share(head_GS[:, :1], 0.0)


def _weight_and_bias(
    module: nn.Module, heads: Tensor, power: Tensor, offset: float = 0.0
) -> list[LogitRows]:
    rows = _weight(module).shape[0]
    if rows != len(power):
        raise ValueError(
            f"{type(module).__name__} has {rows} rows of weights, where its heads need {len(power)}"
        )
    # A bias has no offset: it is added to what the gain scales, and scales with it.
    return [
        LogitRows(module, "weight", heads, power, offset),
        LogitRows(module, "bias", heads, power),
    ]


def _weight(module: nn.Module) -> Tensor:
    return cast(Tensor, module.weight)


def _attention_without_target(model: nn.Module) -> list[str]:
    """Names of modules that look like trained attention of their own, and that report nothing."""

    def is_attention(module: nn.Module) -> bool:
        # The base classes too: a class of any name may be somebody's own LlamaAttention.
        return any(_ATTENTION.search(base.__name__) for base in type(module).mro()) and any(
            parameter.ndim >= 2 and parameter.requires_grad for parameter in module.parameters()
        )

    return [
        name or type(module).__name__
        for name, module in model.named_modules()
        if is_attention(module)
        and not any(isinstance(child, ClipTarget) for child in module.modules())
        and not any(is_attention(child) for child in list(module.modules())[1:])
    ]
