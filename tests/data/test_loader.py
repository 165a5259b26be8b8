"""Every window once an epoch, the same at any world size, every validation byte paid for."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.core.errors import UserError
from openk2.data import NO_TARGET, Batch, PackedBatches, TokenShards, ValidationBatches
from openk2.data.loader import shuffle

from .sample import TEXTS, some_documents, write_shards

SMALL_TEXTS = [document.text for document in some_documents(40)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> TokenShards:
    return write_shards(tmp_path_factory.mktemp("shards") / "shards", SMALL_TEXTS)


def rows_of(batch: Batch) -> list[tuple[bytes, bytes, tuple[int, ...]]]:
    rows = zip(batch.tokens_BT, batch.targets_BT, batch.starts, strict=True)
    return [
        (tokens.tobytes(), targets.tobytes(), tuple(starts)) for tokens, targets, starts in rows
    ]


def window_begins(batches: PackedBatches, number: int) -> list[int]:
    """Where the rows of a batch begin in the stream, found by looking for them."""
    stream, length = batches.shards.tokens.astype(np.int64), batches.sequence_length
    windows = {stream[i * length :][:length].tobytes(): i for i in range(batches.windows)}
    assert len(windows) == batches.windows, "the test needs windows that differ"
    return [windows[row.tobytes()] for row in batches(number).tokens_BT]


@pytest.mark.parametrize(("length", "size"), [(16, 1), (16, 7), (31, 4), (64, 5)])
def test_an_epoch_visits_every_window_once_without_a_seam(
    shards: TokenShards, length: int, size: int
) -> None:
    batches = PackedBatches(shards, length, size, seed=1)
    count = -(-3 * batches.windows // size)
    visited = [begin for number in range(count) for begin in window_begins(batches, number)]
    epochs = [visited[i * batches.windows :][: batches.windows] for i in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(batches.windows))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_a_batch_is_a_pure_function_of_its_number_and_the_seed(shards: TokenShards) -> None:
    def batch(number: int, seed: int) -> list[tuple[bytes, bytes, tuple[int, ...]]]:
        return rows_of(PackedBatches(shards, 32, 4, seed)(number))

    one = PackedBatches(shards, 32, 4, seed=1)
    backwards = [rows_of(one(number)) for number in reversed(range(30))]
    assert backwards[::-1] == [batch(number, 1) for number in range(30)]
    assert [batch(number, 2) for number in range(30)] != backwards[::-1]


@pytest.mark.parametrize("world", [1, 2, 3, 4, 6])
def test_ranks_share_the_same_batch_at_any_world_size(shards: TokenShards, world: int) -> None:
    batches = PackedBatches(shards, 32, 6, seed=0)
    for number in range(20):
        whole = batches(number)
        parts = [batches.rows(number, rank, world) for rank in range(world)]
        for rank, part in enumerate(parts):
            assert rows_of(part) == rows_of(whole)[rank::world]
        assert sum(part.target_bytes for part in parts) == whole.target_bytes


def test_too_little_text_says_how_much_is_there_and_needed(shards: TokenShards) -> None:
    with pytest.raises(UserError) as error:
        PackedBatches(shards, 512, 64)
    assert f"has {len(shards)} training tokens" in str(error.value)
    assert "64 x 512 needs 32769" in str(error.value)
    assert PackedBatches(shards, 1, 1).windows == len(shards) - 1
    exact = (len(shards) - 1) // 8
    PackedBatches(shards, exact, 8)(0)
    with pytest.raises(UserError):
        PackedBatches(shards, exact + 1, 8)


@settings(max_examples=30, deadline=None)
@given(TEXTS, st.integers(1, 300), st.integers(1, 5))
def test_validation_scores_every_token_once_and_pays_for_every_byte(
    texts: list[str], length: int, size: int
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        shards = write_shards(Path(temporary, "shards"), texts)
        batches = ValidationBatches(shards, length, size)
        scored: list[int] = []
        for batch in batches:
            assert batch.tokens_BT.shape[1] == min(length, len(shards) - 1)
            assert 1 <= len(batch.tokens_BT) <= size
            scored += batch.targets_BT[batch.targets_BT != NO_TARGET].tolist()
        # Everything but the [BOS] of each document has a predecessor in it.
        assert scored == [token for token in shards.tokens.tolist() if token != shards.bos]
        assert sum(batch.target_bytes for batch in batches) == shards.bytes
        assert shards.bytes == sum(len(text.encode()) for text in texts)
        assert len(list(batches)) == len(batches)


def test_validation_never_sees_a_row_of_padding(shards: TokenShards) -> None:
    batches = ValidationBatches(shards, 50, 4)
    stream = shards.tokens.astype(np.int64)
    last = batches[len(batches) - 1]
    assert last.tokens_BT[-1].tolist() == stream[-51:-1].tolist()
    with pytest.raises(IndexError):
        batches[len(batches)]


@pytest.mark.parametrize("count", [*range(1, 70), 1000, 4096, 4097])
def test_shuffle_is_a_permutation(count: int) -> None:
    moved = shuffle(np.arange(count), count, "key")
    assert sorted(moved.tolist()) == list(range(count))
    assert (moved == shuffle(np.arange(count), count, "key")).all()
    assert moved.tolist() == [int(shuffle(np.array([i]), count, "key")[0]) for i in range(count)]


def test_shuffle_sends_every_position_everywhere() -> None:
    """Over 6000 keys each of the 36 cells of a 6 x 6 table is hit about 1000 times."""
    hits = Counter(
        (position, target)
        for key in range(6000)
        for position, target in enumerate(shuffle(np.arange(6), 6, str(key)).tolist())
    )
    assert len(hits) == 36
    # Five standard deviations of a binomial count.
    assert all(abs(count - 1000) < 5 * (6000 * (1 / 6) * (5 / 6)) ** 0.5 for count in hits.values())


def test_shuffle_keeps_its_order_from_release_to_release() -> None:
    """A resumed run must meet the same batches after an upgrade."""
    assert shuffle(np.arange(10), 10, "0 0").tolist() == [3, 7, 4, 6, 5, 2, 1, 0, 9, 8]
    large = shuffle(np.array([0, 10**9]), 10**12, "7 3")
    assert large.tolist() == [657384593340, 977748252535]
