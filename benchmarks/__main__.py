"""python -m benchmarks [name ...]: all benchmarks, or the named ones, as tables."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import busy_warning, load_average, machine_line
from benchmarks.table import Table
from benchmarks.timing import DEFAULT_ROUNDS, LEAST_ROUNDS
from openk2.core.device import Machine, limit_spinning, probe_machine

NAMES = (
    "train_step",
    "experts",
    "optimizer_step",
    "expert_stacks_step",
    "qk_clip_cost",
    "communication",
    "nano_against_stock",
    "generation",
    "serving",
    "sandbox",
    "tool_worlds",
    "verifiers",
    "scorer_exploits",
    "scorer_exploits_reasoning_gym",
    "code_grader_exploits",
    "command_start",
)

EXPLOITS = ("scorer_exploits", "scorer_exploits_reasoning_gym", "code_grader_exploits")
WITHOUT_ROUNDS = ("command_start", "communication", *EXPLOITS)
WITHOUT_TORCH = {"sandbox", "tool_worlds", "verifiers", *EXPLOITS, "command_start"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was named, print each table as it is ready, and write the Markdown at the end."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _options(arguments)
    limit_spinning()
    machine = probe_machine(options.threads)
    head = [machine_line(machine), *_state("start")]
    print("\n".join(head), flush=True)
    if not set(options.names) <= WITHOUT_TORCH:
        _set_up(machine)
    tables: list[Table] = []
    for name in options.names:
        for table in _run(name, options):
            print(f"\n{table.plain()}", flush=True)
            tables.append(table)
    tail = _state("end")
    print("\n" + "\n".join(tail))
    if options.markdown is not None:
        command = " ".join(["python -m benchmarks", *arguments])
        parts = [f"`{command}`", *head, *(table.markdown() for table in tables), *tail]
        options.markdown.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Ratios against peers on the same work in one run.",
        allow_abbrev=False,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all")
    parser.add_argument("--rounds", type=int, default=DEFAULT_ROUNDS, help="at least 5; default 7")
    parser.add_argument("--threads", type=int, help="default: as many as cores are free")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    nano = parser.add_argument_group("nano_against_stock")
    nano.add_argument("--seeds", type=int, default=1, metavar="N", help="repeat with N seeds")
    nano.add_argument("--budget-scale", type=float, default=1.0, help="0.02 for a quick check")
    nano.add_argument(
        "--stock-dtype",
        choices=("auto", "float32", "bfloat16", "autocast"),
        default="auto",
        help="the peer's precision; auto: the best of the three",
    )
    nano.add_argument(
        "--stock-rates",
        type=float,
        nargs="+",
        default=[2e-3, 5e-3, 1e-2, 2e-2],
        metavar="RATE",
        help="peak learning rates that the peer tries; default: 2e-3 5e-3 1e-2 2e-2",
    )
    options = parser.parse_args(arguments)
    options.names = options.names or list(NAMES)
    for name in options.names:
        if name not in NAMES:
            parser.error(f"no benchmark '{name}'; there are {', '.join(NAMES)}")
    if options.rounds < LEAST_ROUNDS:
        parser.error(f"--rounds {options.rounds}: at least {LEAST_ROUNDS}")
    if options.seeds < 1 or min(options.budget_scale, *options.stock_rates) <= 0:
        parser.error("--seeds, --budget-scale and --stock-rates must be positive")
    return options


def _state(moment: str) -> list[str]:
    """The load average, and a warning if something else runs."""
    warning = busy_warning(load_counts=moment == "start")
    return [f"load average at {moment}: {load_average()}", *([warning] if warning else [])]


def _set_up(machine: Machine) -> None:
    """Threads and allocator for this process, once, so that both sides have the same."""
    from openk2.recipes.catalogue import nano
    from openk2.training.machine import set_up

    set_up(replace(nano().training, threads=machine.threads))


def _run(name: str, options: argparse.Namespace) -> list[Table]:
    """Imports what the benchmark needs only now: importing torch would outlast `k2 --help`."""
    module = importlib.import_module(f"benchmarks.{name}")
    tables: list[Table] = module.run(*_arguments(name, module, options))
    return tables


def _arguments(name: str, module: Any, options: argparse.Namespace) -> tuple[Any, ...]:
    if name in WITHOUT_ROUNDS:
        return ()
    if name == "qk_clip_cost":  # a small difference between two long times
        return (max(options.rounds, module.ROUNDS),)
    if name == "nano_against_stock":
        return (options.stock_rates, options.seeds, options.budget_scale, options.stock_dtype)
    return (options.rounds,)


if __name__ == "__main__":
    sys.exit(main())
