"""What problems take: named arguments with their meaning, and how inputs are drawn."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["DOMAINS", "Argument", "Domain"]

LETTERS = "abcdefghijklmnopqrstuvwxyz"
# fmt: off
VOCABULARY = (
    "amber", "banana", "cedar", "delta", "ember", "falcon", "garden", "harbor", "island", "jungle",
    "kettle", "ladder", "meadow", "needle", "orange", "pepper", "quartz", "river", "saddle", "noon",
    "timber", "umbra", "velvet", "willow", "yonder", "zebra", "ant", "bee", "cat", "dog", "eel",
    "level", "radar", "civic", "stone", "tones", "notes", "onset", "aide", "idea", "tea", "eat",
    "ate", "pal", "lap", "alp", "mango", "lemon",
)
ROMAN = (
    ("M", 1000), ("CM", 900), ("D", 500), ("CD", 400), ("C", 100), ("XC", 90), ("L", 50),
    ("XL", 40), ("X", 10), ("IX", 9), ("V", 5), ("IV", 4), ("I", 1),
)
# fmt: on


@dataclass(frozen=True)
class Argument:
    """`kind` is one of steps.KINDS; `meaning` completes "`name` is ..."."""

    name: str
    kind: str
    meaning: str


@dataclass(frozen=True)
class Domain:
    """Inputs of one form.

    draw       (random stream, size from 0) -> the arguments; size 0 is the smallest input there is
    free       whether steps may change the first argument before the core
    """

    arguments: tuple[Argument, ...]
    draw: Callable[[random.Random, int], tuple[Any, ...]]
    free: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return tuple(argument.name for argument in self.arguments)


def _ints(rng: random.Random, size: int) -> list[int]:
    low, high = rng.choice(((-9, 9), (0, 12), (-50, 50), (1, 100)))
    return [rng.randint(low, high) for _ in range(size)]


def _text(rng: random.Random, size: int) -> str:
    if rng.random() < 0.4:
        return " ".join(rng.choices(VOCABULARY, k=size // 3))
    alphabet = rng.choice(("abc", "abcde", "aabeiz", LETTERS, "abXYZ", "ab1c29"))
    return "".join(rng.choices(alphabet, k=size))


def _words(rng: random.Random, size: int) -> list[str]:
    if rng.random() < 0.5:
        return rng.choices(VOCABULARY, k=size // 2)
    alphabet = rng.choice(("ab", "abc", "aeinst"))
    return ["".join(rng.choices(alphabet, k=rng.randint(1, 4))) for _ in range(size // 2)]


def _counts(rng: random.Random, size: int) -> dict[str, int]:
    keys = rng.sample(VOCABULARY, k=min(size // 2, 20))
    return {key: rng.randint(-3, 15) for key in keys}


def _matrix(rng: random.Random, size: int) -> list[list[int]]:
    rows, columns = 1 + rng.randint(0, size // 4), 1 + rng.randint(0, size // 4)
    high = rng.choice((1, 3, 9, 30))
    return [
        [rng.randint(0 if high == 1 else -high, high) for _ in range(columns)] for _ in range(rows)
    ]


def _square(rng: random.Random, size: int) -> list[list[int]]:
    side = 1 + rng.randint(0, min(size // 5, 5))
    return [[rng.randint(-6, 6) for _ in range(side)] for _ in range(side)]


def _edges(rng: random.Random, count: int, density: float, directed: bool) -> list[list[int]]:
    pairs = [[i, j] for i in range(count) for j in range(i + 1, count)]
    edges = [pair for pair in pairs if rng.random() < density]
    rng.shuffle(edges)
    return [pair[::-1] if not directed and rng.random() < 0.5 else pair for pair in edges]


def _graph(rng: random.Random, size: int) -> tuple[int, list[list[int]]]:
    count = 1 + size // 2
    return count, _edges(rng, count, rng.choice((1.2, 2.0, 3.5)) / count, directed=False)


def _digraph(rng: random.Random, size: int) -> tuple[int, list[list[int]]]:
    count = 1 + size // 2
    edges = _edges(rng, count, rng.choice((1.5, 2.5)) / count, directed=True)
    names = rng.sample(range(count), count)
    edges = [[names[a], names[b]] for a, b in edges]
    if count > 2 and rng.random() < 0.35:
        a, b = rng.sample(range(count), 2)
        edges += [edge for edge in ([a, b], [b, a]) if edge not in edges]
    return count, edges


def _weighted(rng: random.Random, size: int) -> tuple[int, list[list[int]]]:
    count = 1 + size // 3
    edges = _edges(rng, count, rng.choice((2.5, 4.0)) / count, directed=False)
    return count, [[*edge, rng.randint(1, 20)] for edge in edges]


def _expression(rng: random.Random, size: int) -> tuple[str]:
    def grow(depth: int) -> str:
        if depth == 0 or rng.random() < 0.2:
            return str(rng.randint(0, 20))
        inner = f"{grow(depth - 1)}{rng.choice('+-*')}{grow(depth - 1)}"
        return f"({inner})" if rng.random() < 0.5 else inner

    return (grow(min(size // 4, 4)),)


def _brackets(rng: random.Random, size: int) -> tuple[str]:
    text = ""
    for _ in range(size // 2):
        opening, closing = rng.choice(("()", "[]", "{}"))
        text = f"{opening}{text}{closing}" if rng.random() < 0.5 else f"{text}{opening}{closing}"
    if text and rng.random() < 0.4:
        place = rng.randrange(len(text))
        text = text[:place] + rng.choice("()[]{}") + text[place + 1 :]
    return (text,)


def _runs(rng: random.Random, size: int) -> tuple[str]:
    runs = (f"{rng.randint(1, 12)}{rng.choice('abcxyz')}" for _ in range(size // 3))
    return ("".join(runs),)


def _settings(rng: random.Random, size: int) -> tuple[str]:
    pairs = (f"{rng.choice(VOCABULARY[:8])}={rng.randint(-20, 99)}" for _ in range(size // 3))
    return (";".join(pairs),)


def _roman(rng: random.Random, size: int) -> tuple[str]:
    number, text = rng.randint(1, 40 + 100 * size), ""
    for sign, value in ROMAN:
        times, number = divmod(number, value)
        text += sign * times
    return (text,)


def _postfix(rng: random.Random, size: int) -> tuple[list[str]]:
    tokens, depth = [str(rng.randint(0, 9))], 1
    for _ in range(size // 2):
        if depth > 1 and rng.random() < 0.5:
            tokens.append(rng.choice("+-*"))
            depth -= 1
        else:
            tokens.append(str(rng.randint(0, 9)))
            depth += 1
    return ([*tokens, *(rng.choice("+-*") for _ in range(depth - 1))],)


def _intervals(rng: random.Random, size: int) -> tuple[list[list[int]]]:
    starts = [rng.randint(0, 3 * size + 5) for _ in range(size // 2)]
    return ([[start, start + rng.randint(1, 9)] for start in starts],)


def _like(rng: random.Random, text: str, size: int) -> str:
    """A text that shares something with `text`."""
    kind, letters = rng.random(), list(text)
    if kind < 0.25:
        rng.shuffle(letters)
        return "".join(letters)
    if kind < 0.7:
        return "".join(x if rng.random() < 0.8 else rng.choice("abc") for x in letters)
    return "".join(rng.choices("abcde", k=size))


def _two_texts(rng: random.Random, size: int) -> tuple[str, str]:
    first = "".join(rng.choices("abcde", k=size))
    return first, _like(rng, first, size)


VALUES = Argument("values", "ints", "a list of integers, possibly empty")
TEXT = Argument("text", "text", "a string, possibly empty")
COUNT = Argument("count", "int", "the number of nodes, numbered from 0")
EDGES = Argument("edges", "matrix", "a list of undirected edges [a, b], each given once")

DOMAINS: Mapping[str, Domain] = {
    "ints": Domain((VALUES,), lambda rng, size: (_ints(rng, size),), free=True),
    "ints_target": Domain(
        (VALUES, Argument("target", "int", "an integer")),
        lambda rng, size: (_ints(rng, size), rng.randint(-5, 25)),
        free=True,
    ),
    "amount": Domain(
        (
            Argument("coins", "ints", "a list of different positive integers, the coins' values"),
            Argument("amount", "int", "an integer of at least 0"),
        ),
        lambda rng, size: (rng.sample(range(2, 16), 1 + size // 8), rng.randint(0, 2 * size + 1)),
    ),
    "two_lists": Domain(
        (VALUES, Argument("others", "ints", "another list of integers, possibly empty")),
        lambda rng, size: (_ints(rng, size), [rng.randint(-9, 12) for _ in range(size // 2)]),
        free=True,
    ),
    "text": Domain((TEXT,), lambda rng, size: (_text(rng, size),), free=True),
    "two_texts": Domain(
        (
            Argument("first", "text", "a string, possibly empty"),
            Argument("second", "text", "another string, possibly empty"),
        ),
        _two_texts,
        free=True,
    ),
    "words": Domain(
        (Argument("words", "words", "a list of strings of letters, possibly empty"),),
        lambda rng, size: (_words(rng, size),),
        free=True,
    ),
    "counts": Domain(
        (Argument("counts", "counts", "a dict from strings to integers, possibly empty"),),
        lambda rng, size: (_counts(rng, size),),
        free=True,
    ),
    "two_counts": Domain(
        (
            Argument("counts", "counts", "a dict from strings to integers, possibly empty"),
            Argument("others", "counts", "another dict from strings to integers, possibly empty"),
        ),
        lambda rng, size: (_counts(rng, size), _counts(rng, size)),
        free=True,
    ),
    "matrix": Domain(
        (Argument("grid", "matrix", "a list of at least one row of integers, rows equally long"),),
        lambda rng, size: (_matrix(rng, size),),
        free=True,
    ),
    "square": Domain(
        (Argument("grid", "matrix", "a square matrix of integers, at least 1 by 1"),),
        lambda rng, size: (_square(rng, size),),
        free=True,
    ),
    "graph": Domain((COUNT, EDGES), _graph),
    "digraph": Domain(
        (COUNT, Argument("edges", "matrix", "a list of directed edges [from, to]")), _digraph
    ),
    "weighted": Domain(
        (COUNT, Argument("edges", "matrix", "a list of undirected edges [a, b, length]")),
        _weighted,
    ),
    "number": Domain(
        (Argument("n", "int", "a positive integer"),),
        lambda rng, size: (1 if size == 0 else rng.randint(1, rng.choice((12, 200, 5000))),),
    ),
    "small_number": Domain(
        (Argument("n", "int", "a positive integer"),),
        lambda rng, size: (rng.randint(1, 5 + 6 * size),),
    ),
    "two_numbers": Domain(
        (Argument("a", "int", "a positive integer"), Argument("b", "int", "a positive integer")),
        lambda rng, size: (rng.randint(1, 5 + 9 * size), rng.randint(1, 5 + 5 * size)),
    ),
    "expression": Domain(
        (Argument("text", "text", "an expression of integers, + - * and parentheses"),),
        _expression,
    ),
    "brackets": Domain(
        (Argument("text", "text", "a string of the brackets ()[]{}, possibly empty"),), _brackets
    ),
    "runs": Domain(
        (Argument("text", "text", "counts and letters in turn, such as '3a12b', or empty"),), _runs
    ),
    "settings": Domain(
        (Argument("text", "text", "pairs such as 'x=3;y=-4' joined by semicolons, or empty"),),
        _settings,
    ),
    "roman": Domain((Argument("text", "text", "a Roman numeral"),), _roman),
    "postfix": Domain(
        (Argument("words", "words", "a valid postfix expression, token by token"),), _postfix
    ),
    "intervals": Domain(
        (Argument("rows", "matrix", "a list of intervals [start, end] with start < end"),),
        _intervals,
    ),
}
