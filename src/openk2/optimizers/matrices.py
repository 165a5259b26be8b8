"""The matrices inside a parameter, and which of them a process holds whole.

Everything is seen in three dimensions [stacked, rows, columns]; a single matrix is a stack of one.
A matrix of the plan is one entry of the stack, one block of rows (`ParameterRule.row_sizes`) and
all columns. A sharded parameter cuts a matrix when a border between processes runs through it.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby, pairwise
from typing import NamedTuple

from torch import Tensor

from openk2.optimizers.layout import Box, Holder
from openk2.optimizers.param_plan import ParameterRule

__all__ = [
    "Geometry",
    "Matrix",
    "cut_matrices",
    "geometry",
    "stacked",
    "stacked_box",
]


class Region(NamedTuple):
    """Equal matrices that lie one after the other in the part of a parameter that is here."""

    first_row: int
    matrices: int  # blocks of rows, for each entry of the stack
    rows: int

    def view(self, tensor: Tensor) -> Tensor:
        """[matrices, rows, columns] of a parameter's local part, sharing memory.

        [rows, columns] where that is one matrix, and the whole of what is here.
        """
        if tensor.ndim == 2 and len(tensor) == self.rows:
            return tensor
        blocks, length = stacked(tensor), self.matrices * self.rows
        if blocks.shape[1] != length:
            blocks = blocks[:, self.first_row : self.first_row + length]
        if self.matrices == 1:
            return blocks
        blocks = blocks.unflatten(1, (self.matrices, self.rows))
        # `view`, since a copy would take the update instead of the parameter.
        entries, count, rows, columns = blocks.shape
        merged: Tensor = blocks.view(entries * count, rows, columns) if entries > 1 else blocks[0]
        return merged


class Geometry(NamedTuple):
    """What a process holds of a parameter: its box, the whole matrices in it, and how many more.

    `touched` counts all matrices that have an element here, whole or cut.
    """

    box: Box
    regions: tuple[Region, ...]
    touched: int


class Matrix(NamedTuple):
    """One matrix of the whole parameter: its place in the stack and its rows."""

    entry: int
    first_row: int
    rows: int

    def box(self, columns: int) -> Box:
        return (
            (self.entry, self.entry + 1),
            (self.first_row, self.first_row + self.rows),
            (0, columns),
        )


def geometry(planned: ParameterRule, box: Box) -> Geometry:
    """Everything about the part `box` of a parameter that stays the same from step to step."""
    return Geometry(box, tuple(_whole_regions(planned, box)), _matrices_touched(planned, box))


def stacked(tensor: Tensor) -> Tensor:
    """A matrix as a stack of one; a stack as it is."""
    return tensor if tensor.ndim == 3 else tensor.unsqueeze(0)


def stacked_box(box: Box) -> Box:
    """The box of `stacked(tensor)` for that of a tensor."""
    return box if len(box) == 3 else ((0, 1), *box)


def _whole_regions(planned: ParameterRule, box: Box) -> list[Region]:
    """The matrices that lie entirely within `box`, the part of the parameter that is here."""
    (first, last), (top, bottom), columns = stacked_box(box)
    if first == last or columns != (0, planned.shape[-1]):
        return []
    regions = []
    for start, rows, count in _runs(planned.row_sizes):
        begin = max(0, -(-(top - start) // rows))
        end = min(count, (bottom - start) // rows)
        if end <= begin:
            continue
        everything = (end - begin) * rows == bottom - top
        local = start + begin * rows - top
        if last - first == 1 or everything or end - begin == 1:
            regions.append(Region(local, end - begin, rows))
        else:
            regions += [Region(local + i * rows, 1, rows) for i in range(end - begin)]
    return regions


def cut_matrices(planned: ParameterRule, parts: Sequence[Holder]) -> list[Matrix]:
    """The matrices that no process holds whole."""
    boxes = [stacked_box(holder.box) for holder in parts]
    boxes = [box for box in boxes if all(start < stop for start, stop in box)]
    columns_cut = any(box[2] != (0, planned.shape[-1]) for box in boxes)
    borders = {row for box in boxes for row in box[1]}
    entries = 1 if len(planned.shape) == 2 else planned.shape[0]
    cut = []
    first_row = 0
    for rows in planned.row_sizes:
        inside = any(first_row < border < first_row + rows for border in borders)
        if columns_cut or inside:
            cut += [Matrix(entry, first_row, rows) for entry in range(entries)]
        first_row += rows
    return cut


def _matrices_touched(planned: ParameterRule, box: Box) -> int:
    """How many matrices have an element in `box`."""
    (first, last), (top, bottom), (left, right) = stacked_box(box)
    if right <= left:
        return 0
    starts = [0, *accumulate(planned.row_sizes)]
    blocks = sum(start < bottom and top < stop for start, stop in pairwise(starts))
    return (last - first) * blocks if bottom > top else 0


def _runs(row_sizes: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Consecutive equal sizes: (first row, size, how many)."""
    start = 0
    for rows, group in groupby(row_sizes):
        count = len(list(group))
        yield start, rows, count
        start += rows * count
