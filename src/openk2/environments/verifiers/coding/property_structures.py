"""Answers of many forms of which many are right: how candidates look and how to list them all.

Each structure lists its candidates for given arguments, and says of any value at all whether it is
one. Inputs are small enough for the list to be walked: that is how the grader knows whether an
answer exists, and how good the best one is.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from openk2.environments.verifiers.coding.domains import Argument

__all__ = ["STRUCTURES", "Structure"]


@dataclass(frozen=True)
class Structure:
    """A form of answers.

    phrase       what an answer is
    arguments    what the function takes
    draw         (random stream, size from 0) -> arguments; an answer to some exists
    candidates   (*arguments) -> every candidate, a list of integers, in a fixed order
    """

    phrase: str
    arguments: tuple[Argument, ...]
    draw: Callable[[random.Random, int], tuple[Any, ...]]
    candidates: Callable[..., Iterator[list[int]]]


def subsets(values: list[int]) -> Iterator[list[int]]:
    for size in range(len(values) + 1):
        yield from (list(chosen) for chosen in itertools.combinations(range(len(values)), size))


def arrangements(values: list[int]) -> Iterator[list[int]]:
    yield from (list(order) for order in itertools.permutations(values))


def groupings(values: list[int]) -> Iterator[list[int]]:
    yield from (list(labels) for labels in itertools.product(range(2), repeat=len(values)))


def three_groupings(values: list[int]) -> Iterator[list[int]]:
    yield from (list(labels) for labels in itertools.product(range(3), repeat=len(values)))


def colourings(count: int, edges: list[list[int]]) -> Iterator[list[int]]:
    for colours in itertools.product(range(3), repeat=count):
        if all(colours[a] != colours[b] for a, b in edges):
            yield list(colours)


def topological_orders(count: int, edges: list[list[int]]) -> Iterator[list[int]]:
    for order in itertools.permutations(range(count)):
        place = {node: i for i, node in enumerate(order)}
        if all(place[a] < place[b] for a, b in edges):
            yield list(order)


def simple_paths(count: int, edges: list[list[int]]) -> Iterator[list[int]]:
    stack = [[0]]
    while stack:
        path = stack.pop()
        if path[-1] == count - 1:
            yield path
            continue
        for a, b, _ in edges:
            for here, there in ((a, b), (b, a)):
                if here == path[-1] and there not in path:
                    stack.append([*path, there])


def spanning_trees(count: int, edges: list[list[int]]) -> Iterator[list[int]]:
    for chosen in itertools.combinations(range(len(edges)), count - 1):
        group = list(range(count))
        for i in chosen:
            old, new = group[edges[i][0]], group[edges[i][1]]
            group = [new if one == old else one for one in group]
        if len(set(group)) == 1:
            yield list(chosen)


def payments(coins: list[int], amount: int) -> Iterator[list[int]]:
    for counts in itertools.product(*(range(amount // coin + 1) for coin in coins)):
        if sum(count * coin for count, coin in zip(counts, coins, strict=True)) == amount:
            yield list(counts)


def schedules(rows: list[list[int]]) -> Iterator[list[int]]:
    for size in range(len(rows) + 1):
        for chosen in itertools.combinations(range(len(rows)), size):
            spans = sorted(rows[i] for i in chosen)
            if all(spans[i][1] <= spans[i + 1][0] for i in range(len(spans) - 1)):
                yield list(chosen)


def cuts(text: str) -> Iterator[list[int]]:
    for number in range(len(text)):
        yield from (list(places) for places in itertools.combinations(range(1, len(text)), number))


def _values(rng: random.Random, size: int) -> tuple[list[int]]:
    return ([rng.randint(-6, 14) for _ in range(1 + size)],)


def _few_values(rng: random.Random, size: int) -> tuple[list[int]]:
    return ([rng.randint(0, 15) for _ in range(2 + size // 2)],)


def _pairs(rng: random.Random, count: int, extra: int) -> list[list[int]]:
    """A tree over the nodes with `extra` more edges at most."""
    pairs = [[rng.randrange(node), node] for node in range(1, count)]
    for _ in range(extra):
        pair = sorted(rng.sample(range(count), 2))
        if pair not in pairs:
            pairs.append(pair)
    rng.shuffle(pairs)
    return pairs


def _graph(rng: random.Random, size: int) -> tuple[int, list[list[int]]]:
    count = 2 + size // 2
    return count, _pairs(rng, count, size // 3)


def _order_graph(rng: random.Random, size: int) -> tuple[int, list[list[int]]]:
    count = 2 + size // 2
    names = rng.sample(range(count), count)
    pairs = [pair for pair in _pairs(rng, count, 1) if rng.random() < 0.6]
    return count, [[names[a], names[b]] for a, b in pairs]


def _weighted(rng: random.Random, size: int) -> tuple[int, list[list[int]]]:
    count = 2 + size // 2
    return count, [[*pair, rng.randint(1, 15)] for pair in _pairs(rng, count, 1 + size // 2)]


def _coins(rng: random.Random, size: int) -> tuple[list[int], int]:
    return sorted(rng.sample(range(2, 10), 2 + size // 5)), rng.randint(6, 12 + 3 * size)


def _rows(rng: random.Random, size: int) -> tuple[list[list[int]]]:
    starts = [rng.randint(0, 20) for _ in range(1 + size)]
    return ([[start, start + rng.randint(1, 8)] for start in starts],)


def _letters(rng: random.Random, size: int) -> tuple[str]:
    return ("".join(rng.choices("abc", k=2 + size)),)


VALUES = Argument("values", "ints", "a non-empty list of integers")
COUNT = Argument("count", "int", "the number of nodes, numbered from 0")
EDGES = Argument("edges", "matrix", "a list of undirected edges [a, b]")
LENGTHS = Argument("edges", "matrix", "a list of undirected edges [a, b, length]")

STRUCTURES: Mapping[str, Structure] = {
    "subset": Structure(
        "a choice of positions of `values`: a strictly ascending list of them, possibly empty",
        (VALUES,), _values, subsets),
    "arrangement": Structure(
        "an arrangement of `values`: a list with the same numbers, each as often, in any order",
        (VALUES,), _few_values, arrangements),
    "two groups": Structure(
        "a division of `values` in two groups, either possibly empty: a list with the group, 0 or "
        "1, of each number", (VALUES,), _values, groupings),
    "three groups": Structure(
        "a division of `values` in three groups, any possibly empty: a list with the group, 0, 1 "
        "or 2, of each number", (VALUES,), _few_values, three_groupings),
    "colouring": Structure(
        "a colouring: a list with the colour, 0, 1 or 2, of each node, where no edge joins equal "
        "colours", (COUNT, EDGES), _graph, colourings),
    "order": Structure(
        "a topological order: a list of all nodes in which every edge leads from an earlier to a "
        "later node", (COUNT, Argument("edges", "matrix", "a list of directed edges [from, to]")),
        _order_graph, topological_orders),
    "path": Structure(
        "a path: a list of different nodes from node 0 to node `count` - 1 in which neighbours "
        "are joined by an edge", (COUNT, LENGTHS), _weighted, simple_paths),
    "tree": Structure(
        "a spanning tree: a strictly ascending list of the positions, in `edges`, of `count` - 1 "
        "edges that connect all nodes", (COUNT, LENGTHS), _weighted, spanning_trees),
    "payment": Structure(
        "a payment: a list that says for each coin value how many of it are used, where the total "
        "is exactly `amount`",
        (Argument("coins", "ints", "an ascending list of different positive integers, the coins"),
         Argument("amount", "int", "a positive integer")), _coins, payments),
    "schedule": Structure(
        "a choice of intervals of which no two overlap (one may begin where another ends): a "
        "strictly ascending list of their positions in `rows`, possibly empty",
        (Argument("rows", "matrix", "a non-empty list of intervals [start, end], start < end"),),
        _rows, schedules),
    "cuts": Structure(
        "a way to cut `text` into pieces: a strictly ascending list of the positions, from 1 to "
        "len(text) - 1, before which it is cut, empty for one piece",
        (Argument("text", "text", "a string of at least 2 letters"),), _letters, cuts),
}  # fmt: skip
