"""Token ids to text while they come: a character is held back until all its bytes are there."""

import codecs
from collections.abc import Sequence

from openk2.tokenizer.bpe import SPECIAL_TOKENS, Tokenizer

__all__ = ["StreamDecoder"]


class StreamDecoder:
    """Text from tokens that come a few at a time.

    What `feed` and `finish` give, put together, is `Tokenizer.decode` of all ids. With
    `skip_special` the envelope tokens are left out and the tool tokens stay. Ids outside the
    vocabulary, which a padded embedding can produce, stand for nothing.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = False) -> None:
        self._table = tokenizer.token_table()
        self._skipped = {
            tokenizer.special[name]
            for name, envelope in SPECIAL_TOKENS.items()
            if skip_special and envelope
        }
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, ids: Sequence[int]) -> str:
        """The text that `ids` complete; bytes of an unfinished character wait."""
        size = len(self._table)
        return self._decoder.decode(
            b"".join(self._table[id] for id in ids if 0 <= id < size and id not in self._skipped)
        )

    def finish(self) -> str:
        """U+FFFD for the bytes that still wait, if any; the decoder starts anew."""
        return self._decoder.decode(b"", final=True)
