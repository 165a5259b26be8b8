"""From documents to a tokenizer and two token shards, in one folder that is whole or absent.

tokenizer.json
shards/train/, shards/validation/
corpus.json       what was asked for, and the statistics
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openk2.core.errors import UserError
from openk2.core.run_folder import atomic_folder
from openk2.data.compressors import compressed_bits_per_byte
from openk2.data.documents import Document, ReadReport, read_documents, readable_path
from openk2.data.embedded import embedded_documents, embedded_source
from openk2.data.json_files import check_fields, read_object
from openk2.data.shards import TokenShards, build_shards, split_point
from openk2.tokenizer import Tokenizer

__all__ = ["Corpus", "load_corpus", "prepare_corpus"]


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus; `statistics` holds the fields of the `corpus` event (docs/events.md)."""

    tokenizer: Tokenizer
    train: TokenShards
    validation: TokenShards
    statistics: dict[str, Any]


def prepare_corpus(
    folder: Path,
    paths: Sequence[str | Path] | None = None,
    vocabulary_size: int = 4096,
    validation_fraction: float = 0.05,
    seed: int = 0,
    strict: bool = False,
) -> Corpus:
    """The corpus in `folder`, made first if it is not there.

    `paths` are files and folders to read, None the embedded corpus. A share of about
    `validation_fraction` of the documents, at least one, is for validation: chosen by content and
    `seed`, unseen by the tokenizer's training. The documents are read three times and never held.

    Raises UserError for wrong arguments, unusable input, a folder that holds something else or a
    corpus made with other arguments, and under `strict` for anything that would be skipped.
    """
    if not 0 < validation_fraction < 1:
        raise UserError(f"validation_fraction is {validation_fraction}; it must be between 0 and 1")
    names = None if paths is None else [readable_path(path) for path in paths]
    request = {
        "paths": names,
        "vocabulary_size": vocabulary_size,
        "validation_fraction": validation_fraction,
        "seed": seed,
        "strict": strict,
    }
    if (folder / "corpus.json").exists():
        _check_request(folder, request)
        return load_corpus(folder)
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: is not empty and holds no corpus; choose another folder")

    def documents(report: ReadReport) -> Iterator[Document]:
        return embedded_documents() if paths is None else read_documents(paths, report)

    source = embedded_source() if names is None else ", ".join(names)
    report = ReadReport(strict=strict)
    below = _validation_below(documents(report), report, source, validation_fraction, seed)
    with atomic_folder(folder) as partial:
        texts = (document.text for document in documents(ReadReport()))
        seen = (text for text in texts if split_point(text, seed) >= below)
        tokenizer = Tokenizer.train(seen, vocabulary_size)
        tokenizer.save(partial / "tokenizer.json")
        build_shards(documents(ReadReport()), tokenizer, partial / "shards", below, seed, source)
        description = {
            "request": request,
            "statistics": _statistics(partial, tokenizer, report),
        }
        text = json.dumps(description, indent=2, ensure_ascii=False)
        (partial / "corpus.json").write_text(text + "\n", encoding="utf-8")
    return load_corpus(folder)


def load_corpus(folder: Path) -> Corpus:
    """Open a prepared corpus; UserError if it is missing, damaged or mixed up."""
    statistics = _description(folder)["statistics"]
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    train, validation = (TokenShards(folder / "shards" / n) for n in ("train", "validation"))
    for shards in (train, validation):
        if shards.fingerprint != tokenizer.fingerprint:
            raise UserError(f"{shards.folder}: was made by another tokenizer; delete {folder}")
    return Corpus(tokenizer, train, validation, statistics)


def _description(folder: Path) -> dict[str, Any]:
    """What corpus.json holds."""
    path = folder / "corpus.json"
    description = read_object(path)
    check_fields(path, description, {"request": dict, "statistics": dict})
    return description


def _check_request(folder: Path, request: dict[str, Any]) -> None:
    """UserError unless the corpus in `folder` was made for the same request."""
    made = _description(folder)["request"]
    for key, value in request.items():
        if made.get(key) != value:
            raise UserError(
                f"{folder}: holds a corpus of {key} {made.get(key)!r}, not {value!r}; delete it or "
                "choose another folder"
            )


def _validation_below(
    documents: Iterable[Document], report: ReadReport, source: str, fraction: float, seed: int
) -> float:
    """The split point below which a document is for validation.

    It is `fraction`, or just above the lowest document when none is below: a small corpus has a
    validation document too. Reads everything once, so strict errors come before any work.
    """
    lowest, highest = math.inf, -math.inf
    for document in documents:
        point = split_point(document.text, seed)
        lowest, highest = min(lowest, point), max(highest, point)
    below = max(fraction, math.nextafter(lowest, math.inf))
    if highest >= below:
        return below
    missing = "no text" if highest < 0 else "too few documents to keep some for validation"
    first = ""
    if report.skipped:
        first = " (the first: {file}:{line}: {reason})".format(**report.skipped[0])
    raise UserError(
        f"{source}: {missing}, {report.skipped_count} skipped{first}; give more files of text"
    )


def _statistics(folder: Path, tokenizer: Tokenizer, report: ReadReport) -> dict[str, Any]:
    """The fields of the `corpus` event."""
    train, validation = (TokenShards(folder / "shards" / n) for n in ("train", "validation"))
    gzip, xz = compressed_bits_per_byte(validation.texts(tokenizer))
    return {
        "source": train.source,
        "documents": train.documents + validation.documents,
        "train_documents": train.documents,
        "validation_documents": validation.documents,
        "train_tokens": len(train),
        "validation_tokens": len(validation),
        "train_bytes": train.bytes,
        "validation_bytes": validation.bytes,
        "vocabulary": tokenizer.vocabulary_size,
        "bytes_per_token": validation.bytes / len(validation),
        "replaced_bytes": report.replaced_bytes,
        "skipped": report.skipped,
        "skipped_count": report.skipped_count,
        "gzip_bits_per_byte": gzip,
        "xz_bits_per_byte": xz,
    }
