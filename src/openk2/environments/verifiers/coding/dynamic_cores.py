"""Cores whose straightforward solution is dynamic programming."""

from openk2.environments.verifiers.coding.steps import Step

__all__ = ["DYNAMIC_CORES"]


def longest_rising_subsequence(values: list[int]) -> int:
    lengths: list[int] = []
    for i, value in enumerate(values):
        before = [lengths[j] for j in range(i) if values[j] < value]
        lengths.append(1 + max(before, default=0))
    return max(lengths, default=0)


def best_run_sum(values: list[int]) -> int:
    best = run = 0
    for value in values:
        run = max(0, run + value)
        best = max(best, run)
    return best


def best_apart_sum(values: list[int], distance: int) -> int:
    best = [0] * (len(values) + 1)
    for i, value in enumerate(values):
        best[i + 1] = max(best[i], best[max(0, i + 1 - distance)] + value)
    return best[-1]


def divisible_subsets(values: list[int], divisor: int) -> int:
    ways = [1] + [0] * (divisor - 1)
    for value in values:
        more = list(ways)
        for reached, count in enumerate(ways):
            more[(reached + value) % divisor] += count
        ways = more
    return ways[0]


def fewest_coins(coins: list[int], amount: int) -> int:
    best = [0] + [-1] * amount
    for reached in range(1, amount + 1):
        found = [best[reached - coin] for coin in coins if coin <= reached]
        found = [count for count in found if count >= 0]
        if found:
            best[reached] = 1 + min(found)
    return best[amount]


def ways_to_pay(coins: list[int], amount: int) -> int:
    ways = [1] + [0] * amount
    for coin in coins:
        for reached in range(coin, amount + 1):
            ways[reached] += ways[reached - coin]
    return ways[amount]


def edit_distance(first: str, second: str) -> int:
    line = list(range(len(second) + 1))
    for i, left in enumerate(first):
        above = line
        line = [i + 1]
        for j, right in enumerate(second):
            line.append(min(above[j + 1] + 1, line[j] + 1, above[j] + (left != right)))
    return line[-1]


def common_subsequence(first: str, second: str) -> int:
    line = [0] * (len(second) + 1)
    for left in first:
        above = line
        line = [0]
        for j, right in enumerate(second):
            line.append(above[j] + 1 if left == right else max(above[j + 1], line[j]))
    return line[-1]


def longest_palindrome(text: str) -> int:
    best = 0
    for centre in range(2 * len(text)):
        left, right = centre // 2, centre // 2 + centre % 2
        while left >= 0 and right < len(text) and text[left] == text[right]:
            best = max(best, right - left + 1)
            left -= 1
            right += 1
    return best


DYNAMIC_CORES: tuple[Step, ...] = (
    Step(longest_rising_subsequence, "ints", "int",
         "Find the length of the longest strictly ascending subsequence (numbers in their order, "
         "not necessarily neighbours).", level=0.7),
    Step(best_run_sum, "ints", "int",
         "Find the greatest sum of a run of neighbouring numbers; the empty run with sum 0 "
         "counts.", level=0.5),
    Step(best_apart_sum, "ints", "int",
         "Find the greatest sum of chosen numbers (0 if none is chosen) if the positions of any "
         "two chosen numbers must differ by at least {distance}.", {"distance": (2, 3, 4)},
         level=0.8),
    Step(divisible_subsets, "ints", "int",
         "Count the subsets of positions, the empty one included, whose numbers have a sum that "
         "is divisible by {divisor}.", {"divisor": (3, 4, 5, 6, 7)}, level=0.7),
    Step(fewest_coins, "amount", "int",
         "Find the smallest number of coins, each value as often as needed, that make up `amount` "
         "exactly, or -1 if that cannot be done.", level=0.7),
    Step(ways_to_pay, "amount", "int",
         "Count the ways to make up `amount` from coins, each value as often as needed; the order "
         "of coins does not matter.", level=0.8),
    Step(edit_distance, "two_texts", "int",
         "Find the least number of insertions, deletions and replacements of single characters "
         "that turn one text into the other.", level=0.9),
    Step(common_subsequence, "two_texts", "int",
         "Find the length of the longest common subsequence of the two texts.", level=0.8),
    Step(longest_palindrome, "text", "int",
         "Find the length of the longest run of neighbouring characters that reads the same "
         "backwards.", level=0.6),
)  # fmt: skip
