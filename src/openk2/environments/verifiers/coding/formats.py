"""Values as lines of text, for programs that read standard input and write standard output.

`read_*` are also the honest solutions' readers and `write_*` their writers, so they are plain
functions of their own.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["FORMATS", "READERS", "WRITERS", "same_output"]

FORMATS: Mapping[str, str] = {
    "int": "an integer on a line of its own",
    "bool": "`yes` or `no` on a line of its own",
    "text": "the string on a line of its own, as it is and without quotes (an empty line for ''); "
    "it may begin with a space",
    "ints": "two lines: the number of integers, then the integers separated by single spaces (an "
    "empty line for none)",
    "words": "the number of strings on a line of its own, then each string on a line",
    "counts": "the number of keys on a line of its own, then for each key, in alphabetical "
    "(code point) order, a line with the key, a space and its number",
    "matrix": "the number of rows on a line of its own, then each row on a line, its integers "
    "separated by single spaces",
}


def read_int(lines: Iterator[str]) -> int:
    return int(next(lines))


def read_text(lines: Iterator[str]) -> str:
    return next(lines)


def read_ints(lines: Iterator[str]) -> list[int]:
    next(lines)
    return [int(word) for word in next(lines).split()]


def read_words(lines: Iterator[str]) -> list[str]:
    return [next(lines) for _ in range(int(next(lines)))]


def read_counts(lines: Iterator[str]) -> dict[str, int]:
    counts = {}
    for _ in range(int(next(lines))):
        key, _, number = next(lines).rpartition(" ")
        counts[key] = int(number)
    return counts


def read_matrix(lines: Iterator[str]) -> list[list[int]]:
    return [[int(word) for word in next(lines).split()] for _ in range(int(next(lines)))]


def write_int(value: int) -> str:
    return str(value)


def write_bool(value: bool) -> str:
    return "yes" if value else "no"


def write_text(value: str) -> str:
    return value


def write_ints(value: list[int]) -> str:
    return f"{len(value)}\n" + " ".join(str(number) for number in value)


def write_words(value: list[str]) -> str:
    return "\n".join([str(len(value)), *value])


def write_counts(value: dict[str, int]) -> str:
    return "\n".join([str(len(value)), *(f"{key} {value[key]}" for key in sorted(value))])


def write_matrix(value: list[list[int]]) -> str:
    rows = [" ".join(str(number) for number in row) for row in value]
    return "\n".join([str(len(rows)), *rows])


READERS: Mapping[str, Callable[[Iterator[str]], Any]] = {
    "int": read_int,
    "text": read_text,
    "ints": read_ints,
    "words": read_words,
    "counts": read_counts,
    "matrix": read_matrix,
}
WRITERS: Mapping[str, Callable[[Any], str]] = {
    "int": write_int,
    "bool": write_bool,
    "text": write_text,
    "ints": write_ints,
    "words": write_words,
    "counts": write_counts,
    "matrix": write_matrix,
}


def same_output(printed: str, expected: str) -> bool:
    """Equality of whole outputs but for white space at the ends of lines and of the text."""
    return _lines(printed) == _lines(expected)


def _lines(text: str) -> list[str]:
    return [line.rstrip(" \t\r") for line in text.rstrip(" \t\r\n").split("\n")]
