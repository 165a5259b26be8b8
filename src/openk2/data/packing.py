"""Windows of a token stream as training rows.

Documents stand one after another in the stream, so a row of T tokens may hold the end of one, some
whole ones and the start of another. `starts` says where each begins: attention stays inside a
document, and no target crosses into the next.

B rows of a batch, T tokens of a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openk2.data.shards import TokenShards

__all__ = ["Batch", "NO_TARGET", "cut_windows"]

# The class index that torch's cross_entropy ignores.
NO_TARGET = -100


@dataclass(frozen=True)
class Batch:
    """Rows for one forward pass.

    tokens_BT      int64 [B, T]
    targets_BT     int64 [B, T]: the next token of the same document, else -100
    starts         for each row the positions at which a document begins; 0 is always the first,
                   also where the row begins inside a document
    target_bytes   UTF-8 bytes that the targets stand for
    """

    tokens_BT: NDArray[np.int64]
    targets_BT: NDArray[np.int64]
    starts: list[list[int]]
    target_bytes: int

    @property
    def target_count(self) -> int:
        """Positions that have a target."""
        return int(np.count_nonzero(self.targets_BT != NO_TARGET))


def cut_windows(
    shards: TokenShards, begins: Sequence[int], length: int, repeated: Sequence[int] = (0,)
) -> Batch:
    """The rows of `length` tokens that begin at the stream positions `begins`.

    `repeated` is how many leading positions of each row (or of all) go without a target, because
    another row has it. A row needs one token more than its length: the last target.
    """
    stream = np.stack([shards.tokens[begin : begin + length + 1] for begin in begins])
    tokens_BT = stream[:, :-1].astype(np.int64)
    left_out_BT = np.arange(length) < np.reshape(repeated, (-1, 1))
    # What follows [EOS] is the [BOS] of another document: nothing to predict.
    left_out_BT = left_out_BT | (tokens_BT == shards.eos)
    targets_BT = np.where(left_out_BT, NO_TARGET, stream[:, 1:].astype(np.int64))
    starts = [sorted({0, *np.flatnonzero(row == shards.bos).tolist()}) for row in tokens_BT]
    target_bytes = int(shards.token_bytes[targets_BT[~left_out_BT]].sum())
    return Batch(tokens_BT, targets_BT, starts, target_bytes)
