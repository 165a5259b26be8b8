"""What general compressors need for the same text: the reference lines of a bits-per-byte plot."""

import lzma
import zlib
from collections.abc import Iterable

__all__ = ["compressed_bits_per_byte"]

GZIP_WINDOW = 31  # zlib's code for a gzip container with the largest window


def compressed_bits_per_byte(texts: Iterable[str]) -> tuple[float, float]:
    """(gzip -9, xz -9): bits of compressed size per UTF-8 byte of the texts joined."""
    gzip = zlib.compressobj(9, zlib.DEFLATED, GZIP_WINDOW)
    xz = lzma.LZMACompressor(preset=9)
    original = gzip_size = xz_size = 0
    for text in texts:
        data = text.encode()
        original += len(data)
        gzip_size += len(gzip.compress(data))
        xz_size += len(xz.compress(data))
    gzip_size += len(gzip.flush())
    xz_size += len(xz.flush())
    return 8 * gzip_size / original, 8 * xz_size / original
