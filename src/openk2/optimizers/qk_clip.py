"""QK-Clip: after the update, shrink the query and key weights of heads whose logits grew too large.

Why: under Muon the product W_q W_k^T of a few heads grows without bound and the loss spikes.
Rescaling those heads after the step keeps their logits at tau and never touches the forward pass.

    S_max^h  = max over the batch and the visible pairs (i, j) of q_i^h . k_j^h * softmax_scale
    gamma^h  = tau / S_max^h   if S_max^h > tau, else 1
    multi-head attention         W_q^h *= sqrt(gamma^h);  W_k^h *= sqrt(gamma^h)
    multi-head latent attention  W_qc^h *= sqrt(gamma^h);  W_kc^h *= sqrt(gamma^h);
                                 W_qr^h *= gamma^h;  W_kr stays, for all heads share it

The layer says which rows are which (`ClipTarget.logit_rows`); a bias scales with its weight.

Source: paper section 2.1, Algorithm 1. Shape letters: L layers, H heads of the widest layer.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, distributed, nn

from openk2.core.protocols import ClipTarget, LogitRows
from openk2.optimizers.clip_targets import find_clip_targets
from openk2.optimizers.layout import local_rows, local_tensor

__all__ = ["QKClip", "clip_factors", "gather_max_logits", "scale_logits"]


class QKClip:
    """QK-Clip after each step of any optimizer, so that users of AdamW have it too.

        optimizer = torch.optim.AdamW(model.parameters())
        qk_clip = QKClip(optimizer, model, threshold=100.0)

    `model_or_targets`: a model whose attention layers are found (`find_clip_targets`, which takes
    `gqa` and `qk_norm`), or the ClipTargets themselves. `threshold` is tau. `process_group`: the
    processes that hold the same layers (default: all); with pipeline parallelism, those of one
    stage. `optimizer` is the one that steps last; None attaches to nothing: call `clip` yourself.

    After a clip `last_max_logits` and `last_clip_factors` are float32 tensors [layers, heads], with
    -inf and 1 for heads that a narrower layer does not have. Frozen parameters are never scaled.
    ValueError for a threshold that is not positive, a model without attention, nothing to clip
    after an optimizer's steps, an optimizer that is followed by QK-Clip already, and weights that
    could not be scaled, or would be twice. A layer that has measured nothing when the first clip
    comes, as in evaluation mode, is warned of once. A copy of the optimizer is not followed by it,
    and a copy of a QKClip has no `process_group`.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer | None,
        model_or_targets: nn.Module | Iterable[ClipTarget],
        threshold: float = 100.0,
        *,
        gqa: Literal["per_head", "group"] = "per_head",
        qk_norm: Literal["clip_gains", "refuse"] = "clip_gains",
        process_group: Any = None,
    ) -> None:
        if isinstance(model_or_targets, nn.Module):
            self.targets = find_clip_targets(model_or_targets, gqa=gqa, qk_norm=qk_norm)
        else:
            self.targets = list(model_or_targets)
        if optimizer is not None and not self.targets:
            raise ValueError("QKClip was given no ClipTargets, so it could never clip")
        if getattr(optimizer, "qk_clip", None) is not None:
            raise ValueError(
                f"this {type(optimizer).__name__} is followed by QK-Clip already, and a second one "
                "would find nothing measured; make a new optimizer, of MuonClipOptimizer one with "
                "qk_clip_threshold=None"
            )
        self.process_group = process_group
        self.last_max_logits: Tensor | None = None
        self.last_clip_factors: Tensor | None = None
        self._rows = [target.logit_rows() for target in self.targets]
        check_rows(self._rows)
        self.threshold = threshold
        if optimizer is not None:
            optimizer.register_step_post_hook(lambda *_: self.clip())
            if not hasattr(optimizer, "qk_clip"):  # MuonClipOptimizer would call it too
                optimizer.qk_clip = self  # type: ignore[attr-defined]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "process_group": None}  # which neither copies nor pickles

    @property
    def threshold(self) -> float:
        """tau. Setting it forgets what was measured: below the old tau that was not exact."""
        return self._threshold

    @threshold.setter
    def threshold(self, threshold: float) -> None:
        if not threshold > 0:
            raise ValueError(f"qk_clip_threshold {threshold} must be positive, or None for no clip")
        self._threshold = threshold
        for target in self.targets:
            target.observe_max_logits(threshold)

    @torch.no_grad()
    def clip(self) -> None:
        """Read S_max since the last clip, over all processes, and rescale the heads above tau."""
        if not self.targets:
            return
        is_first = self.last_max_logits is None
        self.last_max_logits = gather_max_logits(self.targets, self.process_group)
        if is_first:
            self._warn_of_silent_layers(self.last_max_logits)
        self.last_clip_factors = factor_LH = clip_factors(self.last_max_logits, self.threshold)
        # Reading a CPU tensor makes nobody wait; elsewhere a factor of one changes no bit.
        everywhere = factor_LH.device.type != "cpu"
        clipped_L = [everywhere] * len(factor_LH) if everywhere else (factor_LH < 1).any(1).tolist()
        for layer, clipped in enumerate(clipped_L):
            if clipped:
                self._rows[layer] = [_on(factor_LH.device, item) for item in self._rows[layer]]
                scale_logits(self._rows[layer], factor_LH[layer])

    def _warn_of_silent_layers(self, max_logits_LH: Tensor) -> None:
        silent = max_logits_LH.isneginf().all(1).nonzero().flatten().tolist()
        if silent:
            warnings.warn(
                f"QK-Clip: {len(silent)} of {len(max_logits_LH)} attention layers, the first is "
                f"number {silent[0]}, measured no logits before the first step and so are not "
                "clipped; call model.train(), and report the logits in their forward pass",
                stacklevel=2,
            )

    def forget(self) -> None:
        """Forget what was measured since the last clip, as after a step that was skipped."""
        for target in self.targets:
            target.reset_max_logits()


def gather_max_logits(targets: Sequence[ClipTarget], process_group: Any = None) -> Tensor:
    """Read and reset S_max of all targets: float32 [L, H], -inf where nothing ran.

    The maximum over all micro-batches since the last call and over all processes of the group
    (paper section 2.1: the maximum over the batch). NaN comes as inf, which the maximum over
    processes cannot lose. Every process must call it with the same layers. One MAX all-reduce and
    no wait of the host for the device.
    """
    maxima = [target.max_logits() for target in targets]
    widest = max(map(len, maxima))
    # A layer that ran on no device yet answers from the CPU; collectives may need another.
    devices = [maximum.device for maximum in maxima]
    device = next((device for device in devices if device.type != "cpu"), devices[0])
    max_logits_LH = torch.stack(
        [
            nn.functional.pad(maximum.to(device), (0, widest - len(maximum)), value=-torch.inf)
            for maximum in maxima
        ]
    )
    max_logits_LH.masked_fill_(max_logits_LH.isnan(), torch.inf)
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(max_logits_LH, op=distributed.ReduceOp.MAX, group=process_group)
    for target in targets:
        target.reset_max_logits()
    return max_logits_LH


def clip_factors(max_logits_LH: Tensor, threshold: float) -> Tensor:
    """gamma per head, of the shape of `max_logits_LH`, in (0, 1]; `threshold` is tau > 0.

    A selection and not a clamp of tau / S_max: a maximum at or below zero makes that ratio negative
    or infinite, and its square root turns the weights of the head into NaN. A maximum that is NaN
    or infinite measures nothing and would wipe the head out: its factor is 1.
    """
    measured_LH = (max_logits_LH > threshold) & (max_logits_LH < torch.inf)
    return torch.where(measured_LH, threshold / max_logits_LH, 1.0)


@torch.no_grad()
def scale_logits(rows: Iterable[LogitRows], factor_H: Tensor) -> None:
    """Scale weights in place so that head h's logits become factor_H[h] times what they were.

    Sharded parameters scale the rows they hold, and frozen ones stay. A factor of one leaves rows
    bit-identical. ValueError for what is no parameter with the declared rows.
    """
    for item in rows:
        parameter = item.parameter
        if parameter is None:
            continue
        _check_parameter(item, parameter)
        if not parameter.requires_grad:
            continue
        held = local_rows(parameter)
        heads, power = (t.to(factor_H.device)[held] for t in (item.heads, item.power))
        factor_R = factor_H[heads].amin(1) ** power
        weight = local_tensor(parameter)
        factor = factor_R.to(weight.device).view(-1, *[1] * (weight.ndim - 1))
        if item.offset:
            # Not (w + offset) * factor - offset, which would round rows with a factor of one.
            weight.mul_(factor).add_(item.offset * (factor - 1))
        else:
            weight.mul_(factor)


def check_rows(rows_of_layers: Sequence[Sequence[LogitRows]]) -> None:
    """ValueError unless each parameter that is named can be scaled, and is named once."""
    layer_of: dict[Any, int] = {}
    for layer, rows in enumerate(rows_of_layers):
        for item in rows:
            if (parameter := item.parameter) is None:
                continue
            _check_parameter(item, parameter)
            if parameter in layer_of:
                raise ValueError(
                    f"QK-Clip would scale the {item.name} of {type(item.module).__name__} twice, "
                    f"for attention layers {layer_of[parameter]} and {layer}; name a parameter in "
                    "one LogitRows, and let layers that share weights share the attention module"
                )
            layer_of[parameter] = layer


def _check_parameter(item: LogitRows, parameter: Any) -> None:
    if not isinstance(parameter, nn.Parameter) or len(parameter) != len(item.heads):
        raise ValueError(
            f"the {item.name} of {type(item.module).__name__} is no nn.Parameter of "
            f"{len(item.heads)} rows that QK-Clip could scale, but {type(parameter).__name__} "
            f"{list(parameter.shape)}: name the parameters behind it in the LogitRows, "
            "and shard with FSDP2, tensor parallelism or DDP"
        )


def _on(device: torch.device, rows: LogitRows) -> LogitRows:
    """The same rows with their tensors on a device, so that a step copies nothing to it."""
    return replace(rows, heads=rows.heads.to(device), power=rows.power.to(device))
