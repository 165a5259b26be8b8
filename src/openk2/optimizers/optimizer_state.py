"""Whether a state dict belongs to an optimizer, said before anything is changed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

__all__ = ["STATE_OF_RULE", "check_state_dict", "exact_loading"]

# What the optimizer keeps of each parameter, by its rule.
STATE_OF_RULE = {"muon": {"momentum_buffer"}, "adamw": {"step", "exp_avg", "exp_avg_sq"}}


def check_state_dict(
    state_dict: Mapping[str, Any],
    param_groups: Sequence[Mapping[str, Any]],
    complete: bool = False,
) -> None:
    """ValueError, naming the first parameter that differs, unless the state is one for the groups.

    torch compares the sizes of the groups and nothing else, so the state of another model of as
    many parameters would load, and the next step fail or, worse, not fail. `complete` wants all
    options, and state of every parameter, as there is after a step in which each had a gradient.
    """
    saved_groups = state_dict["param_groups"]
    if len(saved_groups) != len(param_groups):
        raise ValueError(
            f"the state dict has {len(saved_groups)} parameter groups, the optimizer "
            f"{len(param_groups)}; it belongs to another model or other options"
        )
    for number, (saved, group) in enumerate(zip(saved_groups, param_groups, strict=True)):
        names = group["param_names"]
        saved_names = saved.get("param_names", names)
        if len(saved["params"]) != len(names) or saved_names != names:
            differ = [(a, b) for a, b in zip(saved_names, names, strict=False) if a != b]
            first = differ[0] if differ else (len(saved["params"]), len(names))
            raise ValueError(
                f"the state dict is of another model: group {number} has {first[0]} where the "
                f"optimizer has {first[1]}"
            )
        if saved.get("rule", group["rule"]) != group["rule"]:
            raise ValueError(
                f"group {number} ({names[0]}, ...) was saved under the rule '{saved['rule']}', the "
                f"optimizer plans '{group['rule']}'"
            )
        if complete and (missing := sorted(group.keys() - saved.keys())):
            raise ValueError(f"group {number} does not say its {', '.join(missing)}")
        for key, name, parameter in zip(saved["params"], names, group["params"], strict=True):
            state = state_dict["state"].get(key, {})
            if complete and not state:
                raise ValueError(f"{name}: the state dict holds nothing of it")
            _check_state(state, name, parameter, group["rule"])


def _check_state(state: Mapping[str, Any], name: str, parameter: Tensor, rule: str) -> None:
    if state and set(state) != STATE_OF_RULE[rule]:
        raise ValueError(
            f"{name}: the state dict holds {sorted(state)}, the rule '{rule}' keeps "
            f"{sorted(STATE_OF_RULE[rule])}"
        )
    for key, value in state.items():
        expected = [] if key == "step" else list(parameter.shape)
        if list(value.shape) != expected or not value.is_floating_point():
            raise ValueError(
                f"{name}: {key} is {value.dtype} {list(value.shape)} in the state dict, the "
                f"parameter makes it {expected}"
            )
        if key != "step" and _sharding(value) != _sharding(parameter):
            raise ValueError(
                f"{name}: {key} and the parameter are not sharded alike; load through "
                "torch.distributed.checkpoint, which reshards"
            )


@contextmanager
def exact_loading(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Have torch's `load_state_dict` check the state first, and keep it as it was saved.

    torch would cast the state to the dtype of the parameters, and share its memory with the source.
    Other hooks may rewrite what is loaded: the check comes after them, and they may change the
    state once it is there.
    """
    loaded: list[dict[str, Any]] = []

    def check(_: torch.optim.Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
        check_state_dict(state_dict, optimizer.param_groups)
        loaded.append(state_dict)
        # What a saved group does not say, as that of another optimizer, stays as it is here.
        pairs = zip(optimizer.param_groups, state_dict["param_groups"], strict=True)
        return {**state_dict, "param_groups": [{**group, **saved} for group, saved in pairs]}

    def copy(_: torch.optim.Optimizer) -> None:
        (saved,) = loaded
        keys = [key for group in saved["param_groups"] for key in group["params"]]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for key, parameter in zip(keys, parameters, strict=True):
            for name, value in saved["state"].get(key, {}).items():
                optimizer.state[parameter][name] = _copied(value, parameter, name)

    handles = [
        optimizer.register_load_state_dict_pre_hook(check),
        optimizer.register_load_state_dict_post_hook(copy, prepend=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _sharding(tensor: Tensor) -> tuple[Any, ...] | None:
    return (tensor.device_mesh, tensor.placements) if isinstance(tensor, DTensor) else None


def _copied(value: Tensor, parameter: Tensor, name: str) -> Tensor:
    """A state tensor on the parameter's device, in its own dtype, sharing no memory."""
    if name == "step":
        return value.to("cpu", copy=True)
    if isinstance(value, DTensor):
        copied = value.detach().clone()
        return copied
    return value.to(parameter.device, copy=True, memory_format=torch.preserve_format)
