"""report.html: one page that asks for nothing, trusts no text and survives missing events."""

import base64
import hashlib
import json
import math
import random
import re
from html.parser import HTMLParser

import pytest
from synthetic_run import CONFIG, HOSTILE, START, events, finish, step_event, write_run

from openk2.core.errors import UserError
from openk2.reporting.report import write_report

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """The page as a browser's parser sees it: tags with attributes, text, and unbalanced tags."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.wrong, self.text = [], [], [], ""
        self.scripts = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif not self.open or self.open[-1] != "style":
            self.text += data

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)


def report(path, lines):
    return write_report(write_run(path / "run", lines)).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return report(tmp_path_factory.mktemp("report"), [*events(), finish()])


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_every_tag_is_closed_in_order(page):
    assert page.wrong == [] and page.open == []


def test_the_page_asks_for_nothing(html, page):
    assert "http://" not in html and "https://" not in html
    assert "url(" not in html and "@import" not in html
    for _, attributes in page.tags:
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")


def test_links_lead_to_sections(page):
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = {attributes["href"][1:] for tag, attributes in page.tags if tag == "a"}
    assert links == ids and len(ids) == 9


def test_every_figure_is_drawn_and_named(page):
    figures = [attributes["class"] for tag, attributes in page.tags if tag == "figure"]
    maps = [name for name in figures if "heatmap" in name]
    images = [attributes for tag, attributes in page.tags if attributes.get("role") == "img"]
    assert len(maps) == 2 and len(figures) - len(maps) == len(images) == 2 + 5 + 2 + 4
    assert all(attributes["aria-label"] for attributes in images)
    for title in ("Bits per byte", "Loss", "Layer 4", "All heads now", "MaxVio", "Balance loss"):
        assert title in page.text
    for title in ("Learning rate", "Update RMS", "Gradient norm", "Throughput", "Load by MoE"):
        assert title in page.text


def test_reference_lines_carry_their_values(page):
    for name in ("gzip -9: 3.05", "xz -9: 2.62", "threshold: 30", "target: 0.2"):
        assert name in page.text


def test_headline_and_facts(page):
    text = page.text
    assert "finished at step 600 of 600" in text
    assert re.search(r"1\.\d{3} bits per byte on held-out text: \d+\.\d % below xz -9", text)
    assert "6.81M" in text and "2.1M activated" in text and "4 min 32 s" in text
    assert "2.46M" in text and "threshold 30" in text
    assert "a step took 0.42 s with 1 thread and 1.90 s with 4" in text
    assert "400 documents, 2.91M tokens, 9.93M bytes" in text and "not text" in text
    assert "model.layers.*.self_attn.q_b_proj.weight" in text
    assert "log-sum-exp upper bound" in text
    assert CONFIG in text
    assert "lantern still burning" in text


def test_paths_hold_the_run(html):
    batch = re.search(r'<path d="M([^"]*)" class="faint"[^>]*data-label="batch"', html).group(1)
    numbers = [float(number) for number in batch.split()]
    steps = [event for event in events() if event["kind"] == "step"]
    assert numbers[::2] == [event["step"] for event in steps]
    expected = [math.log10(event["bits_per_byte"]) for event in steps]
    assert numbers[1::2] == pytest.approx(expected, abs=1e-5)


def test_only_the_page_s_own_script_may_run(page):
    (script,) = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policies = [a["content"] for tag, a in page.tags if "http-equiv" in a]
    assert policies == [
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    ]


def test_hostile_text_stays_text(tmp_path):
    lines = [*events(steps=100), finish(100)]
    for event in lines:
        if event["kind"] == "run":
            event["name"] = HOSTILE
            event["machine"] = {**event["machine"], "cpu": HOSTILE, "threads_reason": HOSTILE}
        elif event["kind"] == "corpus":
            event["source"] = HOSTILE
            event["skipped"] = [{"file": HOSTILE, "line": 3, "reason": HOSTILE}]
        elif event["kind"] == "plan":
            event["parameters"][0]["name"] = event["parameters"][0]["reason"] = HOSTILE
        elif event["kind"] == "sample":
            event["prompt"] = event["text"] = HOSTILE
        elif event["kind"] == "checkpoint":
            event["path"] = HOSTILE
    run = write_run(tmp_path / "run", lines)
    (run / "config.toml").write_text(f"# {HOSTILE}\n".replace("\x00", ""), encoding="utf-8")
    html = write_report(run).read_text(encoding="utf-8")
    page = Page(html)
    assert page.wrong == [] and page.open == []
    assert page.count("script") == 1 and page.count("img") == 0
    assert page.text.count("<script>alert(1)</script>") >= 10
    assert "\x00" not in html and "\x1b" not in html and "\u2400\u241b[31m" in page.text
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_a_lone_surrogate_does_not_stop_the_page(tmp_path):
    lines = [event for event in events(steps=100) if event["kind"] != "sample"]
    sample = {"step": 100, "prompt": "a", "text": "b\ud800c", "temperature": 1.0}
    lines.append({"kind": "sample", "time": START, **sample})
    assert "b?c" in report(tmp_path, lines)


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("run", "machine"),
        ("corpus", "corpus"),
        ("plan", "parameter plan"),
        ("step", "attention logits, experts, optimizer and speed"),
        ("validation", None),
        ("sample", "samples"),
        ("checkpoint", None),
    ],
)
def test_a_kind_of_event_may_be_missing(tmp_path, kind, missing):
    page = Page(report(tmp_path, [event for event in events(steps=100) if event["kind"] != kind]))
    assert page.wrong == [] and page.open == []
    said = re.findall(r"no data yet for: ([^.]*)\.", page.text)
    assert said == ([missing] if missing else [])


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_run_that_has_just_started(tmp_path, steps):
    page = Page(report(tmp_path, list(events(steps=steps))))
    assert page.wrong == [] and page.open == []
    assert f"at step {steps} of 600" in page.text
    assert "No validation figure yet" in page.text


def test_a_run_without_events_has_its_configuration(tmp_path):
    run = write_run(tmp_path / "run", [])
    (run / "events.jsonl").unlink()
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert "interrupted at step 0" in page.text and "[optimizer]" in page.text


def test_a_model_without_experts_or_clipping(tmp_path):
    lines = list(events(steps=100))
    for event in lines:
        if event["kind"] == "step":
            event |= {"expert_load": [], "max_violation": [], "update_rms": None}
            event |= {"qk_clip_threshold": None, "clipped_heads": [], "balance_loss": None}
    page = Page(report(tmp_path, lines))
    assert "no data yet for: experts." in page.text
    assert "Layer 0" in page.text and "threshold:" not in page.text
    assert "Update RMS" not in page.text


def test_numbers_that_were_not_finite(tmp_path):
    lines = list(events(steps=60))
    for event in lines:
        if event["kind"] == "step" and event["step"] > 40:
            event |= {"loss": None, "bits_per_byte": None, "gradient_norm": None, "skipped": True}
            event["max_logits"] = [[None] * 4 for _ in range(5)]
        elif event["kind"] == "validation":
            event |= {"loss": None, "bits_per_byte": None}
    page = Page(report(tmp_path, lines))
    assert page.wrong == [] and "20 steps skipped" in page.text and "skipped step" in page.text


def test_a_threshold_far_above_is_named_at_the_edge(tmp_path):
    lines = list(events(steps=60))
    for event in lines:
        if event["kind"] == "step":
            event["qk_clip_threshold"] = 1000.0
    assert "threshold: 1000 ↑" in Page(report(tmp_path, lines)).text


def test_a_large_run_stays_below_one_megabyte(tmp_path):
    rng = random.Random(2)
    steps = [step_event(step, rng, 3000, (14, 12, 13, 64)) for step in range(1, 200)]
    lines = list(events(steps=0))
    for step in range(3000):
        lines.append({**steps[step % len(steps)], "step": step + 1})
    html = report(tmp_path, lines)
    assert len(html.encode()) < 1_000_000
    text = Page(html).text
    assert "the 12 of 14 layers with the highest peaks" in text and "8 highest of 12 heads" in text


def test_the_page_is_a_function_of_the_folder(tmp_path):
    run = write_run(tmp_path / "run", events(steps=60))
    first = write_report(run)
    content = first.read_bytes()
    assert first == run / "report.html" and write_report(run).read_bytes() == content


def test_a_folder_that_is_not_a_run(tmp_path):
    with pytest.raises(UserError, match=r"is not a run folder \(no config.toml\)"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_torn_last_line_is_not_an_event(tmp_path):
    run = write_run(tmp_path / "run", events(steps=20))
    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "step", "time": 1.0})[:-4])
    assert "at step 20 of 600" in Page(write_report(run).read_text(encoding="utf-8")).text
