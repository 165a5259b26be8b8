"""`k2 chat`: a dialog in the terminal, with a checkpoint or with a server.

At a terminal answers stream in colour and questions are asked; otherwise every line of the standard
input is a turn and the output is the answers alone, so that `echo hello | k2 chat runs/nano` is a
filter. What a model says is printed with its control characters as pictures.
"""

import io
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from openk2.core.errors import UserError
from openk2.core.generation import DEFAULT_SAMPLING
from openk2.core.records import Message, ToolCall, ToolSpec
from openk2.core.run_folder import write_atomically
from openk2.core.terminal import printable
from openk2.serving.chat_partners import (
    Answer,
    Dialog,
    Partner,
    ScoredToken,
    Server,
    to_openai,
)
from openk2.tokenizer import Delta

__all__ = ["terminal_chat"]

HELP = """\
/system TEXT     the system prompt; without TEXT, the default again
/tools FILE      tools as a JSON list in OpenAI's form; without FILE, none
/set NAME VALUE  temperature, top_p, top_k, min_p, max_tokens, seed, tool_choice; alone, shows all
/logprobs        show each token's probability, or stop doing so
/reset           forget what has been said
/save FILE       write the dialog as JSON; the chat page loads it
/quit            leave; so does Ctrl-D, and Ctrl-C twice. Ctrl-C stops an answer
//TEXT           say /TEXT
"""
NUMBERS: dict[str, type[int] | type[float]] = {
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "min_p": float,
    "max_tokens": int,
    "seed": int,
}


def terminal_chat(
    where: str,
    *,
    message: str | None = None,
    system: str | None = None,
    tools: Path | None = None,
    settings: Sequence[str] = (),
    model: str | None = None,
    api_key: str | None = None,
    thinking: str = "off",
    as_json: bool = False,
) -> int:
    """Chat with `where`, the path of a checkpoint or the URL of a server; returns the exit code.

    message    says this one thing, prints the answer and returns
    settings   NAME=VALUE, as /set has them
    model      of a server that has several; api_key what it wants to see
    thinking   of a checkpoint: see `ChatFormat`
    as_json    prints each answer as one line of JSON, a `Completion`, when it is complete

    Raises UserError for what cannot be answered, except at a terminal, where it is shown.
    """
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    partner = _partner(where, model, api_key, thinking)
    try:
        chat = Chat(partner, Console(highlight=False), as_json, asks=message is None)
        chat.system(system or "")
        chat.tools(str(tools or ""))
        for setting in settings:
            chat.set(setting.replace("=", " ", 1))
        if message is not None:
            chat.say(message)
        else:
            chat.run()
    finally:
        partner.close()
    return 0


def _partner(where: str, model: str | None, api_key: str | None, thinking: str) -> Partner:
    if where.startswith(("http://", "https://")):
        return Server(where, api_key, model)
    # The engine brings torch with it, which a chat with a server does without.
    from openk2.serving.chat_checkpoint import Checkpoint

    return Checkpoint(Path(where), thinking)


class Chat:
    """One dialog and the terminal, or the pipes, that it is held at."""

    def __init__(self, partner: Partner, console: Console, as_json: bool, asks: bool) -> None:
        self._partner, self._console, self._as_json, self._asks = partner, console, as_json, asks
        self._dialog = Dialog()
        self._is_interactive = asks and sys.stdin.isatty() and console.is_terminal and not as_json
        self._interrupted = False  # Ctrl-C was the last thing typed
        self._commands: dict[str, Callable[[str], None]] = {
            "/help": lambda _: self._write(HELP),
            "/system": self.system,
            "/tools": self.tools,
            "/set": self.set,
            "/logprobs": self.log_probs,
            "/reset": self.reset,
            "/save": self.save,
        }

    def run(self) -> None:
        """Until /quit, the end of the input, or Ctrl-C twice."""
        if self._is_interactive:
            import readline  # noqa: F401  (gives `input` its history and editing)

            self._note(f"{self._partner.name}. /help lists the commands.")
        try:
            while (line := self._read("> ")).strip() != "/quit":
                try:
                    self._take(line)
                except UserError as error:
                    if not self._is_interactive:
                        raise
                    self._note(str(error), "red")
        except EOFError:
            pass

    def _take(self, line: str) -> None:
        name, _, argument = line.strip().partition(" ")
        if name.startswith("//"):
            self.say(line.strip()[1:])
        elif name.startswith("/"):
            if name not in self._commands:
                raise UserError(f"{name} is no command; /help lists them, // begins a message")
            self._commands[name](argument.strip())
        elif name:
            self.say(line)

    def say(self, text: str) -> None:
        """One turn of the user's and all that follows from it."""
        messages = self._dialog.messages
        before = len(messages)
        messages.append(Message("user", text))
        try:
            calls = self._answer()
            while calls and self._asks and not self._interrupted:
                for call in calls:
                    result = self._read(f"result of {printable(call.id)} > ")
                    messages.append(Message("tool", result, tool_call_id=call.id))
                calls = self._answer()
        except UserError:
            del messages[before:]
            raise

    def _answer(self) -> tuple[ToolCall, ...]:
        """The partner's turn, shown; the calls in it."""
        writer = Writer(self._write)
        start = time.monotonic()
        answer = self._partner.answer(self._dialog, writer.quiet if self._as_json else writer)
        seconds = time.monotonic() - start
        completion = answer.completion
        message = completion.message or Message("assistant", completion.text)
        self._interrupted = completion.finish_reason == "aborted"
        self._dialog.messages.append(message)
        if self._interrupted and not self._is_interactive:
            raise KeyboardInterrupt
        if self._as_json:
            print(json.dumps(asdict(completion)), flush=True)
            return message.tool_calls
        writer.finish(message)
        for score in answer.scores:
            self._write(_score_line(score))
        if self._is_interactive:
            self._note(_figures(answer, seconds))
        return message.tool_calls

    # Commands

    def system(self, text: str) -> None:
        """The dialog begins with this system message, or with the default one."""
        messages = self._dialog.messages
        if messages and messages[0].role == "system":
            del messages[0]
        if text:
            messages.insert(0, Message("system", text))

    def tools(self, path: str) -> None:
        """The tools of the JSON file at `path`, or none."""
        self._dialog.tools = _read_tools(Path(path)) if path else ()
        if path and self._is_interactive:
            self._note(", ".join(tool.name for tool in self._dialog.tools))

    def set(self, setting: str) -> None:
        """NAME VALUE, NAME alone for its default, or nothing to see them all."""
        name, _, value = setting.partition(" ")
        name, value = name.replace("-", "_"), value.strip()
        dialog = self._dialog
        if not name:
            shown = {key: getattr(dialog.options, key) for key in NUMBERS}
            shown["tool_choice"] = dialog.tool_choice
            self._write("".join(f"{key} {found}\n" for key, found in shown.items()))
        elif name == "tool_choice":
            choices = ["auto", "none", "required", *(tool.name for tool in dialog.tools)]
            if (value or "auto") not in choices:
                raise UserError(f"tool_choice {value}: it is one of {', '.join(choices)}")
            dialog.tool_choice = value or "auto"
        elif name in NUMBERS:
            try:
                number = NUMBERS[name](value) if value else getattr(DEFAULT_SAMPLING, name)
                changed: dict[str, Any] = {name: number}
                dialog.options = replace(dialog.options, **changed)
            except ValueError as error:
                raise UserError(f"/set {setting}: {error}") from None
        else:
            raise UserError(f"/set {name}: it is one of {', '.join(NUMBERS)}, tool_choice")

    def log_probs(self, _: str) -> None:
        """On, or off again."""
        self._dialog.log_probs = not self._dialog.log_probs
        if self._is_interactive:
            self._note(f"probabilities {'on' if self._dialog.log_probs else 'off'}")

    def reset(self, _: str) -> None:
        """Forget every turn but the system's."""
        self._dialog.messages[:] = [m for m in self._dialog.messages if m.role == "system"]

    def save(self, path: str) -> None:
        """Write the dialog to `path`."""
        if not path:
            raise UserError("/save: say where, e.g. /save dialog.json")
        dialog = {
            "messages": [to_openai(message) for message in self._dialog.messages],
            "tools": [tool.to_openai() for tool in self._dialog.tools],
        }
        try:
            write_atomically(Path(path), json.dumps(dialog, indent=2).encode())
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None

    # The terminal

    def _read(self, prompt: str) -> str:
        """A line; EOFError at the end of the input and after the second Ctrl-C."""
        if not self._is_interactive:
            line = sys.stdin.readline()
            if not line:
                raise EOFError
            return line.rstrip("\n")
        while True:
            try:
                line = input(prompt)
            except EOFError:
                self._write("\n")
                raise
            except KeyboardInterrupt:
                self._write("\n")
                if self._interrupted:
                    raise EOFError from None
                self._interrupted = True
                self._note("Ctrl-C again leaves")
            else:
                self._interrupted = False
                return line

    def _write(self, text: str, style: str | None = None) -> None:
        # Console.out neither wraps nor reads markup, and has colours at a terminal alone.
        self._console.out(printable(text), style=style, highlight=False, end="")
        self._console.file.flush()

    def _note(self, text: str, style: str = "dim") -> None:
        self._write(f"{text}\n", style)


LOOKS = {"reasoning": "dim italic", "tool_call": "bold green", "tool_arguments": "green"}


class Writer:
    """Writes an answer as it comes: each kind of text on lines of its own."""

    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write
        self._kind: str | None = None
        self._begins_line = True

    def __call__(self, delta: Delta) -> None:
        if delta.kind != self._kind:
            if delta.kind != "tool_arguments":
                self._end_line()
            if delta.kind == "reasoning":
                self._put("(reasoning) ", "dim")
            self._kind = delta.kind
        text = delta.text
        if delta.kind == "tool_call":
            text = f"-> {delta.name} ({delta.id}) "
        self._put(text, LOOKS.get(delta.kind))

    def quiet(self, delta: Delta) -> None:
        """Write nothing: the answer is printed as JSON."""

    def finish(self, message: Message) -> None:
        """End the last line; say what was wrong with calls."""
        self._end_line()
        for problem in message.problems:
            self._put(f"(broken tool call: {problem.detail})", "red")
            self._end_line()

    def _put(self, text: str, style: str | None) -> None:
        self._write(text, style)
        self._begins_line = text.endswith("\n") if text else self._begins_line

    def _end_line(self) -> None:
        if not self._begins_line:
            self._write("\n")
        self._begins_line = True


def _read_tools(path: Path) -> tuple[ToolSpec, ...]:
    from openk2.serving.api_errors import ApiError
    from openk2.serving.chat_messages import read_tools

    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, list) or not all(isinstance(tool, dict) for tool in found):
            raise UserError(f"{path}: it must hold a JSON list of tools, as OpenAI has them")
        return read_tools(found)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except ApiError as error:
        raise UserError(f"{path}: {error.param}: {error.message}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON: {error}") from None


def _score_line(score: ScoredToken) -> str:
    likeliest = "  ".join(f"{text!r} {math.exp(value):.3f}" for text, value in score.top)
    return f"{math.exp(score.log_prob):7.3f}  {score.text!r:<16}  {likeliest}".rstrip() + "\n"


def _figures(answer: Answer, seconds: float) -> str:
    completion = answer.completion
    figures = []
    if made := completion.completion_tokens:  # a server does not count what was stopped
        figures += [f"{made} tokens", f"{made / seconds:.0f} tokens/s"]
    if completion.prompt_tokens:
        cached = f" ({completion.cached_tokens} cached)" if completion.cached_tokens else ""
        figures.append(f"prompt {completion.prompt_tokens}{cached}")
    ends = {"length": "ended by the limit on tokens", "aborted": "stopped"}
    if completion.finish_reason in ends:
        figures.append(ends[completion.finish_reason])
    return ", ".join(figures)
