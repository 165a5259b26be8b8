"""The caller's side of one call: pipes to a child, and the limits that only an outsider can set."""

import contextlib
import fcntl
import json
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from openk2.environments.sandbox.contract import Level, Limits, SandboxUnavailable, Status
from openk2.environments.sandbox.frames import HEADER, frame
from openk2.environments.sandbox.pool import WarmUp, Zygote, zygote_of

__all__ = ["Conversation", "converse"]

SETUP_S = 60.0  # until the layers are on
END_S = 60.0  # until a killed child is gone
CHUNK = 1 << 16
ATTEMPTS = 3
SIGKILL = 9
NEARLY = 0.9  # of the processor time that was granted: the kernel's two clocks for it differ


def converse(
    warm_up: WarmUp, minimum_level: Level, limits: Limits, stdin: bytes = b""
) -> "Conversation":
    """Begin a call; a zygote that has died since the last one is started anew."""
    for attempt in range(ATTEMPTS):
        zygote = zygote_of(warm_up, minimum_level)
        try:
            return Conversation(zygote, limits, stdin)
        except OSError as error:
            if isinstance(error, ConnectionError):  # whoever started it has not noticed yet
                zygote.close()
            if attempt == ATTEMPTS - 1:
                raise SandboxUnavailable(f"the sandbox cannot start a call: {error}") from error
    raise AssertionError("unreachable")


def _file_of(content: bytes) -> int:
    """A descriptor of a nameless file with this content, which nobody can change any more."""
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


class Conversation:
    """Messages to and from one child; a context manager, at whose end the child is gone.

    Nothing here ever blocks on one pipe: a child that floods one and never reads another runs into
    a limit and is killed.

    status      how the call ended, known after `end`
    exit_code   of the first process, or minus the number of the signal that ended it
    wall_s      seconds since the layers were on
    """

    def __init__(self, zygote: Zygote, limits: Limits, stdin: bytes = b"") -> None:
        self.level = zygote.probe.level
        self.status: Status = "ok"
        self.exit_code = 0
        self.wall_s = 0.0
        self._limits = limits
        self._verdict: Status | None = None
        self._last: dict[str, Any] | None = None
        self._messages = bytearray()
        self._message_bytes = 0
        self._printed = {"stdout": bytearray(), "stderr": bytearray()}
        self._poll = select.poll()
        self._readers: dict[int, Callable[[bytes], None]] = {}
        self._writers: dict[int, bytearray] = {}
        try:
            self._start(zygote, stdin)
        except BaseException:
            self._close()
            raise
        self._begun = time.monotonic()
        self._deadline = self._begun + limits.wall_s
        self._message_bytes = 0

    def _start(self, zygote: Zygote, stdin: bytes) -> None:
        """Open the pipes, have a child forked, wait until its layers are on."""
        theirs: list[int] = []
        try:
            theirs.append(_file_of(stdin))
            self._add_reader(theirs, lambda data: self._print("stdout", data))
            self._add_reader(theirs, lambda data: self._print("stderr", data))
            self._requests = self._add_writer(theirs)
            self._add_reader(theirs, self._collect)
            self._hold, their_hold = socket.socketpair()
            theirs.append(their_hold.detach())
            self._poll.register(self._hold, select.POLLIN)
            zygote.fork(theirs, self._limits)
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._deadline = time.monotonic() + SETUP_S
        message = self.receive()
        failure = json.loads(message)["failure"] if message else (self._last or {}).get("failure")
        if failure:
            raise SandboxUnavailable(f"the sandbox cannot start a call: {failure}")
        if not self._last and not message:
            raise ConnectionResetError("the sandbox's interpreter died")
        if not message:
            raise ChildProcessError("its process was ended")

    def _add_reader(self, theirs: list[int], receiver: Callable[[bytes], None]) -> None:
        ours, other = os.pipe()
        theirs.append(other)
        os.set_blocking(ours, False)
        self._readers[ours] = receiver
        self._poll.register(ours, select.POLLIN)

    def _add_writer(self, theirs: list[int]) -> int:
        other, ours = os.pipe()
        theirs.append(other)
        os.set_blocking(ours, False)
        self._writers[ours] = bytearray()
        return ours

    def send(self, message: bytes) -> None:
        """Hand over a message, at the latest while waiting for the next answer; an empty one is the
        last. (The end of the pipe would not do: a fork of this process may hold it open.)
        """
        self._write(self._requests, frame(message))

    def receive(self) -> bytes | None:
        """The next message; None when the child has ended, by itself or because of a limit."""
        while (message := self._next_message()) is None and self._last is None:
            self._step()
        return message

    def end(self) -> None:
        """Wait for the child's end; sets `status`, `exit_code` and `wall_s`."""
        while self._last is None:
            self._step()
        self.wall_s = time.monotonic() - self._begun
        if "code" not in self._last:
            raise SandboxUnavailable("the sandbox's interpreter died during a call")
        self.exit_code = self._last["code"]
        if self._verdict is not None:
            self.status = self._verdict
        elif self.exit_code == -SIGKILL and self._last["cpu_s"] >= NEARLY * self._limits.cpu_s:
            self.status = "timeout"
        elif self.exit_code < 0:
            self.status = "killed"
        elif self.exit_code > 0:
            self.status = "error"

    def printed(self) -> tuple[str, str]:
        """stdout and stderr."""
        out, err = (text.decode(errors="replace") for text in self._printed.values())
        return out, err

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def _close(self) -> None:
        """Let go of the child, which ends it."""
        for descriptor in (*self._readers, *self._writers):
            os.close(descriptor)
        self._readers, self._writers = {}, {}
        with contextlib.suppress(OSError, AttributeError):
            self._hold.shutdown(socket.SHUT_RDWR)
            self._hold.close()

    def _kill(self, verdict: Status) -> None:
        """End the call; the zygote answers when everything is gone."""
        if self._verdict is None:
            self._verdict = verdict
            self._deadline = time.monotonic() + END_S
            self._hold.shutdown(socket.SHUT_WR)

    def _step(self) -> None:
        """Wait for one event, or for the deadline."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            if self._verdict is not None:
                raise SandboxUnavailable("the sandbox does not end a call that was killed")
            self._kill("timeout")
            return
        for descriptor, _ in self._poll.poll(left * 1000 + 1):
            if descriptor == self._hold.fileno():
                self._hear_last()
            elif descriptor in self._writers:
                self._write(descriptor, b"")
            elif descriptor in self._readers:
                self._read(descriptor)

    def _hear_last(self) -> None:
        """Everything in the sandbox has ended: what is in the pipes is all there will be."""
        try:
            message = self._hold.recv(CHUNK)
        except ConnectionResetError:
            message = b""
        self._last = json.loads(message) if message else {}
        for descriptor in [*self._readers]:
            while descriptor in self._readers and self._read(descriptor):
                pass

    def _read(self, descriptor: int) -> bool:
        """Take in what a pipe holds; False if there is nothing."""
        try:
            data = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return False
        if data:
            self._readers[descriptor](data)
            return self._verdict != "output"
        self._poll.unregister(descriptor)
        del self._readers[descriptor]
        os.close(descriptor)
        return False

    def _write(self, descriptor: int, data: bytes) -> None:
        """Pass on what fits now and the rest when there is room."""
        rest = self._writers.get(descriptor)
        if rest is None:
            return
        rest += data
        try:
            while rest:
                del rest[: os.write(descriptor, rest[:CHUNK])]
        except BlockingIOError:
            self._poll.register(descriptor, select.POLLOUT)
            return
        except BrokenPipeError:
            del self._writers[descriptor]
            os.close(descriptor)
        with contextlib.suppress(KeyError):
            self._poll.unregister(descriptor)

    def _print(self, stream: str, data: bytes) -> None:
        room = self._limits.output_bytes - sum(map(len, self._printed.values()))
        self._printed[stream] += data[:room]
        if len(data) > room:
            self._kill("output")

    def _collect(self, data: bytes) -> None:
        self._messages += data
        self._message_bytes += len(data)
        if self._message_bytes > self._limits.output_bytes:
            self._messages.clear()
            self._kill("output")

    def _next_message(self) -> bytes | None:
        if len(self._messages) < HEADER.size:
            return None
        end = HEADER.size + HEADER.unpack_from(self._messages)[0]
        if end > HEADER.size + self._limits.output_bytes:
            self._kill("output")
        if len(self._messages) < end:
            return None
        message = bytes(self._messages[HEADER.size : end])
        del self._messages[:end]
        return message
