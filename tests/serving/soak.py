"""Many clients, of which some leave and some send rubbish: nobody else may notice.

    python -m tests.serving.soak CHECKPOINT --clients 200 --seconds 120

Starts a server on CHECKPOINT. A third of the clients disconnect at a random moment, a tenth send
rubbish, the others ask for something and wait for it. Exit code 1 unless every patient request got
its complete answer, all rubbish was refused, and the server's memory, blocks and queue are at the
end what they were after the first seconds.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.serving.running_server import Server, eventually
from tests.serving.server_process import ServerProcess

__all__ = ["Outcome", "soak"]

WARM_UP = 5.0  # seconds; allocators and caches have their size afterwards
GROWTH = 24 * 2**20  # bytes, over both processes; a kilobyte lost a request would be more
RUBBISH = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /" + b"a" * 100_000 + b"\r\n\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n{{{{{",
    b'POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n{"prompt":5}',
    b"POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v1/completions HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
)
WORDS = ("the weather", "in Paris", "is fine", "and the temperature", "naïve 天气", "<|im_end|>")


@dataclass
class Outcome:
    """What happened; `problems` is empty where all is well."""

    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    figures: dict[str, tuple[float, float]] = field(default_factory=dict)


def soak(checkpoint: Path, clients: int, seconds: float, seed: int = 0) -> Outcome:
    """Run it; `seconds` do not count the warm-up."""
    settings = {"port": 0, "max_queue": 4 * clients, "body_timeout": 5.0}
    # A cache so small that the warm-up touches all of it: untouched memory is not resident.
    engine = {"max_lanes": 64, "threads": 1, "cache_tokens": 64 * 256}
    with ServerProcess(checkpoint, settings, engine) as process:
        server = Server(process.port())
        outcome = Outcome()
        asyncio.run(_crowd(server.port, clients, WARM_UP, seed, Outcome()))
        before = _figures(server, process)
        started = time.monotonic()
        asyncio.run(_crowd(server.port, clients, seconds, seed + 1, outcome))
        outcome.seconds = time.monotonic() - started
        after = _figures(server, process)
        outcome.figures = {name: (before[name], after[name]) for name in before}
        for name in ("k2_running", "k2_waiting", "k2_open_requests", "k2_blocks_used"):
            if after[name] > before[name]:
                outcome.problems.append(f"{name} is {after[name]}, was {before[name]}")
        if after["resident_bytes"] > before["resident_bytes"] + GROWTH:
            outcome.problems.append("the memory has grown")
        if server.get("/health").status != 200:
            outcome.problems.append("the server is not healthy")
        process.terminate()
        code, errors = process.wait()
        if code or errors:
            outcome.problems.append(f"exit code {code}: {errors[-2000:]}")
    return outcome


def _figures(server: Server, process: ServerProcess) -> dict[str, float]:
    """When the server has come to rest."""
    busy = ("k2_running", "k2_waiting", "k2_open_requests")
    eventually(lambda: all(server.metric(name) == 0 for name in busy), 30)
    names = (*busy, "k2_blocks_used", "k2_generated_tokens_total", "k2_aborted_total")
    return {name: server.metric(name) for name in names} | {
        "resident_bytes": float(process.resident_bytes())
    }


async def _crowd(port: int, clients: int, seconds: float, seed: int, outcome: Outcome) -> None:
    end = time.monotonic() + seconds
    kinds = [_leave] * (clients // 3) + [_rubbish] * (clients // 10)
    kinds += [_wait] * (clients - len(kinds))

    async def client(number: int) -> None:
        generator = random.Random(f"{seed}/{number}")
        while time.monotonic() < end:
            await kinds[number](port, generator, outcome)

    await asyncio.gather(*map(client, range(clients)))


def _request(generator: random.Random) -> tuple[bytes, bool]:
    """A good request, and whether it asks for a stream."""
    text = " ".join(generator.choices(WORDS, k=generator.randint(1, 12)))
    stream = generator.random() < 0.6
    body = {
        "stream": stream,
        "max_tokens": generator.randint(1, 48),
        "n": generator.choice((1, 1, 1, 2)),
        "temperature": generator.choice((0, 1)),
    }
    if generator.random() < 0.5:
        path, body["messages"] = "/v1/chat/completions", [{"role": "user", "content": text}]
    else:
        path, body["prompt"] = "/v1/completions", text
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data, stream


async def _wait(port: int, generator: random.Random, outcome: Outcome) -> None:
    request, stream = _request(generator)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        async with asyncio.timeout(120):
            answer = await reader.read()
        writer.close()
    except (OSError, TimeoutError) as error:
        outcome.problems.append(f"a patient client: {error!r}")
        return
    outcome.counts["patient"] += 1
    if not _complete(answer, stream):
        outcome.problems.append(f"incomplete: {answer[:300]!r} ... {answer[-300:]!r}")


def _complete(answer: bytes, stream: bool) -> bool:
    """Whether it is a 200 with all its choices finished."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        return False
    if stream:
        return b"data: [DONE]\n\n" in body and body.rstrip().endswith(b"\r\n0")
    choices = json.loads(body)["choices"]
    return all(choice["finish_reason"] in ("stop", "length") for choice in choices)


async def _leave(port: int, generator: random.Random, outcome: Outcome) -> None:
    request, _ = _request(generator)
    if generator.random() < 0.2:
        request = request[: generator.randrange(len(request))]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await asyncio.sleep(generator.expovariate(4))
    if generator.random() < 0.5:
        writer.transport.abort()
    writer.close()
    outcome.counts["left"] += 1


async def _rubbish(port: int, generator: random.Random, outcome: Outcome) -> None:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(generator.choice((*RUBBISH, generator.randbytes(500))))
        writer.write_eof()
        answer = await reader.read()
        writer.close()
    except ConnectionError:
        answer = b""  # closed on a client that was still sending
    outcome.counts["rubbish"] += 1
    if answer and not answer.startswith(b"HTTP/1.1 4"):
        outcome.problems.append(f"rubbish was answered {answer[:200]!r}")
    await asyncio.sleep(generator.expovariate(20))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    outcome = soak(options.checkpoint, options.clients, options.seconds)
    print(f"{options.clients} clients, {outcome.seconds:.0f} seconds")
    for name, count in sorted(outcome.counts.items()):
        print(f"  requests {name:<24} {count:>12}")
    for name, (before, after) in outcome.figures.items():
        print(f"  {name:<33} {before:>12.0f} -> {after:.0f}")
    for problem, count in Counter(outcome.problems).most_common(10):
        print(f"  PROBLEM ({count} times): {problem}")
    print("FAILED" if outcome.problems else "passed")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
