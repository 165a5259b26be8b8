"""MuonClip, AdamW and torch.optim.Muon on the nano corpus: equal tokens, and equal wall time.

A small mixture-of-experts model in K2's proportions. Each arm's peak learning rate comes from the
same sweep: rates a factor 2 apart around its usual value, one seed, the whole budget, extended
while the best is at the edge. Then fresh seeds at the best rate. Schedule, weight decay, gradient
clip, initial weights and batches are the same in all arms.

    python reproduce/muonclip_convergence.py --out runs/muonclip_convergence

- MuonClip: `MuonClipOptimizer.from_model`; experts are stacks of matrices, orthogonalised together.
- AdamW: `torch.optim.AdamW` (fused) on every parameter.
- torch Muon: `torch.optim.Muon` on the same matrices as MuonClip, `torch.optim.AdamW` (fused) on
  the rest, one learning rate (`match_rms_adamw`). It takes matrices only, so it gets each expert's
  matrix as a view of the stack, which costs no copy.

Seconds are those of the steps, evaluation not counted, and CPU seconds of the run's one thread: the
wall time where nothing else runs, and little longer beside other programs. The clock's are in the
JSON too.
"""

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np
import torch
from experiment import Run, Script, markdown, positive, print_dry_run, run_all
from pictures import COLOURS, draw_band, new_figure, save
from torch import Tensor, nn
from training import Optimizers, Setting, curve, train

from openk2.core.run_folder import write_atomically
from openk2.models import KimiK2MoEModel
from openk2.models.presets import k2_proportions
from openk2.optimizers import MuonClipOptimizer, plan_parameters

STEPS = 300
SEQUENCE_LENGTH = 128  # tokens
BATCH_SIZE = 16  # sequences
VOCABULARY = 2048
THRESHOLD = 20.0  # tau, as in the recipe nano
BETAS = (0.9, 0.95)  # of every AdamW
SECONDS_PER_STEP = 0.2  # evaluation included
SWEEP_SEED = 0  # the seeds of the comparison follow it
MODEL = k2_proportions(112, 3, 32, 16, experts=16, vocabulary=VOCABULARY, experts_per_token=4)


def muon_clip(model: KimiK2MoEModel, weight_decay: float) -> Optimizers:
    """Ours."""
    return Optimizers(
        MuonClipOptimizer.from_model(
            model, weight_decay=weight_decay, betas=BETAS, qk_clip_threshold=THRESHOLD
        )
    )


def adamw(model: KimiK2MoEModel, weight_decay: float) -> Optimizers:
    """torch.optim.AdamW on everything."""
    return Optimizers(_adamw(list(model.parameters()), weight_decay))


class TorchMuon(Optimizers):
    """torch.optim.Muon on hidden matrices, stacked ones slice by slice, AdamW on the rest."""

    def __init__(self, model: KimiK2MoEModel, weight_decay: float) -> None:
        parameters = dict(model.named_parameters())
        matrices: list[Tensor] = []
        rest: list[Tensor] = []
        self.stacks: list[tuple[Tensor, list[nn.Parameter]]] = []
        for planned in plan_parameters(model):
            parameter = parameters[planned.name]
            if planned.rule == "adamw":
                rest.append(parameter)
            elif parameter.ndim == 2:
                matrices.append(parameter)
            else:
                views = [nn.Parameter(matrix) for matrix in parameter.detach()]
                self.stacks.append((parameter, views))
                matrices += views
        super().__init__(
            torch.optim.Muon(matrices, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
            _adamw(rest, weight_decay),
        )

    def step(self) -> None:
        for parameter, views in self.stacks:
            assert parameter.grad is not None
            for view, gradient in zip(views, parameter.grad, strict=True):
                view.grad = gradient
        super().step()


def _adamw(parameters: list[Tensor], weight_decay: float) -> torch.optim.AdamW:
    return torch.optim.AdamW(parameters, weight_decay=weight_decay, betas=BETAS, fused=True)


ARMS: dict[str, Callable[[KimiK2MoEModel, float], Optimizers]] = {
    "MuonClip": muon_clip,
    "AdamW": adamw,
    "torch Muon": TorchMuon,
}
USUAL_RATES = {"MuonClip": 1e-2, "AdamW": 4e-3, "torch Muon": 1e-2}  # the middle of each sweep


def run(
    corpus_folder: Path, setting: Setting, seed: int, arm: str, learning_rate: float
) -> dict[str, Any]:
    """One run of an arm: what `train` returns."""

    def make_optimizer(model: KimiK2MoEModel) -> Optimizers:
        return ARMS[arm](model, setting.weight_decay)

    return train(setting, corpus_folder, seed, learning_rate, make_optimizer)


def planned_run(setting: Setting, seed: int, arm: str, learning_rate: float) -> Run:
    """The run of this name; another number of steps is another run."""
    name = f"{arm.replace(' ', '-')}-{setting.steps}steps-rate{learning_rate:g}-seed{seed}"
    arguments = {"setting": setting, "seed": seed, "arm": arm, "learning_rate": learning_rate}
    return Run(name, run, arguments)


def sweep(setting: Setting, options: argparse.Namespace) -> dict[str, dict[float, float]]:
    """By arm: the final validation loss of each rate tried, the best one never at the edge."""
    rates = _first_rates(options.rates)
    while True:
        cases = [(arm, rate) for arm in ARMS for rate in rates[arm]]
        runs = [planned_run(setting, SWEEP_SEED, arm, rate) for arm, rate in cases]
        losses: dict[str, dict[float, float]] = {arm: {} for arm in ARMS}
        for (arm, rate), result in zip(cases, _run(runs, options), strict=True):
            losses[arm][rate] = final_loss(result)
        wider = {arm: _extended(losses[arm]) for arm in ARMS}
        if wider == rates or options.rates == 1:
            return losses
        rates = wider


def _first_rates(count: int) -> dict[str, list[float]]:
    """By arm: `count` rates a factor 2 apart around the usual one."""
    powers = [2.0 ** (index - count // 2) for index in range(count)]
    return {arm: [usual * power for power in powers] for arm, usual in USUAL_RATES.items()}


def _extended(losses: dict[float, float]) -> list[float]:
    """The rates tried, and the next one where the best is at an edge."""
    rates = sorted(losses)
    best = min(rates, key=losses.__getitem__)
    below = [rates[0] / 2] if best == rates[0] else []
    above = [rates[-1] * 2] if best == rates[-1] else []
    return below + rates + above


def final_loss(result: dict[str, Any]) -> float:
    """The validation loss after the last step; infinite for a run that diverged."""
    loss = float(curve(result, "loss")[-1])
    return loss if math.isfinite(loss) else math.inf


def loss_at(result: dict[str, Any], seconds: float) -> float:
    """The validation loss at a time of training, between two evaluations on a straight line."""
    return float(np.interp(seconds, curve(result, "cpu_seconds"), curve(result, "loss")))


def compare(
    losses: dict[str, list[float]], extra: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """A row an arm: mean and standard deviation over seeds, and the difference seed by seed."""
    rows = []
    for arm, values in losses.items():
        gains = [value - ours for value, ours in zip(values, losses["MuonClip"], strict=True)]
        rows.append(
            {
                "arm": arm,
                **extra[arm],
                "validation loss": mean(values),
                "standard deviation": _stdev(values),
                "minus MuonClip's": mean(gains),
                "its standard deviation": _stdev(gains),
                "MuonClip lower in": f"{sum(gain > 0 for gain in gains)} of {len(gains)}",
            }
        )
    return rows


def sweep_table(tried: dict[str, dict[float, float]]) -> list[dict[str, Any]]:
    """A row for each rate of each arm."""
    return [
        {"arm": arm, "peak rate": f"{rate:g}", "validation loss": loss,
         "": "best" if loss == min(losses.values()) else ""}
        for arm, losses in tried.items()
        for rate, loss in losses.items()
    ]  # fmt: skip


def at_equal_time(results: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The arms of each seed at the time at which the fastest of them ended.

    The others are then in the middle of their schedule, which is worse for them than a schedule
    that ends there: see the table of fitted schedules.
    """
    ends = [
        min(sum(r["cpu_seconds"]) for r in one_seed)
        for one_seed in zip(*results.values(), strict=True)
    ]
    losses = {arm: list(map(loss_at, runs, ends)) for arm, runs in results.items()}
    return compare(losses, {arm: {"seconds": mean(ends)} for arm in results})


def _stdev(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def draw(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Validation loss over tokens and over seconds of training."""
    figure, (tokens_axes, seconds_axes) = new_figure(2)
    for colour, (arm, runs) in zip(COLOURS, results.items(), strict=True):
        line = "--" if arm == "torch Muon" else "-"  # where two arms agree, both are seen
        losses = [curve(r, "loss") for r in runs]
        millions = [curve(r, "tokens") / 1e6 for r in runs]
        seconds = [curve(r, "cpu_seconds") for r in runs]
        draw_band(tokens_axes, millions, losses, colour, arm, line)
        draw_band(seconds_axes, seconds, losses, colour, arm, line)
    every_run = [r for runs in results.values() for r in runs]
    tokens_axes.set_xlabel("training tokens (millions)")
    seconds_axes.set_xlabel("training time on one core (CPU seconds)")
    for axes in (tokens_axes, seconds_axes):
        axes.set_ylabel("validation loss (nats per token)")
        # AdamW's first evaluation, high and wide, would take half the height.
        axes.set_ylim(top=1.05 * max(float(curve(r, "loss")[:2].min()) for r in every_run))
    tokens_axes.set_title("Equal tokens")
    seconds_axes.set_title("Equal wall time")
    tokens_axes.legend()
    save(figure, path)


def main(options: argparse.Namespace) -> None:
    setting = Setting(MODEL, options.steps, SEQUENCE_LENGTH, BATCH_SIZE, evaluations=15)
    if options.dry_run:
        first = [
            planned_run(setting, SWEEP_SEED, arm, rate)
            for arm, rates in _first_rates(options.rates).items()
            for rate in rates
        ]
        print_dry_run(first, options.out, SECONDS_PER_STEP * options.steps, options.processes)
        further = (2 * len(ARMS) - 1) * options.seeds
        print(f"then {further} runs or fewer at the best rates, and more where a sweep is extended")
        return
    tried = sweep(setting, options)
    best = {arm: min(losses, key=losses.__getitem__) for arm, losses in tried.items()}
    seeds = range(SWEEP_SEED + 1, SWEEP_SEED + 1 + options.seeds)
    results = _at_best_rates(dict.fromkeys(ARMS, setting), best, seeds, options)
    per_step = {
        arm: median(seconds for result in runs for seconds in result["cpu_seconds"])
        for arm, runs in results.items()
    }
    fastest = min(per_step.values())
    fitted = {
        arm: replace(setting, steps=max(1, round(setting.steps * fastest / seconds)))
        for arm, seconds in per_step.items()
    }
    refitted = _at_best_rates(fitted, best, seeds, options)
    report = {
        "sweep": sweep_table(tried),
        "equal tokens": compare(
            {arm: [final_loss(r) for r in runs] for arm, runs in results.items()},
            {arm: {"peak rate": f"{best[arm]:g}", "seconds/step": per_step[arm]} for arm in ARMS},
        ),
        "equal wall time, read from the same curves": at_equal_time(results),
        "equal wall time, schedule fitted to it": compare(
            {arm: [final_loss(r) for r in runs] for arm, runs in refitted.items()},
            {
                arm: {
                    "steps": fitted[arm].steps,
                    "seconds": mean(sum(r["cpu_seconds"]) for r in runs),
                }
                for arm, runs in refitted.items()
            },
        ),
    }
    draw(results, options.out / "muonclip_convergence.png")
    curves = {"tables": report, "runs": results, "runs with fitted schedule": refitted}
    write_atomically(options.out / "muonclip_convergence.json", json.dumps(curves).encode())
    if options.json:
        print(json.dumps(report))
    else:
        print("\n\n".join(f"{title}\n\n{markdown(rows)}" for title, rows in report.items()))


def _at_best_rates(
    settings: dict[str, Setting],
    best: dict[str, float],
    seeds: Sequence[int],
    options: argparse.Namespace,
) -> dict[str, list[dict[str, Any]]]:
    """Every arm's runs, by seed."""
    cases = [(arm, seed) for seed in seeds for arm in ARMS]  # in turn: a busy hour hits all arms
    runs = [planned_run(settings[arm], seed, arm, best[arm]) for arm, seed in cases]
    results: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for (arm, _), result in zip(cases, _run(runs, options), strict=True):
        results[arm].append(result)
    return results


def _run(runs: list[Run], options: argparse.Namespace) -> list[dict[str, Any]]:
    return run_all(runs, options.out, VOCABULARY, options.data, options.processes)


if __name__ == "__main__":
    script = Script(__doc__, STEPS)
    script.add_argument("--rates", type=positive, default=5, help="tried first; 1: no sweep")
    script.run(main)
