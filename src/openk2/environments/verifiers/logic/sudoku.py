"""Sudoku of 4x4, 6x6 and 9x9 cells with exactly one solution (paper section 3.1, logic).

A grid is a tuple of size * size numbers in reading order, 0 where a cell is empty.
"""

import functools
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from openk2.environments.base import Problem
from openk2.environments.verifiers.answers import ANSWER_FORMAT
from openk2.environments.verifiers.logic.puzzle import Puzzle

__all__ = ["Sudoku", "solutions"]

BOXES: Mapping[int, tuple[int, int]] = {4: (2, 2), 6: (2, 3), 9: (3, 3)}  # rows, columns of a box
BETWEEN_DIGITS = re.compile(r"[\s/,;|]+")

Grid = tuple[int, ...]


@functools.cache
def _units(size: int) -> tuple[tuple[int, int, int], ...]:
    """Of every cell the numbers of its row, its column and its box, counted in one list."""
    rows, columns = BOXES[size]
    return tuple(
        (r, size + c, 2 * size + r // rows * (size // columns) + c // columns)
        for r in range(size)
        for c in range(size)
    )


def solutions(
    grid: Sequence[int], size: int, limit: int, rng: random.Random | None = None
) -> list[Grid]:
    """Up to `limit` ways to fill the empty cells; digits are tried in the order of `rng`."""
    units = _units(size)
    cells, free = list(grid), [(1 << size) - 1] * (3 * size)
    for cell, digit in enumerate(cells):
        if digit:
            for unit in units[cell]:
                if not free[unit] >> (digit - 1) & 1:
                    return []
                free[unit] ^= 1 << (digit - 1)
    found: list[Grid] = []

    def fill(empty: list[int]) -> None:
        if not empty:
            found.append(tuple(cells))
            return
        best, fewest, choices = -1, size + 1, 0
        for place, cell in enumerate(empty):
            a, b, c = units[cell]
            open_digits = free[a] & free[b] & free[c]
            if (count := open_digits.bit_count()) < fewest:
                best, fewest, choices = place, count, open_digits
                if count <= 1:
                    break
        cell, rest = empty[best], empty[:best] + empty[best + 1 :]
        digits = [digit for digit in range(1, size + 1) if choices >> (digit - 1) & 1]
        if rng is not None:
            rng.shuffle(digits)
        for digit in digits:
            cells[cell] = digit
            for unit in units[cell]:
                free[unit] ^= 1 << (digit - 1)
            fill(rest)
            for unit in units[cell]:
                free[unit] ^= 1 << (digit - 1)
            cells[cell] = 0
            if len(found) >= limit:
                return

    fill([cell for cell, digit in enumerate(cells) if not digit])
    return found


def _unique_puzzle(rng: random.Random, size: int, clues: int) -> tuple[Grid, Grid]:
    """A grid with about `clues` given cells, or as many more as it needs, and its only solution."""
    solution = solutions([0] * size**2, size, 1, rng)[0]
    given = set(rng.sample(range(size**2), clues))
    while True:
        grid = tuple(solution[cell] if cell in given else 0 for cell in range(size**2))
        others = [other for other in solutions(grid, size, 2, rng) if other != solution]
        if not others:
            return grid, solution
        given.add(rng.choice([c for c in range(size**2) if others[0][c] != solution[c]]))


class Sudoku(Puzzle):
    """4x4 below difficulty 1/4, 6x6 below 1/2, 9x9 above; fewer given cells inside each range.

    Truth: size, grid, solution (its rows, joined by "/").
    """

    name: ClassVar[str] = "logic.sudoku"

    TEMPLATES = (
        "Solve this {size}x{size} sudoku; `.` is an empty cell.\n\n{grid}\n\n{rule} {form}",
        "Here is a sudoku of {size} rows and {size} columns in which dots are empty cells:\n\n"
        "{grid}\n\n{rule} Fill it in. {form}",
        "Complete the grid. {rule} Empty cells are shown as dots.\n\n{grid}\n\n{form}",
    )

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        size, low = (4, 0.0) if difficulty < 0.25 else (6, 0.25) if difficulty < 0.5 else (9, 0.5)
        hardness = (difficulty - low) / (0.5 if size == 9 else 0.25)
        share = 0.55 - 0.27 * hardness
        grid, solution = _unique_puzzle(rng, size, round(share * size**2))
        rows, columns = BOXES[size]
        rule = (
            f"Every row, every column and every box of {rows} rows by {columns} columns holds "
            f"the numbers 1 to {size} once each."
        )
        form = (
            "Give the rows of the solved grid from top to bottom, joined by slashes and without "
            "spaces, such as `Answer: "
            + "/".join(str(row) * size for row in range(1, 3))
            + "/...`. "
        ) + ANSWER_FORMAT
        shown = "\n".join(" ".join(row) for row in _rows(grid, size, "."))
        prompt = rng.choice(self.TEMPLATES).format(size=size, grid=shown, rule=rule, form=form)
        truth = {"size": size, "grid": list(grid), "solution": "/".join(_rows(solution, size, "."))}
        return Problem(prompt, truth, "".join(map(str, grid)))

    def fault(self, truth: Mapping[str, Any], answer: str) -> str:
        size, grid = truth["size"], truth["grid"]
        digits = BETWEEN_DIGITS.sub("", answer.rstrip(" ."))
        if len(digits) != size**2 or not (digits.isascii() and digits.isdigit()):
            return f"the answer is not {size} rows of {size} digits"
        cells = [int(digit) for digit in digits]
        if any(clue not in (0, cell) for clue, cell in zip(grid, cells, strict=True)):
            return "the answer changes a given cell"
        held: list[set[int]] = [set() for _ in range(3 * size)]
        for cell, units in zip(cells, _units(size), strict=True):
            for unit in units:
                held[unit].add(cell)
        if any(digits_held != set(range(1, size + 1)) for digits_held in held):
            return "a row, column or box of the answer does not hold every number once"
        return ""


def _rows(grid: Sequence[int], size: int, empty: str) -> list[str]:
    text = "".join(str(cell) if cell else empty for cell in grid)
    return [text[start : start + size] for start in range(0, size**2, size)]
