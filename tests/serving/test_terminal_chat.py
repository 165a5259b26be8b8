"""`k2 chat`: through pipes, at a (pseudo-)terminal, with a checkpoint, and with bad servers."""

import io
import json
import math
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from openk2.core.errors import UserError
from openk2.core.terminal import printable
from openk2.serving.terminal_chat import terminal_chat
from tests.serving.running_server import Server, eventually

COMMAND = [sys.executable, "-m", "openk2.cli", "chat"]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"const": "Lisbon"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
CALL = '-> get_weather (functions.get_weather:{}) {{"city":'


@pytest.fixture
def chat(server, monkeypatch, capsys):
    """The chat in this process with piped lines; its output."""

    def chat(*lines: str, url: str = server.url, **options) -> str:
        typed = "".join(f"{line}\n" for line in lines).encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed), encoding="utf-8"))
        assert terminal_chat(url, **options) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out

    return chat


@pytest.fixture
def tools(tmp_path):
    path = tmp_path / "tools.json"
    path.write_text(json.dumps([WEATHER]))
    return path


def said(server: Server, *messages: tuple[str, str], **options) -> dict:
    """The server's own answer to a dialog: its one choice."""
    dialog = [{"role": role, "content": content} for role, content in messages]
    body = {"messages": dialog, "temperature": 0, "max_tokens": 6, **options}
    return server.post("/v1/chat/completions", body).json["choices"][0]


def test_piped_lines_are_turns_and_the_output_is_the_answers(chat, server):
    first = said(server, ("user", "the weather"))["message"]["content"]
    dialog = [("user", "the weather"), ("assistant", first), ("user", "and then?")]
    second = said(server, *dialog)["message"]["content"]
    settings = ("/set temperature 0", "/set max_tokens 6")
    output = chat(*settings, "the weather", "", "and then?", "/quit", "never asked")
    assert output.split() == printable(f"{first}\n{second}\n").split() and first.strip()


def test_one_message_with_options(chat, server):
    answer = said(server, ("system", "Be brief."), ("user", "hello"))
    options = {"system": "Be brief.", "settings": ["temperature=0", "max-tokens=6"]}
    output = chat("not read", message="hello", **options)
    assert output.rstrip("\n") == printable(answer["message"]["content"]).rstrip("\n")
    line = chat(message="hello", as_json=True, **options)
    completion = json.loads(line)
    assert completion["text"] == answer["message"]["content"]
    assert completion["finish_reason"] == answer["finish_reason"]
    assert completion["completion_tokens"] > 0 and completion["prompt_tokens"] > 0


def test_calls_are_shown_and_their_results_asked_for(chat, tools):
    settings = (f"/tools {tools}", "/set tool_choice get_weather", "/set seed 1")
    once = chat(*settings, "Weather?")
    calls = once.count("-> get_weather")
    assert calls >= 1 and CALL.format(0) in once and CALL.format(calls) not in once
    # As many lines answer those calls, and the model, made to, calls on.
    again = chat(*settings, "Weather?", *["21 degrees"] * calls)
    assert CALL.format(calls) in again


def test_a_saved_dialog_is_what_was_said(chat, tools, tmp_path):
    saved = tmp_path / "dialog.json"
    settings = ("/set max_tokens 3", "/system Be brief.", f"/tools {tools}")
    output = chat(*settings, "/set tool_choice none", "//slash", f"/save {saved}")
    dialog = json.loads(saved.read_text())
    system, user, assistant = dialog["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert user == {"role": "user", "content": "/slash"}
    assert assistant["role"] == "assistant"
    assert printable(assistant["content"]).rstrip("\n") == output.rstrip("\n")
    assert dialog["tools"][0]["function"]["name"] == "get_weather"
    chat("/system Be brief.", "/set max_tokens 3", "hi", "/reset", f"/save {saved}")
    assert json.loads(saved.read_text())["messages"] == [system]


def test_probabilities_are_the_servers(chat, server):
    answer = said(server, ("user", "hello"), logprobs=True, top_logprobs=5)
    entries = answer["logprobs"]["content"]
    output = chat("/set temperature 0", "/set max_tokens 6", "/logprobs", "hello")
    lines = output.splitlines()[-len(entries) :]
    for line, entry in zip(lines, entries, strict=True):
        assert float(line.split()[0]) == pytest.approx(math.exp(entry["logprob"]), abs=6e-4)
        assert repr(entry["token"]) in line
        assert all(repr(other["token"]) in line for other in entry["top_logprobs"])


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("/sing", "/sing is no command"),
        ("/set temperature hot", "could not convert"),
        ("/set temperature -1", "must lie between"),
        ("/set top_p 0", "must be above 0"),
        ("/set loudness 3", "it is one of temperature"),
        ("/set tool_choice fly", "it is one of auto, none, required"),
        ("/tools missing.json", "missing.json: No such file"),
        ("/save", "say where"),
        ("/save missing/dialog.json", "missing/dialog.json: No such file"),
        ("weather " * 20_000, "context"),
    ],
)
def test_what_cannot_be_done_is_one_line(chat, line, error):
    with pytest.raises(UserError, match=re.escape(error)) as raised:
        chat(line)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "a JSON list"),
        ("[1]", "a JSON list"),
        ('[{"type": "function", "function": {"name": "a b"}}]', "name"),
        ("\udcff", "not JSON"),
    ],
)
def test_broken_tool_files_are_one_line(chat, tmp_path, text, error):
    path = tmp_path / "tools.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=error) as raised:
        chat(f"/tools {path}")
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_nobody_listens(chat):
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9: "):
        chat("hello", url="http://127.0.0.1:9")


@contextmanager
def scripted(*events: object, ends: str = "data: [DONE]\n\n") -> Iterator[str]:
    """A server whose stream holds these events; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(json.dumps({"data": [{"id": "bad"}]}), "application/json")

        def do_POST(self) -> None:
            lines = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
            self._send(lines + ends, "text/event-stream")

        def _send(self, text: str, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.server_port}"
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def delta(**fields: object) -> dict:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def test_hostile_text_cannot_steer_the_terminal(chat):
    escape = "\x1b]0;owned\x07\x9b2J\r"
    function = {"name": escape, "arguments": json.dumps({"text": "x"}) + escape}
    events = (
        delta(reasoning_content=escape),
        delta(content=escape),
        delta(tool_calls=[{"index": 0, "id": escape, "function": function}]),
    )
    with scripted(*events) as url:
        output = chat("hello", url=url)
    assert output.count("␛]0;owned␇") == 5
    assert not set(output) & {"\x1b", "\x07", "\x9b", "\r"}
    assert output.startswith("(reasoning) ␛")


def test_fields_of_other_types_are_left_out(chat):
    events = (
        delta(content=7, reasoning_content=[], tool_calls={"a": 1}),
        {"choices": 3, "usage": "much"},
        {"choices": [{"delta": None, "logprobs": [1]}]},
        delta(content="well"),
        delta(tool_calls=[{"index": "x", "function": 5}]),
    )
    with scripted(*events) as url:
        assert chat(message="hello", url=url).startswith("well\n")


@pytest.mark.parametrize(
    ("events", "ends", "error"),
    [
        ([delta(content="a"), {"error": {"message": "no\nmemory"}}], "", "no memory"),
        ([delta(content="a")], "data: {broken\n\n", "Expecting"),
    ],
)
def test_a_stream_that_breaks_is_one_line(chat, events, ends, error):
    with scripted(*events, ends=ends) as url, pytest.raises(UserError, match=error):
        chat("hello", url=url)


def test_a_checkpoint_answers_as_its_server_does(checkpoint, server):
    expected = said(server, ("user", "hello"))["message"]["content"]
    typed = "/set temperature 0\n/set max_tokens 6\nhello\n"
    done = subprocess.run(
        [*COMMAND, str(checkpoint)], input=typed, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rstrip("\n") == printable(expected).rstrip("\n")


def test_what_is_no_checkpoint(chat, tmp_path):
    with pytest.raises(UserError, match="no model") as raised:
        chat("hello", url=str(tmp_path))
    assert str(tmp_path) in str(raised.value)


class Terminal:
    """A command at a pseudo-terminal."""

    def __init__(self, *command: str) -> None:
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            # A shell starts its background jobs, these tests perhaps, with the signal ignored.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execv(command[0], command)
        self.output = ""

    def type(self, text: str) -> None:
        self.output = ""
        os.write(self._descriptor, text.encode())

    def see(self, pattern: str, seconds: float = 60) -> str:
        """Wait until the output since the last typing, colours aside, holds `pattern`."""
        end = time.monotonic() + seconds
        while not re.search(pattern, re.sub(r"\x1b\[[\d;]*m", "", self.output), re.DOTALL):
            assert time.monotonic() < end, (pattern, self.output)
            if select.select([self._descriptor], [], [], 0.05)[0]:
                self.output += os.read(self._descriptor, 65536).decode(errors="replace")
        return self.output

    def interrupt(self) -> None:
        """Ctrl-C at a prompt; readline sees none that comes right after it has written that."""
        time.sleep(0.05)
        self.type("\x03")
        if not select.select([self._descriptor], [], [], 5)[0]:
            self.type("\x03")

    def close(self) -> int:
        """The exit code."""
        # Reading from a terminal that nobody holds is an error on Linux.
        with suppress(OSError):
            while os.read(self._descriptor, 65536):
                pass
        os.close(self._descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def endless(tmp_path):
    """A tool whose one call takes thousands of tokens."""
    described = json.loads(json.dumps(WEATHER))
    city = {"type": "string", "minLength": 3000, "maxLength": 3000}
    described["function"]["parameters"]["properties"]["city"] = city
    path = tmp_path / "endless.json"
    path.write_text(json.dumps([described]))
    return path


def test_a_conversation_at_a_terminal(server, tools, endless):
    terminal = Terminal(*COMMAND, server.url, "--tools", str(endless))
    terminal.see(r"/help lists the commands.*> ")
    terminal.type("/help\n")
    assert "/logprobs" in terminal.see(r"//TEXT.*\n.*> ")
    terminal.type("/sing\n")
    assert "Traceback" not in terminal.see(r"/sing is no command.*\n.*> ")
    for setting in ("max_tokens 6", "tool_choice none"):
        terminal.type(f"/set {setting}\n")
        terminal.see("\n.*> ")
    terminal.type("hello\n")
    terminal.see(r"\d+ tokens, \d+ tokens/s, prompt \d+.*\n.*> ")
    for setting in ("max_tokens", "tool_choice get_weather"):
        terminal.type(f"/set {setting}\n")
        terminal.see("\n.*> ")
    terminal.type("Weather?\n")
    terminal.see(r"functions.get_weather:0.*city")
    terminal.type("\x03")
    terminal.see("stopped.*\n.*> ", seconds=10)
    assert eventually(lambda: server.metric("k2_running") == 0)
    terminal.type(f"/tools {tools}\n")
    terminal.see(r"get_weather.*\n.*> ")
    terminal.type("Weather?\n")
    assert "\x1b[" in terminal.see(r"result of functions.get_weather:0 > ")
    terminal.interrupt()
    terminal.see(r"Ctrl-C again leaves.*\n.*> ")
    terminal.interrupt()
    assert terminal.close() == 0


def test_an_interrupt_stops_the_answer_and_not_the_engine(checkpoint, endless):
    options = ("--tools", str(endless), "--set", "tool_choice=get_weather")
    terminal = Terminal(*COMMAND, str(checkpoint), *options)
    terminal.see("> ")
    terminal.type("Weather?\n")
    terminal.see(r"functions.get_weather:0.*city")
    terminal.type("\x03")
    assert "Traceback" not in terminal.see("stopped.*\n.*> ", seconds=10)
    for setting in ("max_tokens 6", "tool_choice none"):
        terminal.type(f"/set {setting}\n")
        terminal.see("\n.*> ")
    terminal.type("hello\n")
    terminal.see(r"\d+ tokens, \d+ tokens/s, prompt \d+.*\n.*> ")
    terminal.type("/quit\n")
    assert terminal.close() == 0
