"""Results as a table: aligned text for the terminal, Markdown for a document."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Table", "verdict"]


@dataclass(frozen=True)
class Table:
    """Rows of finished cells under a title; `notes` are lines below."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: row {row} does not fit {list(self.columns)}")

    def plain(self) -> str:
        """Aligned columns: numbers to the right, words to the left."""
        lines = [list(self.columns), *(list(row) for row in self.rows)]
        columns = list(zip(*lines, strict=True))
        widths = [max(map(len, column)) for column in columns]
        numeric = [_is_numeric(column[1:]) for column in columns]
        text = [
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(line, widths, numeric, strict=True)
            ).rstrip()
            for line in lines
        ]
        return "\n".join([self.title, "", *text, *self.notes])

    def markdown(self) -> str:
        """A heading, a pipe table and the notes as a list."""
        columns = list(zip(self.columns, *self.rows, strict=True))
        rule = ["---:" if _is_numeric(column[1:]) else "---" for column in columns]
        lines = [_pipes(self.columns), _pipes(rule), *(_pipes(row) for row in self.rows)]
        notes = ["", *(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n".join([f"### {self.title}", "", *lines, *notes])


def verdict(value: float, target: float, larger_is_better: bool = True) -> str:
    """ "met", or "missed": the word in the column beside a target."""
    return "met" if (value >= target if larger_is_better else value <= target) else "missed"


def _pipes(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _is_numeric(cells: Iterable[str]) -> bool:
    return all(cell in ("", "-") or cell[0].isdigit() or cell[0] in "+-" for cell in cells)
