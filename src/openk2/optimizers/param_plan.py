"""Which rule updates which parameter, decided once, printable, and audited at every step.

Muon takes the hidden matrices: attention and feed-forward projections, the router gate, and
stacked experts [E, n, m], of which each expert is its own matrix. AdamW takes the token embedding,
the output head, norm gains and biases. What fits neither is an error, never a silent default.

A parameter may hold several matrices: stacked ones, and blocks of its rows (`row_sizes`), such as
the three projections of a fused query-key-value weight or the heads of an attention projection.

Source: Moonlight (arXiv 2502.16982), on which K2 builds; the paper's section 2.1 says only "each
weight W in R^{n x m}".
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import prod
from typing import Any, Literal

from torch import Tensor, nn

__all__ = ["ParameterRule", "Rule", "match_overrides", "plan_parameters"]

Rule = Literal["muon", "adamw"]

# Names of the common checkpoint layouts; nn.Embedding is recognised under any name.
_ADAMW_NAMES = {
    "embed_tokens": "embedding",
    "embedding": "embedding",
    "embeddings": "embedding",
    "wte": "embedding",
    "wpe": "position embedding",
    "lm_head": "output head",
}
_ROUTER_GATES = ("gate", "router")
# Projections stored as one; what the model does not say of them, its user has to.
_FUSED = ("qkv", "query_key_value", "in_proj_weight", "c_attn", "gate_up_proj", "weight_ih_l")
# Two-dimensional parameters of such names are seldom matrices that multiply activations.
_AMBIGUOUS_WORDS = (
    "bias",
    "codebook",
    "embed",
    "latents",
    "log",
    "pos",
    "prompt",
    "queries",
    "table",
    "token",
)
# Layers of such names are most often the last one, of classes instead of tokens.
_LIKELY_HEADS = ("classifier", "head", "qa_outputs", "score")


@dataclass(frozen=True)
class ParameterRule:
    """How one parameter is updated. ValueError where Muon is asked for what has no matrix view.

    `row_sizes` are the sizes of the consecutive row blocks that are matrices of their own; one
    block by default. The optimizer fills in the last three fields: `learning_rate_scale` of the
    first matrix's update, `flops` of one step's Newton-Schulz over all matrices, and `owner`, the
    processes that run it.
    """

    name: str
    shape: tuple[int, ...]
    rule: Rule
    reason: str
    row_sizes: tuple[int, ...] = ()
    learning_rate_scale: float = 1.0
    flops: float = 0.0
    owner: str = ""

    def __post_init__(self) -> None:
        if self.rule not in ("muon", "adamw"):
            raise ValueError(f"{self.name}: rule '{self.rule}' is neither 'muon' nor 'adamw'")
        if self.rule == "muon" and len(self.shape) not in (2, 3):
            raise ValueError(
                f"{self.name}: shape {list(self.shape)} is neither a matrix nor a stack of "
                "matrices; store it as [rows, columns] or [matrices, rows, columns], or give it "
                "the rule 'adamw'"
            )
        if prod(self.shape) == 0:
            raise ValueError(
                f"{self.name}: shape {list(self.shape)} is empty; build the optimizer from the "
                "whole parameters, before anything replaces them by placeholders"
            )
        if self.rule == "muon" and not self.row_sizes:
            object.__setattr__(self, "row_sizes", (self.shape[-2],))
        if self.rule == "muon" and (
            min(self.row_sizes) < 1 or sum(self.row_sizes) != self.shape[-2]
        ):
            raise ValueError(
                f"{self.name}: row_sizes {list(self.row_sizes)} do not add up to its "
                f"{self.shape[-2]} rows"
            )

    @property
    def matrix_views(self) -> tuple[tuple[int, int, int], ...]:
        """(matrices, rows, columns) of each kind of matrix that Muon orthogonalises; or empty."""
        if self.rule == "adamw":
            return ()
        stacked = 1 if len(self.shape) == 2 else self.shape[0]
        kinds = Counter(self.row_sizes)
        return tuple((stacked * count, rows, self.shape[-1]) for rows, count in kinds.items())

    @property
    def matrices(self) -> int:
        """How many matrices the parameter holds for Muon; 0 under AdamW."""
        return sum(count for count, _, _ in self.matrix_views)


def plan_parameters(
    model_or_named_parameters: nn.Module | Iterable[tuple[str, Tensor]],
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    row_sizes: Mapping[Tensor, tuple[int, ...]] | None = None,
) -> list[ParameterRule]:
    """One rule for each parameter that requires a gradient, in the order given.

    A model says more than names do: nn.Embedding is recognised by type, a tied weight by every
    module that holds it, an output head by its width. `overrides` maps a name or a pattern such as
    "*.head.weight" to {"rule": ..., "row_sizes": ...}, either or both; `row_sizes` gives those of
    parameters. ValueError names a parameter that fits no rule or more than one, with the fix.
    """
    if isinstance(model_or_named_parameters, nn.Module):
        model: nn.Module | None = model_or_named_parameters
        named: Iterable[tuple[str, Tensor]] = model_or_named_parameters.named_parameters()
    else:
        model, named = None, model_or_named_parameters
    pairs = [(name, parameter) for name, parameter in named if parameter.requires_grad]
    settings = match_overrides([name for name, _ in pairs], overrides or {})
    decided = {parameter for name, parameter in pairs if "rule" in settings[name]}
    by_module = _reasons_by_module(model, decided) if model is not None else {}
    shapes = {name: tuple(parameter.shape) for name, parameter in pairs}
    vocabularies = _vocabulary_sizes(model) if model is not None else set()
    plan = []
    for name, parameter in pairs:
        setting, shape = settings[name], shapes[name]
        blocks = setting.get("row_sizes") or (row_sizes or {}).get(parameter) or ()
        if "rule" in setting:
            plan.append(ParameterRule(name, shape, setting["rule"], "set by hand", tuple(blocks)))
            continue
        reasons = by_module.get(parameter) or _reasons_by_name(name)
        if reasons:
            # dict.fromkeys removes repetitions and keeps the order.
            plan.append(ParameterRule(name, shape, "adamw", ", ".join(dict.fromkeys(reasons))))
        else:
            # An attention weight is known to be none, whatever its shape.
            is_attention = row_sizes is not None and parameter in row_sizes
            planned = _plan_by_shape(name, shape, set() if is_attention else vocabularies)
            blocks = blocks or _fused_gate_and_up(name, shapes)
            if planned.rule == "muon" and blocks:
                planned = replace(planned, row_sizes=tuple(blocks))
            elif planned.rule == "muon":
                _refuse_fused(name, shape)
            plan.append(planned)
    return plan


def _plan_by_shape(name: str, shape: tuple[int, ...], vocabularies: set[int]) -> ParameterRule:
    """The rule of a parameter whose kind is not known from its name or module."""
    *modules, leaf = name.split(".")
    fix = f"say which with overrides={{'{name}': {{'rule': 'muon'}}}} or 'adamw'"
    if "_flat_param" in leaf:
        raise ValueError(
            f"{name}: a flat parameter of FSDP1 has no matrices; shard with fully_shard (FSDP2)"
        )
    if len(shape) < 2:
        return ParameterRule(name, shape, "adamw", "gain or bias")
    if len(shape) == 2 and min(shape) == 1:
        return ParameterRule(name, shape, "adamw", "vector")
    if len(shape) == 3:
        if not any(part.startswith("expert") for part in (*modules, leaf)):
            raise ValueError(
                f"{name}: nothing says whether {list(shape)} is a stack of matrices; {fix}"
            )
        return ParameterRule(name, shape, "muon", "stacked experts")
    if len(shape) == 2:
        if shape[0] in vocabularies:
            raise ValueError(
                f"{name}: {list(shape)} has as many rows as there are tokens and may be an output "
                f"head; {fix}"
            )
        if leaf == "weight" and modules and modules[-1] in _LIKELY_HEADS:
            raise ValueError(f"{name}: by its name {list(shape)} may be an output head; {fix}")
        # The weight of a module is a matrix whatever the module is called.
        if leaf != "weight" and any(word in leaf.lower() for word in _AMBIGUOUS_WORDS):
            raise ValueError(f"{name}: by its name {list(shape)} may be no hidden matrix; {fix}")
    is_gate = name.removesuffix(".weight").split(".")[-1] in _ROUTER_GATES
    return ParameterRule(name, shape, "muon", "router gate" if is_gate else "hidden matrix")


def _refuse_fused(name: str, shape: tuple[int, ...]) -> None:
    """ValueError for projections stored as one of which nobody said how they divide."""
    if any(word in name for word in _FUSED):
        raise ValueError(
            f"{name}: by its name {list(shape)} holds several projections; say how many rows each "
            f"has with overrides={{'{name}': {{'row_sizes': (...)}}}}, or make it one matrix with "
            "{'rule': 'muon'}"
        )


def _fused_gate_and_up(name: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The row sizes of a gate and an up projection stored as one, which `down_proj` gives away."""
    if "gate_up_proj" not in name:
        return ()
    rows = shapes[name][-2]
    down = shapes.get(name.replace("gate_up_proj", "down_proj"), (0,))
    return (rows // 2, rows // 2) if 2 * down[-1] == rows else ()


def match_overrides(
    names: list[str], overrides: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The settings of each name, later patterns over earlier ones; ValueError for an idle one."""
    settings: dict[str, dict[str, Any]] = {name: {} for name in names}
    for pattern, setting in overrides.items():
        if not isinstance(setting, Mapping):
            raise ValueError(
                f"overrides: '{pattern}' is given {setting!r}; options are a dictionary, such as "
                "{'rule': 'adamw'}"
            )
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            raise ValueError(
                f"overrides: no trainable parameter is called '{pattern}'; the first are "
                + ", ".join(names[:4])
            )
        for name in matched:
            settings[name] |= setting
    return settings


def _reasons_by_name(name: str) -> list[str]:
    """Why the parameter of this name belongs to AdamW; empty if the name does not say so."""
    *modules, leaf = name.split(".")
    reasons = [reason for part, reason in _ADAMW_NAMES.items() if part in (*modules, leaf)]
    if leaf == "bias" or leaf.endswith("_bias"):
        reasons.append("bias")
    if leaf.endswith("norm") or (modules and modules[-1].endswith("norm")):
        reasons.append("norm gain")
    return reasons


def _reasons_by_module(model: nn.Module, decided: Container[Tensor]) -> dict[Tensor, list[str]]:
    """Why a parameter belongs to AdamW, from every module that holds it.

    ValueError for what only looks like a matrix, unless its rule is `decided`.
    """
    reasons: dict[Tensor, list[str]] = defaultdict(list)
    # transformers' models say which module is their output head.
    head = getattr(model, "get_output_embeddings", lambda: None)()
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix=module_name, recurse=False):
            reasons[parameter] += _reasons_by_name(name)
            is_weight = name.endswith("weight")
            if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
                reasons[parameter].append("embedding")
            elif module is head and is_weight:
                reasons[parameter].append("output head")
            elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)) and is_weight:
                reasons[parameter].append("norm gain")
            if parameter in decided:
                continue
            if isinstance(module, nn.Linear) and is_weight and parameter.ndim == 1:
                raise ValueError(
                    f"{name}: {list(parameter.shape)} stands in for the matrix of a linear layer; "
                    "build the optimizer from whole parameters or from DTensors (fully_shard)"
                )
            if isinstance(module, nn.Conv1d) and parameter.ndim == 3 and parameter.requires_grad:
                raise ValueError(
                    f"{name}: a convolution kernel {list(parameter.shape)} looks like stacked "
                    f"matrices and is not; use overrides={{'{name}': {{'rule': 'adamw'}}}}"
                )
    return reasons


def _vocabulary_sizes(model: nn.Module) -> set[int]:
    """The number of tokens of every embedding, beyond what a hidden width could be by chance."""
    modules = list(model.modules())
    widths = {m.embedding_dim for m in modules if isinstance(m, nn.Embedding)}
    return {m.num_embeddings for m in modules if isinstance(m, nn.Embedding)} - widths
