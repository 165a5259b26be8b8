"""Which rule updates which parameter, decided once, printable, and audited at every step.

Muon takes the hidden matrices: attention and feed-forward projections, the router gate, and
stacked experts [E, n, m], of which each expert is its own matrix. AdamW takes the token embedding,
the output head, norm gains and biases. What fits neither is an error, never a silent default.

Source: Moonlight (arXiv 2502.16982), on which K2 builds; the paper's section 2.1 says only "each
weight W in R^{n x m}".
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Literal

from torch import Tensor, nn

__all__ = ["ParameterRule", "Rule", "format_plan", "plan_by_shape", "plan_parameters"]

Rule = Literal["muon", "adamw"]

# The names of the official checkpoint layout; nn.Embedding is recognised under any name.
_ADAMW_MODULES = {"embed_tokens": "embedding", "lm_head": "output head"}
_ROUTER_GATES = ("gate", "router")


@dataclass(frozen=True)
class ParameterRule:
    """How one parameter is updated. ValueError where Muon is asked for what has no matrix view."""

    name: str
    shape: tuple[int, ...]
    rule: Rule
    reason: str

    def __post_init__(self) -> None:
        if self.rule not in ("muon", "adamw"):
            raise ValueError(f"{self.name}: rule '{self.rule}' is neither 'muon' nor 'adamw'")
        if self.rule == "muon" and len(self.shape) not in (2, 3):
            raise ValueError(
                f"{self.name}: shape {list(self.shape)} is neither a matrix nor a stack of "
                "matrices; store it as [rows, columns] or [matrices, rows, columns], or give it in "
                "a parameter group with rule='adamw'"
            )
        if prod(self.shape) == 0:
            raise ValueError(
                f"{self.name}: shape {list(self.shape)} is empty; build the optimizer from the "
                "whole parameters, before anything replaces them by placeholders"
            )

    @property
    def matrices(self) -> int:
        """How many matrices the parameter holds for Muon; 0 under AdamW."""
        if self.rule == "adamw":
            return 0
        return 1 if len(self.shape) == 2 else self.shape[0]

    @property
    def matrix_shape(self) -> tuple[int, int] | None:
        """(rows, columns) of each matrix that Muon orthogonalises; None under AdamW."""
        return None if self.rule == "adamw" else (self.shape[-2], self.shape[-1])


def plan_parameters(
    model_or_named_parameters: nn.Module | Iterable[tuple[str, Tensor]],
) -> list[ParameterRule]:
    """One rule for each parameter that requires a gradient, in the order given.

    A model says more than names do: nn.Embedding is recognised by type, and a tied weight by every
    module that holds it. ValueError names a parameter that fits no rule, with the fix.
    """
    if isinstance(model_or_named_parameters, nn.Module):
        by_module = _reasons_by_module(model_or_named_parameters)
        named: Iterable[tuple[str, Tensor]] = model_or_named_parameters.named_parameters()
    else:
        by_module = {}
        named = model_or_named_parameters
    plan = []
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        reasons = by_module.get(parameter) or _reasons_by_name(name)
        if reasons:
            # dict.fromkeys removes repetitions and keeps the order.
            reason = ", ".join(dict.fromkeys(reasons))
            plan.append(ParameterRule(name, tuple(parameter.shape), "adamw", reason))
        else:
            plan.append(plan_by_shape(name, parameter))
    return plan


def plan_by_shape(name: str, parameter: Tensor) -> ParameterRule:
    """The rule that the number of dimensions alone gives; ValueError above three."""
    shape = tuple(parameter.shape)
    if len(shape) < 2:
        return ParameterRule(name, shape, "adamw", "gain or bias")
    if len(shape) == 3:
        return ParameterRule(name, shape, "muon", "stacked matrices")
    is_gate = name.removesuffix(".weight").split(".")[-1] in _ROUTER_GATES
    return ParameterRule(name, shape, "muon", "router gate" if is_gate else "hidden matrix")


def format_plan(plan: Iterable[ParameterRule]) -> str:
    """The plan as an aligned table: one line for all parameters of one rule, shape and reason."""
    groups: dict[tuple[Rule, tuple[int, ...], str], list[ParameterRule]] = defaultdict(list)
    for planned in plan:
        groups[planned.rule, planned.shape, planned.reason].append(planned)
    lines = [("rule", "parameters", "shape", "matrices", "reason", "first")]
    elements = {"muon": 0, "adamw": 0}
    for (rule, shape, reason), members in groups.items():
        elements[rule] += len(members) * prod(shape)
        matrices = sum(planned.matrices for planned in members)
        lines.append(
            (rule, str(len(members)), str(list(shape)), str(matrices), reason, members[0].name)
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    totals = ", ".join(f"{rule} {count:,} elements" for rule, count in elements.items())
    return "\n".join([*table, totals])


def _reasons_by_name(name: str) -> list[str]:
    """Why the parameter of this name belongs to AdamW; empty if the name does not say so."""
    *modules, leaf = name.split(".")
    reasons = [reason for part, reason in _ADAMW_MODULES.items() if part in (*modules, leaf)]
    if leaf.endswith("bias"):
        reasons.append("bias")
    if leaf.endswith("norm") or (modules and modules[-1].endswith("norm")):
        reasons.append("norm gain")
    return reasons


def _reasons_by_module(model: nn.Module) -> dict[Tensor, list[str]]:
    """Why a parameter belongs to AdamW, from every module that holds it."""
    reasons: dict[Tensor, list[str]] = defaultdict(list)
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix=module_name, recurse=False):
            reasons[parameter] += _reasons_by_name(name)
            if isinstance(module, nn.Embedding):
                reasons[parameter].append("embedding")
            if isinstance(module, nn.Conv1d) and parameter.ndim == 3 and parameter.requires_grad:
                raise ValueError(
                    f"{name}: a convolution kernel {list(parameter.shape)} looks like stacked "
                    "matrices and is not; give it in a parameter group with rule='adamw'"
                )
    return reasons
