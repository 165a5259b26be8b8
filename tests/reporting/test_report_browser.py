"""The page in a real browser: rendered, its script run, its readout right, nothing complained."""

import re
import shutil
import subprocess

import pytest
from synthetic_run import HOSTILE, START, events, finish, write_run

from openk2.reporting.report import write_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"no browser: none of {BROWSERS} is here")

HOVER = """<script>
const box = plots[0].getBoundingClientRect();
const place = { clientX: box.left + box.width / 2 };
plots[0].dispatchEvent(new PointerEvent("pointermove", place));
</script></body>"""


def browse(page, profile):
    """The document after its scripts have run, and what the console said."""
    command = [
        BROWSER,
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--enable-logging=stderr", f"--user-data-dir={profile}", "--dump-dom", page.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_the_page_renders_and_hostile_text_does_not_run(tmp_path):
    lines = [*events(), finish()]
    sample = {"step": 600, "prompt": HOSTILE, "text": HOSTILE, "temperature": 1.0}
    lines.append({"kind": "sample", "time": START, **sample})
    page = write_report(write_run(tmp_path / "run", lines))
    document, console = browse(page, tmp_path / "profile")
    assert console == []
    assert '<html lang="en" data-charts="13">' in document
    assert document.count('class="readout"') == 13
    assert "<title>nano · OpenK2 run</title>" in document and "<img" not in document


def test_the_readout_shows_the_values_under_the_pointer(tmp_path):
    lines = [*events(), finish()]
    page = write_report(write_run(tmp_path / "run", lines))
    # The test's own script is not the page's, so the page's policy would stop it.
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    page.write_text(html.replace("</body>", HOVER))
    document, console = browse(page, tmp_path / "profile")
    assert console == []
    readout = re.search(r'<div class="readout"[^>]*><b class="">.*?</div></div>', document).group()
    by_step = {event["step"]: event for event in lines if event["kind"] == "step"}
    assert "step 300" in readout
    assert f"batch: {by_step[300]['bits_per_byte']:.4g}" in readout
    assert f"validation: {by_step[300]['bits_per_byte'] + 0.02:.4g}" in readout
