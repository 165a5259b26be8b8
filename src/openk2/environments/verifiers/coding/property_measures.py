"""What can be measured of an answer: conditions bound a measure, goals make it small or great."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["MEASURES", "Measure"]


@dataclass(frozen=True)
class Measure:
    """`function(answer, *arguments)` is a whole number that `phrase` names."""

    function: Callable[..., int]
    phrase: str


def chosen_sum(answer: list[int], values: list[int]) -> int:
    return sum(values[i] for i in answer)


def chosen_count(answer: list[int], *arguments: object) -> int:
    return len(answer)


def position_sum(answer: list[int], *arguments: object) -> int:
    return sum(answer)


def closest_positions(answer: list[int], *arguments: object) -> int:
    return min((answer[i + 1] - answer[i] for i in range(len(answer) - 1)), default=0)


def step_total(answer: list[int], *arguments: object) -> int:
    return sum(abs(answer[i + 1] - answer[i]) for i in range(len(answer) - 1))


def least_step(answer: list[int], *arguments: object) -> int:
    return min((abs(answer[i + 1] - answer[i]) for i in range(len(answer) - 1)), default=0)


def weighted_sum(answer: list[int], *arguments: object) -> int:
    return sum(i * number for i, number in enumerate(answer))


def descents(answer: list[int], *arguments: object) -> int:
    return sum(answer[i] > answer[i + 1] for i in range(len(answer) - 1))


def changes(answer: list[int], *arguments: object) -> int:
    return sum(answer[i] != answer[i + 1] for i in range(len(answer) - 1))


def group_sum_spread(answer: list[int], values: list[int]) -> int:
    sums = [
        sum(value for label, value in zip(answer, values, strict=True) if label == group)
        for group in set(answer)
    ]
    return max(sums) - min(sums)


def first_group_sum(answer: list[int], values: list[int]) -> int:
    return sum(value for label, value in zip(answer, values, strict=True) if label == 0)


def zeros(answer: list[int], *arguments: object) -> int:
    return answer.count(0)


def different_labels(answer: list[int], *arguments: object) -> int:
    return len(set(answer))


def label_total(answer: list[int], *arguments: object) -> int:
    return sum(answer)


def path_length(answer: list[int], count: int, edges: list[list[int]]) -> int:
    lengths = {frozenset(edge[:2]): edge[2] for edge in edges}
    return sum(lengths[frozenset(answer[i : i + 2])] for i in range(len(answer) - 1))


def longest_path_edge(answer: list[int], count: int, edges: list[list[int]]) -> int:
    lengths = {frozenset(edge[:2]): edge[2] for edge in edges}
    return max(lengths[frozenset(answer[i : i + 2])] for i in range(len(answer) - 1))


def tree_length(answer: list[int], count: int, edges: list[list[int]]) -> int:
    return sum(edges[i][2] for i in answer)


def longest_tree_edge(answer: list[int], count: int, edges: list[list[int]]) -> int:
    return max(edges[i][2] for i in answer)


def greatest_degree(answer: list[int], count: int, edges: list[list[int]]) -> int:
    ends = [node for i in answer for node in edges[i][:2]]
    return max(ends.count(node) for node in range(count))


def leaves(answer: list[int], count: int, edges: list[list[int]]) -> int:
    ends = [node for i in answer for node in edges[i][:2]]
    return sum(ends.count(node) == 1 for node in range(count))


def coin_count(answer: list[int], coins: list[int], amount: int) -> int:
    return sum(answer)


def coin_values_used(answer: list[int], coins: list[int], amount: int) -> int:
    return sum(number > 0 for number in answer)


def most_of_one_coin(answer: list[int], coins: list[int], amount: int) -> int:
    return max(answer)


def schedule_length(answer: list[int], rows: list[list[int]]) -> int:
    return sum(rows[i][1] - rows[i][0] for i in answer)


def last_end(answer: list[int], rows: list[list[int]]) -> int:
    return max((rows[i][1] for i in answer), default=0)


def piece_count(answer: list[int], text: str) -> int:
    return len(answer) + 1


def longest_piece(answer: list[int], text: str) -> int:
    ends = [0, *answer, len(text)]
    return max(ends[i + 1] - ends[i] for i in range(len(ends) - 1))


def different_pieces(answer: list[int], text: str) -> int:
    ends = [0, *answer, len(text)]
    return len({text[ends[i] : ends[i + 1]] for i in range(len(ends) - 1)})


def pieces_with_equal_ends(answer: list[int], text: str) -> int:
    ends = [0, *answer, len(text)]
    pieces = [text[ends[i] : ends[i + 1]] for i in range(len(ends) - 1)]
    return sum(piece[0] == piece[-1] for piece in pieces)


GROUPS = (
    Measure(first_group_sum, "the sum of the numbers in group 0 (0 if there is none)"),
    Measure(group_sum_spread,
            "the difference of the greatest and the smallest sum of a group that is not empty"),
    Measure(zeros, "the number of members of group 0"),
    Measure(changes, "the number of neighbours in `values` that are in different groups"),
)  # fmt: skip
MEASURES: Mapping[str, tuple[Measure, ...]] = {
    "subset": (
        Measure(chosen_sum, "the sum of the numbers at the chosen positions (0 for none)"),
        Measure(chosen_count, "the number of chosen positions"),
        Measure(position_sum, "the sum of the chosen positions themselves"),
        Measure(closest_positions,
                "the least difference of two chosen positions (0 for fewer than two)"),
    ),
    "arrangement": (
        Measure(step_total, "the sum of the absolute differences of neighbours in the answer"),
        Measure(least_step,
                "the least absolute difference of two neighbours in the answer"),
        Measure(weighted_sum, "the sum over the answer of each number times its position (from 0)"),
        Measure(descents, "the number of elements of the answer that are greater than the next"),
    ),
    "two groups": GROUPS,
    "three groups": (
        *GROUPS, Measure(different_labels, "the number of groups that are not empty"),
    ),
    "colouring": (
        Measure(zeros, "the number of nodes with colour 0"),
        Measure(different_labels, "the number of colours used"),
        Measure(label_total, "the sum of all nodes' colours"),
        Measure(weighted_sum, "the sum over all nodes of the node's number times its colour"),
    ),
    "order": (
        Measure(step_total, "the sum of the absolute differences of neighbours in the answer"),
        Measure(least_step, "the least absolute difference of two neighbours in the answer"),
        Measure(weighted_sum, "the sum over the answer of each node times its position (from 0)"),
        Measure(descents, "the number of elements of the answer that are greater than the next"),
    ),
    "path": (
        Measure(path_length, "the total length of the path's edges"),
        Measure(chosen_count, "the number of nodes of the path, both ends included"),
        Measure(longest_path_edge, "the length of the path's longest edge"),
        Measure(position_sum, "the sum of the path's node numbers"),
    ),
    "tree": (
        Measure(tree_length, "the total length of the tree's edges"),
        Measure(longest_tree_edge, "the length of the tree's longest edge"),
        Measure(greatest_degree, "the greatest number of the tree's edges at one node"),
        Measure(leaves, "the number of nodes with exactly one of the tree's edges"),
    ),
    "payment": (
        Measure(coin_count, "the number of coins used"),
        Measure(coin_values_used, "the number of different coin values used"),
        Measure(most_of_one_coin, "the greatest number of coins of one value"),
        Measure(weighted_sum, "the sum of each number in the answer times its position (from 0)"),
    ),
    "schedule": (
        Measure(chosen_count, "the number of chosen intervals"),
        Measure(schedule_length, "the total length of the chosen intervals (0 for none)"),
        Measure(last_end, "the latest end of a chosen interval (0 for none)"),
        Measure(position_sum, "the sum of the chosen positions themselves"),
    ),
    "cuts": (
        Measure(piece_count, "the number of pieces"),
        Measure(longest_piece, "the length of the longest piece"),
        Measure(different_pieces, "the number of different pieces"),
        Measure(pieces_with_equal_ends,
                "the number of pieces that begin and end with the same letter (a piece of one "
                "letter does)"),
        Measure(position_sum, "the sum of the positions at which the text is cut"),
    ),
}  # fmt: skip
