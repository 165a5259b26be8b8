"""The command `k2`. Commands import what they need when they run, so that --help is instant."""

import argparse
import errno
import io
import json
import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from openk2.core.config import parse_overrides
from openk2.core.device import limit_spinning, probe_machine
from openk2.core.errors import UserError
from openk2.core.run_folder import FULL_DISK, latest_checkpoint
from openk2.core.terminal import printable

__all__ = ["main"]

OVERRIDES = "any setting of the configuration as --key.sub=value; --dry-run prints them all"
# argparse takes one that holds a space for a path, so it does not get to see them.
DOTTED_SETTING = re.compile(r"--[^=\s]+\.[^=\s]+=")
# What the user's disk, paths and permissions can cause; any other OSError is a bug.
OUTSIDE = {
    *FULL_DISK,
    *(errno.EFBIG, errno.EIO, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG),
}
INTERRUPTED, BROKEN_PIPE = 128 + signal.SIGINT, 128 + signal.SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 2 when the user's input was wrong."""
    for stream in (sys.stdout, sys.stderr):
        # Text that the terminal's encoding lacks must not end a run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    limit_spinning()
    try:
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except UserError as error:
        message = str(error)
    except KeyboardInterrupt:
        # Only a run, which has a --dry-run and is not one, leaves something to go on with.
        resumes = not getattr(options, "dry_run", True)
        print(f"k2: interrupted{'; the same command resumes' * resumes}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away, as `head` does; what is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in OUTSIDE:
            raise
        message = f"{error.filename or options.where or 'output'}: {os.strerror(error.errno)}"
        if error.errno in FULL_DISK:
            message += "; free some space and give the same command again"
    _complain(message)
    return 2


def _complain(message: str) -> None:
    """One line on the standard error, whatever names and paths the message holds."""
    print(f"k2: {' '.join(printable(message).splitlines())}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        line = " ".join(printable(message).splitlines())
        self.exit(2, f"{self.prog}: {line}; see {self.prog} --help\n")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command, `overrides` (settings) and `where` (the folder it works in)."""
    parser = _parser()
    settings = [argument for argument in arguments if DOTTED_SETTING.match(argument)]
    others = [argument for argument in arguments if not DOTTED_SETTING.match(argument)]
    options, rest = parser.parse_known_args(others)
    options.overrides = [*rest, *settings]
    if options.overrides and not options.overridable:
        parser.error(f"unrecognized arguments: {' '.join(options.overrides)}")
    if "recipe" in options:
        options.out = options.out or Path("runs") / Path(options.recipe).stem
    options.where = getattr(options, "out", getattr(options, "folder", None))
    return options


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="k2", description="The Kimi K2 stack in the open.", allow_abbrev=False)
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
        made.add_argument(
            "--strict",
            action="store_true",
            help="a broken line or file is an error rather than skipped and counted",
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

    _add_serve(command("serve", "an OpenAI-compatible server and a chat page for a checkpoint"))
    _add_chat(command("chat", "talk to a checkpoint or to a server, in the terminal"))

    _add_environments(command("environments", "what an agent can be trained on: tasks and graders"))

    doctor = command("doctor", "what this machine will use, and why")
    doctor.set_defaults(run=_doctor)
    return parser


def _add_serve(serve: argparse.ArgumentParser) -> None:
    add = serve.add_argument
    add("folder", type=Path, metavar="CHECKPOINT", help="a run's folder or an exported one")
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=8000, help="0 takes a free one")
    key = serve.add_mutually_exclusive_group()
    key.add_argument(
        "--api-key-file", type=Path, metavar="FILE", help="holds what clients must say"
    )
    key.add_argument(
        "--api-key",
        metavar="KEY",
        help="the same; a file, or the environment's K2_API_KEY, keeps it from those who list "
        "this machine's processes",
    )
    add("--insecure", action="store_true", help="listen beyond this machine without a key")
    add("--max-lanes", type=int, default=64, help="sequences generated at a time")
    add("--max-queue", type=int, default=256, help="sequences that may wait; more get 429")
    add("--timeout", type=float, default=600.0, help="seconds for a request")
    add("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--threads", type=int, help="of the CPU; default: those that are free, less one")
    add("--thinking", choices=("off", "kept", "recent"), default="off")
    add("--cors-origin", action="append", default=[], metavar="ORIGIN")
    serve.set_defaults(run=_serve)


def _add_chat(chat: argparse.ArgumentParser) -> None:
    chat.add_argument("partner", metavar="CHECKPOINT_OR_URL")
    chat.add_argument("--message", metavar="TEXT", help="say this, print the answer, leave")
    chat.add_argument("--system", metavar="TEXT")
    chat.add_argument("--tools", type=Path, metavar="FILE", help="a JSON list of OpenAI tools")
    chat.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="NAME=VALUE",
        help="as /set in the chat: temperature=0.7",
    )
    chat.add_argument("--model", help="of a server that has several")
    chat.add_argument("--thinking", choices=("off", "kept", "recent"), default="off")
    chat.set_defaults(run=_chat)


def _add_environments(environments: argparse.ArgumentParser) -> None:
    actions = environments.add_subparsers(required=True, metavar="ACTION")

    def action(name: str, help: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=help, allow_abbrev=False)
        made.set_defaults(run=_environments, action=name)
        # Said before the action, too; the action's default must not take it back.
        made.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
        return made

    action("list", "all of them by name")
    show = action("show", "a task as the model meets it")
    show.add_argument("--solved", action="store_true", help="with an honest way through it")
    verify = action("verify", "the score of a response, read from the standard input")
    for made in (show, verify):
        made.add_argument("name", metavar="NAME", help="e.g. maths.arithmetic, tool_world.retail")
        made.add_argument("--index", type=int, default=0, help="of the task; default: 0")
        made.add_argument("--difficulty", type=float, help="0 to 1; default: the index decides")
    check = action("check", "how often honest and dishonest players are paid")
    check.add_argument("names", nargs="*", metavar="NAME", help="or a family; default: all")
    check.add_argument("--count", type=int, default=20, help="tasks of each; default: 20")
    for made in (show, verify, check):
        made.add_argument("--split", default="train", help="train, validation or test")


def _pretrain(options: argparse.Namespace) -> int:
    from openk2.recipes.pretrain import dry_run, resolve_config, run_pretraining

    overrides = parse_overrides(options.overrides)
    for flag, setting in (("data", "data.paths"), ("strict", "data.strict")):
        if getattr(options, flag) and setting in overrides:
            raise UserError(f"--{flag} and --{setting} set the same thing; give one of them")
    if options.strict:
        overrides["data.strict"] = "true"
    config = resolve_config(options.recipe, overrides, options.data, options.out)
    if options.dry_run:
        dry_run(config, options.json)
        return 0
    return run_pretraining(config, options.out, options.json)


def _show(options: argparse.Namespace) -> int:
    from rich.console import Console

    from openk2.reporting.report import write_report
    from openk2.reporting.summary import print_summary, summarize

    summarize(options.folder)  # a folder that holds no run is an error before anything is written
    try:
        write_report(options.folder)
    except OSError as error:
        # Of a folder that one may not write, the figures can be read; a full disk is to be freed.
        if error.errno in FULL_DISK:
            raise
        _complain(f"{options.folder}: the report was not written: {error.strerror or error}")
    summary = summarize(options.folder)
    if options.json:
        print(json.dumps(summary))
    else:
        print_summary(summary, Console())
    return 0


def _export(options: argparse.Namespace) -> int:
    import torch

    from openk2.integrations.hf_checkpoints import save_pretrained
    from openk2.models.pretrained import load_pretrained

    checkpoint = latest_checkpoint(options.folder / "checkpoints")
    if checkpoint is None:
        raise UserError(f"{options.folder}: holds no checkpoint; train it first")
    dtype = getattr(torch, options.dtype)
    written = save_pretrained(load_pretrained(checkpoint), options.out, dtype, checkpoint)
    result = {"checkpoint": str(checkpoint), "folder": str(written), "dtype": options.dtype}
    line = printable(f"{written}: {checkpoint.name} in {options.dtype}")
    print(json.dumps(result) if options.json else line)
    return 0


def _serve(options: argparse.Namespace) -> int:
    from openk2.inference.engine_process import EngineSettings
    from openk2.serving.server import read_api_key, serve
    from openk2.serving.service import ServerSettings

    for name, value in (("max-lanes", options.max_lanes), ("threads", options.threads)):
        if value is not None and value < 1:
            raise UserError(f"--{name} is {value}; it must be at least 1")
    # The system would take it modulo 65536.
    if not 0 <= options.port <= 65535:
        raise UserError(f"--port is {options.port}; it must lie between 0 and 65535")
    settings = ServerSettings(
        host=options.host,
        port=options.port,
        api_key=options.api_key or read_api_key(options.api_key_file),
        insecure=options.insecure,
        max_queue=options.max_queue,
        timeout=options.timeout,
        cors_origins=tuple(options.cors_origin),
        thinking=options.thinking,
    )
    engine = EngineSettings(
        dtype=options.dtype,
        device=options.device,
        threads=options.threads,
        max_lanes=options.max_lanes,
    )
    return serve(options.folder, settings, engine, options.json)


def _chat(options: argparse.Namespace) -> int:
    from openk2.serving.terminal_chat import terminal_chat

    return terminal_chat(
        options.partner,
        message=options.message,
        system=options.system,
        tools=options.tools,
        settings=options.settings,
        model=options.model,
        thinking=options.thinking,
        api_key=os.environ.get("K2_API_KEY"),
        as_json=options.json,
    )


def _environments(options: argparse.Namespace) -> int:
    from openk2.environments import commands

    if options.action == "list":
        return commands.list_environments(options.json)
    if options.action == "check":
        return commands.check_environments(
            options.names, options.count, options.split, options.json
        )
    place = (options.name, options.index, options.split, options.difficulty, options.json)
    if options.action == "show":
        return commands.show_task(*place, options.solved)
    return commands.verify_response(*place)


def _doctor(options: argparse.Namespace) -> int:
    from openk2.environments.sandbox import SandboxUnavailable, probe

    machine = probe_machine()
    try:
        sandbox = probe()
        level, layers = sandbox.level.name, dict(sandbox.layers)
    except SandboxUnavailable as error:
        level, layers = "none", {"sandbox": str(error)}
    if options.json:
        print(json.dumps({**asdict(machine), "sandbox": level, "sandbox_layers": layers}))
        return 0
    print(f"platform  {machine.platform}, Python {machine.python}")
    print(f"cpu       {machine.cpu}, {machine.cores} cores")
    print(f"memory    {machine.memory_bytes / 2**30:.1f} GiB")
    print(f"threads   {machine.threads}: {machine.threads_reason}")
    print(f"dtype     {machine.dtype}: {machine.dtype_reason}")
    import torch

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    print(f"torch     {torch.__version__}; CUDA devices: {', '.join(devices) or 'none'}")
    missing = [f"{layer} ({why})" for layer, why in layers.items() if why != "active"]
    print(printable(f"sandbox   {level.lower()}; missing layers: {', '.join(missing) or 'none'}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
