"""What each command does with its options; every one returns the exit code."""

import argparse
import json
import os
from dataclasses import asdict

from openk2.cli.complaint import complain
from openk2.core.config import parse_overrides
from openk2.core.device import probe_machine
from openk2.core.errors import UserError
from openk2.core.run_folder import FULL_DISK, latest_checkpoint
from openk2.core.terminal import printable

__all__ = [
    "chat",
    "doctor",
    "environments",
    "export",
    "mcp",
    "pretrain",
    "serve",
    "show",
]


def pretrain(options: argparse.Namespace) -> int:
    """k2 run and k2 pretrain."""
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


def show(options: argparse.Namespace) -> int:
    """k2 show: a run's figures, and its report written anew."""
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
        complain(f"{options.folder}: the report was not written: {error.strerror or error}")
    summary = summarize(options.folder)
    if options.json:
        print(json.dumps(summary))
    else:
        print_summary(summary, Console())
    return 0


def export(options: argparse.Namespace) -> int:
    """k2 export: a run's model as a folder that transformers loads."""
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


def serve(options: argparse.Namespace) -> int:
    """k2 serve, until it is stopped."""
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


def chat(options: argparse.Namespace) -> int:
    """k2 chat."""
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


def environments(options: argparse.Namespace) -> int:
    """k2 environments list, show, verify, check."""
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


def mcp(options: argparse.Namespace) -> int:
    """k2 mcp list, install, check, call."""
    from openk2.environments.tool_world.mcp import commands

    if options.action == "list":
        return commands.list_servers(options.folder, options.json)
    if options.action == "install":
        return commands.install_servers(
            options.names, options.all, options.folder, options.dry_run, options.json
        )
    if options.action == "check":
        return commands.check_servers(options.names, options.folder, options.json)
    return commands.call_tool(
        options.server, options.tool, options.arguments, options.folder, options.json
    )


def doctor(options: argparse.Namespace) -> int:
    """k2 doctor: what this machine will use, and why."""
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
