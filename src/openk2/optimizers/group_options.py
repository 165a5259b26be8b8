"""The options of a parameter group: their defaults and what is impossible."""

from collections.abc import Mapping
from typing import Any, get_args

from torch import Tensor

from openk2.optimizers.muon_update import UpdateScale, group_coefficients

__all__ = ["check_options"]


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
    for rate in (options["momentum"], *options["betas"]):
        if not 0 <= rate < 1:
            raise ValueError(
                f"momentum {options['momentum']} and betas {options['betas']} must be in [0, 1)"
            )
    if options["update_scale"] not in get_args(UpdateScale):
        choices = ", ".join(get_args(UpdateScale))
        raise ValueError(f"update_scale {options['update_scale']!r} is none of {choices}")
    group_coefficients(options)
