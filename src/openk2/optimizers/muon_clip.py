"""MuonClip, the optimizer of Kimi K2 (paper section 2.1, Algorithm 1), as one torch optimizer.

    M_t = mu M_{t-1} + G_t                                 M_0 = 0
    O_t = NewtonSchulz(M_t) * sqrt(max(n, m)) * 0.2        an update RMS of about 0.2, as AdamW's
    W_t = W_{t-1} - eta (O_t + lambda W_{t-1})             W [n, m], eta the learning rate
    then QK-Clip, from S_max of the forward passes since the last step

Notable:
- Nesterov is the default: Newton-Schulz takes mu M_t + G_t. Algorithm 1 prints M_t; Moonlight, on
  which K2 builds, says that it uses Nesterov in practice and has mu = 0.95. `nesterov=False` is the
  printed form.
- Parameters that are no hidden matrices are updated by AdamW with the same learning rate and decay.
- Matrices of one shape, or of its transpose, are orthogonalised together, across parameters.
- Each step counts the matrices that went through Newton-Schulz; a planned one that did not is an
  error.
- The step never makes the host wait for the device, and never changes a gradient.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from math import sqrt
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from openk2.core.protocols import ClipTarget
from openk2.optimizers.max_logits import gather_max_logits
from openk2.optimizers.newton_schulz import newton_schulz
from openk2.optimizers.param_plan import ParameterRule, plan_by_shape, plan_parameters
from openk2.optimizers.qk_clip import apply_clip_factors, clip_factors

__all__ = ["MAX_BATCH_ELEMENTS", "MuonClipOptimizer"]

# Elements of one Newton-Schulz batch: 64 Mi, i.e. 256 MiB for each float32 temporary. A single
# larger matrix is a batch of its own.
MAX_BATCH_ELEMENTS = 2**26


class MuonClipOptimizer(torch.optim.Optimizer):
    """Muon for hidden matrices, AdamW for the rest, then QK-Clip; `from_model` is the usual way in.

    `params`: (name, parameter) pairs, which are planned by name (`plan_parameters`); or parameters
    without names, planned by their number of dimensions alone (an embedding is then a matrix); or
    parameter groups, dictionaries of either with optional options and an optional "rule" ("muon" or
    "adamw") that overrides the plan. Parameters that require no gradient are left out.

    `lr` (eta) and `weight_decay` (lambda) act on all parameters; `momentum`, `nesterov`,
    `newton_schulz_steps` and `rms_scale` (the 0.2) are Muon's, `betas` and `eps` AdamW's.
    `qk_clip_threshold` is tau; None switches QK-Clip off and measures nothing. `clip_targets` are
    the attention layers to clip, all with the same number of heads. `newton_schulz_dtype` overrides
    the dtype that suits the device.

    Optimizer state is float32 also for parameters of 16 bits. Keep the parameters themselves in
    float32 where you can: bfloat16 keeps 8 bits of a weight, so most steps of lr * 0.2 vanish.

    `plan` lists the rule of each parameter. After a step with QK-Clip `last_max_logits` and
    `last_clip_factors` are tensors [layers, heads]. Raises ValueError for impossible options.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 2e-4,
        weight_decay: float = 0.1,
        qk_clip_threshold: float | None = 100.0,
        momentum: float = 0.95,
        nesterov: bool = True,
        newton_schulz_steps: int = 5,
        rms_scale: float = 0.2,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        clip_targets: Iterable[ClipTarget] = (),
        newton_schulz_dtype: torch.dtype | None = None,
    ) -> None:
        if lr < 0 or weight_decay < 0 or eps < 0:
            raise ValueError(
                f"lr {lr}, weight_decay {weight_decay} and eps {eps} must be at least 0"
            )
        if not all(0 <= rate < 1 for rate in (momentum, *betas)):
            raise ValueError(f"momentum {momentum} and betas {betas} must be in [0, 1)")
        if qk_clip_threshold is not None and qk_clip_threshold <= 0:
            raise ValueError(f"qk_clip_threshold {qk_clip_threshold} must be positive, or None")
        self.plan: list[ParameterRule] = []
        self._planned_matrices: dict[Tensor, ParameterRule] = {}
        self._update_squares: list[Tensor] = []
        self._update_elements = 0
        self.qk_clip_threshold = qk_clip_threshold
        self.clip_targets = list(clip_targets)
        self.newton_schulz_dtype = newton_schulz_dtype
        self.last_max_logits: Tensor | None = None
        self.last_clip_factors: Tensor | None = None
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "newton_schulz_steps": newton_schulz_steps,
            "rms_scale": rms_scale,
            "betas": betas,
            "eps": eps,
        }
        super().__init__(params, defaults)
        if qk_clip_threshold is not None:
            for target in self.clip_targets:
                target.observe_max_logits(qk_clip_threshold)

    @classmethod
    def from_model(cls, model: nn.Module, **options: Any) -> "MuonClipOptimizer":
        """The optimizer of a whole model: its planned parameters and all its ClipTarget modules."""
        plan = plan_parameters(model)
        parameters = dict(model.named_parameters())
        groups = [
            {
                "params": [(p.name, parameters[p.name]) for p in plan if p.rule == rule],
                "rule": rule,
            }
            for rule in ("muon", "adamw")
        ]
        targets = [module for module in model.modules() if isinstance(module, ClipTarget)]
        optimizer = cls(groups, clip_targets=targets, **options)
        optimizer.plan = plan
        return optimizer

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Plan the parameters of a group and add them as one group per rule that occurs."""
        options = {
            key: value
            for key, value in param_group.items()
            if key not in ("params", "rule", "param_names")
        }
        planned = _plan_group(param_group, first_index=len(self.plan))
        for rule in ("muon", "adamw"):
            members = [(p.name, parameter) for p, parameter in planned if p.rule == rule]
            if members:
                super().add_param_group({**options, "rule": rule, "params": members})
        self.plan += [p for p, _ in planned]
        self._planned_matrices |= {parameter: p for p, parameter in planned if p.rule == "muon"}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient, then QK-Clip; returns closure's loss.

        RuntimeError if a matrix planned for Muon has a gradient and was not orthogonalised.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        orthogonalised: Counter[Tensor] = Counter()
        self._update_squares, self._update_elements = [], 0
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            gradients = [p.grad for p in parameters]
            if parameters and group["rule"] == "muon":
                self._muon(parameters, gradients, group, orthogonalised)
            elif parameters:
                self._adamw(parameters, gradients, group)
        self._audit(orthogonalised)
        if self.clip_targets and self.qk_clip_threshold is not None:
            self.last_max_logits = gather_max_logits(self.clip_targets)
            self.last_clip_factors = clip_factors(self.last_max_logits, self.qk_clip_threshold)
            apply_clip_factors(self.clip_targets, self.last_clip_factors)
        return loss

    def update_rms(self) -> float:
        """The root mean square of O_t over all Muon updates of the last step, about `rms_scale`.

        Before the learning rate and without the decay; 0 if there were none. The host waits for
        the device here.
        """
        if not self._update_elements:
            return 0.0
        return sqrt(sum(float(square) for square in self._update_squares) / self._update_elements)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over options and state; the state is copied in the dtype in which it was saved.

        torch would cast it to the dtype of the parameters, and share its memory with the source.
        """
        super().load_state_dict(state_dict)
        saved_keys = [key for group in state_dict["param_groups"] for key in group["params"]]
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        for key, parameter in zip(saved_keys, parameters, strict=True):
            for name, value in state_dict["state"].get(key, {}).items():
                device = "cpu" if name == "step" else parameter.device
                self.state[parameter][name] = value.to(device, copy=True)

    def _muon(
        self,
        parameters: list[Tensor],
        gradients: list[Tensor],
        group: dict[str, Any],
        orthogonalised: Counter[Tensor],
    ) -> None:
        """The Muon part of Algorithm 1 on all `parameters`; counts their matrices as they pass."""
        lr, momentum, steps = group["lr"], group["momentum"], group["newton_schulz_steps"]
        momenta = self._buffers(parameters, "momentum_buffer")
        torch._foreach_mul_(momenta, momentum)
        torch._foreach_add_(momenta, gradients)
        torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
        for batch in _batches(_matrices(parameters, gradients, momenta)):
            directions = [piece.momentum_NSL for piece in batch]
            if group["nesterov"]:
                directions = list(
                    torch._foreach_add(
                        [piece.gradient_NSL for piece in batch], directions, alpha=momentum
                    )
                )
            orthogonal_NSL = newton_schulz(torch.cat(directions), steps, self.newton_schulz_dtype)
            scale = group["rms_scale"] * sqrt(orthogonal_NSL.shape[-1])
            counts = [len(piece.weight_NSL) for piece in batch]
            torch._foreach_add_(
                [piece.weight_NSL for piece in batch],
                torch.split(orthogonal_NSL, counts),
                alpha=-lr * scale,
            )
            for piece, count in zip(batch, counts, strict=True):
                orthogonalised[piece.parameter] += count
            dtype = torch.promote_types(orthogonal_NSL.dtype, torch.float32)
            norm = torch.linalg.vector_norm(orthogonal_NSL, dtype=dtype)
            self._update_squares.append((norm * scale).square())
            self._update_elements += orthogonal_NSL.numel()

    def _adamw(
        self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]
    ) -> None:
        """AdamW with decoupled decay and bias correction, as torch.optim.AdamW computes it."""
        lr, eps, (beta1, beta2) = group["lr"], group["eps"], group["betas"]
        averages = self._buffers(parameters, "exp_avg")
        square_averages = self._buffers(parameters, "exp_avg_sq")
        gradients = [g.to(m.dtype) for g, m in zip(gradients, averages, strict=True)]
        ages = []
        for parameter in parameters:
            # A tensor as in torch.optim, and on the CPU, where reading it makes nobody wait.
            step = self.state[parameter].setdefault("step", torch.tensor(0.0))
            ages.append(step.add_(1).item())
        torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
        torch._foreach_lerp_(averages, gradients, 1 - beta1)
        torch._foreach_mul_(square_averages, beta2)
        torch._foreach_addcmul_(square_averages, gradients, gradients, 1 - beta2)
        denominators = torch._foreach_sqrt(square_averages)
        torch._foreach_div_(denominators, [sqrt(1 - beta2**age) for age in ages])
        torch._foreach_add_(denominators, eps)
        step_sizes = [-lr / (1 - beta1**age) for age in ages]
        torch._foreach_addcdiv_(parameters, averages, denominators, step_sizes)

    def _buffers(self, parameters: list[Tensor], name: str) -> list[Tensor]:
        """The state `name` of each parameter, zeros at first, float32 or wider."""
        for parameter in parameters:
            if name not in self.state[parameter]:
                dtype = torch.promote_types(parameter.dtype, torch.float32)
                self.state[parameter][name] = torch.zeros_like(parameter, dtype=dtype)
        return [self.state[parameter][name] for parameter in parameters]

    def _audit(self, orthogonalised: Counter[Tensor]) -> None:
        """Compare what passed through Newton-Schulz with the plan, whatever the groups say now."""
        for parameter, planned in self._planned_matrices.items():
            if parameter.grad is not None and orthogonalised[parameter] != planned.matrices:
                raise RuntimeError(
                    f"{planned.name}: planned for Muon with {planned.matrices} matrices, but "
                    f"{orthogonalised[parameter]} were orthogonalised in this step"
                )


class _Matrices(NamedTuple):
    """Views of one parameter, or of some of its stacked matrices, with the short side first."""

    parameter: Tensor
    weight_NSL: Tensor
    gradient_NSL: Tensor
    momentum_NSL: Tensor


def _matrices(
    parameters: list[Tensor], gradients: list[Tensor], momenta: list[Tensor]
) -> Iterator[_Matrices]:
    """Each parameter in pieces of at most MAX_BATCH_ELEMENTS elements and at least one matrix."""
    for tensors in zip(parameters, gradients, momenta, strict=True):
        rows, columns = tensors[0].shape[-2:]
        views = [tensor if tensor.ndim == 3 else tensor.unsqueeze(0) for tensor in tensors]
        if rows > columns:
            views = [view.mT for view in views]
        matrices_per_piece = max(1, MAX_BATCH_ELEMENTS // (rows * columns))
        pieces = [torch.split(view, matrices_per_piece) for view in views]
        for weight_NSL, gradient_NSL, momentum_NSL in zip(*pieces, strict=True):
            yield _Matrices(tensors[0], weight_NSL, gradient_NSL, momentum_NSL)


def _batches(pieces: Iterable[_Matrices]) -> Iterator[list[_Matrices]]:
    """The pieces in batches of one shape, device and dtype, of at most MAX_BATCH_ELEMENTS."""
    filling: dict[tuple[Any, ...], list[_Matrices]] = defaultdict(list)
    elements: Counter[tuple[Any, ...]] = Counter()
    for piece in pieces:
        momentum_NSL = piece.momentum_NSL
        key = (momentum_NSL.shape[1:], momentum_NSL.device, momentum_NSL.dtype)
        if filling[key] and elements[key] + momentum_NSL.numel() > MAX_BATCH_ELEMENTS:
            yield filling.pop(key)
            elements[key] = 0
        filling[key].append(piece)
        elements[key] += momentum_NSL.numel()
    yield from filling.values()


def _plan_group(group: dict[str, Any], first_index: int) -> list[tuple[ParameterRule, Tensor]]:
    """The rule of each parameter of a group that requires a gradient, in order."""
    members = group["params"]
    members = [members] if isinstance(members, Tensor) else list(members)
    named = bool(members) and isinstance(members[0], tuple)
    pairs: list[tuple[str, Tensor]] = (
        members if named else [(f"parameter {i}", p) for i, p in enumerate(members, first_index)]
    )
    pairs = [(name, parameter) for name, parameter in pairs if parameter.requires_grad]
    if "rule" in group:
        plan = [
            ParameterRule(name, tuple(p.shape), group["rule"], "set by its group")
            for name, p in pairs
        ]
    elif named:
        plan = plan_parameters(pairs)
    else:
        plan = [plan_by_shape(name, parameter) for name, parameter in pairs]
    return [(planned, parameter) for planned, (_, parameter) in zip(plan, pairs, strict=True)]
