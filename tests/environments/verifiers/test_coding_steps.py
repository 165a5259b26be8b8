"""The operations that coding problems are composed of give what independent programs give."""

import copy
import itertools
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import sympy
from rapidfuzz.distance import LCSseq, Levenshtein

from openk2.environments.base import seeded_random
from openk2.environments.sandbox import call_function
from openk2.environments.verifiers.coding.domains import DOMAINS
from openk2.environments.verifiers.coding.problems import CORES, ChainProblem, canonical
from openk2.environments.verifiers.coding.steps import Chain, Step, draw_use
from openk2.environments.verifiers.coding.transforms import TRANSFORMS

KIND_CHECKS: dict[str, Callable[[Any], bool]] = {
    "int": lambda value: type(value) is int,
    "bool": lambda value: type(value) is bool,
    "float": lambda value: type(value) is float,
    "text": lambda value: type(value) is str,
    "ints": lambda value: type(value) is list and all(type(one) is int for one in value),
    "words": lambda value: type(value) is list and all(type(one) is str for one in value),
    "counts": lambda value: (
        type(value) is dict
        and all(type(key) is str and type(one) is int for key, one in value.items())
    ),
    "matrix": lambda value: type(value) is list and all(map(KIND_CHECKS["ints"], value)),
}


def _domain(step: Step) -> str:
    return step.takes if step.takes in DOMAINS else {"int": "number"}[step.takes]


def _draws(domain: str, count: int) -> list[tuple[Any, ...]]:
    rng = seeded_random("test", domain)
    return [DOMAINS[domain].draw(rng, number % 24) for number in range(count)]


@pytest.mark.parametrize("step", (*CORES, *TRANSFORMS), ids=lambda step: step.name)
def test_a_step_is_pure_and_gives_its_kind(step: Step) -> None:
    rng = random.Random(step.name)
    for case in _draws(_domain(step), 40):
        use, before = draw_use(rng, step), copy.deepcopy(case)
        result = use(*case)
        assert KIND_CHECKS[step.gives](result), (case, result)
        assert case == before
        assert "{" not in use.phrase
        assert all(f"{{{name}" in step.phrase for name in step.parameters)


def test_honest_programs_of_all_cores_compute_what_the_reference_does() -> None:
    rng = random.Random(0)
    for core in CORES:
        problem = ChainProblem(Chain((), draw_use(rng, core), ()), 5, 18)
        hidden = problem.cases().hidden
        program = problem.chain.program("solve", problem.domain.names)
        outcomes = call_function(program, "solve", hidden).outcomes
        expected = [problem.chain(*case) for case in hidden]
        assert [one.value for one in outcomes] == expected, (core.name, outcomes)


def _runs(values: list[Any]) -> list[list[Any]]:
    spans = itertools.combinations(range(len(values) + 1), 2)
    return [values[i:j] for i, j in spans]


def _subsets(values: list[int]) -> list[tuple[int, ...]]:
    return [
        chosen for size in range(len(values) + 1) for chosen in itertools.combinations(values, size)
    ]


def _floyd(count: int, edges: list[list[int]]) -> list[int]:
    distance = [[0 if i == j else math.inf for j in range(count)] for i in range(count)]
    for a, b, *length in edges:
        step = length[0] if length else 1
        distance[a][b] = distance[b][a] = min(distance[a][b], step)
    for k, i, j in itertools.product(range(count), repeat=3):
        distance[i][j] = min(distance[i][j], distance[i][k] + distance[k][j])
    return [-1 if one == math.inf else int(one) for one in distance[0]]


def _first_order(count: int, edges: list[list[int]]) -> list[int]:
    for order in itertools.permutations(range(count)):
        if all(order.index(a) < order.index(b) for a, b in edges):
            return list(order)
    return []


def _forest(count: int, edges: list[list[int]]) -> int:
    def groups(chosen: Any) -> int:
        matrix = sympy.zeros(count, count)
        for a, b, _ in chosen:
            matrix[a, a] += 1
            matrix[b, b] += 1
            matrix[a, b] -= 1
            matrix[b, a] -= 1
        return count - matrix.rank()

    least = groups(edges)
    options = itertools.combinations(edges, count - least)
    return min(sum(edge[2] for edge in chosen) for chosen in options if groups(chosen) == least)


def _rising(values: list[int]) -> bool:
    return all(a < b for a, b in itertools.pairwise(values))


def _coins(coins: list[int], amount: int) -> list[int]:
    counts = itertools.product(*(range(amount // coin + 1) for coin in coins))
    return [
        sum(one) for one in counts if sum(a * b for a, b in zip(one, coins, strict=True)) == amount
    ]


# core -> (an independent way to the same value, the largest size it can bear)
ORACLES: dict[str, tuple[Callable[..., Any], int]] = {
    "prime_factors": (lambda n: sympy.factorint(n, multiple=True), 20),
    "totient": (lambda n: int(sympy.totient(n)), 20),
    "proper_divisor_sum": (lambda n: sum(sympy.proper_divisors(n)), 20),
    "primes_between": (lambda a, b: list(sympy.primerange(min(a, b), max(a, b) + 1)), 20),
    "common_multiples": (
        lambda a, b: sum(n % a == 0 and n % b == 0 for n in range(1, 1001)), 20),
    "determinant": (lambda grid: int(sympy.Matrix(grid).det()), 20),
    "evaluate": (lambda text: eval(text), 20),
    "edit_distance": (Levenshtein.distance, 20),
    "common_subsequence": (LCSseq.similarity, 20),
    "longest_palindrome": (
        lambda text: max((len(one) for one in _runs(text) if one == one[::-1]), default=0), 20),
    "longest_without_repeat": (
        lambda text: max((len(one) for one in _runs(text) if len(set(one)) == len(one)), default=0),
        20),
    "best_run_sum": (lambda values: max(map(sum, [[], *_runs(values)])), 20),
    "longest_rising_run": (
        lambda values: max((len(one) for one in _runs(values) if _rising(one)), default=0), 20),
    "longest_rising_subsequence": (
        lambda values: max(len(one) for one in _subsets(values) if _rising(one)), 9),
    "pairs_with_sum": (
        lambda values, target: sum(sum(two) == target for two in itertools.combinations(values, 2)),
        20),
    "spans_below": (
        lambda values, target: sum(sum(one) < target for one in _runs(values)), 20),
    "fewest_coins": (lambda coins, amount: min(_coins(coins, amount), default=-1), 15),
    "ways_to_pay": (lambda coins, amount: len(_coins(coins, amount)), 15),
    "distances_from_first": (_floyd, 20),
    "shortest_lengths": (_floyd, 20),
    "smallest_topological_order": (_first_order, 10),
    "has_cycle": (lambda count, edges: bool(count) and not _first_order(count, edges), 10),
    "spanning_forest_length": (_forest, 12),
    "two_colourable": (
        lambda count, edges: any(
            all(sides[a] != sides[b] for a, b in edges)
            for sides in itertools.product((0, 1), repeat=count)
        ), 16),
    "triangles": (
        lambda count, edges: sum(
            all(any({*e} == {*two} for e in edges) for two in itertools.combinations(t, 2))
            for t in itertools.combinations(range(count), 3)
        ), 16),
    "most_overlapping": (
        lambda rows: max((sum(a <= t < b for a, b in rows) for t in range(200)), default=0), 20),
}  # fmt: skip


@pytest.mark.parametrize("name", ORACLES)
def test_a_core_equals_an_independent_computation(name: str) -> None:
    core = next(one for one in CORES if one.name == name)
    oracle, largest = ORACLES[name]
    rng = seeded_random("oracle", name)
    for number in range(40):
        case = DOMAINS[core.takes].draw(rng, number % (largest + 1))
        assert core.function(*case) == oracle(*case), case


@pytest.mark.parametrize(
    ("name", "arguments", "parameters", "expected"),
    [
        ("spiral", ([[1, 2, 3], [4, 5, 6], [7, 8, 9]],), {}, [1, 2, 3, 6, 9, 8, 7, 4, 5]),
        ("islands", ([[1, 1, 0], [0, 0, 1], [1, 0, 1]],), {"level": 1}, 3),
        ("next_generation", ([[0, 1, 0]] * 3,), {}, [[0, 0, 0], [1, 1, 1], [0, 0, 0]]),
        ("best_descent", ([[1, 3, 1], [1, 5, 1], [4, 2, 1]],), {}, 12),
        ("largest_square", ([[1, 1, 0], [1, 1, 1], [0, 1, 1]],), {"level": 1}, 2),
        ("saddle_points", ([[1, 2], [3, 4]],), {}, 1),
        ("bridges", (4, [[0, 1], [1, 2], [2, 0], [2, 3]]), {}, 1),
        ("component_sizes", (5, [[0, 1], [3, 4], [1, 0]]), {}, [1, 2, 2]),
        ("divisible_subsets", ([1, 2, 3],), {"divisor": 3}, 4),
        ("best_apart_sum", ([5, 1, 1, 5, 9],), {"distance": 3}, 14),
        ("josephus", (7,), {"step": 3}, 4),
        ("fewest_powers", (12,), {"exponent": 2}, 3),
        ("recurrence_remainder", (10,), {"first": 1, "second": 1, "divisor": 97}, 55),
        ("lattice_paths", (3, 2), {"divisor": 97}, 10),
        ("bracket_depth", ("([]{})",), {}, 2),
        ("bracket_depth", ("([)]",), {}, -1),
        ("first_bracket_error", ("([)]",), {}, 2),
        ("expand_runs", ("3a12b",), {}, "aaa" + 12 * "b"),
        ("read_settings", ("x=3;y=-4;x=5",), {}, {"x": 5, "y": -4}),
        ("roman_value", ("MCMXCIV",), {}, 1994),
        ("run_postfix", (["2", "3", "4", "*", "-"],), {}, -10),
        ("merged_intervals", ([[1, 3], [2, 4], [4, 6], [8, 9]],), {}, [[1, 6], [8, 9]]),
        ("free_time", ([[1, 3], [5, 6], [2, 4]],), {}, 1),
        ("run_lengths", ("aabc",), {}, "a2b1c1"),
        ("binary_gaps", (0b1001010,), {}, [2, 1]),
        ("changes_to_anagram", ("abc", "bcd"), {}, 2),
    ],
)
def test_a_core_gives_what_is_known(
    name: str, arguments: tuple[Any, ...], parameters: dict[str, Any], expected: Any
) -> None:
    core = next(one for one in CORES if one.name == name)
    assert core.function(*arguments, **parameters) == expected


def test_there_are_many_cores_and_inputs_that_differ() -> None:
    assert len({core.name for core in CORES}) == len(CORES) >= 80
    for name in DOMAINS:
        drawn = [canonical(case) for case in _draws(name, 100)]
        assert len(set(drawn)) > 40, name
