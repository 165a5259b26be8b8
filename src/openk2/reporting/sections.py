"""The sections of a run's page: each is a function of the run, empty when it has no data."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from math import prod

from openk2.reporting.attention_logits import attention_logits
from openk2.reporting.charts import Chart, Series, highest_lines, smooth
from openk2.reporting.formats import compact
from openk2.reporting.heatmap import Heatmap
from openk2.reporting.markup import Html, element, join
from openk2.reporting.record import Event, RunRecord

__all__ = ["SECTIONS"]

UPDATE_RMS_TARGET = {"target": 0.2}  # AdamW's, which Muon's scale matches (section 2.1)
MOST_LAYERS = 8
RECENT_STEPS = 20  # over which the expert load is averaged
MOST_SAMPLED_STEPS = 6
LONGEST_SAMPLE = 1500  # characters


def learning(record: RunRecord) -> Html:
    """Loss and bits per byte, of training and of held-out text."""
    skipped = [event["step"] for event in record.steps if event.get("skipped")]
    window = _window(record)

    def chart(title: str, unit: str, key: str, references: Mapping[str, float]) -> Html:
        raw = record.points(key)
        held_out = [(event["step"], event[key]) for event in record.validations]
        series = (
            Series("batch", raw, 0, "faint"),
            Series(f"training, mean of about {window} steps", smooth(raw, window), 0),
            Series("", held_out, 1),
            Series("validation", held_out, 1, "dots"),
        )
        return Chart(
            title, unit, series, references, skipped, "skipped step", logarithmic=True
        ).html()

    compressors = {
        name: record.corpus[key]
        for name, key in (("gzip -9", "gzip_bits_per_byte"), ("xz -9", "xz_bits_per_byte"))
        if record.corpus.get(key) is not None
    }
    bits = chart("Bits per byte", "lower is better, log scale", "bits_per_byte", compressors)
    return join((bits, chart("Loss", "nats per token, log scale", "loss", {})))


def _window(record: RunRecord) -> int:
    return max(5, len(record.steps) // 40)


def samples(record: RunRecord) -> Html:
    """What the model wrote, at some steps from the first to the last."""
    by_step = [(step, list(group)) for step, group in groupby(record.samples, lambda e: e["step"])]
    count = min(MOST_SAMPLED_STEPS, len(by_step))
    chosen = {round(i * (len(by_step) - 1) / max(count - 1, 1)) for i in range(count)}
    return join(
        element(
            "article",
            element("h3", f"Step {by_step[i][0]:,}"),
            *(
                element(
                    "blockquote",
                    element("b", event["prompt"]),
                    event["text"][:LONGEST_SAMPLE],
                    element("small", f"temperature {event['temperature']:g}"),
                )
                for event in by_step[i][1]
            ),
            class_="sample",
        )
        for i in sorted(chosen)
    )


def experts(record: RunRecord) -> Html:
    """Which experts the router uses, and how uneven that is over time."""
    recent = [e["expert_load"] for e in record.steps[-RECENT_STEPS:] if e.get("expert_load")]
    if not recent:
        return Html("")
    # The share of the assignments times the number of experts: 1 is an even load.
    load = [
        [sum(shares) / len(recent) * len(layer[0]) for shares in zip(*layer, strict=True)]
        for layer in zip(*recent, strict=True)
    ]
    steps = [event for event in record.steps if event.get("max_violation")]
    window = _window(record)
    lines = [
        smooth([(e["step"], e["max_violation"][i]) for e in steps], window)
        for i in range(len(load))
    ]
    shown = highest_lines(lines, MOST_LAYERS)
    violation = [Series(f"layer {i}", lines[i], rank) for rank, i in enumerate(shown)]
    charts = (
        Heatmap(
            "Load by MoE layer and expert",
            f"1 is an even share, mean of the last {len(recent)} steps",
            load,
            "expert",
            span=0.5,
            neutral=1.0,
        ),
        Chart("MaxVio", f"highest / mean load − 1, mean of about {window} steps", violation),
        Chart("Balance loss", "auxiliary", [Series("loss", record.points("balance_loss"))]),
    )
    return join(chart.html() for chart in charts)


def optimizer(record: RunRecord) -> Html:
    """The schedule, the size of gradients and updates, and the speed."""
    return join(
        Chart(
            title, unit, [Series(title, record.points(key))], references, logarithmic=logarithmic
        ).html()
        for title, unit, key, references, logarithmic in (
            ("Learning rate", "of each step", "learning_rate", {}, False),
            ("Update RMS", "Muon, before the rate", "update_rms", UPDATE_RMS_TARGET, False),
            ("Gradient norm", "log scale", "gradient_norm", {}, True),
            ("Throughput", "tokens a second", "tokens_per_second", {}, False),
        )
    )


def corpus(record: RunRecord) -> Html:
    """What was read, what was held out and what was left out."""
    facts = record.corpus
    if not facts:
        return Html("")
    listed = Html("")
    if facts["skipped"]:
        header = ("file", "line", "reason")
        rows = ([str(entry[key] or "") for key in header] for entry in facts["skipped"])
        title = f"The first {len(facts['skipped'])} of {facts['skipped_count']:,} skipped"
        listed = element("details", element("summary", title), _table(header, rows))
    table = {
        "Source": facts["source"],
        "Documents": f"{facts['documents']:,}",
        "Training": _part(facts, "train"),
        "Held out": _part(facts, "validation"),
        "Vocabulary": f"{facts['vocabulary']:,} tokens",
        "Bytes per token": f"{facts['bytes_per_token']:.2f} on held-out text",
        "Bytes replaced": f"{facts['replaced_bytes']:,} (not UTF-8)",
        "Skipped": f"{facts['skipped_count']:,} files or lines",
    }
    return join((_facts(table), listed))


def _part(facts: Event, part: str) -> str:
    documents, tokens, size = (facts[f"{part}_{what}"] for what in ("documents", "tokens", "bytes"))
    return f"{documents:,} documents, {compact(tokens)} tokens, {compact(size)} bytes"


def parameters(record: RunRecord) -> Html:
    """Which rule updates which parameter, the layers of one shape folded into one row."""
    if not record.plan:
        return Html("")
    tensors: Counter[tuple[str, ...]] = Counter()
    weights: Counter[str] = Counter()
    for entry in record.plan:
        shape = " × ".join(map(str, entry["shape"]))
        tensors[re.sub(r"\d+", "*", entry["name"]), shape, entry["rule"], entry["reason"]] += 1
        weights[entry["rule"]] += prod(entry["shape"])
    shares = ", ".join(f"{compact(total)} weights by {rule}" for rule, total in weights.items())
    matrices = sum(entry["matrices"] or 0 for entry in record.plan if entry["rule"] == "muon")
    note = f"{shares}. Muon orthogonalises {matrices:,} matrices a step."
    header = ("parameter", "shape", "rule", "reason", "tensors")
    rows = ((*kind, str(count)) for kind, count in tensors.items())
    return join((element("p", note, class_="note"), _table(header, rows)))


def machine(record: RunRecord) -> Html:
    """Where it ran, and why with these threads and this number type."""
    facts = record.run.get("machine")
    if not facts:
        return Html("")
    memory = f"{facts['memory_bytes'] / 2**30:.1f} GiB"
    table = {
        "Device": facts["device"],
        "Processor": f"{facts['cpu']}, {facts['cores']} cores, {memory}",
        "Platform": facts["platform"],
        "Software": f"Python {facts['python']}, torch {facts['torch']}, openk2 {facts['openk2']}",
        "Threads": f"{facts['threads']}: {facts['threads_reason']}",
        "Number type": f"{facts['dtype']}: {facts['dtype_reason']}",
    }
    if record.checkpoints:
        table["Last checkpoint"] = record.checkpoints[-1]["path"]
    if record.resumes:
        table["Resumed"] = "from step " + ", ".join(str(e["step"]) for e in record.resumes)
    return _facts(table)


def configuration(record: RunRecord) -> Html:
    """The resolved configuration, as config.toml has it."""
    return element("pre", record.config)


def _facts(table: Mapping[str, str]) -> Html:
    rows = (element("div", element("dt", name), element("dd", v)) for name, v in table.items())
    return element("dl", *rows)


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Html:
    head = element("thead", element("tr", *(element("th", cell) for cell in header)))
    body = (element("tr", *(element("td", cell) for cell in row)) for row in rows)
    return element("div", element("table", head, element("tbody", *body)), class_="scroll")


SECTIONS: dict[str, Callable[[RunRecord], Html]] = {
    "Learning": learning,
    "Samples": samples,
    "Attention logits": attention_logits,
    "Experts": experts,
    "Optimizer and speed": optimizer,
    "Corpus": corpus,
    "Parameter plan": parameters,
    "Machine": machine,
    "Configuration": configuration,
}
