"""Token shards: a split of a corpus on disk, memory-mapped.

A shard is a folder:

manifest.json     version, source, counts, special ids, and which tokenizer made it
tokens.bin        uint32 [tokens]         every document as [BOS], its tokens, [EOS]
offsets.bin       uint64 [documents + 1]  where each document begins in tokens.bin
token_bytes.bin   uint32 [vocabulary]     UTF-8 bytes that each token id stands for

All little-endian. Because [BOS] precedes the first token of a document and a model predicts that
token from it, every byte of text is paid for, as it is in a gzip or xz file; and the bytes of any
run of tokens are the sum of `token_bytes` over it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openk2.core.errors import UserError
from openk2.core.run_folder import atomic_folder
from openk2.data.documents import Document
from openk2.data.json_files import check_fields, read_object
from openk2.tokenizer import Tokenizer

__all__ = ["ShardWriter", "TokenShards", "build_shards", "split_point"]

VERSION = 1
MANIFEST = {
    "source": str,
    "documents": int,
    "tokens": int,
    "bytes": int,
    "vocabulary": int,
    "bos": int,
    "eos": int,
    "tokenizer": str,
}
# Text that is encoded at once, in characters: enough to keep every core busy.
ENCODE_CHARACTERS = 1 << 20


def split_point(text: str, seed: int) -> float:
    """A document's place in [0, 1), decided by its content: below the fraction is validation.

    The same text is always on the same side, whatever its order, copies or file, so validation
    text is never trained on.
    """
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=b"openk2 split %d" % seed)
    return int.from_bytes(digest.digest(), "little") / 2**64


def build_shards(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    folder: Path,
    validation_fraction: float,
    seed: int = 0,
    source: str = "",
) -> None:
    """Encode `documents` in order into `folder`/train and `folder`/validation.

    Streams: memory holds about a megabyte of text at a time. `folder` appears whole at the end, or
    not at all. Raises UserError when a split would be empty.
    """
    with atomic_folder(folder) as partial, ExitStack() as stack:
        train = stack.enter_context(ShardWriter(partial / "train", tokenizer))
        validation = stack.enter_context(ShardWriter(partial / "validation", tokenizer))
        for texts in _batches(documents):
            for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
                is_validation = split_point(text, seed) < validation_fraction
                (validation if is_validation else train).add(ids, len(text.encode()))
        for name, writer in (("training", train), ("validation", validation)):
            if not writer.documents:
                raise UserError(
                    f"none of the {train.documents + validation.documents} documents is for {name}"
                    f" at validation_fraction {validation_fraction:g}; give more documents, or "
                    "another fraction"
                )
            writer.finish(source)


class TokenShards:
    """One split, opened for reading.

    tokens            uint32 [tokens], memory-mapped
    offsets           uint64 [documents + 1], memory-mapped: document i is tokens[o[i]:o[i + 1]]
    token_bytes       int64 [vocabulary]: UTF-8 bytes of each token id, 0 for special tokens
    documents, bytes  how many documents, and bytes of text, the split holds
    bos, eos          ids of [BOS] and [EOS]
    fingerprint       of the tokenizer that made it
    """

    def __init__(self, folder: Path) -> None:
        """Open the shard in `folder`; UserError if it is missing, damaged or cut short."""
        manifest_path = folder / "manifest.json"
        manifest = read_object(manifest_path)
        if manifest.get("version") != VERSION:
            raise UserError(
                f"{manifest_path}: version {manifest.get('version')}, this OpenK2 reads version "
                f"{VERSION}; delete the folder to build it again"
            )
        check_fields(manifest_path, manifest, MANIFEST)
        self.folder = folder
        self.source: str = manifest["source"]
        self.documents: int = manifest["documents"]
        self.bytes: int = manifest["bytes"]
        self.bos: int = manifest["bos"]
        self.eos: int = manifest["eos"]
        self.fingerprint: str = manifest["tokenizer"]
        self.tokens = _open_array(folder / "tokens.bin", "<u4", manifest["tokens"])
        self.offsets = _open_array(folder / "offsets.bin", "<u8", self.documents + 1)
        if self.offsets[-1] != len(self.tokens):
            raise UserError(f"{folder}: its files do not belong together; delete the folder")
        lengths = _open_array(folder / "token_bytes.bin", "<u4", manifest["vocabulary"])
        self.token_bytes: NDArray[np.int64] = lengths.astype(np.int64)

    def __len__(self) -> int:
        """Tokens in the split, [BOS] and [EOS] included."""
        return len(self.tokens)

    def texts(self, tokenizer: Tokenizer) -> Iterator[str]:
        """The documents' texts in order, decoded; UserError for another tokenizer's shard."""
        if tokenizer.fingerprint != self.fingerprint:
            raise UserError(f"{self.folder}: was made by another tokenizer")
        for start, end in pairwise(self.offsets.tolist()):
            yield tokenizer.decode(self.tokens[start + 1 : end - 1].tolist())


class ShardWriter:
    """Appends documents to a shard folder; `finish` writes the manifest."""

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        folder.mkdir()
        self.folder = folder
        self.tokenizer = tokenizer
        self.bos, self.eos = tokenizer.special["[BOS]"], tokenizer.special["[EOS]"]
        self.documents = self.tokens = self.bytes = 0
        self._token_file = (folder / "tokens.bin").open("wb")
        self._offset_file = (folder / "offsets.bin").open("wb")
        self._offset_file.write(np.uint64(0).astype("<u8").tobytes())

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._token_file.close()
        self._offset_file.close()

    def add(self, ids: Sequence[int], length: int) -> None:
        """Append a document of `length` UTF-8 bytes."""
        self._token_file.write(np.array([self.bos, *ids, self.eos], "<u4").tobytes())
        self.documents += 1
        self.tokens += len(ids) + 2
        self.bytes += length
        self._offset_file.write(np.array(self.tokens, "<u8").tobytes())

    def finish(self, source: str) -> None:
        """Write what describes the shard; `add` may not follow."""
        self._token_file.close()
        self._offset_file.close()
        lengths = np.array(self.tokenizer.token_bytes(), "<u4")
        (self.folder / "token_bytes.bin").write_bytes(lengths.tobytes())
        manifest = {
            "version": VERSION,
            "source": source,
            "documents": self.documents,
            "tokens": self.tokens,
            "bytes": self.bytes,
            "vocabulary": self.tokenizer.vocabulary_size,
            "bos": self.bos,
            "eos": self.eos,
            "tokenizer": self.tokenizer.fingerprint,
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        (self.folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


def _batches(documents: Iterable[Document]) -> Iterator[list[str]]:
    """Texts in groups of about ENCODE_CHARACTERS."""
    batch: list[str] = []
    characters = 0
    for document in documents:
        batch.append(document.text)
        characters += len(document.text)
        if characters >= ENCODE_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _open_array(path: Path, dtype: str, length: int) -> NDArray[np.unsignedinteger]:
    """Memory-map `length` items; UserError if the file does not hold exactly that many."""
    expected = length * np.dtype(dtype).itemsize
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if size != expected:
        raise UserError(
            f"{path}: {size} bytes where the manifest says {expected}: cut short or mixed up; "
            "delete the folder to build it again"
        )
    return np.memmap(path, dtype=dtype, mode="r")
