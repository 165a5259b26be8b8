"""A run's progress while it runs: a live display on a terminal, plain lines everywhere else.

Never both, and no carriage return in a log file. It is an observer of the event log: it sees what
the file holds and nothing more.
"""

import time
from collections import deque
from collections.abc import Callable
from statistics import fmean
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from openk2.core.terminal import printable
from openk2.reporting.formats import compact, duration, number
from openk2.reporting.record import Event, largest

__all__ = ["LiveProgress"]

RECENT_STEPS = 50  # whose mean duration gives the time left, and whose losses are drawn
SPARKS = "▁▂▃▄▅▆▇█"
SECONDS_BETWEEN_FRAMES = 0.25


class LiveProgress:
    """Shows the events that it is called with; a context manager, for the terminal's sake.

    `steps` is the run's last step, for a resumed run whose log has its `run` event already;
    `interval` is the seconds between two plain step lines. The default console is the standard
    error, which leaves the standard output to results.
    """

    def __init__(
        self,
        steps: int | None = None,
        *,
        console: Console | None = None,
        interval: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console or Console(stderr=True)
        can_draw = _can_draw(self.console)
        self._live = Live(console=self.console, auto_refresh=False) if can_draw else None
        self._interval = SECONDS_BETWEEN_FRAMES if can_draw else interval
        self._clock = clock
        self._next_time = clock()
        self._steps, self._name, self._news = steps, "run", "preparing"
        self._step: Event = {}
        self._validation: Event = {}
        self._recent: deque[Event] = deque(maxlen=RECENT_STEPS)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
            self._live.update(self._frame(), refresh=True)
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.update(self._frame(), refresh=True)
            self._live.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        """Take one event of the log."""
        match event["kind"]:
            case "run":
                self._steps, self._name = event["steps"], event["name"]
            case "validation":
                self._validation = event
            case "step":
                self._step = event
                self._recent.append(event)
        news = _news(event)
        self._news = news or self._news
        due = self._step is event and (self._is_due() or event["step"] == self._steps)
        if self._live and (news or due):
            self._live.update(self._frame(), refresh=True)
        elif news or due:
            # Not through rich, which would wrap at the width of a terminal that is not there.
            print(printable(news or self._step_line()), file=self.console.file, flush=True)

    def _is_due(self) -> bool:
        now = self._clock()
        due = now >= self._next_time
        if due:
            self._next_time = now + self._interval
        return due

    def _seconds_left(self) -> float | None:
        if not self._recent or self._steps is None:
            return None
        steps_left: int = self._steps - self._step["step"]
        return steps_left * fmean(event["seconds"] for event in self._recent)

    def _step_line(self) -> str:
        step = self._step
        total = f"/{self._steps}" if self._steps else ""
        return (
            f"step {step['step']}{total}  loss {number(step['loss'])}"
            f"  {number(step['bits_per_byte'])} bits/byte"
            f"  {number(step['tokens_per_second'], 0)} tokens/s"
            f"  max logit {number(largest(step.get('max_logits')), 1)}"
            f"  ETA {duration(self._seconds_left())}"
        )

    def _frame(self) -> RenderableType:
        """The whole display: a bar, the figures in two columns, the last losses, the last news."""
        step, done, total = self._step, self._step.get("step", 0), self._steps
        head = Table.grid(expand=True, padding=(0, 2))
        head.add_column(ratio=1)
        head.add_row(
            ProgressBar(total=total, completed=done, pulse=not total),
            f"{done}/{total or '?'}  ETA {duration(self._seconds_left())}",
        )
        highest = number(largest(step.get("max_logits")), 1)
        threshold = number(step.get("qk_clip_threshold"), 0)
        cells = (
            ("loss", number(step.get("loss"))),
            ("tokens a second", number(step.get("tokens_per_second"), 0)),
            ("bits per byte", number(step.get("bits_per_byte"))),
            ("max logit", f"{highest} (threshold {threshold})"),
            ("on held-out text", number(self._validation.get("bits_per_byte"))),
            ("learning rate", compact(step.get("learning_rate"))),
        )
        figures = Table.grid(padding=(0, 3))
        for left, right in zip(cells[::2], cells[1::2], strict=True):
            figures.add_row(Text(left[0], "dim"), left[1], Text(right[0], "dim"), right[1])
        losses = [event["loss"] for event in self._recent if event["loss"] is not None]
        news = Text(printable(self._news), "dim")
        lines = (head, figures, Text(_sparkline(losses), "cyan"), news)
        return Panel(Group(*lines), title=Text(printable(self._name)), title_align="left")


def _can_draw(console: Console) -> bool:
    """A terminal that moves its cursor and shows the bar's characters, and no wish against it."""
    capable = console.is_terminal and not console.is_dumb_terminal
    return capable and not console.no_color and console.encoding.startswith("utf")


def _news(event: Event) -> str:
    """The line that an event is worth by itself; empty for the others."""
    step = event.get("step")
    match event["kind"]:
        case "validation":
            loss, bits = number(event["loss"]), number(event["bits_per_byte"])
            return f"validation at step {step}: loss {loss}, {bits} bits/byte"
        case "checkpoint":
            return f"checkpoint at step {step}: {event['path']}"
        case "resume":
            return f"resumed from step {step}"
        case "stop":
            return f"stopped at step {step} ({event['reason']}), saved"
        case "finish":
            return f"finished at step {step} after {duration(event['training_seconds'])}"
    return ""


def _sparkline(values: list[float]) -> str:
    """The values as eight heights, between their lowest and their highest."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    scale = (len(SPARKS) - 1) / (high - low or 1.0)
    return "".join(SPARKS[round((value - low) * scale)] for value in values)
