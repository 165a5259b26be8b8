"""A run in one dictionary, in words for people, and on a terminal (`k2 show RUN`)."""

from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from openk2.core.terminal import printable
from openk2.reporting.formats import compact, duration, number, share
from openk2.reporting.record import RunRecord, largest, read_run

__all__ = ["figures", "print_summary", "status_line", "summarize", "summary_of", "verdict"]


def summarize(run_path: Path) -> dict[str, Any]:
    """The run's headline figures, ready for JSON; None where there is nothing to say yet.

    Bits per byte are of the held-out text; seconds are the sum of the steps' own; `parameters` has
    `total`, `activated` and `embedding`; `max_logit` is the highest S_max of the latest step and
    `highest_max_logit` that of the run. Raises UserError when `run_path` is not a run folder.
    """
    return summary_of(read_run(run_path))


def summary_of(record: RunRecord) -> dict[str, Any]:
    """`summarize` for a run that has been read."""
    steps, last = record.steps, record.steps[-1] if record.steps else {}
    finite = [event for event in record.validations if event["bits_per_byte"] is not None]
    best = min(finite, key=lambda event: event["bits_per_byte"], default={})
    final = record.validations[-1] if record.validations else {}
    flops, tokens = record.run.get("flops_per_token"), last.get("tokens", 0)
    return {
        "run": record.name,
        "status": record.status,
        "stop_reason": record.ending.get("reason"),
        "step": record.step,
        "steps": record.run.get("steps"),
        "final_validation_bits_per_byte": final.get("bits_per_byte"),
        "best_validation_bits_per_byte": best.get("bits_per_byte"),
        "best_validation_step": best.get("step"),
        "gzip_bits_per_byte": record.corpus.get("gzip_bits_per_byte"),
        "xz_bits_per_byte": record.corpus.get("xz_bits_per_byte"),
        "tokens": tokens,
        "tokens_per_second": median(e["tokens_per_second"] for e in steps) if steps else None,
        "training_seconds": record.ending.get(
            "training_seconds", sum(event["seconds"] for event in steps)
        ),
        "training_flops": None if flops is None else flops * tokens,
        "parameters": record.run.get("parameters", {}),
        "max_logit": largest(last.get("max_logits")),
        "highest_max_logit": largest([[largest(e.get("max_logits")) for e in steps]]),
        "qk_clip_threshold": last.get("qk_clip_threshold"),
        "clipped_head_steps": sum(sum(map(sum, e.get("clipped_heads") or ())) for e in steps),
        "skipped_steps": sum(bool(event.get("skipped")) for event in steps),
        "skipped_count": record.corpus.get("skipped_count"),
        "replaced_bytes": record.corpus.get("replaced_bytes"),
        "report": str(record.folder.report) if record.folder.report.exists() else None,
    }


def status_line(summary: dict[str, Any]) -> str:
    """`stopped at step 320 of 600 (SIGTERM)`."""
    total = f" of {summary['steps']:,}" if summary["steps"] else ""
    reason = f" ({summary['stop_reason']})" if summary["stop_reason"] else ""
    return f"{summary['status']} at step {summary['step']:,}{total}{reason}"


def verdict(summary: dict[str, Any]) -> str:
    """One sentence: the latest validation against xz -9 and gzip -9 on the same held-out text."""
    model = summary["final_validation_bits_per_byte"]
    if model is None:
        return "No validation figure yet to compare with xz and gzip."
    against = [
        f"{share(model, summary[key])} {name} ({summary[key]:.3f})"
        for name, key in (("xz -9", "xz_bits_per_byte"), ("gzip -9", "gzip_bits_per_byte"))
        if summary[key] is not None
    ]
    sentence = f"{model:.3f} bits per byte on held-out text"
    return f"{sentence}: {', '.join(against)}." if against else f"{sentence}."


def figures(summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The headline figures as (name, value, detail), for the page and for the terminal."""
    total, activated = (compact(summary["parameters"].get(key)) for key in ("total", "activated"))
    final, best = (summary[f"{which}_validation_bits_per_byte"] for which in ("final", "best"))
    detail = "none yet"
    if best is not None:
        detail = f"best {number(best)} at step {summary['best_validation_step']:,}"
    now, threshold = number(summary["max_logit"], 1), number(summary["qk_clip_threshold"], 0)
    skipped = f"{summary['skipped_steps']:,} steps skipped"
    return [
        ("validation bits per byte", number(final), detail),
        ("tokens", compact(summary["tokens"]), f"{summary['tokens']:,} seen in training"),
        ("tokens a second", compact(summary["tokens_per_second"]), "median over the steps"),
        ("training time", duration(summary["training_seconds"]), skipped),
        ("parameters", total, f"{activated} activated by a token"),
        ("training compute", compact(summary["training_flops"]), "floating-point operations"),
        (
            "highest S_max",
            number(summary["highest_max_logit"], 1),
            f"now {now}, threshold {threshold}",
        ),
        ("clipped head-steps", f"{summary['clipped_head_steps']:,}", "heads clipped, all steps"),
    ]


def print_summary(summary: dict[str, Any], console: Console) -> None:
    """Print the figures as a table and the verdict under it, green when it is below xz -9."""
    table = Table.grid(padding=(0, 3))
    rows = [("run", summary["run"], status_line(summary)), *figures(summary)]
    for name, value, detail in rows:
        cells = (Text(name, style="dim"), Text(printable(value), style="bold"))
        table.add_row(*cells, Text(printable(detail)))
    console.print(table)
    model, xz = summary["final_validation_bits_per_byte"], summary["xz_bits_per_byte"]
    better = model is not None and xz is not None and model < xz
    console.print(Text(verdict(summary), style="bold green" if better else "bold yellow"))
    if summary["report"]:
        console.print(Text(printable(summary["report"]), style="dim"), soft_wrap=True)
