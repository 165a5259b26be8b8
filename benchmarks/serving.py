"""Tokens per second that 64 streaming clients get from `k2 serve`, against the engine alone.

Both run the same checkpoint in an engine process with the same threads and lanes, and the same
requests: equal prompts, seeds and numbers of new tokens. Served, every client has a connection of
its own and reads its events; this process plays the clients. One thread computes on each side:
where server and clients take cores from the engine, the figure would be about the cores.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from benchmarks.table import Table, verdict
from benchmarks.timing import interleaved
from openk2.core.generation import SamplingOptions
from openk2.inference.engine_process import EngineProcess, EngineSettings
from openk2.inference.requests import GenerationRequest, Update
from openk2.integrations.hf_checkpoints import save_pretrained
from openk2.models import KimiK2Config, KimiK2MoEModel
from openk2.tokenizer import Tokenizer

__all__ = ["run"]

CLIENTS = 64
THREADS = 1
LEAST = 0.9  # of the engine's own tokens a second


def run(
    rounds: int,
    config: KimiK2Config | None = None,
    clients: int = CLIENTS,
    new_tokens: int = 128,
) -> list[Table]:
    """A table of one row."""
    config = config or KimiK2Config.preset("nano")
    with TemporaryDirectory() as folder:
        checkpoint = _checkpoint(config, Path(folder) / "model")
        engine = EngineProcess(checkpoint, EngineSettings(threads=THREADS, max_lanes=clients))
        server = _serve(checkpoint, clients)
        try:
            assert server.stdout is not None
            address = json.loads(server.stdout.readline())["url"]
            works = {
                "alone": partial(_alone, engine, clients, new_tokens),
                "served": partial(_served, address, clients, new_tokens),
            }
            timings = interleaved(works, rounds)
        finally:
            server.terminate()
            server.communicate()
            engine.close()
    alone, served = timings["alone"], timings["served"]
    total, ratio = clients * new_tokens, alone.median / served.median
    row = [
        f"{clients} streaming clients", f"{total:,}", str(alone.n),
        f"{total / alone.median:,.0f}", f"{alone.spread:.1%}",
        f"{total / served.median:,.0f}", f"{served.spread:.1%}",
        f"{ratio:.2f}", f"{LEAST}", verdict(ratio, LEAST),
    ]  # fmt: skip
    columns = ("work", "new tokens", "n", "alone tokens/s", "spread", "served tokens/s", "spread",
               "served / alone", "target", "")  # fmt: skip
    return [Table(f"k2 serve against its engine alone, {THREADS} engine thread", columns, [row])]


def _checkpoint(config: KimiK2Config, folder: Path) -> Path:
    """A model with random weights and a tokenizer of its vocabulary's size or less."""
    tokenizer = Tokenizer.train([Path(__file__).read_text(encoding="utf-8")], config.vocab_size)
    source = folder.with_name("tokenizer")
    source.mkdir()
    tokenizer.save(source / "tokenizer.json")
    return save_pretrained(KimiK2MoEModel(config, seed=0), folder, tokenizer_from=source)


def _serve(checkpoint: Path, lanes: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "openk2.cli", "serve", checkpoint, "--port", "0", "--json"]
    options = ["--threads", THREADS, "--max-lanes", lanes]
    environment = {name: value for name, value in os.environ.items() if name != "K2_API_KEY"}
    return subprocess.Popen(
        [str(part) for part in (*command, *options)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _prompt(client: int) -> str:
    return f"client {client} asks"


def _alone(engine: EngineProcess, clients: int, new_tokens: int) -> None:
    left = threading.Semaphore(0)

    def receive(updates: list[Update]) -> None:
        for update in updates:
            if update.finish_reason is not None:
                left.release()

    for client in range(clients):
        prompt = tuple(engine.tokenizer.encode(_prompt(client)))
        options = SamplingOptions(max_tokens=new_tokens, seed=client)
        engine.submit(GenerationRequest(prompt, options), receive)
    for _ in range(clients):
        left.acquire()


def _served(address: str, clients: int, new_tokens: int) -> None:
    async def all_clients() -> list[int]:
        asked = (_client(address, client, new_tokens) for client in range(clients))
        return await asyncio.gather(*asked)

    made = sum(asyncio.run(all_clients()))
    if made != clients * new_tokens:
        raise RuntimeError(f"the server made {made} tokens, not {clients * new_tokens}")


async def _client(address: str, client: int, new_tokens: int) -> int:
    """One streamed completion over a connection of its own; how many tokens it had."""
    fields = {
        "prompt": _prompt(client),
        "max_tokens": new_tokens,
        "seed": client,
        "stream": True,
        "ignore_eos": True,
        "stream_options": {"include_usage": True},
    }
    body = json.dumps(fields).encode()
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body) + body
    )
    answer = await reader.read()
    writer.close()
    events = [line[6:] for line in answer.split(b"\n") if line.startswith(b"data: {")]
    return int(json.loads(events[-1])["usage"]["completion_tokens"]) if events else 0
