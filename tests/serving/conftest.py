"""One engine and one server for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from openk2.inference.engine_process import EngineProcess, EngineSettings
from tests.serving.running_server import LANES, Server, running, tiny_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny untrained model, called "tiny"."""
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="session")
def engine(checkpoint: Path) -> Iterator[EngineProcess]:
    """In a process of its own."""
    engine = EngineProcess(checkpoint, EngineSettings(dtype="float32", threads=1, max_lanes=LANES))
    yield engine
    engine.close(timeout=10)


@pytest.fixture(scope="session")
def server(engine: EngineProcess) -> Iterator[Server]:
    """With every setting as it is by default."""
    with running(engine) as server:
        yield server
