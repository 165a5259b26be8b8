"""Which tokens of a packed batch belong to one document.

Documents never attend across their border. A batch row holds one or more documents end to end;
rows without an inner border share one attention call, the others are walked document by document.

B batch rows, T positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["PackedDocuments", "Rectangle"]


@dataclass(frozen=True)
class Rectangle:
    """Rows `rows` of a batch, each with exactly one document at positions `positions`."""

    rows: slice
    positions: slice


class PackedDocuments:
    """The documents of a [B, T] batch.

    `starts[b]` lists the positions at which a document begins in row b, ascending, the first 0;
    None means that every row is one document. Raises ValueError for lists that are not that.
    """

    def __init__(
        self, batch: int, length: int, starts: Sequence[Sequence[int]] | None = None
    ) -> None:
        self.batch, self.length = batch, length
        self.starts = [[0]] * batch if starts is None else [list(row) for row in starts]
        if len(self.starts) != batch:
            raise ValueError(f"starts has {len(self.starts)} rows, the batch {batch}")
        for row in self.starts:
            if row[:1] != [0] or row[-1] >= length or row != sorted(set(row)):
                raise ValueError(f"starts must ascend from 0 to below {length}, got {row}")

    @cached_property
    def rectangles(self) -> list[Rectangle]:
        """Every document exactly once; neighbouring whole rows together."""
        found: list[Rectangle] = []
        row = 0
        while row < self.batch:
            end = row + 1
            if len(self.starts[row]) == 1:
                while end < self.batch and len(self.starts[end]) == 1:
                    end += 1
            bounds = [*self.starts[row], self.length]
            for start, stop in pairwise(bounds):
                found.append(Rectangle(slice(row, end), slice(start, stop)))
            row = end
        return found

    @cached_property
    def positions_BT(self) -> Tensor:
        """Each token's position in its document, int64 [B, T]."""
        positions = torch.arange(self.length).repeat(self.batch, 1)
        for rectangle in self.rectangles:
            positions[rectangle.rows, rectangle.positions] -= rectangle.positions.start
        return positions
