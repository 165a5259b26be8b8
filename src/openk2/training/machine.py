"""Setting torch up for the machine: device, threads, compute dtype, memory."""

from dataclasses import asdict, replace
from typing import Any

import torch

from openk2 import __version__
from openk2.core.device import Machine, keep_freed_memory, probe_machine
from openk2.core.errors import UserError
from openk2.training.config import TrainingConfig

__all__ = ["Setup", "set_up"]


class Setup:
    """The machine as a run uses it."""

    def __init__(self, machine: Machine, device: torch.device, dtype: torch.dtype) -> None:
        self.machine, self.device, self.dtype = machine, device, dtype

    def describe(self) -> dict[str, Any]:
        """The `machine` field of the `run` event (docs/events.md)."""
        name = "cpu"
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        versions = {"torch": torch.__version__, "openk2": __version__}
        return {**asdict(self.machine), **versions, "device": name}


def set_up(config: TrainingConfig) -> Setup:
    """Probe the machine and set this process up for it: one call, before the first tensor."""
    machine = probe_machine(config.threads, config.dtype)
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "training.device is cuda and torch finds no CUDA device here; a run that began on a "
            "GPU goes on where there is one, a new run can take --training.device=cpu"
        )
    torch.set_num_threads(machine.threads)
    if device == "cuda" and config.dtype == "auto":
        machine = replace(machine, dtype="bfloat16", dtype_reason="GPUs are fastest in it")
    keep_freed_memory()
    return Setup(machine, torch.device(device), getattr(torch, machine.dtype))
