"""The command `k2` in processes of its own, as tests start, signal, kill and read them.

`real` runs the installed command. `start` and `k2` run the same entry point, with its own working
directory, environment and standard streams, in a process forked from a server that has imported
torch already: the two seconds of that import would otherwise be most of every test.
"""

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

__all__ = ["TINY", "Result", "Running", "SignalAt", "k2", "real", "sources", "start"]

# A model of 40 thousand parameters on six batches of 128 tokens: half a second of work.
TINY = [
    "--model.hidden_size=28",
    "--model.num_hidden_layers=2",
    "--model.num_attention_heads=2",
    "--model.q_lora_rank=12",
    "--model.kv_lora_rank=8",
    "--model.qk_nope_head_dim=8",
    "--model.qk_rope_head_dim=4",
    "--model.v_head_dim=8",
    "--model.intermediate_size=36",
    "--model.moe_intermediate_size=8",
    "--model.vocab_size=400",
    "--model.n_routed_experts=4",
    "--model.num_experts_per_tok=2",
    "--training.steps=6",
    "--training.sequence_length=32",
    "--training.batch_size=4",
    "--training.micro_batch_size=2",
    "--training.evaluate_every=3",
    "--training.checkpoint_every=2",
    "--training.sample_tokens=8",
    "--training.dtype=float32",
    "--optimizer.warmup_steps=2",
    "--optimizer.decay_steps=2",
]

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "openk2.recipes.pretrain",
        "openk2.models.presets",
        "openk2.integrations.hf_checkpoints",
        # Which the optimizer's base class imports when it is first used.
        "torch._dynamo",
    ]
)
_NUMBERS = itertools.count()
# One thread: the machine's other cores belong to other tests, and forks inherit no thread pool.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "COLUMNS": "100"}


@dataclass(frozen=True)
class Result:
    """How a command ended: the exit code (minus the signal's number if one killed it) and text."""

    code: int | None
    stdout: str
    stderr: str

    def error(self) -> str:
        """The line that a refused command leaves: exit code 2 and nothing else on its stderr."""
        assert self.code == 2, self
        assert self.stderr.startswith("k2"), self
        assert self.stderr.find("\n") == len(self.stderr) - 1, self
        assert "Traceback" not in self.stdout, self
        return self.stderr.rstrip("\n")


@dataclass
class SignalAt:
    """The process sends itself a signal just before a file operation that changes something.

    It is the `count`-th (from 1) of those on a path that contains `path`: a file opened for
    writing, a name made, moved or removed. So a test can end a command at every such point.
    """

    path: str = ""
    count: int = 1
    number: signal.Signals = signal.SIGKILL

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """A hook of `sys.addaudithook`."""
        changes = event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")
        if changes or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            self.count -= self.path in os.fsdecode(arguments[0])
            if self.count == 0:
                self.count = -1
                os.kill(os.getpid(), self.number)


class Running:
    """A command that has been started."""

    def __init__(self, process: BaseProcess, streams: Path) -> None:
        self._process, self._streams = process, streams

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def wait(self, seconds: float = 120) -> Result:
        """Wait for the end."""
        self._process.join(seconds)
        if self.alive:
            self._process.kill()
            raise TimeoutError(f"the command ran for more than {seconds} seconds")
        return Result(self._process.exitcode, *(self._read(name) for name in ("out", "err")))

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return as soon as `condition` holds or the command has ended."""
        while self.alive and not condition():
            time.sleep(0.001)

    def send(self, number: signal.Signals) -> None:
        """Send the command a signal, if it has not ended."""
        if self.alive and self._process.pid is not None:
            os.kill(self._process.pid, number)

    def _read(self, name: str) -> str:
        return Path(f"{self._streams}.{name}").read_text(encoding="utf-8", errors="replace")


def real(*arguments: str, cwd: Path | None = None, **environment: str) -> Result:
    """Run the installed command to its end."""
    finished = subprocess.run(
        [sys.executable, "-m", "openk2.cli", *arguments],
        cwd=cwd,
        env={**os.environ, **_ENVIRONMENT, **environment},
        capture_output=True,
        check=False,
        timeout=120,
        encoding="utf-8",
        errors="replace",
    )
    return Result(finished.returncode, finished.stdout, finished.stderr)


def start(
    *arguments: str, cwd: Path, signal_at: SignalAt | None = None, **environment: str
) -> Running:
    """Start the command in `cwd`; its output goes to files beside that folder."""
    streams = cwd.parent / f".{cwd.name}.{next(_NUMBERS)}"
    for suffix in (".out", ".err"):
        Path(f"{streams}{suffix}").write_bytes(b"")
    settings = {**_ENVIRONMENT, **environment}
    process = _SERVER.Process(target=_command, args=(arguments, cwd, streams, settings, signal_at))
    process.start()
    return Running(process, streams)


def k2(*arguments: str, cwd: Path, signal_at: SignalAt | None = None, **environment: str) -> Result:
    """Run the command in `cwd` to its end."""
    return start(*arguments, cwd=cwd, signal_at=signal_at, **environment).wait()


def sources(folder: Path, files: int = 24) -> Path:
    """A folder of small text files: some ten thousand tokens."""
    folder.mkdir(parents=True)
    for i in range(files):
        lines = [f"def f_{i}_{j}(x):\n    return x + {i * j % 7}\n" for j in range(30)]
        (folder / f"{i:02}.py").write_text("\n".join(lines))
    return folder


def _command(
    arguments: tuple[str, ...],
    cwd: Path,
    streams: Path,
    settings: Mapping[str, str],
    signal_at: SignalAt | None,
) -> None:
    """In the new process: redirect the streams themselves, as a shell does, and run main."""
    for descriptor, suffix in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(f"{streams}{suffix}", os.O_WRONLY), descriptor)
    os.chdir(cwd)
    os.environ.update(settings)
    # As in a terminal; a test run in the background would pass on that it ignores interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal_at:
        sys.addaudithook(signal_at)
    from openk2.cli import main

    try:
        code = main(arguments)
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
