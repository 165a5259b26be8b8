"""report.html: a run as one page that needs nothing but itself, from file:// too."""

import base64
import hashlib
import os
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from openk2.core.run_folder import write_atomically
from openk2.reporting.markup import Html, element, join
from openk2.reporting.record import RunRecord, read_run
from openk2.reporting.sections import SECTIONS
from openk2.reporting.summary import figures, status_line, summary_of, verdict

__all__ = ["write_report"]


def write_report(run_path: Path) -> Path:
    """Write the page of the run at `run_path` from its config.toml and events.jsonl.

    Returns the page's path. Raises UserError when `run_path` is not a run folder.
    """
    record = read_run(run_path)
    report = record.folder.report
    # A run and any number of `k2 show` may write the page at once: each has a file of its own.
    own = report.with_name(f"{report.name}.{os.getpid()}.partial")
    try:
        # A lone surrogate, which JSON can carry and UTF-8 cannot, becomes a question mark.
        write_atomically(own, _page(record).encode(errors="replace"))
        own.replace(report)
    finally:
        own.unlink(missing_ok=True)
    return report


def _page(record: RunRecord) -> Html:
    style, script = (
        Html(files("openk2.reporting").joinpath("assets", name).read_text(encoding="utf-8"))
        for name in ("report.css", "report.js")
    )
    # Should hostile text ever get past the escaping, the browser still runs this script alone.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    sections = [(title, make(record)) for title, make in SECTIONS.items()]
    missing = [title.lower() for title, content in sections if not content]
    present = [
        (title.lower().replace(" ", "-"), title, content) for title, content in sections if content
    ]
    head = (
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", f"{record.name} · OpenK2 run"),
        element("style", style),
    )
    body = (
        _header(record),
        element("nav", *(element("a", title, href=f"#{key}") for key, title, _ in present)),
        *(
            element("section", element("h2", title), element("div", content, class_="body"), id=key)
            for key, title, content in present
        ),
        _footer(record, missing),
        element("script", script),
    )
    page = element("html", element("head", *head), element("body", *body), lang="en")
    return join((Html("<!doctype html>\n"), page))


def _header(record: RunRecord) -> Html:
    summary = summary_of(record)
    tiles = (
        element("div", element("span", name), element("b", value), element("small", detail))
        for name, value, detail in figures(summary)
    )
    return element(
        "header",
        element("p", "OpenK2 run", class_="eyebrow"),
        element("h1", record.name),
        element("p", status_line(summary), class_=f"status {record.status}"),
        element("p", verdict(summary), class_="verdict"),
        _comparison(summary),
        element("div", *tiles, class_="tiles"),
    )


def _comparison(summary: dict[str, Any]) -> Html:
    """The model beside the two compressors, as bars of bits per byte."""
    bars = [
        (name, look, summary[f"{key}_bits_per_byte"])
        for name, look, key in (
            ("This model", "bar model", "final_validation"),
            ("xz -9", "bar", "xz"),
            ("gzip -9", "bar", "gzip"),
        )
        if summary[f"{key}_bits_per_byte"] is not None
    ]
    if not bars:
        return Html("")
    longest = max(value for _, _, value in bars)
    explanation = (
        "Bits per byte on the held-out text, lower is better. The compressors see that text alone; "
        "the model has been trained on the rest of the corpus."
    )
    rows = (
        element(
            "div",
            element("span", name),
            element("i", style=f"--length:{100 * value / longest:.1f}%"),
            element("b", f"{value:.3f}"),
            class_=look,
        )
        for name, look, value in bars
    )
    return join((*rows, element("p", explanation, class_="note")))


def _footer(record: RunRecord, missing: list[str]) -> Html:
    lines = [f"This run has no data yet for: {', '.join(missing)}."] if missing else []
    if record.last_time is not None:
        moment = datetime.fromtimestamp(record.last_time, UTC)
        lines.append(f"As of the last event, {moment:%Y-%m-%d %H:%M:%S} UTC.")
    lines.append("Made from config.toml and events.jsonl; every figure here is in those two files.")
    return element("footer", *(element("p", line) for line in lines))
