"""Rows against a slow reading of the rules, token by token."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.data import NO_TARGET, TokenShards
from openk2.data.packing import cut_windows

from .sample import TEXTS, small_tokenizer, write_shards


@settings(max_examples=30, deadline=None)
@given(TEXTS, st.data())
def test_rows_follow_the_rules(texts: list[str], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        shards = write_shards(Path(temporary, "shards"), texts)
        length = data.draw(st.integers(1, min(40, len(shards) - 1)))
        begin = st.integers(0, len(shards) - 1 - length)
        begins = data.draw(st.lists(begin, min_size=1, max_size=4))
        repeated = data.draw(st.sampled_from([[0], [length // 2], [length]]))
        batch = cut_windows(shards, begins, length, repeated)
        assert batch.tokens_BT.dtype == batch.targets_BT.dtype == np.int64
        assert batch.tokens_BT.shape == batch.targets_BT.shape == (len(begins), length)
        expected_bytes = 0
        for row, begin_of_row in enumerate(begins):
            starts = {0}
            for t in range(length):
                position = begin_of_row + t
                document = _document_of(shards, position)
                assert batch.tokens_BT[row, t] == shards.tokens[position]
                if position == shards.offsets[document]:
                    starts.add(t)
                last = position + 1 == shards.offsets[document + 1]
                target = NO_TARGET if last or t < repeated[0] else shards.tokens[position + 1]
                assert batch.targets_BT[row, t] == target
                if target != NO_TARGET:
                    expected_bytes += shards.token_bytes[target]
            assert batch.starts[row] == sorted(starts)
        assert batch.target_bytes == expected_bytes
        assert batch.target_count == sum(t != NO_TARGET for t in batch.targets_BT.flat)


def _document_of(shards: TokenShards, position: int) -> int:
    return int(np.searchsorted(shards.offsets, position, side="right")) - 1


def test_a_document_in_one_row(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", ["abc", "é"])
    bos, eos = shards.bos, shards.eos
    a, b, c = (small_tokenizer().encode(letter)[0] for letter in "abc")
    e = small_tokenizer().encode("é")
    batch = cut_windows(shards, [0], len(shards) - 1)
    assert batch.tokens_BT.tolist() == [[bos, a, b, c, eos, bos, *e]]
    assert batch.targets_BT.tolist() == [[a, b, c, eos, NO_TARGET, *e, eos]]
    assert batch.starts == [[0, 5]]
    assert batch.target_bytes == shards.bytes == 5
