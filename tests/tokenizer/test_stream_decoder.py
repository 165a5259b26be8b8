"""A stream of tokens decodes to the text of them all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.tokenizer import StreamDecoder

from .test_bpe import small_tokenizer

CHUNKS = st.lists(st.lists(st.integers(0, small_tokenizer().vocabulary_size - 1), max_size=6))


@settings(deadline=None)
@given(CHUNKS, st.booleans())
def test_chunks_put_together_are_the_decoded_whole(chunks: list[list[int]], skip: bool) -> None:
    tokenizer = small_tokenizer()
    decoder = StreamDecoder(tokenizer, skip_special=skip)
    text = "".join(map(decoder.feed, chunks)) + decoder.finish()
    assert text == tokenizer.decode([id for chunk in chunks for id in chunk], skip)
    # `finish` leaves a decoder as good as new.
    assert decoder.feed(tokenizer.encode("é")) + decoder.finish() == "é"


def test_a_character_waits_for_its_last_byte() -> None:
    decoder = StreamDecoder(small_tokenizer())
    bytes_of_it = small_tokenizer().encode("\U0001f600")
    assert [decoder.feed([id]) for id in bytes_of_it] == ["", "", "", "\U0001f600"]
    assert decoder.feed(bytes_of_it[:3]) == ""
    assert decoder.finish() == "\ufffd"


@pytest.mark.parametrize("id", [-1, small_tokenizer().vocabulary_size, 10**30])
def test_ids_outside_the_vocabulary_stand_for_nothing(id: int) -> None:
    assert StreamDecoder(small_tokenizer()).feed([id, *small_tokenizer().encode("a"), id]) == "a"
