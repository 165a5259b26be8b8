"""The command `k2`. Commands import what they need when they run, so that --help is instant."""

import argparse
import errno
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from openk2.core.config import parse_overrides
from openk2.core.device import limit_spinning, probe_machine
from openk2.core.errors import UserError

__all__ = ["main"]

FULL = (errno.ENOSPC, errno.EDQUOT)
OVERRIDES = "any setting of the configuration as --key.sub=value; --dry-run prints them all"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 2 when the user's input was wrong."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and not options.overridable:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.overrides = rest
    limit_spinning()
    try:
        return int(options.run(options))
    except UserError as error:
        message = str(error)
    except OSError as error:
        if error.errno not in (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EACCES,
            errno.EROFS,
            errno.ENOTDIR,
        ):
            raise
        message = f"{error.filename or 'writing'}: {os.strerror(error.errno)}"
        if error.errno in FULL:
            message += "; free some space and give the same command again"
    print(f"k2: {' '.join(message.splitlines())}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="k2", description="The Kimi K2 stack in the open.", allow_abbrev=False
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, help: str, overridable: bool = False) -> argparse.ArgumentParser:
        epilog = OVERRIDES if overridable else None
        made = commands.add_parser(name, help=help, epilog=epilog, allow_abbrev=False)
        made.set_defaults(overridable=overridable)
        made.add_argument("--json", action="store_true", help="print the result as JSON")
        return made

    run = command("run", "run a recipe from text to report", overridable=True)
    run.add_argument("recipe", help="nano, micro, or a .toml file")
    pretrain = command("pretrain", "pre-train on your own text", overridable=True)
    pretrain.add_argument("--recipe", default="nano", help="nano, micro, or a .toml file")
    for made in (run, pretrain):
        made.add_argument(
            "--data",
            nargs="+",
            default=[],
            metavar="PATH",
            help="text files, folders, JSONL, parquet; default: the embedded corpus",
        )
        made.add_argument("--out", type=Path, help="the run's folder; default: runs/RECIPE")
        made.add_argument(
            "--dry-run",
            action="store_true",
            help="print the configuration and what it will take; do nothing",
        )
        made.set_defaults(run=_pretrain)

    show = command("show", "a run's figures and its report")
    show.add_argument("folder", type=Path, metavar="RUN")
    show.set_defaults(run=_show)

    export = command("export", "write a run's model as a folder that transformers loads")
    export.add_argument("folder", type=Path, metavar="RUN")
    export.add_argument("--out", type=Path, required=True)
    export.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    export.set_defaults(run=_export)

    doctor = command("doctor", "what this machine will use, and why")
    doctor.set_defaults(run=_doctor)
    return parser


def _pretrain(options: argparse.Namespace) -> int:
    from openk2.recipes.pretrain import dry_run, resolve_config, run_pretraining

    out = options.out or Path("runs") / Path(options.recipe).stem
    overrides = parse_overrides(options.overrides)
    config = resolve_config(options.recipe, overrides, options.data, out)
    if options.dry_run:
        dry_run(config, options.json)
        return 0
    return run_pretraining(config, out, options.json)


def _show(options: argparse.Namespace) -> int:
    from rich.console import Console

    from openk2.reporting.report import write_report
    from openk2.reporting.summary import print_summary, summarize

    summarize(options.folder)  # a folder that holds no run is an error before anything is written
    write_report(options.folder)
    summary = summarize(options.folder)
    if options.json:
        print(json.dumps(summary))
    else:
        print_summary(summary, Console())
    return 0


def _export(options: argparse.Namespace) -> int:
    import torch

    from openk2.integrations.hf_checkpoints import load_pretrained, save_pretrained
    from openk2.training.checkpointing import latest_checkpoint

    checkpoint = latest_checkpoint(options.folder / "checkpoints")
    if checkpoint is None:
        raise UserError(f"{options.folder}: holds no checkpoint; train it first")
    dtype = getattr(torch, options.dtype)
    written = save_pretrained(load_pretrained(checkpoint), options.out, dtype, checkpoint)
    result = {"checkpoint": str(checkpoint), "folder": str(written), "dtype": options.dtype}
    print(
        json.dumps(result) if options.json else f"{written}: {checkpoint.name} in {options.dtype}"
    )
    return 0


def _doctor(options: argparse.Namespace) -> int:
    machine = probe_machine()
    if options.json:
        print(json.dumps(asdict(machine)))
        return 0
    print(f"platform  {machine.platform}, Python {machine.python}")
    print(f"cpu       {machine.cpu}, {machine.cores} cores")
    print(f"memory    {machine.memory_bytes / 2**30:.1f} GiB")
    print(f"threads   {machine.threads}: {machine.threads_reason}")
    print(f"dtype     {machine.dtype}: {machine.dtype_reason}")
    import torch

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    print(f"torch     {torch.__version__}; CUDA devices: {', '.join(devices) or 'none'}")
    return 0
