"""Attention logits explode under Muon and stay at tau under MuonClip (paper section 2.1, Figure 2).

A small dense model with K2's latent attention is trained twice from the same weights on the same
batches by the same optimizer: once with QK-Clip, once without (`qk_clip_threshold=None`). S_max of
every head is measured exactly in every step of both.

    python reproduce/qk_clip_explosion.py --out runs/qk_clip_explosion

What is of this size: the paper has tau = 100 and a peak rate of 2e-4; here, in a few hundred steps,
logits grow as far only at a high rate, and tau is small so that ten times tau is reached.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from experiment import Run, Script, markdown, print_dry_run, run_all
from numpy.typing import NDArray
from pictures import COLOURS, draw_runs, new_figure, save
from torch import Tensor
from training import Optimizers, Setting, curve, train

from openk2.core.run_folder import write_atomically
from openk2.models import KimiK2Config, KimiK2MoEModel
from openk2.optimizers import MuonClipOptimizer

THRESHOLD = 20.0  # tau
LEARNING_RATE = 0.03  # at its peak
STEPS = 500
SEQUENCE_LENGTH = 128  # tokens
BATCH_SIZE = 8  # sequences
VOCABULARY = 2048
LAST_EVALUATIONS = 4  # whose mean is the final loss
SECONDS_PER_STEP = 0.2
ARMS = ("Muon", "MuonClip")

MODEL = KimiK2Config(
    vocab_size=VOCABULARY,
    hidden_size=256,
    num_hidden_layers=2,
    num_attention_heads=4,
    q_lora_rank=128,
    kv_lora_rank=64,
    qk_nope_head_dim=64,
    qk_rope_head_dim=32,
    v_head_dim=64,
    intermediate_size=768,
    first_k_dense_replace=2,  # dense throughout: experts play no part in this
    moe_intermediate_size=64,
    n_routed_experts=1,
    num_experts_per_tok=1,
    routed_scaling_factor=1.0,
)


class ObservedMuonClip(Optimizers):
    """MuonClip that keeps every step's exact S_max [layers, heads], before any clip, and gamma."""

    def __init__(self, model: KimiK2MoEModel, weight_decay: float, threshold: float | None) -> None:
        self.attention = list(model.attention_layers())
        self.muon_clip = MuonClipOptimizer.from_model(
            model, weight_decay=weight_decay, qk_clip_threshold=threshold
        )
        super().__init__(self.muon_clip)
        for layer in self.attention:
            layer.observe_max_logits(-math.inf)  # every bound is above it: all heads exactly
        self.max_logits: list[Tensor] = []
        self.clipped: list[Tensor] = []

    def step(self) -> None:
        super().step()
        max_logits = self.muon_clip.last_max_logits
        factors = self.muon_clip.last_clip_factors
        if max_logits is None or factors is None:  # no threshold: the optimizer reads nothing
            max_logits = torch.stack([layer.max_logits() for layer in self.attention])
            factors = torch.ones_like(max_logits)
            for layer in self.attention:
                layer.reset_max_logits()
        self.max_logits.append(max_logits.clone())
        self.clipped.append(factors < 1)


def run(
    corpus_folder: Path,
    setting: Setting,
    seed: int,
    learning_rate: float,
    threshold: float | None,
) -> dict[str, Any]:
    """One run: what `train` returns, and S_max and whether it was clipped, [step][layer][head]."""
    made: list[ObservedMuonClip] = []

    def make_optimizer(model: KimiK2MoEModel) -> ObservedMuonClip:
        made.append(ObservedMuonClip(model, setting.weight_decay, threshold))
        return made[0]

    losses = train(setting, corpus_folder, seed, learning_rate, make_optimizer)
    return {
        **losses,
        "max_logits": torch.stack(made[0].max_logits).tolist(),
        "clipped": torch.stack(made[0].clipped).int().tolist(),
    }


def summary(seed: int, arm: str, result: dict[str, Any]) -> dict[str, Any]:
    """A run's row of the table."""
    largest = largest_logits(result)
    clipped = np.array(result["clipped"], dtype=bool)
    steps = clipped.any((1, 2)).nonzero()[0].tolist()
    after = largest[steps[0] + 1 :] if steps else largest[:0]
    return {
        "seed": seed,
        "arm": arm,
        "final validation loss": float(curve(result, "loss")[-LAST_EVALUATIONS:].mean()),
        "largest S_max": float(largest.max()),
        "after the first clip": float(after.max()) if len(after) else "-",
        "median after it": float(np.median(after)) if len(after) else "-",
        "in the last step": float(largest[-1]),
        "last step with a clip": steps[-1] + 1 if steps else "-",
        "share of heads ever clipped": float(clipped.any(0).mean()),
    }


def largest_logits(result: dict[str, Any]) -> NDArray[np.float64]:
    """S_max of the step: over all layers and heads, before any clip."""
    return np.array(result["max_logits"], dtype=float).max((1, 2))


def draw(results: dict[str, list[dict[str, Any]]], threshold: float, path: Path) -> None:
    """S_max and validation loss by step, every seed thin and their mean thick."""
    figure, (logits_axes, loss_axes) = new_figure(2)
    for colour, (arm, runs) in zip(COLOURS, results.items(), strict=False):
        largest = [largest_logits(r) for r in runs]
        draw_runs(logits_axes, [np.arange(len(run)) + 1 for run in largest], largest, colour, arm)
        steps, losses = ([curve(r, key) for r in runs] for key in ("step", "loss"))
        draw_runs(loss_axes, steps, losses, colour, arm)
    logits_axes.set_yscale("log")
    logits_axes.axhline(threshold, color="black", linewidth=0.8, linestyle="--")
    logits_axes.annotate(
        f"τ = {threshold:g}", (0, threshold), xycoords=("axes fraction", "data"),
        xytext=(3, 3), textcoords="offset points",
    )  # fmt: skip
    logits_axes.set_title("Largest attention logit of all heads")
    logits_axes.set_ylabel("S_max")
    loss_axes.set_title("Validation loss")
    loss_axes.set_ylabel("nats per token")
    for axes in (logits_axes, loss_axes):
        axes.set_xlabel("optimizer step")
    loss_axes.legend()
    save(figure, path)


def main(options: argparse.Namespace) -> None:
    setting = Setting(MODEL, options.steps, SEQUENCE_LENGTH, BATCH_SIZE)
    cases = [(seed, arm) for seed in range(options.seeds) for arm in ARMS]
    thresholds = {"Muon": None, "MuonClip": options.tau}
    runs = [
        Run(
            f"{arm}-seed{seed}",
            run,
            {
                "setting": setting,
                "seed": seed,
                "learning_rate": options.rate,
                "threshold": thresholds[arm],
            },
        )
        for seed, arm in cases
    ]
    if options.dry_run:
        print_dry_run(runs, options.out, SECONDS_PER_STEP * options.steps, options.processes)
        return
    found = run_all(runs, options.out, VOCABULARY, options.data, options.processes)
    rows = [summary(seed, arm, r) for (seed, arm), r in zip(cases, found, strict=True)]
    results: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for (_, arm), result in zip(cases, found, strict=True):
        results[arm].append(result)
    draw(results, options.tau, options.out / "qk_clip_explosion.png")
    curves = {"tau": options.tau, "learning_rate": options.rate, "table": rows, "runs": results}
    write_atomically(options.out / "qk_clip_explosion.json", json.dumps(curves).encode())
    print(json.dumps(rows) if options.json else markdown(rows))


if __name__ == "__main__":
    script = Script(__doc__, STEPS)
    script.add_argument("--tau", type=float, default=THRESHOLD, help="default: %(default)g")
    script.add_argument("--rate", type=float, default=LEARNING_RATE, help="default: %(default)g")
    script.run(main)
