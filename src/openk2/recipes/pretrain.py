"""The pre-training run, from text to report: what `k2 run` and `k2 pretrain` do."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.text import Text

from openk2.core.config import load_toml, to_toml, with_overrides
from openk2.core.errors import UserError
from openk2.core.events import EventLog, finite, read_events
from openk2.core.run_folder import RunFolder
from openk2.core.terminal import printable
from openk2.data.corpus import Corpus, prepare_corpus
from openk2.models import KimiK2MoEModel
from openk2.models.accounting import count_parameters, training_flops_per_token
from openk2.optimizers import MuonClipOptimizer, format_plan
from openk2.recipes.catalogue import recipe
from openk2.reporting.progress import LiveProgress
from openk2.reporting.report import write_report
from openk2.reporting.summary import print_summary, summarize
from openk2.training.config import PretrainConfig
from openk2.training.estimate import estimate_run, memory_bytes
from openk2.training.machine import Setup, set_up
from openk2.training.pretrain import Pretraining, Stopped

__all__ = ["dry_run", "resolve_config", "run_pretraining"]


def resolve_config(
    name_or_file: str, overrides: dict[str, str], data: Sequence[str], out: Path | None = None
) -> PretrainConfig:
    """A recipe's name or a TOML file, with `--key=value` overrides and the user's text.

    What the machine decided when a run in `out` began (threads, dtype, device) stays decided: a
    resumed run is the same run.
    """
    path = Path(name_or_file)
    config = load_toml(PretrainConfig, path) if path.suffix == ".toml" else recipe(name_or_file)
    if data:
        config = replace(config, data=replace(config.data, paths=tuple(data)))
    config = with_overrides(config, overrides)
    stored = None if out is None else RunFolder(out).config
    if stored is not None and stored.exists():
        before, now = load_toml(PretrainConfig, stored).training, config.training
        config = replace(
            config,
            training=replace(
                now,
                threads=before.threads if now.threads is None else now.threads,
                dtype=before.dtype if now.dtype == "auto" else now.dtype,
                device=before.device if now.device == "auto" else now.device,
            ),
        )
    return config


def dry_run(config: PretrainConfig, as_json: bool) -> None:
    """Print the config and, as comments, what is decided here and will be taken; write nothing.

    The config is printed as it was given: saved as a recipe, it must not pin the cores that happen
    to be free now, nor this machine's number type.
    """
    setup = set_up(config.training)
    estimate = estimate_run(_decided(config, setup), setup)
    if as_json:
        parts = {
            "config": asdict(config),
            "machine": setup.describe(),
            "estimate": asdict(estimate),
        }
        print(json.dumps(finite(parts)))
        return
    with torch.device("meta"):
        plan = format_plan(MuonClipOptimizer.from_model(KimiK2MoEModel(config.model)).plan)
    print(to_toml(config))
    print("".join(f"# {line}\n" for line in plan.splitlines()))
    basis = "a few steps timed here" if estimate.measured else "a matrix product timed here"
    print(
        f"# machine       {_machine(setup)}\n"
        f"# parameters    {estimate.parameters:,}, {estimate.activated_parameters:,} activated\n"
        f"# tokens        {estimate.tokens:,}\n"
        f"# compute       {estimate.flops:.3g} floating-point operations\n"
        f"# memory        {estimate.memory_bytes / 2**30:.1f} GiB of "
        f"{estimate.free_memory_bytes / 2**30:.1f} GiB free\n"
        f"# expected time {_duration(estimate.seconds)} of training ({basis})"
    )


def run_pretraining(config: PretrainConfig, out: Path, as_json: bool = False) -> int:
    """Train in `out`, or go on where a run of this config stopped there; returns the exit code."""
    setup = set_up(config.training)
    config = _decided(config, setup)
    needed, there = memory_bytes(config), setup.machine.memory_bytes
    if setup.device.type == "cpu" and needed > there:
        raise UserError(
            f"{config.name}: needs about {needed / 2**30:.0f} GiB of memory and the machine has "
            f"{there / 2**30:.0f}; make the model or training.micro_batch_size smaller"
        )
    folder = RunFolder(out)
    begun = folder.open(config)
    console = Console(stderr=as_json)
    steps, tokens = config.training.steps, config.training.tokens_per_step
    try:
        _say(console, f"{config.name}: {steps} steps of {tokens} tokens into {out}")
        _say(console, _machine(setup))
        corpus = prepare_corpus(
            folder.data,
            config.data.paths or None,
            config.model.vocab_size,
            config.data.validation_fraction,
            config.seed,
            config.data.strict,
        )
        _say(console, _corpus_line(corpus.statistics))
        events = EventLog(folder.events)
        run = Pretraining(config, corpus, folder, events, setup.dtype, setup.device)
    except Exception:
        if not begun:
            folder.abandon()
        raise
    with LiveProgress(config.training.steps, console=console) as progress:
        events.observers.append(progress)
        try:
            if not run.restore():
                events.cut_back(0)
                _describe(events, config, corpus, setup, run)
            run.run()
        except Stopped as stopped:
            print(f"{stopped}; the same command resumes", file=sys.stderr)
            return 128 + (15 if stopped.signal_name == "SIGTERM" else 2)
        finally:
            events.close()
            write_report(out)
    summary = summarize(out)
    if as_json:
        print(json.dumps(summary))
    else:
        print_summary(summary, console)
        _print_sample(folder, console)
    return 0


def _decided(config: PretrainConfig, setup: Setup) -> PretrainConfig:
    """The config with what the machine decided in place of none and auto."""
    decided = replace(
        config.training,
        threads=setup.machine.threads,
        dtype=str(setup.dtype).removeprefix("torch."),
        device=setup.device.type,
    )
    return replace(config, training=decided)


def _describe(
    events: EventLog, config: PretrainConfig, corpus: Corpus, setup: Setup, run: Pretraining
) -> None:
    """The events that say what this run is."""
    training = config.training
    events.append(
        "run",
        name=config.name,
        machine=setup.describe(),
        parameters=asdict(count_parameters(config.model)),
        flops_per_token=training_flops_per_token(config.model, training.sequence_length),
        steps=training.steps,
        tokens_per_step=training.tokens_per_step,
    )
    events.append("corpus", **corpus.statistics)
    plan: list[dict[str, Any]] = [
        {
            "name": rule.name,
            "shape": list(rule.shape),
            "rule": rule.rule,
            "reason": rule.reason,
            "matrices": rule.matrices,
        }
        for rule in run.optimizer.plan
    ]
    events.append("plan", parameters=plan)


def _print_sample(folder: RunFolder, console: Console) -> None:
    last = list(read_events(folder.events, "sample"))[-1]
    console.print("\na sample:", style="dim")
    _say(console, last["prompt"] + last["text"])


def _say(console: Console, text: str) -> None:
    """Print text that holds names, paths or a model's words: none of it is rich's markup."""
    console.print(Text(printable(text)), soft_wrap=True)


def _machine(setup: Setup) -> str:
    """What was decided for this machine, and why."""
    machine = setup.machine
    return (
        f"{setup.device.type}, {machine.dtype} ({machine.dtype_reason}), "
        f"{machine.threads} threads ({machine.threads_reason})"
    )


def _corpus_line(statistics: dict[str, Any]) -> str:
    """What was read and what was left out, from the fields of the `corpus` event."""
    line = (
        "corpus: {documents:,} documents, {train_tokens:,} training and {validation_tokens:,} "
        "validation tokens, {replaced_bytes:,} bytes replaced, skipped {skipped_count:,}"
    ).format(**statistics)
    if statistics["skipped"]:
        line += " (first: {file}:{line}: {reason})".format(**statistics["skipped"][0])
    return line


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.3g} days"
