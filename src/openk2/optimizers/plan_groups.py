"""From a plan to parameter groups, and from a parameter group to a plan."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor

from openk2.optimizers.group_options import check_names
from openk2.optimizers.muon_update import group_coefficients, update_scale
from openk2.optimizers.newton_schulz import newton_schulz_flops
from openk2.optimizers.param_plan import ParameterRule, match_overrides, plan_parameters
from openk2.optimizers.transfers import Transfer, owners_of

__all__ = ["check_new", "complete_plan", "group_plan", "plan_group"]


def group_plan(
    plan: Sequence[ParameterRule],
    parameters: Mapping[str, Tensor],
    overrides: Mapping[str, Mapping[str, Any]],
    adamw: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """One group for all parameters of one rule and equal options, those of Muon first.

    ValueError for a setting that does not exist.
    """
    for setting in (adamw, *overrides.values()):
        check_names(set(setting) - (set() if setting is adamw else {"rule", "row_sizes"}))
    settings = match_overrides([planned.name for planned in plan], overrides)
    groups: list[dict[str, Any]] = []
    for rule in ("muon", "adamw"):
        of_rule: list[dict[str, Any]] = []
        for planned in plan:
            if planned.rule != rule:
                continue
            own = settings[planned.name]
            options = {key: value for key, value in own.items() if key not in ("rule", "row_sizes")}
            options = {**(adamw if rule == "adamw" else {}), **options, "rule": rule}
            group = next((g for g in of_rule if g["options"] == options), None)
            if group is None:
                group = {"options": options, "planned": [], "params": []}
                of_rule.append(group)
            group["planned"].append(planned)
            group["params"].append((planned.name, parameters[planned.name]))
        groups += [
            {**group["options"], "planned": group["planned"], "params": group["params"]}
            for group in of_rule
        ]
    return groups


def check_new(
    planned: Sequence[tuple[ParameterRule, Tensor]],
    known: Mapping[Tensor, ParameterRule],
    options: Mapping[str, Any],
) -> None:
    """ValueError for a parameter that is there already, or that its options cannot update."""
    seen = dict(known)
    for rule, parameter in planned:
        if parameter in seen:
            raise ValueError(
                f"{rule.name} is the same tensor as {seen[parameter].name}; give a tied parameter "
                "once"
            )
        if options["torch_exact"] and isinstance(parameter, DTensor):
            raise ValueError(f"{rule.name} is sharded; torch_exact=True takes whole tensors")
        if not parameter.is_floating_point() or parameter.itemsize < 2:
            raise ValueError(
                f"{rule.name} is {parameter.dtype}; MuonClip updates real numbers of 16 bits or "
                "more: train a copy of it in such, or leave it out"
            )
        if parameter.ndim == 3 and len(rule.row_sizes) > 1 and not parameter.is_contiguous():
            raise ValueError(
                f"{rule.name} is a stack of blocks with strides {list(parameter.stride())}; make "
                "it contiguous before building the optimizer"
            )
        seen[parameter] = rule


def complete_plan(
    rules: Mapping[Tensor, ParameterRule],
    groups: Mapping[Tensor, Mapping[str, Any]],
    transfers: Sequence[Transfer],
) -> list[ParameterRule]:
    """The plan with what an optimizer adds: learning-rate scale, FLOPs and owner of each matrix."""
    owners = owners_of(transfers)
    complete = []
    for parameter, planned in rules.items():
        if planned.rule == "muon":
            group, views = groups[parameter], planned.matrix_views
            steps = len(group_coefficients(group))
            planned = replace(
                planned,
                learning_rate_scale=update_scale(group, *views[0][1:]),
                flops=sum(n * newton_schulz_flops(r, c, steps) for n, r, c in views),
                owner=owners.get(parameter, _holders_in_words(parameter)),
            )
        complete.append(planned)
    return complete


def _holders_in_words(parameter: Tensor) -> str:
    """Who orthogonalises a parameter of which nothing travels."""
    if isinstance(parameter, DTensor) and not all(p.is_replicate() for p in parameter.placements):
        return "where it lies"
    return "every process"


def plan_group(group: Mapping[str, Any], first_index: int) -> list[tuple[ParameterRule, Tensor]]:
    """The rule of each parameter of a group that requires a gradient, in order.

    ValueError for a parameter of two dimensions or more that has neither a name nor a rule: by its
    shape alone an embedding is a matrix too.
    """
    pairs, named = _named(group, first_index)
    pairs = [(name, parameter) for name, parameter in pairs if parameter.requires_grad]
    blocks = tuple(group.get("row_sizes", ()))
    if "planned" in group:
        plan = list(group["planned"])
    elif "rule" in group:
        plan = [
            ParameterRule(name, tuple(p.shape), group["rule"], "set by its group", blocks)
            for name, p in pairs
        ]
    else:
        for name, parameter in pairs:
            if not named and parameter.ndim >= 2:
                raise ValueError(
                    f"{name}: {list(parameter.shape)} has no name, so nothing says whether it is a "
                    "hidden matrix or an embedding; use MuonClipOptimizer.from_model(model), "
                    "model.named_parameters(), or groups with rule='muon' or 'adamw'"
                )
        plan = plan_parameters(pairs, row_sizes={parameter: blocks for _, parameter in pairs})
    return [(planned, parameter) for planned, (_, parameter) in zip(plan, pairs, strict=True)]


def _named(group: Mapping[str, Any], first_index: int) -> tuple[list[tuple[str, Tensor]], bool]:
    """(name, parameter) of each member of a group, and whether the names are its own."""
    members = group["params"]
    if isinstance(members, set):
        raise TypeError("parameters in a set have no order, and state is kept by order: use a list")
    members = [members] if isinstance(members, Tensor) else list(members)
    pairs = [member for member in members if isinstance(member, tuple)]
    if pairs and len(pairs) < len(members):
        raise ValueError("some parameters of a group have names and some have none; name them all")
    if pairs:
        return pairs, True
    # The groups of another optimizer have their names beside them.
    unnamed = [f"parameter {i}" for i, _ in enumerate(members, first_index)]
    names = group.get("param_names", unnamed)
    return list(zip(names, members, strict=True)), "param_names" in group
