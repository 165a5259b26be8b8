"""The options of a parameter group: their defaults and what is impossible."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from torch import Tensor

from openk2.optimizers.coefficients import coefficients
from openk2.optimizers.muon_update import UpdateScale

__all__ = ["OPTIONS", "check_names", "check_options"]

# What a parameter or a group of them may have of its own.
OPTIONS = (
    "lr",
    "weight_decay",
    "momentum",
    "nesterov",
    "coefficients",
    "newton_schulz_steps",
    "update_scale",
    "rms_scale",
    "cautious_weight_decay",
    "torch_exact",
    "maximize",
    "betas",
    "eps",
)


def check_options(options: Mapping[str, Any]) -> None:
    """ValueError, naming the option and its value, for what no step could be made with."""
    lr = options["lr"]
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"lr is a tensor of shape {list(lr.shape)}; it must have one element")
    # A tensor on a device is not read: that would make the host wait.
    if not isinstance(lr, Tensor) and not lr >= 0:
        raise ValueError(f"lr {lr} must be at least 0")
    for name in ("weight_decay", "eps", "rms_scale"):
        if not options[name] >= 0:
            raise ValueError(f"{name} {options[name]} must be at least 0")
    rates = (options["momentum"], *options["betas"])
    if len(rates) != 3 or not all(0 <= rate < 1 for rate in rates):
        raise ValueError(
            f"momentum {options['momentum']} and both betas {options['betas']} must be in [0, 1)"
        )
    if options["update_scale"] not in get_args(UpdateScale):
        choices = ", ".join(get_args(UpdateScale))
        raise ValueError(f"update_scale {options['update_scale']!r} is none of {choices}")
    if options["torch_exact"] and options["cautious_weight_decay"]:
        raise ValueError("torch_exact=True and cautious_weight_decay=True exclude each other")
    sequence, steps = options["coefficients"], options["newton_schulz_steps"]
    if isinstance(sequence, str):
        coefficients(sequence, steps)
    elif not sequence or any(len(step) != 3 for step in sequence):
        raise ValueError(f"coefficients {sequence} are no name and no (a, b, c) of each step")
    elif steps not in (None, len(sequence)):
        raise ValueError(
            f"newton_schulz_steps {steps}, but coefficients of {len(sequence)}; leave the first out"
        )


def check_names(names: Iterable[str]) -> None:
    """ValueError for what is no option of a parameter, which a group would keep and never use."""
    for name in names:
        if name not in OPTIONS:
            raise ValueError(f"'{name}' is no option of parameters; they are {', '.join(OPTIONS)}")
