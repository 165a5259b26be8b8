"""Read documents from what users have: text files, folders, .jsonl, .jsonl.gz and .parquet.

Real collections are dirty. Bytes that are not UTF-8 become U+FFFD, and a broken line, row group or
file is passed over; both are counted in a `ReadReport` that says where. With `strict` the first
thing passed over is a UserError instead.
"""

import gzip
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from openk2.core.errors import UserError

__all__ = ["Document", "ReadReport", "read_documents", "readable_path"]

# A longer text file is cut at line ends into documents of at most this many bytes, so that one
# large file streams in bounded memory and has something to spare for validation.
DOCUMENT_BYTES = 1 << 16
LISTED_SKIPS = 100
SURROGATE = re.compile("[\ud800-\udfff]")
# Rows of parquet held at once.
BATCH_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Document:
    """A text and where it came from: the file, and the line (or row), counted from 1."""

    text: str
    source: str
    line: int


@dataclass
class ReadReport:
    """What reading met on its way.

    documents        documents with text
    replaced_bytes   bytes that were not UTF-8 (or lone surrogates in JSON), now U+FFFD
    skipped          the first 100 things passed over: {"file", "line", "reason"}
    skipped_count    all of them
    hidden           files and folders whose name starts with a dot, which are never read
    empty            files, lines and rows that hold no text
    """

    strict: bool = False
    documents: int = 0
    replaced_bytes: int = 0
    skipped: list[dict[str, str | int]] = field(default_factory=list)
    skipped_count: int = 0
    hidden: int = 0
    empty: int = 0

    def skip(self, path: str | Path, line: int, reason: str) -> None:
        """Count something passed over; UserError when strict."""
        source = readable_path(path)
        if self.strict:
            raise UserError(f"{source}:{line}: {reason}; mend it, or read without strict")
        self.skipped_count += 1
        if len(self.skipped) < LISTED_SKIPS:
            self.skipped.append({"file": source, "line": line, "reason": reason})


def read_documents(paths: Sequence[str | Path], report: ReadReport) -> Iterator[Document]:
    """The documents of `paths` in order; folders are read recursively, sorted by name.

    Raises UserError when a path is missing or cannot be opened and, under `report.strict`, at the
    first thing that would be skipped. Memory stays bounded by the longest line, or row group.
    """
    for path in map(Path, paths):
        for file in _files(path, report):
            for text, line in _texts(file, report):
                if text:
                    report.documents += 1
                    yield Document(_clean(text, report), readable_path(file), line)
                else:
                    report.empty += 1


def _files(path: Path, report: ReadReport) -> Iterator[Path]:
    """`path` itself, or the files below it."""
    if not path.exists():
        raise UserError(f"{readable_path(path)}: no such file or folder; give a path that exists")
    if path.is_file():
        try:
            path.open("rb").close()
        except OSError as error:
            raise UserError(f"{readable_path(path)}: cannot be read: {error.strerror}") from None
    if not path.is_dir():
        yield path
        return

    def skip_folder(error: OSError) -> None:
        report.skip(error.filename, 1, f"cannot be listed: {error.strerror}")

    for folder, folders, files in os.walk(path, onerror=skip_folder):
        folders.sort()
        for name in folders:
            if not name.startswith(".") and Path(folder, name).is_symlink():
                report.skip(Path(folder, name), 1, "a link to a folder, not followed")
        visible = [name for name in folders if not name.startswith(".")]
        report.hidden += len(folders) - len(visible)
        folders[:] = visible
        for name in sorted(files):
            if name.startswith("."):
                report.hidden += 1
            else:
                yield Path(folder, name)


def _texts(file: Path, report: ReadReport) -> Iterator[tuple[str, int]]:
    """(text, line) for each document in `file`, undecodable bytes as surrogates."""
    read: Callable[[Path, ReadReport], Iterator[tuple[str, int]]]
    if file.name.endswith(".parquet"):
        read = _parquet
    elif file.name.endswith((".jsonl", ".jsonl.gz")):
        read = _json_lines
    else:
        read = _plain_text
    if not file.is_file():
        report.skip(file, 1, "a dangling link, or not a regular file")
        return
    try:
        yield from read(file, report)
    except OSError as error:
        report.skip(file, 1, f"cannot be read: {error.strerror or _first_line(error)}")


def readable_path(path: str | Path) -> str:
    """The path as text that any log can hold: a file name need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def _clean(text: str, report: ReadReport) -> str:
    """`text` with every surrogate, which UTF-8 cannot hold, replaced and counted."""
    clean, count = SURROGATE.subn("\ufffd", text)
    report.replaced_bytes += count
    return clean


def _decode(data: bytes) -> str:
    # surrogateescape keeps each undecodable byte apart, so that `_clean` can count bytes.
    return data.decode("utf-8", "surrogateescape")


def _plain_text(path: Path, report: ReadReport) -> Iterator[tuple[str, int]]:
    with path.open("rb") as file:
        line = 1
        for number, piece in enumerate(_pieces(file)):
            if number == 0 and b"\0" in piece:
                report.skip(path, 1, "binary (or UTF-16): it holds NUL bytes")
                return
            yield _decode(piece), line
            line += piece.count(b"\n")


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """The file in pieces of at most DOCUMENT_BYTES; one empty piece if the file is empty."""
    rest = file.read(DOCUMENT_BYTES)
    while len(rest) == DOCUMENT_BYTES:
        cut = _cut(rest)
        yield rest[:cut]
        rest = rest[cut:] + file.read(cut)
    yield rest


def _cut(data: bytes) -> int:
    """Where to end a piece: a blank line, else a line end, else between two characters."""
    for end in (b"\n\n", b"\n"):
        found = data.rfind(end, len(data) // 2)
        if found >= 0:
            return found + len(end)
    # Before the last character, which may be incomplete: at most four bytes, of which those after
    # the first start with the bits 10.
    cut = len(data) - 1
    while data[cut] & 0xC0 == 0x80 and len(data) - cut < 4:
        cut -= 1
    return cut


def _json_lines(path: Path, report: ReadReport) -> Iterator[tuple[str, int]]:
    number = 0
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    # A byte order mark may precede the first row.
                    row = json.loads(_decode(line.strip()).removeprefix("\ufeff"))
                except json.JSONDecodeError as error:
                    report.skip(path, number, f"not JSON: {error.msg}")
                    continue
                except (ValueError, RecursionError) as error:
                    report.skip(path, number, f"not readable JSON: {error}")
                    continue
                text = row.get("text") if isinstance(row, dict) else None
                if isinstance(text, str):
                    yield text, number
                else:
                    report.skip(path, number, 'the row has no "text" that is a string')
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        report.skip(path, number + 1, f"damaged gzip, the rest is lost: {error}")


def _parquet(path: Path, report: ReadReport) -> Iterator[tuple[str, int]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError(
            f'{path}: reading parquet needs pyarrow: pip install "openk2[parquet]"'
        ) from None
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except pa.ArrowException as error:
        report.skip(path, 1, f"not a parquet file: {_first_line(error)}")
        return
    with file:
        if "text" not in file.schema_arrow.names:
            report.skip(path, 1, 'it has no column "text"')
            return
        kind = file.schema_arrow.field("text").type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if kind not in (pa.string(), pa.large_string(), pa.string_view()):
            report.skip(path, 1, f'its column "text" holds {kind}, not text')
            return
        row = 1
        for group in range(file.num_row_groups):
            first, row = row, row + file.metadata.row_group(group).num_rows
            try:
                for batch in file.iter_batches(BATCH_ROWS, [group], ["text"]):
                    # As binary, because a parquet string need not be valid UTF-8.
                    column = batch.column(0).cast(pa.large_binary())
                    for number, data in enumerate(column.to_pylist(), first):
                        if data is None:
                            report.skip(path, number, 'the row\'s "text" is null')
                        else:
                            yield _decode(data), number
                    first += len(column)
            except (pa.ArrowException, OSError) as error:
                report.skip(path, first, f"damaged row group: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
