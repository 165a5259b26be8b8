"""Messages of known length over a pipe: four bytes of length, then the message."""

import os
import struct

__all__ = ["HEADER", "frame", "read_frame", "write_frame"]

HEADER = struct.Struct("<I")


def frame(message: bytes) -> bytes:
    """The message as it travels."""
    return HEADER.pack(len(message)) + message


def write_frame(descriptor: int, message: bytes) -> None:
    """Write all of it, however often the pipe is full."""
    rest = memoryview(frame(message))
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def read_frame(descriptor: int) -> bytes | None:
    """The next message; None where the other side has closed the pipe."""
    header = _read(descriptor, HEADER.size)
    return None if len(header) < HEADER.size else _read(descriptor, HEADER.unpack(header)[0])


def _read(descriptor: int, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(descriptor, size - len(parts))
        if not part:
            break
        parts += part
    return bytes(parts)
