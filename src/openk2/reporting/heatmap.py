"""A table of numbers as coloured cells."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from openk2.reporting.markup import Html, element

__all__ = ["Heatmap"]

MOST_CELLS = 2400  # keeps the page of 61 layers x 384 experts small
MOST_NUMBERS = 16  # columns that have room for their numbers
FEW_COLUMNS = 8  # up to here a map is as narrow as a line chart


@dataclass(frozen=True)
class Heatmap:
    """Layers x columns of values, coloured by how far they lie from `neutral`.

    One colour is full at `neutral + span`, the other one at `neutral - span`. Cells above `alarm`
    are outlined. Neighbouring columns are merged to their highest value when there are more than
    MOST_CELLS cells. `html()` is empty when the table is.
    """

    title: str
    unit: str
    rows: Sequence[Sequence[float | None]]
    column_name: str
    span: float
    neutral: float = 0.0
    alarm: float = math.inf

    def html(self) -> Html:
        if not any(self.rows):
            return Html("")
        columns = len(self.rows[0])
        merged = math.ceil(len(self.rows) * columns / MOST_CELLS)
        starts = range(0, columns, merged)
        every = math.ceil(len(starts) / MOST_NUMBERS)
        numbers = [str(start) if i % every == 0 else "" for i, start in enumerate(starts)]
        body = (
            element(
                "tr",
                element("th", f"layer {layer}"),
                *(self._cell(layer, start, values[start : start + merged]) for start in starts),
            )
            for layer, values in enumerate(self.rows)
        )
        foot = element("tr", element("th"), *(element("th", number) for number in numbers))
        merging = f", each the highest of {merged}" if merged > 1 else ""
        key = element(
            "p",
            f"{self.column_name}s{merging}",
            element("span", f"{self.neutral - self.span if self.neutral else 0:.3g}"),
            element("i", class_="two-sided" if self.neutral else None),
            element("span", f"{self.neutral + self.span:.3g}"),
            class_="key",
        )
        return element(
            "figure",
            element("figcaption", element("b", self.title), " ", element("span", self.unit)),
            element("table", *body, foot, class_="numbers" if every == 1 else None),
            key,
            class_="chart heatmap" if columns <= FEW_COLUMNS else "chart heatmap wide",
        )

    def _cell(self, layer: int, start: int, values: Sequence[float | None]) -> Html:
        """One cell, which names itself on hover; the number is hidden where there is no room."""
        value = max((v for v in values if v is not None), default=None)
        if value is None:
            return element("td")
        strength = min(1.0, abs(value - self.neutral) / self.span)
        side = "high" if value > self.neutral else "low"
        return element(
            "td",
            element("span", f"{value:.3g}"),
            class_=f"{side} alarm" if value > self.alarm else side,
            style=f"--v:{5 + 95 * strength:.0f}%",
            title=f"layer {layer}, {self.column_name} {start}: {value:.3g}",
        )
