"""Line charts as inline SVG that stretch to any width, legible without JavaScript.

Axes, grid and labels sit in an outer SVG in per cent of the plot, so text keeps its size. The
curves sit in an inner SVG whose view box is the data's own range: a path's numbers are the values
themselves, and the page's script reads them back for the hover readout. On a logarithmic axis
they are log10 of the values.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

from openk2.reporting.formats import compact
from openk2.reporting.markup import Html, element

__all__ = ["PALETTE_SIZE", "Chart", "Points", "Series", "downsample", "highest_lines", "smooth"]

Point = tuple[float, float]
Points = Sequence[tuple[float, float | None]]  # (step, y) in order; a y of None is left out

PALETTE_SIZE = 8  # colours --c0 to --c7 of report.css
MOST_MARKS = 300


@dataclass(frozen=True)
class Series:
    """A curve; without a label it is in neither the legend nor the readout."""

    label: str
    points: Points
    colour: int = 0
    style: Literal["line", "faint", "dots"] = "line"


@dataclass(frozen=True)
class Chart:
    """One figure over the steps of a run. `html()` is empty when no series has a point.

    `references` are named horizontal lines; one above the range is named at the upper edge.
    `marks` are steps that get a stroke above the plot, explained by `marks_label`. A linear axis
    starts at zero; `y_range` overrides the range that series and references ask for.
    """

    title: str
    unit: str
    series: Sequence[Series]
    references: Mapping[str, float] = field(default_factory=dict)
    marks: Sequence[float] = ()
    marks_label: str = ""
    logarithmic: bool = False
    y_range: tuple[float, float] | None = None
    point_limit: int = 600
    small: bool = False

    def html(self) -> Html:
        drawn = [(series, points) for series in self.series if (points := self._thinned(series))]
        if not drawn:
            return Html("")
        right = max(1.0, *(points[-1][0] for _, points in drawn))
        y0, y1 = self._vertical_range([y for _, points in drawn for _, y in points])
        paths = [_path(series, points) for series, points in drawn]
        curves = element(
            "svg",
            element("g", *paths, self._mark_path(right, y0, y1), transform="scale(1,-1)"),
            viewBox=f"0 {-y1:.8g} {right:.10g} {y1 - y0:.8g}",
            preserveAspectRatio="none",
        )
        plot = element(
            "svg",
            *self._axes(right, y0, y1),
            curves,
            *self._reference_lines(y0, y1),
            class_="axes",
            role="img",
            aria_label=f"{self.title}, {self.unit}",
        )
        return element(
            "figure",
            element("figcaption", element("b", self.title), " ", element("span", self.unit)),
            element(
                "div",
                plot,
                class_="plot",
                data_right=f"{right:.10g}",
                data_log=int(self.logarithmic),
            ),
            self._legend([series for series, _ in drawn]),
            class_="chart small" if self.small else "chart",
        )

    def _thinned(self, series: Series) -> list[Point]:
        lowest = 0.0 if self.logarithmic else -math.inf
        kept = [(x, self._scaled(y)) for x, y in series.points if y is not None and y > lowest]
        return downsample(kept, self.point_limit)

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value

    def _vertical_range(self, ys: list[float]) -> tuple[float, float]:
        """The axis in scaled units: what is drawn and a margin; from zero if linear."""
        if self.y_range:
            return self.y_range
        ys = ys + [self._scaled(value) for value in self.references.values()]
        ys += [] if self.logarithmic else [0.0]
        low, high = min(ys), max(ys)
        margin = 0.06 * (high - low) or 0.1
        return low if low == 0 and not self.logarithmic else low - margin, high + margin

    def _axes(self, right: float, y0: float, y1: float) -> list[Html]:
        values = log_ticks(10**y0, 10**y1) if self.logarithmic else ticks(y0, y1, 5)
        drawn = []
        for value in values:
            top = _per_cent(self._scaled(value), y1, y0)
            drawn.append(element("line", x2="100%", y1=top, y2=top, class_="grid"))
            drawn.append(element("text", compact(value), y=top, dx=-8, dy=4, class_="y"))
        for value in filter(float.is_integer, ticks(0, right, 6)):
            left = _per_cent(value, 0, right)
            drawn.append(element("text", compact(value), x=left, y="100%", dy=18, class_="x"))
        return drawn

    def _mark_path(self, right: float, y0: float, y1: float) -> Html:
        """Strokes above the plot, at most MOST_MARKS of them, spread as the marks are."""
        steps = {int(MOST_MARKS * x / right): x for x in self.marks}.values()
        strokes = "".join(f"M{x:.10g} {y1:.6g}v{0.06 * (y1 - y0):.6g}" for x in steps)
        return element("path", d=strokes, class_="mark") if steps else Html("")

    def _reference_lines(self, y0: float, y1: float) -> list[Html]:
        drawn = []
        lowest = min(self.references.values(), default=0.0)
        for label, value in self.references.items():
            top = _per_cent(min(self._scaled(value), y1), y1, y0)
            name = f"{label}: {value:.4g}"
            if self._scaled(value) > y1:
                name, shift = f"{name} ↑", 12
            else:
                # The lowest of several is named below its line: two close ones stay apart.
                shift = 15 if value == lowest and len(self.references) > 1 else -7
                drawn.append(element("line", x2="100%", y1=top, y2=top, class_="reference"))
            drawn.append(element("text", name, x="100%", y=top, dy=shift, class_="reference"))
        return drawn

    def _legend(self, series: list[Series]) -> Html:
        items = [
            element("li", element("i", class_=one.style, style=_colour(one)), one.label)
            for one in series
            if one.label
        ]
        if self.marks:
            items.append(element("li", element("i", class_="mark"), self.marks_label))
        return element("ul", *items, class_="legend") if len(items) > 1 else Html("")


def downsample(points: Sequence[Point], limit: int) -> list[Point]:
    """At most `limit` (>= 4) of the points, in order, with every peak and trough of the picture.

    The first and the last stay; the others are cut into equal runs that each keep their lowest and
    their highest point.
    """
    if len(points) <= limit:
        return list(points)
    inner, runs = points[1:-1], (limit - 2) // 2
    kept = [points[0]]
    for number in range(runs):
        run = range(number * len(inner) // runs, (number + 1) * len(inner) // runs)
        extremes = {min(run, key=lambda i: inner[i][1]), max(run, key=lambda i: inner[i][1])}
        kept += [inner[i] for i in sorted(extremes)]
    return [*kept, points[-1]]


def smooth(points: Points, window: int) -> list[Point]:
    """A moving mean over about `window` points, centred so that it does not lag a steep curve.

    It narrows towards the start, where a loss is steepest, and looks back only at the end.
    """
    kept = [(x, y) for x, y in points if y is not None]
    sums = list(accumulate((y for _, y in kept), initial=0.0))
    smoothed = []
    for i, (x, _) in enumerate(kept):
        start = max(i - window // 2, 0)
        stop = min(i + window // 2, 2 * i, len(kept) - 1) + 1
        smoothed.append((x, (sums[stop] - sums[start]) / (stop - start)))
    return smoothed


def highest_lines(lines: Sequence[Points], count: int) -> list[int]:
    """The indices, in order, of the `count` lines with the highest peaks."""
    peaks = [max((y for _, y in line if y is not None), default=-math.inf) for line in lines]
    return sorted(sorted(range(len(lines)), key=lambda i: -peaks[i])[:count])


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round values (1, 2 or 5 times a power of ten apart) from `low` to `high`."""
    size = (high - low) / count
    power = 10.0 ** math.floor(math.log10(size))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= size * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Between three and eight round values of a logarithmic axis, where there are as many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 6, 8)):
        values = [m * 10.0**decade for decade in decades for m in mantissas]
        inside = [value for value in values if low <= value <= high]
        if len(inside) >= 3:
            return inside[:: math.ceil(len(inside) / 8)]
    return ticks(low, high, 4)


def _per_cent(value: float, start: float, end: float) -> str:
    return f"{100 * (value - start) / (end - start):.3f}%"


def _colour(series: Series) -> str:
    return f"color:var(--c{series.colour})"


def _path(series: Series, points: list[Point]) -> Html:
    # A closed subpath of no length is drawn as a dot by its round caps.
    if series.style == "dots" or len(points) == 1:
        line = "".join(f"M{x:.10g} {y:.5g}z" for x, y in points)
    else:
        line = "M" + " ".join(f"{x:.10g} {y:.5g}" for x, y in points)
    label = series.label or None
    return element("path", d=line, class_=series.style, style=_colour(series), data_label=label)
