"""Cores over grids of integers and square matrices."""

from openk2.environments.verifiers.coding.steps import Step

__all__ = ["GRID_CORES"]


def spiral(grid: list[list[int]]) -> list[int]:
    rows = [list(row) for row in grid]
    found = []
    while rows:
        found.extend(rows.pop(0))
        rows = [[row[j] for row in rows] for j in range(len(rows[0]) - 1, -1, -1)] if rows else []
    return found


def saddle_points(grid: list[list[int]]) -> int:
    count = 0
    for row in grid:
        for j, cell in enumerate(row):
            if cell == min(row) and cell == max(other[j] for other in grid):
                count += 1
    return count


def islands(grid: list[list[int]], level: int) -> int:
    land = {(i, j) for i, row in enumerate(grid) for j, cell in enumerate(row) if cell >= level}
    count = 0
    while land:
        count += 1
        stack = [land.pop()]
        while stack:
            i, j = stack.pop()
            for place in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                if place in land:
                    land.remove(place)
                    stack.append(place)
    return count


def best_descent(grid: list[list[int]]) -> int:
    best: list[int] = []
    for i, row in enumerate(grid):
        line: list[int] = []
        for j, cell in enumerate(row):
            reached = [best[j]] if i > 0 else []
            if j > 0:
                reached.append(line[j - 1])
            line.append(cell + (max(reached) if reached else 0))
        best = line
    return best[-1]


def next_generation(grid: list[list[int]]) -> list[list[int]]:
    result = []
    for i, row in enumerate(grid):
        line = []
        for j, cell in enumerate(row):
            alive = 0
            for a in range(max(0, i - 1), min(len(grid), i + 2)):
                for b in range(max(0, j - 1), min(len(row), j + 2)):
                    if (a, b) != (i, j) and grid[a][b] > 0:
                        alive += 1
            line.append(1 if alive == 3 or (alive == 2 and cell > 0) else 0)
        result.append(line)
    return result


def column_maxima(grid: list[list[int]]) -> list[int]:
    return [max(row[j] for row in grid) for j in range(len(grid[0]))]


def largest_square(grid: list[list[int]], level: int) -> int:
    best = 0
    above = [0] * len(grid[0])
    for row in grid:
        line: list[int] = []
        for j, cell in enumerate(row):
            side = 0
            if cell >= level:
                side = 1 + (min(above[j], above[j - 1], line[j - 1]) if j > 0 else 0)
            line.append(side)
            best = max(best, side)
        above = line
    return best


def determinant(grid: list[list[int]]) -> int:
    rows = [list(row) for row in grid]
    sign = divisor = 1
    for k in range(len(rows) - 1):
        swap = next((i for i in range(k, len(rows)) if rows[i][k] != 0), None)
        if swap is None:
            return 0
        if swap != k:
            rows[k], rows[swap] = rows[swap], rows[k]
            sign = -sign
        for i in range(k + 1, len(rows)):
            for j in range(k + 1, len(rows)):
                cell = rows[i][j] * rows[k][k] - rows[i][k] * rows[k][j]
                rows[i][j] = cell // divisor
        divisor = rows[k][k]
    return sign * rows[-1][-1]


def diagonals(grid: list[list[int]]) -> list[int]:
    size = len(grid)
    sums = [0] * (2 * size - 1)
    for i in range(size):
        for j in range(size):
            sums[i + j] += grid[i][j]
    return sums


LEVELS = (0, 1, 2)
GRID_CORES: tuple[Step, ...] = (
    Step(spiral, "matrix", "ints",
         "List the cells in a clockwise spiral that begins at the top left and goes right.",
         level=0.5),
    Step(saddle_points, "matrix", "int",
         "Count the cells that are the smallest of their row and the greatest of their column "
         "(ties allowed).", level=0.4),
    Step(islands, "matrix", "int",
         "Count the islands: groups of cells of at least {level} that hang together over common "
         "edges.", {"level": LEVELS}, level=0.6),
    Step(best_descent, "matrix", "int",
         "Find the greatest sum of cells on a way from the top left to the bottom right cell that "
         "goes right or down at each step.", level=0.6),
    Step(next_generation, "matrix", "matrix",
         "A cell is alive if it is positive. Build the grid, of the same form, with 1 for each "
         "cell that has exactly three living neighbours or is alive and has exactly two, and 0 "
         "for all others; cells touching at a corner are neighbours.", level=0.6),
    Step(column_maxima, "matrix", "ints", "List the greatest cell of each column.", level=0.1),
    Step(largest_square, "matrix", "int",
         "Find the side of the largest square of neighbouring cells that are all at least {level} "
         "(0 if there is none).", {"level": LEVELS}, level=0.8),
    Step(determinant, "square", "int", "Find the determinant of the matrix.", level=0.8),
    Step(diagonals, "square", "ints",
         "List the sums of the rising diagonals: first the top left cell, then the two cells with "
         "row + column = 1, and so on to the bottom right cell.", level=0.4),
)  # fmt: skip
