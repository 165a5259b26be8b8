"""Batch number -> batch, as a pure function: the position in the corpus is one integer.

The stream is cut into windows of T tokens whose last target is the next window's first token.
Training visits the windows in a new pseudo-random order each epoch, across epochs without a seam.
Nothing is remembered between calls, so a run resumes exactly, at any world size.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from openk2.core.errors import UserError
from openk2.data.packing import Batch, cut_windows
from openk2.data.shards import TokenShards

__all__ = ["PackedBatches", "ValidationBatches", "shuffle"]


class PackedBatches:
    """Training batches without end.

    Each epoch visits each of `windows` once; the fewer than T tokens after the last window are
    left out.
    """

    def __init__(
        self, shards: TokenShards, sequence_length: int, batch_size: int, seed: int = 0
    ) -> None:
        """`batch_size` rows of `sequence_length` tokens; UserError if the corpus has fewer."""
        needed = batch_size * sequence_length + 1
        if len(shards) < needed:
            raise UserError(
                f"the corpus has {len(shards)} training tokens and one batch of {batch_size} x "
                f"{sequence_length} needs {needed}; give more text, or a smaller batch"
            )
        self.shards = shards
        self.sequence_length = sequence_length
        self.batch_size = batch_size
        self.seed = seed
        self.windows = (len(shards) - 1) // sequence_length

    def __call__(self, number: int) -> Batch:
        """Batch `number`, counted from 0."""
        return self.rows(number, rank=0, world=1)

    def rows(self, number: int, rank: int, world: int) -> Batch:
        """The rows rank, rank + world, ... of batch `number`: one rank's share of it."""
        index = number * self.batch_size + np.arange(rank, self.batch_size, world)
        epochs, positions = np.divmod(index, self.windows)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            positions[here] = shuffle(positions[here], self.windows, f"{self.seed} {epoch}")
        begins = (positions * self.sequence_length).tolist()
        return cut_windows(self.shards, begins, self.sequence_length)


class ValidationBatches:
    """Every validation token that has a predecessor in its document, scored exactly once.

    Windows in order. The last one is moved back to end with the stream, and its targets that the
    window before has already are left out; so no row holds padding. A stream shorter than a
    window is one shorter row. The `target_bytes` of all batches add up to `shards.bytes`: bits
    per byte is the sum of nats / ln 2 / that.
    """

    def __init__(self, shards: TokenShards, sequence_length: int, batch_size: int) -> None:
        """Batches of up to `batch_size` rows of `sequence_length` tokens."""
        self.shards = shards
        self.sequence_length = min(sequence_length, len(shards) - 1)
        self.batch_size = batch_size
        self.windows = -(-(len(shards) - 1) // self.sequence_length)

    def __len__(self) -> int:
        """How many batches."""
        return -(-self.windows // self.batch_size)

    def __getitem__(self, number: int) -> Batch:
        """Batch `number`; IndexError past the last, so that a `for` loop sees each once."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        first = number * self.batch_size
        windows = np.arange(first, min(first + self.batch_size, self.windows))
        targets_begin = windows * self.sequence_length
        begins = np.minimum(targets_begin, len(self.shards) - 1 - self.sequence_length)
        repeated = (targets_begin - begins).tolist()
        return cut_windows(self.shards, begins.tolist(), self.sequence_length, repeated)


def shuffle(positions: NDArray[np.int64], count: int, key: str) -> NDArray[np.int64]:
    """Where each position goes in the permutation of range(count) that `key` names.

    A Feistel network permutes the smallest square power of two that holds `count`; what falls
    outside goes through it again until it lands inside. So no table is kept, and the order is the
    same in every version of every library.
    """
    half = np.uint64(((count - 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << int(half)) - 1)
    digest = hashlib.blake2b(key.encode(), digest_size=64).digest()
    round_keys = np.frombuffer(digest, "<u8")
    moved = positions.astype(np.uint64)
    outside = np.ones(len(moved), bool)
    while outside.any():
        left, right = moved[outside] >> half, moved[outside] & mask
        for round_key in round_keys:
            left, right = right, left ^ (_mix(right ^ round_key) & mask)
        moved[outside] = left << half | right
        outside = moved >= count
    return moved.astype(np.int64)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64: every input bit moves every output bit. Wraps by design."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
