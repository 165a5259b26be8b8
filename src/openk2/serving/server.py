"""`k2 serve`: an engine in a process of its own, and an HTTP server before it."""

import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from openk2.core.errors import UserError
from openk2.core.terminal import printable
from openk2.inference.engine_process import EngineProcess, EngineSettings
from openk2.serving.access import LOOPBACK_NAMES
from openk2.serving.api_errors import ApiError
from openk2.serving.http_protocol import patient_protocol
from openk2.serving.openai_api import create_app
from openk2.serving.service import ServerSettings

__all__ = ["read_api_key", "serve"]

KEEP_ALIVE = 30  # seconds that an idle connection stays open
LAST_WORDS = 2  # seconds for what was aborted to reach its clients


def read_api_key(file: Path | None) -> str | None:
    """The key in `file`, else the environment's K2_API_KEY, else None; never from the command line,
    which every user of the machine can read. UserError if the file cannot be read.
    """
    if file is None:
        return os.environ.get("K2_API_KEY")
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text in UTF-8"
        raise UserError(f"--api-key-file {file}: {reason}") from None


def serve(
    checkpoint: Path,
    settings: ServerSettings,
    engine_settings: EngineSettings,
    as_json: bool = False,
) -> int:
    """Serve until SIGTERM or SIGINT, then stop gracefully; returns the exit code.

    Prints one line with the address when requests are answered, `as_json` or for people. Raises
    UserError for a folder that is no checkpoint, an address that cannot be listened on, or one that
    anyone could reach while there is no API key.
    """
    local = settings.host in LOOPBACK_NAMES
    if not (local or settings.api_key or settings.insecure):
        raise UserError(
            f"--host {settings.host}: anyone who reaches this machine could use the server; "
            "give an --api-key-file, or --insecure if that is what you want"
        )
    listener = _listen(settings.host, settings.port)
    with listener:
        engine = EngineProcess(checkpoint, engine_settings)
        try:
            return _run(engine, settings, engine_settings.max_lanes, listener, as_json)
        finally:
            engine.close(timeout=5)


def _listen(host: str, port: int) -> socket.socket:
    """Taken before the checkpoint is loaded: what is wrong with the address shows at once."""
    name = host.strip("[]")
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--host {host} --port {port}: cannot listen: {reason}") from None
    return listener


def _run(
    engine: EngineProcess,
    settings: ServerSettings,
    lanes: int,
    listener: socket.socket,
    as_json: bool,
) -> int:
    app = create_app(engine, settings, lanes, on_engine_death=lambda: server.engine_died())
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=patient_protocol(settings.body_timeout, settings.connections),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=int(settings.grace) + LAST_WORDS,
    )
    # Its warnings are about requests that are no HTTP, which are the client's affair.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    name = settings.host.strip("[]")
    url = f"http://{f'[{name}]' if ':' in name else name}:{listener.getsockname()[1]}"
    line = printable(f"{engine.model_name} at {url}/v1, chat at {url}")
    if as_json:
        line = json.dumps({"model": engine.model_name, "url": url})
    server = _Server(config, app, settings.grace, line)
    server.run(sockets=[listener])
    return 1 if server.failed else 0


class _Server(uvicorn.Server):
    """uvicorn's server with our way to begin and to stop."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, grace: float, line: str) -> None:
        super().__init__(config)
        self._app, self._grace, self._line = app, grace, line
        self.failed = False

    def engine_died(self) -> None:
        """There is nothing left to serve; whoever watches over the process starts it again."""
        self.failed = self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._line, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Running requests have `grace` seconds; new ones are refused."""
        stopping = ApiError(503, "the server is stopping", code="stopping")
        desk = self._app.state.service.desk
        desk.closed = stopping
        end = asyncio.get_running_loop().call_later(self._grace, desk.close, stopping)
        await super().shutdown(sockets)
        end.cancel()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own raises the signals again at the end, which would orphan the engine."""

        def stop(number: int, frame: FrameType | None) -> None:
            self.handle_exit(signal.Signals(number), frame)

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
