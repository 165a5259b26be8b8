"""How the scripts draw: one style, runs as thin lines, their mean as a thick one."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = ["COLOURS", "draw_band", "draw_runs", "new_figure", "save"]

# Okabe and Ito: apart for every kind of colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73")

Runs = Sequence[NDArray[np.float64]]  # a curve for each run, equally long

STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}


def new_figure(columns: int, width: float = 9.0, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    """A figure of `columns` panels side by side; width and height in inches."""
    matplotlib.rcParams.update(STYLE)
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def draw_runs(axes: Axes, x: Runs, y: Runs, colour: str, label: str) -> None:
    """Each run thin, their mean thick."""
    for x_run, y_run in zip(x, y, strict=True):
        axes.plot(x_run, y_run, color=colour, linewidth=0.6, alpha=0.6)
    axes.plot(np.mean(x, axis=0), np.mean(y, axis=0), color=colour, linewidth=1.8, label=label)


def draw_band(axes: Axes, x: Runs, y: Runs, colour: str, label: str, line: str) -> None:
    """The runs' mean in a band of one standard deviation to each side."""
    x_mean, y_mean = np.mean(x, axis=0), np.mean(y, axis=0)
    spread = np.std(y, axis=0, ddof=1) if len(y) > 1 else np.zeros_like(y_mean)
    band = y_mean - spread, y_mean + spread
    axes.fill_between(x_mean, *band, color=colour, alpha=0.2, linewidth=0)
    axes.plot(x_mean, y_mean, color=colour, linewidth=1.6, linestyle=line, label=label)


def save(figure: Figure, path: Path) -> None:
    """Write a picture on a white ground."""
    figure.savefig(path, dpi=160, facecolor="white")
