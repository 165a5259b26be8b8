"""S_max per layer and head against the threshold of QK-Clip (paper section 2.1, figure 2)."""

import math
from collections import Counter

from openk2.reporting.charts import PALETTE_SIZE, Chart, Points, Series, highest_lines
from openk2.reporting.heatmap import Heatmap
from openk2.reporting.markup import Html, element
from openk2.reporting.record import Event, RunRecord, largest

__all__ = ["attention_logits"]

MOST_LAYERS = 12
MOST_HEADS = PALETTE_SIZE
POINTS_OF_ALL_HEADS = 12_000
SHOWN_THRESHOLD = 4  # the threshold joins the axis when S_max comes within this factor of it


def attention_logits(record: RunRecord) -> Html:
    """One chart a layer, where QK-Clip acted, and all heads as they are now."""
    steps = [event for event in record.steps if largest(event.get("max_logits")) is not None]
    if not steps:
        return Html("")
    latest, threshold = steps[-1]["max_logits"], steps[-1]["qk_clip_threshold"] or math.inf
    exact = [event for event in record.validations if event.get("max_logits")]
    lines = [[_history(steps, i, h) for h in range(len(row))] for i, row in enumerate(latest)]
    layers = highest_lines([[p for line in heads for p in line] for heads in lines], MOST_LAYERS)
    values = [y for heads in lines for line in heads for _, y in line if y is not None]
    top = max(*values, 0.1)
    top = max(top, threshold) if top > threshold / SHOWN_THRESHOLD else top
    charts = []
    for layer in layers:
        heads = highest_lines(lines[layer], MOST_HEADS)
        chart = Chart(
            f"Layer {layer}",
            "S_max",
            (
                *(Series(f"head {h}", lines[layer][h], i) for i, h in enumerate(heads)),
                *(Series("", _history(exact, layer, h), i, "dots") for i, h in enumerate(heads)),
            ),
            {"threshold": threshold} if threshold < math.inf else {},
            [event["step"] for event in steps if any(_clipped(event, layer))],
            "clipped",
            y_range=(min(0.0, *values), 1.12 * top),
            point_limit=max(60, min(600, POINTS_OF_ALL_HEADS // (len(layers) * len(heads)))),
            small=True,
        )
        charts.append(chart.html())
    unit = f"S_max at step {steps[-1]['step']:,}"
    now = Heatmap("All heads now", unit, latest, "head", span=top, alarm=threshold).html()
    note = element("p", _note(steps, latest, len(layers)), class_="note")
    return element("div", note, *charts, now, class_="multiples")


def _history(events: list[Event], layer: int, head: int) -> Points:
    return [(event["step"], event["max_logits"][layer][head]) for event in events]


def _clipped(event: Event, layer: int) -> list[int]:
    clipped = event.get("clipped_heads")
    return clipped[layer] if clipped else []


def _note(steps: list[Event], latest: list[list[float | None]], shown: int) -> str:
    clips = Counter(
        (layer, head)
        for event in steps
        for layer in range(len(latest))
        for head, hit in enumerate(_clipped(event, layer))
        if hit
    )
    note = (
        "S_max is the largest attention logit of a head in one step. QK-Clip acted on "
        f"{len(clips)} of {sum(map(len, latest))} heads, {clips.total():,} times in all. Below the "
        "threshold a training value is the log-sum-exp upper bound of S_max; above it, and at the "
        "validation points (dots), it is exact."
    )
    if shown < len(latest):
        note += f" Drawn are the {shown} of {len(latest)} layers with the highest peaks."
    if len(latest[0]) > MOST_HEADS:
        note += f" Each shows its {MOST_HEADS} highest of {len(latest[0])} heads."
    return note
