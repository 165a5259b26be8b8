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
- Parameters may be DTensors: the update is that of the whole parameters (`sharded`).
- Each step counts the matrices that went through Newton-Schulz; a planned one that did not is an
  error.
- The step never changes a gradient, and with `non_finite="ignore"` the host never waits for the
  device.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, distributed, nn
from torch.optim.optimizer import ParamsT

from openk2.core.protocols import ClipTarget
from openk2.optimizers.adamw import adamw_update
from openk2.optimizers.clip_targets import find_clip_targets
from openk2.optimizers.diagnostics import StepDiagnostics, check_gradients
from openk2.optimizers.group_options import check_options
from openk2.optimizers.layout import local_box, local_gradient, local_tensor
from openk2.optimizers.matrices import Geometry, geometry
from openk2.optimizers.muon_update import (
    Iteration,
    MuonParameter,
    UpdateScale,
    UpdateStatistics,
    group_coefficients,
    number_or_tensor,
    update_batches,
)
from openk2.optimizers.non_finite import NonFinite, explain_non_finite, has_non_finite
from openk2.optimizers.optimizer_state import exact_loading
from openk2.optimizers.param_plan import ParameterRule, plan_parameters
from openk2.optimizers.plan_groups import check_new, complete_plan, group_plan, plan_group
from openk2.optimizers.qk_clip import QKClip
from openk2.optimizers.sharded import Exchange
from openk2.optimizers.torch_exact import torch_exact_step
from openk2.optimizers.transfers import Transfer, plan_transfers

__all__ = ["MuonClipOptimizer"]


class MuonClipOptimizer(StepDiagnostics, torch.optim.Optimizer):
    """Muon for hidden matrices, AdamW for the rest, then QK-Clip; `from_model` is the usual way in.

    `params`: (name, parameter) pairs, which are planned by name (`plan_parameters`); or parameter
    groups, dictionaries with any options of their own and an optional "rule" ("muon" or "adamw")
    that overrides the plan, without which parameters of two dimensions need names. Parameters that
    require no gradient are left out. Options, all of them also of a single group up to `eps`:

    lr: eta, a number or a tensor of one element, of which each group takes a copy.
    weight_decay: lambda. `cautious_weight_decay`: under Muon only where it agrees with the update.
    momentum, nesterov: mu, and whether Newton-Schulz takes mu M_t + G_t.
    coefficients: of Newton-Schulz, a name (`coefficients.COEFFICIENTS`) or (a, b, c) of each step;
        `newton_schulz_steps` other than a sequence's own where it allows that.
    update_scale: "rms" (K2), with `rms_scale` the 0.2; "keller" or "spectral" (`update_scale`).
    torch_exact: the arithmetic of torch.optim.Muon to the bit, for matrices that are not sharded.
    maximize: ascend.
    betas, eps: AdamW's.
    qk_clip_threshold: tau; None switches QK-Clip off and measures nothing.
    clip_targets: the attention layers to clip.
    newton_schulz_dtype: overrides the dtype that suits the device, also for what is sent;
        `compile`: run Newton-Schulz through torch.compile.
    non_finite: what to do with infinite or NaN gradients: "error" names them and changes nothing,
        "skip" changes nothing and counts in `skipped_steps`, "ignore" does not look; the first two
        make the host wait for the device once a step.
    share_replicas: True or a process group: replicas (DDP, the replicated axis of HSDP) compute a
        share of the matrices each and send the results, instead of all of them each. Plain tensors
        are taken to be replicated over the group, True meaning all processes.
    process_group: the processes of the same layers; with pipeline parallelism those of a stage.

    State is float32 also for parameters of 16 bits. Keep the parameters themselves in float32 where
    you can: bfloat16 keeps 8 bits of a weight, so most steps of lr * 0.2 vanish.

    Raises ValueError for impossible options and for parameters that fit no rule.
    """

    # What a copy has, to which no process group can be taken along.
    share_replicas: bool | distributed.ProcessGroup = False
    process_group: distributed.ProcessGroup | None = None

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-4,
        weight_decay: float = 0.1,
        qk_clip_threshold: float | None = 100.0,
        *,
        momentum: float = 0.95,
        nesterov: bool = True,
        coefficients: str | Iterable[tuple[float, float, float]] = "k2",
        newton_schulz_steps: int | None = None,
        update_scale: UpdateScale = "rms",
        rms_scale: float = 0.2,
        cautious_weight_decay: bool = False,
        torch_exact: bool = False,
        maximize: bool = False,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        clip_targets: Iterable[ClipTarget] = (),
        newton_schulz_dtype: torch.dtype | None = None,
        compile: bool = False,
        non_finite: NonFinite = "error",
        share_replicas: bool | distributed.ProcessGroup = False,
        process_group: distributed.ProcessGroup | None = None,
    ) -> None:
        if non_finite not in ("error", "skip", "ignore"):
            raise ValueError(f"non_finite {non_finite!r} is none of error, skip, ignore")
        defaults: dict[str, Any] = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "coefficients": coefficients if isinstance(coefficients, str) else tuple(coefficients),
            "newton_schulz_steps": newton_schulz_steps,
            "update_scale": update_scale,
            "rms_scale": rms_scale,
            "cautious_weight_decay": cautious_weight_decay,
            "torch_exact": torch_exact,
            "maximize": maximize,
            "betas": betas,
            "eps": eps,
        }
        check_options(defaults)
        self._rules: dict[Tensor, ParameterRule] = {}
        self._geometry: dict[Tensor, Geometry] = {}
        self._left_out: list[tuple[str, Tensor]] = []
        self._exchange: Exchange | None = None
        self._exchange_is_planned = False
        self.iteration = Iteration(newton_schulz_dtype, compile)
        self.non_finite = non_finite
        self.share_replicas = share_replicas
        self.process_group = process_group
        self.skipped_steps = 0
        if qk_clip_threshold is not None:
            self.qk_clip = QKClip(
                None, clip_targets, qk_clip_threshold, process_group=process_group
            )
        super().__init__(params, defaults)

    @classmethod
    def from_model(
        cls,
        model: nn.Module,
        *,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        adamw: Mapping[str, Any] | None = None,
        per_head: bool = False,
        gqa: Literal["per_head", "group"] = "per_head",
        qk_norm: Literal["clip_gains", "refuse"] = "clip_gains",
        clip_targets: Iterable[ClipTarget] | None = None,
        **options: Any,
    ) -> "MuonClipOptimizer":
        """The optimizer of a whole model: its planned parameters and all its attention layers.

        `overrides`: a parameter's name, or a pattern such as "*.experts.*", to its own options,
        among them "rule" and "row_sizes" (`plan_parameters`). `adamw`: options of all parameters
        under AdamW, such as {"lr": 3e-4}. `per_head`: orthogonalise each head's rows of the
        attention projections by themselves. `gqa`, `qk_norm`: see `find_clip_targets`, which looks
        for attention unless `clip_targets` are given. `options`: those of the class.
        """
        clips = options.get("qk_clip_threshold", 100.0) is not None
        if clip_targets is not None:
            targets = list(clip_targets)
        elif clips or per_head:
            targets = find_clip_targets(model, gqa=gqa, qk_norm=qk_norm)
        else:
            targets = [module for module in model.modules() if isinstance(module, ClipTarget)]
        row_sizes = {
            getattr(item.module, item.name): item.heads if per_head else item.projections
            for target in targets
            for item in target.head_matrices()
        }
        plan = plan_parameters(model, overrides, row_sizes)
        parameters = dict(model.named_parameters())
        groups = group_plan(plan, parameters, overrides or {}, adamw or {})
        optimizer = cls(groups, clip_targets=targets if clips else (), **options)
        # In the model's order, not that of the groups.
        optimizer._rules = {parameters[p.name]: optimizer._rules[parameters[p.name]] for p in plan}
        optimizer._left_out = [item for item in parameters.items() if not item[1].requires_grad]
        return optimizer

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Plan the parameters of a group and add them as one group per rule that occurs.

        Beside options a group may have a "rule" for all of its parameters, and "row_sizes" where
        they hold several matrices each (`ParameterRule`).
        """
        own = ("params", "rule", "param_names", "planned", "row_sizes")
        options = {key: value for key, value in param_group.items() if key not in own}
        merged = {**self.defaults, **options}
        check_options(merged)
        planned = plan_group(param_group, first_index=len(self._rules))
        check_new(planned, self._rules, merged)
        for rule in ("muon", "adamw"):
            members = [(p.name, parameter) for p, parameter in planned if p.rule == rule]
            if members:
                # Schedulers change a tensor in place, for each group: each has its own.
                lr = lr.detach().clone() if isinstance(lr := merged["lr"], Tensor) else lr
                super().add_param_group({**options, "lr": lr, "rule": rule, "params": members})
        self._rules |= {parameter: rule for rule, parameter in planned}
        self._exchange_is_planned = False

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient, then QK-Clip; returns closure's loss.

        FloatingPointError, with nothing changed, for gradients that are not finite, unless
        `non_finite` says otherwise. RuntimeError if a matrix planned for Muon has a gradient and
        was not orthogonalised.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = {p: local_gradient(p) for p in self._rules if p.grad is not None}
        check_gradients(gradients, self._left_out)
        if self.non_finite != "ignore" and not self._all_finite(gradients):
            return loss
        statistics = UpdateStatistics(measure_orthogonality=self.measure_orthogonality)
        items: dict[Tensor, MuonParameter] = {}
        for group in self.param_groups:
            if group["rule"] == "muon":
                items |= self._muon(group, gradients, statistics)
        exchange = self._planned_exchange()
        if exchange:
            exchange.start(items)
        for group in self.param_groups:
            if group["rule"] == "adamw":
                self._adamw(group, gradients)
        travelling = exchange.shared if exchange else frozenset()
        whole = (item for p, item in items.items() if p not in travelling)
        update_batches(whole, self.iteration, statistics)
        if exchange:
            exchange.finish(items, statistics)
        self._audit(gradients, statistics)
        self._statistics = statistics
        if self.qk_clip is not None:
            self.qk_clip.clip()
        return loss

    @property
    def plan(self) -> list[ParameterRule]:
        """The rule of each parameter, complete: `format_plan` prints it."""
        return complete_plan(self._rules, self._group_of_parameter(), self._transfers())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over options and state; the state is copied in the dtype in which it was saved.

        ValueError, with nothing changed, for the state of another model.
        """
        with exact_loading(self):
            super().load_state_dict(state_dict)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what belongs to one step, and process groups, which no copy can have."""
        own = {
            name: value
            for name, value in vars(self).items()
            if name in _COPIED and not isinstance(value, distributed.ProcessGroup)
        }
        return {**super().__getstate__(), **own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._exchange, self._exchange_is_planned = None, False
        self._geometry = {}

    def _muon(
        self, group: dict[str, Any], gradients: dict[Tensor, Tensor], statistics: UpdateStatistics
    ) -> dict[Tensor, MuonParameter]:
        """What Newton-Schulz is to update, each with its momentum M_{t-1}."""
        exact = group["torch_exact"]
        parameters, here = _of_group(group, gradients)
        momenta = self._buffers(parameters, "momentum_buffer", widen=not exact)
        lr, steps = number_or_tensor(group["lr"]), group_coefficients(group)
        items = {}
        for parameter, gradient, momentum in zip(parameters, here, momenta, strict=True):
            weight, place = local_tensor(parameter), self._geometry_of(parameter)
            item = MuonParameter(parameter, place, group, weight, gradient, momentum, lr, steps)
            if exact:
                torch_exact_step(item, statistics)
            else:
                items[parameter] = item
        return items

    def _adamw(self, group: dict[str, Any], gradients: dict[Tensor, Tensor]) -> None:
        parameters, here = _of_group(group, gradients)
        if not parameters:
            return
        averages = self._buffers(parameters, "exp_avg")
        square_averages = self._buffers(parameters, "exp_avg_sq")
        ages = []
        for parameter in parameters:
            # A tensor as in torch.optim, and on the CPU, where reading it makes nobody wait.
            step = self.state[parameter].setdefault("step", torch.tensor(0.0))
            ages.append(step.add_(1).item())
        adamw_update(
            [local_tensor(p) for p in parameters],
            here,
            averages,
            square_averages,
            ages,
            number_or_tensor(group["lr"]),
            group["weight_decay"],
            group["betas"],
            group["eps"],
        )

    def _geometry_of(self, parameter: Tensor) -> Geometry:
        """What is here of a parameter, worked out once."""
        if parameter not in self._geometry:
            self._geometry[parameter] = geometry(self._rules[parameter], local_box(parameter))
        return self._geometry[parameter]

    def _buffers(self, parameters: list[Tensor], name: str, widen: bool = True) -> list[Tensor]:
        """The local state `name` of each parameter, zeros at first, float32 or wider."""
        for parameter in parameters:
            if name not in self.state[parameter]:
                least = torch.float32 if widen else parameter.dtype
                dtype = torch.promote_types(parameter.dtype, least)
                self.state[parameter][name] = torch.zeros_like(parameter, dtype=dtype)
        return [local_tensor(self.state[parameter][name]) for parameter in parameters]

    def _all_finite(self, gradients: dict[Tensor, Tensor]) -> bool:
        """False to skip this step; FloatingPointError if that is the option."""
        here, device = list(gradients.values()), next(iter(self._rules)).device
        if not has_non_finite(here, device, self.process_group):
            return True
        if self.non_finite == "error":
            names = [self._rules[p].name for p in gradients]
            what = explain_non_finite(names, [local_tensor(p) for p in gradients], here)
            raise FloatingPointError(
                f"{what} is not finite; nothing was changed. non_finite='skip' skips such steps"
            )
        self.skipped_steps += 1
        if self.qk_clip is not None:
            self.qk_clip.forget()
        return False

    def _planned_exchange(self) -> Exchange | None:
        """What has to travel between processes, planned at the first step; None if nothing has."""
        if not self._exchange_is_planned:
            self._exchange = None
            if transfers := self._transfers():
                self._exchange = Exchange(transfers, self.iteration)
            self._exchange_is_planned = True
        return self._exchange

    def _transfers(self) -> list[Transfer]:
        return plan_transfers(self._rules, self._group_of_parameter(), self.share_replicas)

    def _group_of_parameter(self) -> dict[Tensor, dict[str, Any]]:
        return {parameter: group for group in self.param_groups for parameter in group["params"]}

    def _audit(self, gradients: Iterable[Tensor], statistics: UpdateStatistics) -> None:
        """Compare what passed through Newton-Schulz with the plan, whatever the groups say now."""
        for parameter in gradients:
            planned, found = self._rules[parameter], statistics.matrices[parameter]
            if planned.rule == "muon" and found != self._geometry_of(parameter).touched:
                raise RuntimeError(
                    f"{planned.name}: planned for Muon with {self._geometry_of(parameter).touched} "
                    f"matrices here, but {found} were orthogonalised in this step"
                )


def _of_group(
    group: dict[str, Any], gradients: dict[Tensor, Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters of a group that have a gradient, and the gradients to descend."""
    parameters = [p for p in group["params"] if p in gradients]
    here = [gradients[p] for p in parameters]
    return parameters, list(torch._foreach_neg(here)) if group["maximize"] and here else here


# What copies and pickles take along; the rest is planned anew.
_COPIED = (
    "_rules",
    "_left_out",
    "iteration",
    "non_finite",
    "share_replicas",
    "process_group",
    "measure_orthogonality",
    "skipped_steps",
    "qk_clip",
)
