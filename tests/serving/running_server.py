"""A real server in the test's process: uvicorn on a thread, the engine in a process of its own."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import torch
import uvicorn

from openk2.inference.engine_process import EngineProcess
from openk2.models import KimiK2Config, KimiK2MoEModel
from openk2.models.checkpoint_layout import write_weights
from openk2.serving.http_protocol import patient_protocol
from openk2.serving.openai_api import create_app
from openk2.serving.service import ServerSettings
from openk2.tokenizer import Tokenizer

__all__ = ["LANES", "Answer", "Server", "eventually", "running", "tiny_checkpoint"]

LANES = 8


def tiny_checkpoint(folder: Path, context: int = 4096) -> Path:
    """Random weights and a tokenizer that knows some English, as an exported folder."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["the weather in Paris is fine and the temperature is 21 degrees; "] * 20
    tokenizer = Tokenizer.train(words, 400)
    tokenizer.save(folder / "tokenizer.json")
    config = KimiK2Config.preset(
        "nano",
        vocab_size=tokenizer.vocabulary_size,
        max_position_embeddings=context,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_nope_head_dim=8,
        qk_rope_head_dim=8,
        v_head_dim=8,
        intermediate_size=48,
        moe_intermediate_size=16,
        n_routed_experts=4,
        num_experts_per_tok=2,
        bos_token_id=tokenizer.special["[BOS]"],
        eos_token_id=tokenizer.special["[EOS]"],
    )
    torch.manual_seed(0)
    write_weights(KimiK2MoEModel(config), folder)
    return folder


class Answer:
    """What the server answered."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error; OpenAI's shape is checked."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}, error
        assert isinstance(error["message"], str) and error["message"]
        return error


class Server:
    """A client's view of a running server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request over a connection of its own; `body` is bytes, or what is sent as JSON."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.request("POST", path, body, headers)

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, None, headers)

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = self.get("/metrics").body.decode().splitlines()
        values = [
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith((f"{name} ", f"{name}{{"))
        ]
        assert values, name
        return sum(values)

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@contextmanager
def running(engine: EngineProcess, **settings: Any) -> Iterator[Server]:
    """An application over `engine` with these `ServerSettings`, on a free port."""
    chosen = ServerSettings(**settings)
    app = create_app(engine, chosen, LANES)
    config = uvicorn.Config(
        app,
        http=patient_protocol(chosen.body_timeout, chosen.connections),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            # The listener takes the first request's connection before the application is up.
            yield Server(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether it comes true in that time."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return True
        pause.wait(0.02)
    return False
