"""The options of each command."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from openk2.cli import commands
from openk2.core.terminal import printable

__all__ = ["parse"]

OVERRIDES = "any setting of the configuration as --key.sub=value; --dry-run prints them all"
# argparse takes one that holds a space for a path, so it does not get to see them.
DOTTED_SETTING = re.compile(r"--[^=\s]+\.[^=\s]+=")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        line = " ".join(printable(message).splitlines())
        self.exit(2, f"{self.prog}: {line}; see {self.prog} --help\n")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
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
    made_commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, help: str, overridable: bool = False) -> argparse.ArgumentParser:
        epilog = OVERRIDES if overridable else None
        made = made_commands.add_parser(name, help=help, epilog=epilog, allow_abbrev=False)
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
        made.set_defaults(run=commands.pretrain)

    show = command("show", "a run's figures and its report")
    show.add_argument("folder", type=Path, metavar="RUN")
    show.set_defaults(run=commands.show)

    export = command("export", "write a run's model as a folder that transformers loads")
    export.add_argument("folder", type=Path, metavar="RUN")
    export.add_argument("--out", type=Path, required=True)
    export.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    export.set_defaults(run=commands.export)

    _add_serve(command("serve", "an OpenAI-compatible server and a chat page for a checkpoint"))
    _add_chat(command("chat", "talk to a checkpoint or to a server, in the terminal"))

    _add_environments(command("environments", "what an agent can be trained on: tasks and graders"))

    _add_mcp(command("mcp", "real MCP servers: installed by hash, jailed, offline"))

    doctor = command("doctor", "what this machine will use, and why")
    doctor.set_defaults(run=commands.doctor)
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
    serve.set_defaults(run=commands.serve)


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
    chat.set_defaults(run=commands.chat)


def _add_environments(environments: argparse.ArgumentParser) -> None:
    actions = environments.add_subparsers(required=True, metavar="ACTION")

    def action(name: str, help: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=help, allow_abbrev=False)
        made.set_defaults(run=commands.environments, action=name)
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


def _add_mcp(mcp: argparse.ArgumentParser) -> None:
    actions = mcp.add_subparsers(required=True, metavar="ACTION")

    def action(name: str, help: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=help, allow_abbrev=False)
        made.set_defaults(run=commands.mcp, action=name)
        made.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
        folder = "of the servers; default: OPENK2_MCP, or the user's cache"
        made.add_argument("--folder", type=Path, metavar="DIR", help=folder)
        return made

    action("list", "the catalogue, and what of it is installed")
    install = action("install", "install servers under their locked hashes")
    check = action("check", "start servers, compare their tools with the pins, make trial calls")
    for made in (install, check):
        made.add_argument("names", nargs="*", metavar="NAME")
    install.add_argument("--all", action="store_true", help="every server of the catalogue")
    install.add_argument("--dry-run", action="store_true", help="say what would be done")
    call = action("call", "one call of one tool, in a fresh state folder")
    call.add_argument("server")
    call.add_argument("tool")
    call.add_argument("arguments", nargs="?", default="{}", metavar="JSON")
