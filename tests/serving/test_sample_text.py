"""Stop strings cut the text at the same place however it comes."""

from hypothesis import given
from hypothesis import strategies as st

from openk2.serving.sample_text import StopCutter

LETTERS = st.text("ab\n", max_size=30)


def expected(text, stops):
    """The text up to the first place where a stop string begins."""
    places = [place for place in range(len(text)) if text.startswith(tuple(stops), place)]
    return text[: places[0]] if places and stops else text


@given(
    pieces=st.lists(LETTERS, max_size=10),
    stops=st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3),
)
def test_any_pieces_give_the_text_before_the_first_stop(pieces, stops):
    cutter = StopCutter(stops)
    shown = "".join([*map(cutter.feed, pieces), cutter.finish()])
    whole = "".join(pieces)
    # The first stop that is complete counts; one that begins earlier may end later.
    assert shown == expected(whole, stops) or ends_first(whole, shown, stops)


def ends_first(text, shown, stops):
    """`shown` stands before the stop string that is complete first."""
    ends = [
        (place + len(stop), place)
        for place in range(len(text))
        for stop in stops
        if text.startswith(stop, place)
    ]
    return shown == text[: min(ends)[1]]


@given(pieces=st.lists(LETTERS, max_size=10), stop=st.text("ab\n", min_size=1, max_size=4))
def test_nothing_is_shown_that_is_taken_back(pieces, stop):
    cutter = StopCutter([stop])
    shown = ""
    for number, piece in enumerate(pieces, 1):
        shown += cutter.feed(piece)
        assert expected("".join(pieces[:number]), [stop]).startswith(shown)
        assert stop not in shown


def test_without_stop_strings_nothing_waits():
    cutter = StopCutter([])
    assert cutter.feed("all of it") == "all of it" and cutter.finish() == ""
