"""The server as a process: it starts, stops in good order, and says what is wrong."""

import os
import signal
import socket
import sys
import threading

import pytest

from openk2.core.errors import UserError
from openk2.inference.engine_process import EngineSettings
from openk2.serving.server import read_api_key, serve
from openk2.serving.service import ServerSettings
from tests.serving.running_server import Server, eventually
from tests.serving.server_process import ServerProcess

LONG = {"prompt": "the weather", "max_tokens": 4000, "ignore_eos": True}
ENGINE = {"dtype": "float32", "threads": 1, "max_lanes": 4}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def post_in_background(server, body, answers):
    thread = threading.Thread(target=lambda: answers.append(server.post("/v1/completions", body)))
    thread.start()
    return thread


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_graceful_stop(checkpoint, number):
    """Running requests finish within the grace; the rest is aborted; nothing stays behind."""
    with ServerProcess(checkpoint, {"port": 0, "grace": 2.0}, ENGINE) as process:
        server = Server(process.port())
        children = process.children()
        assert children
        answers, late = [], []
        threads = [post_in_background(server, {**LONG, "n": 3}, late)]
        assert eventually(lambda: server.metric("k2_running") == 3)
        threads.append(post_in_background(server, {**LONG, "max_tokens": 200}, answers))
        assert eventually(lambda: answers or server.metric("k2_open_requests") == 2)
        process.interrupt(number)
        code, errors = process.wait()
        for thread in threads:
            thread.join(10)
        assert (code, errors) == (0, "")
        assert answers[0].status == 200
        assert (late[0].status, late[0].error["code"]) == (503, "stopping")
        assert eventually(lambda: not any(os.path.exists(f"/proc/{child}") for child in children))


def test_an_engine_that_dies_is_noticed(checkpoint):
    """Its clients are told, and the server ends with an error, so that it is started again."""
    with ServerProcess(checkpoint, {"port": 0}, ENGINE) as process:
        server = Server(process.port())
        answers = []
        thread = post_in_background(server, LONG, answers)
        assert eventually(lambda: server.metric("k2_running") == 1)
        # The one that computes: a helper of multiprocessing may run beside it.
        for child in process.children():
            os.kill(child, signal.SIGKILL)
        thread.join(20)
        assert answers[0].status == 503 and answers[0].error["code"]
        assert process.wait()[0] == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0"}, "--api-key-file"),
        ({"host": "no.such.host.invalid", "insecure": True}, "cannot listen"),
        ({"host": "192.0.2.1", "insecure": True}, "cannot listen"),
    ],
)
def test_addresses_that_are_refused(checkpoint, settings, words):
    with pytest.raises(UserError, match=words):
        serve(checkpoint, ServerSettings(**settings), EngineSettings())


def test_a_port_that_is_taken(checkpoint):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"--port {port}: cannot listen"):
            serve(checkpoint, ServerSettings(port=port), EngineSettings())


def test_a_folder_that_is_no_checkpoint(tmp_path):
    with pytest.raises(UserError, match=str(tmp_path)):
        serve(tmp_path, ServerSettings(port=0), EngineSettings())


def test_the_key_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("K2_API_KEY", raising=False)
    assert read_api_key(None) is None
    monkeypatch.setenv("K2_API_KEY", "from-environment")
    assert read_api_key(None) == "from-environment"
    file = tmp_path / "key"
    file.write_text("from-file\n")
    assert read_api_key(file) == "from-file"
    with pytest.raises(UserError, match="missing: No such file"):
        read_api_key(tmp_path / "missing")


@pytest.mark.parametrize("settings", [{"max_queue": -1}, {"timeout": 0.0}, {"api_key": ""}])
def test_settings_out_of_range(settings):
    with pytest.raises(UserError):
        ServerSettings(**settings)
