"""Packed documents: every token in exactly one rectangle, positions restart."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openk2.models import PackedDocuments


@st.composite
def packed(draw: st.DrawFn) -> PackedDocuments:
    batch, length = draw(st.integers(1, 5)), draw(st.integers(1, 12))
    inner = st.sets(st.integers(1, length - 1)) if length > 1 else st.just(set())
    return PackedDocuments(batch, length, [[0, *sorted(draw(inner))] for _ in range(batch)])


@given(packed())
def test_rectangles_cover_every_token_once_and_are_documents(documents: PackedDocuments) -> None:
    seen = torch.zeros(documents.batch, documents.length, dtype=torch.int64)
    for r in documents.rectangles:
        seen[r.rows, r.positions] += 1
        for row in range(r.rows.start, r.rows.stop):
            assert r.positions.start in documents.starts[row]
            ends = [*documents.starts[row][1:], documents.length]
            assert r.positions.stop == ends[documents.starts[row].index(r.positions.start)]
    assert (seen == 1).all()


@given(packed())
def test_positions_count_from_each_start(documents: PackedDocuments) -> None:
    for row, starts in enumerate(documents.starts):
        for position in range(documents.length):
            start = max(s for s in starts if s <= position)
            assert documents.positions_BT[row, position] == position - start


def test_whole_rows_share_one_rectangle() -> None:
    assert len(PackedDocuments(7, 5).rectangles) == 1
    assert len(PackedDocuments(4, 5, [[0], [0], [0, 2], [0]]).rectangles) == 4


@pytest.mark.parametrize("starts", [[[0]], [[0], [1]], [[0], [0, 9]], [[0], [0, 3, 2]], [[0], []]])
def test_impossible_starts_are_refused(starts: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="starts"):
        PackedDocuments(2, 9, starts)
