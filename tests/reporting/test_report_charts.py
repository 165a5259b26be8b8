"""Charts, heat-maps, markup and number formats: what they draw and what they never lose."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openk2.reporting.charts import Chart, Series, downsample, highest_lines, smooth
from openk2.reporting.charts import log_ticks as log_ticks_of
from openk2.reporting.charts import ticks as ticks_of
from openk2.reporting.formats import compact, duration, number, share
from openk2.reporting.heatmap import Heatmap
from openk2.reporting.markup import Html, element, join

finite = st.floats(-1e9, 1e9)
series = st.lists(finite, max_size=400).map(lambda ys: [(float(x), y) for x, y in enumerate(ys)])


@given(series, st.integers(4, 100))
def test_downsampling_keeps_order_ends_and_extremes_within_its_limit(points, limit):
    kept = downsample(points, limit)
    assert len(kept) <= limit
    assert kept == sorted(set(kept)) and set(kept) <= set(points)
    if points:
        assert kept[0] == points[0] and kept[-1] == points[-1]
        assert min(y for _, y in kept) == min(y for _, y in points)
        assert max(y for _, y in kept) == max(y for _, y in points)


def test_downsampling_keeps_a_spike_of_one_step_among_many():
    points = [(float(x), 50.0 if x == 77_123 else 1.0) for x in range(100_000)]
    assert (77_123.0, 50.0) in downsample(points, 600)


@given(series, st.integers(1, 60))
def test_smoothing_stays_within_the_values_and_keeps_the_steps(points, window):
    smoothed = smooth(points, window)
    assert [x for x, _ in smoothed] == [x for x, _ in points]
    if points:
        low, high = min(y for _, y in points), max(y for _, y in points)
        assert all(low - 1e-3 <= y <= high + 1e-3 for _, y in smoothed)


def test_smoothing_does_not_lag_a_straight_line_and_skips_gaps():
    line = [(float(x), 2.0 * x) for x in range(50)]
    assert [y for _, y in smooth(line, 10)[:45]] == pytest.approx([y for _, y in line[:45]])
    assert [x for x, _ in smooth([(1, 1.0), (2, None), (3, 3.0)], 5)] == [1, 3]


@given(finite, st.floats(1e-6, 1e9), st.integers(3, 8))
def test_ticks_are_even_and_inside(low, size, count):
    high = low + size
    ticks = ticks_of(low, high, count)
    slack = 1e-6 * max(size, abs(low) * 1e-6, abs(high) * 1e-6)
    assert len(ticks) <= count + 1
    assert all(low - slack <= tick <= high + slack for tick in ticks)


@given(st.floats(1e-6, 1e6), st.floats(1.01, 1e8))
def test_logarithmic_ticks_are_inside_and_few(low, ratio):
    ticks = log_ticks_of(low, low * ratio)
    assert 1 <= len(ticks) <= 8
    assert all(low * 0.999 <= tick <= low * ratio * 1.001 for tick in ticks)


def test_highest_lines_are_chosen_by_peak_and_stay_in_order():
    lines = [[(1, 5.0)], [(1, None)], [(1, 9.0), (2, 0.0)], [(1, 7.0)]]
    assert highest_lines(lines, 2) == [2, 3]
    assert highest_lines(lines, 9) == [0, 1, 2, 3]


def test_a_chart_without_a_point_is_left_out():
    assert Chart("Loss", "nats", [Series("loss", [])]).html() == ""
    assert Chart("Loss", "nats", [Series("loss", [(1, None)])]).html() == ""
    assert Chart("Norm", "", [Series("norm", [(1, 0.0)])], logarithmic=True).html() == ""


def test_a_path_holds_the_values_themselves():
    drawn = Chart("Rate", "of a step", [Series("rate", [(1, 2e-4), (2, None), (3, 5e-5)])]).html()
    assert 'd="M1 0.0002 3 5e-05"' in drawn
    assert 'data-label="rate"' in drawn and 'data-log="0"' in drawn
    logarithmic = Chart("Loss", "", [Series("loss", [(1, 100.0), (2, 10.0)])], logarithmic=True)
    assert 'd="M1 2 2 1"' in logarithmic.html()


def test_a_reference_beyond_the_range_is_named_at_the_edge():
    points = [Series("S_max", [(1, 3.0), (2, 4.0)])]
    inside = Chart("S_max", "", points, {"threshold": 5.0}).html()
    assert "threshold: 5<" in inside and 'class="reference"' in inside
    beyond = Chart("S_max", "", points, {"threshold": 100.0}, y_range=(0, 5)).html()
    assert "threshold: 100 ↑" in beyond and '<line class="reference"' not in beyond


def test_marks_are_drawn_and_explained():
    chart = Chart("S_max", "", [Series("head 0", [(1, 3.0), (9, 4.0)])], {}, [4, 7], "clipped")
    assert chart.html().count('class="mark"') == 2  # the strokes and their entry in the legend
    assert "M4 " in chart.html() and "M7 " in chart.html() and "clipped</li>" in chart.html()


def test_a_heatmap_names_outlines_and_colours_its_cells():
    drawn = Heatmap("Load", "share", [[0.5, 1.0], [3.0, None]], "expert", 1.0, 1.0, alarm=2).html()
    assert 'title="layer 0, expert 0: 0.5"' in drawn
    assert drawn.count("<td") == 4 and drawn.count("title=") == 3
    assert 'class="high alarm" style="--v:100%"' in drawn
    assert 'class="low" style="--v:52%"' in drawn
    assert Heatmap("Load", "", [], "expert", 1.0).html() == ""


def test_a_large_heatmap_merges_columns_to_their_highest_value():
    rows = [[0.0] * 384 for _ in range(60)]
    rows[7][200] = 9.0
    drawn = Heatmap("Load", "share", rows, "expert", 1.0).html()
    assert drawn.count("<td") <= 2400
    assert 'title="layer 7, expert 200: 9"' in drawn and "each the highest of 10" in drawn


class _Text(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@given(st.text(), st.text())
def test_any_text_survives_and_no_text_becomes_a_tag(content, attribute):
    parser = _Text()
    parser.feed(element("p", content, title=attribute))
    parser.close()
    pictures = {code: 0x2400 + code for code in range(32) if code not in (9, 10)}
    pictures |= {0x7F: 0x2421, **dict.fromkeys(range(0x80, 0xA0), 0xFFFD)}
    assert parser.text == content.translate(pictures)
    assert parser.tags == [("p", {"title": attribute.translate(pictures)})]


def test_only_what_is_html_already_passes_unescaped():
    assert element("b", element("i", "x"), "<i>") == "<b><i>x</i>&lt;i&gt;</b>"
    assert join(("<", Html("<br>"))) == "&lt;<br>"
    assert element("i", class_="a", data_x=1, title=None) == '<i class="a" data-x="1"></i>'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"),
        (0, "0"),
        (12_345, "12.3k"),
        (999_960, "1M"),
        (6_812_416, "6.81M"),
        (1.04e12, "1.04T"),
        (2e-4, "2e-4"),
        (1.5e-3, "1.5e-3"),
        (0.25, "0.25"),
        (-30, "-30"),
    ],
)
def test_compact(value, expected):
    assert compact(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "-"),
        (0.81, "0.8 s"),
        (45, "45 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7_500, "2 h 05 min"),
    ],
)
def test_duration(seconds, expected):
    assert duration(seconds) == expected


def test_number_and_share():
    assert number(None) == "-" and number(1234.5678, 1) == "1,234.6"
    assert share(1.75, 2.0) == "12.5 % below" and share(2.06, 2.0) == "3.0 % above"
