"""The engine in a process of its own, so that serving and computing do not wait for each other.

Two threads of one Python process take turns; a server that formats thousands of events a second
would hold up every one of the small operations that a step consists of.
"""

import multiprocessing
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from operator import attrgetter
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from openk2.core.device import keep_freed_memory, limit_spinning, probe_machine
from openk2.core.errors import UserError
from openk2.inference.checkpoint import find_checkpoint, load_checkpoint, load_tokenizer
from openk2.inference.engine import Engine, EngineStatistics
from openk2.inference.engine_thread import Command, Receiver, Receivers, run_engine
from openk2.inference.requests import GenerationRequest, Update

__all__ = ["EngineProcess", "EngineSettings"]

_fields = attrgetter(*Update.__dataclass_fields__)


@dataclass(frozen=True)
class EngineSettings:
    """How a checkpoint is run; see `Engine` for what is not described here.

    dtype     "float32", "bfloat16", or "auto": bfloat16 on a GPU, float32 on a CPU
    device    "cpu", "cuda", or "auto"
    threads   of the CPU; None: as many as the machine has free, less one for those who ask
    """

    dtype: str = "auto"
    device: str = "auto"
    threads: int | None = None
    max_lanes: int = 64
    cache_tokens: int | None = None
    prefill_tokens: int = 1024


class EngineProcess:
    """An engine over a checkpoint, in a child process.

    tokenizer, vocabulary_size, context_length (tokens, prompt and continuation), model_name
    """

    def __init__(self, checkpoint: Path, settings: EngineSettings | None = None) -> None:
        """Start it and load; UserError if the checkpoint cannot be loaded."""
        folder = find_checkpoint(checkpoint)
        self.tokenizer = load_tokenizer(folder)
        self.model_name = checkpoint.resolve().name
        limit_spinning()  # which the child inherits
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = theirs, folder, settings or EngineSettings()
        self._process = context.Process(
            target=_serve, args=arguments, name="openk2-engine", daemon=True
        )
        self._process.start()
        theirs.close()
        try:
            started = self._connection.recv()
        except EOFError:
            raise UserError(f"{folder}: the engine's process ended while loading it") from None
        if isinstance(started, str):
            self._process.join()
            raise UserError(started)
        self._statistics: EngineStatistics
        self.context_length, self.vocabulary_size, self._statistics = started
        self._sending = threading.Lock()
        self._receivers = Receivers()
        self._reader = threading.Thread(target=self._read, name="openk2-updates", daemon=True)
        self._reader.start()

    def submit(self, request: GenerationRequest, receive: Receiver) -> int:
        """Queue a request; `receive` is called from a thread of this object with its updates.

        The first says that it was accepted or why it is refused; the last of each sample has a
        finish reason, which is "failed" if the process dies.
        """
        number = self._receivers.add(request, receive)
        self._send(Command(number, request))
        return number

    def abort(self, number: int) -> None:
        """End the request's open samples; nothing happens if there are none."""
        self._send(Command(number))

    def _send(self, command: Command) -> None:
        try:
            with self._sending:
                self._connection.send(command)
        except OSError:  # the process is gone
            self._receivers.fail()

    def statistics(self) -> EngineStatistics:
        """The newest figures that the process sent."""
        return self._statistics

    @property
    def alive(self) -> bool:
        """Whether requests are served."""
        return self._process.is_alive() and self._reader.is_alive()

    @property
    def pid(self) -> int | None:
        """The child's process number."""
        return self._process.pid

    def _read(self) -> None:
        try:
            while True:
                updates, self._statistics = self._connection.recv()
                self._receivers.deliver([Update(*fields) for fields in updates])
        except (EOFError, OSError):
            self._receivers.fail()

    def close(self, timeout: float = 5.0) -> None:
        """End the process: after its step in flight, or by force after `timeout` seconds."""
        self._send(Command(0, close=True))
        self._process.join(timeout)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._reader.join()
        self._connection.close()


def _serve(connection: Connection, folder: Path, settings: EngineSettings) -> None:
    """The child process, from loading to the end."""
    # Ctrl-C and a supervisor's SIGTERM reach the whole group; the parent says when it is time.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        engine = _load(folder, settings)
    except UserError as error:
        connection.send(str(error))
        return
    connection.send((engine.context_length, engine.model.config.vocab_size, engine.statistics()))
    inbox: SimpleQueue[Command] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, inbox), daemon=True).start()

    def deliver(updates: list[Update], statistics: EngineStatistics) -> None:
        # Tuples: they are pickled ten times as fast as the records.
        connection.send(([_fields(update) for update in updates], statistics))

    run_engine(engine, inbox, deliver)
    engine.close()


def _listen(connection: Connection, inbox: "SimpleQueue[Command]") -> None:
    """Pass commands on; a parent that is gone has no more of them."""
    try:
        while True:
            inbox.put(connection.recv())
    except (EOFError, OSError):
        inbox.put(Command(0, close=True))


def _load(folder: Path, settings: EngineSettings) -> Engine:
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda was asked for and torch finds no CUDA device here")
    dtype = settings.dtype
    if dtype == "auto":
        dtype = "bfloat16" if device == "cuda" else "float32"
    machine = probe_machine(settings.threads)
    chosen = settings.threads is not None
    torch.set_num_threads(machine.threads if chosen else max(machine.threads - 1, 1))
    keep_freed_memory()
    model, tokenizer = load_checkpoint(folder, device, getattr(torch, dtype))
    limits: dict[str, Any] = {
        "max_lanes": settings.max_lanes,
        "cache_tokens": settings.cache_tokens,
        "prefill_tokens": settings.prefill_tokens,
    }
    return Engine(model, tokenizer, **limits)
