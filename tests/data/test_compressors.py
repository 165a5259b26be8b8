import gzip
import lzma

from openk2.data import compressed_bits_per_byte

from .sample import some_documents


def test_the_sizes_are_those_of_gzip_and_xz() -> None:
    texts = [document.text for document in some_documents(200)]
    joined = "".join(texts).encode()
    expected = len(gzip.compress(joined, 9)), len(lzma.compress(joined, preset=9))
    assert compressed_bits_per_byte(texts) == tuple(8 * size / len(joined) for size in expected)
