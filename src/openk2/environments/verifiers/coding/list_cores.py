"""Cores over lists, strings and dicts."""

from collections import Counter

from openk2.environments.verifiers.coding.steps import Step

__all__ = ["LIST_CORES"]


def longest_rising_run(values: list[int]) -> int:
    best = run = 0
    for i, value in enumerate(values):
        run = run + 1 if i > 0 and value > values[i - 1] else 1
        best = max(best, run)
    return best


def count_inversions(values: list[int]) -> int:
    count = 0
    for i in range(len(values)):
        for j in range(i + 1, len(values)):
            if values[i] > values[j]:
                count += 1
    return count


def local_peaks(values: list[int]) -> list[int]:
    peaks = []
    for i in range(1, len(values) - 1):
        if values[i] > values[i - 1] and values[i] > values[i + 1]:
            peaks.append(i)
    return peaks


def next_greater(values: list[int]) -> list[int]:
    found = []
    for i, value in enumerate(values):
        later = [other for other in values[i + 1 :] if other > value]
        found.append(later[0] if later else value)
    return found


def widest_gap(values: list[int]) -> int:
    ordered = sorted(values)
    gap = 0
    for i in range(1, len(ordered)):
        gap = max(gap, ordered[i] - ordered[i - 1])
    return gap


def smallest_mode(values: list[int]) -> int:
    if not values:
        return 0
    counts = Counter(values)
    most = max(counts.values())
    return min(value for value, count in counts.items() if count == most)


def balance_points(values: list[int]) -> list[int]:
    points = []
    left = 0
    right = sum(values)
    for i, value in enumerate(values):
        right -= value
        if abs(left - right) <= 5:
            points.append(i)
        left += value
    return points


def window_sums(values: list[int], width: int) -> list[int]:
    return [sum(values[i : i + width]) for i in range(len(values) - width + 1)]


def pairs_with_sum(values: list[int], target: int) -> int:
    seen: dict[int, int] = {}
    pairs = 0
    for value in values:
        pairs += seen.get(target - value, 0)
        seen[value] = seen.get(value, 0) + 1
    return pairs


def closest_to_target(values: list[int], target: int) -> int:
    best = target
    for i, value in enumerate(values):
        if i == 0 or (abs(value - target), value) < (abs(best - target), best):
            best = value
    return best


def spans_below(values: list[int], target: int) -> int:
    count = 0
    for i in range(len(values)):
        span = 0
        for value in values[i:]:
            span += value
            if span < target:
                count += 1
    return count


def three_way_split(values: list[int], target: int) -> list[int]:
    smaller = [value for value in values if value < target]
    equal = [value for value in values if value == target]
    greater = [value for value in values if value > target]
    return greater + equal + smaller


def shared_values(values: list[int], others: list[int]) -> list[int]:
    left = Counter(values)
    shared = []
    for value in others:
        if left[value] > 0:
            left[value] -= 1
            shared.append(value)
    return sorted(shared)


def interleave(values: list[int], others: list[int]) -> list[int]:
    mixed = []
    for i in range(max(len(values), len(others))):
        if i < len(values):
            mixed.append(values[i])
        if i < len(others):
            mixed.append(others[i])
    return mixed


def dominated_count(values: list[int], others: list[int]) -> int:
    return sum(1 for value in values if all(value > other for other in others))


def longest_without_repeat(text: str) -> int:
    best = start = 0
    last: dict[str, int] = {}
    for i, character in enumerate(text):
        if character in last and last[character] >= start:
            start = last[character] + 1
        last[character] = i
        best = max(best, i - start + 1)
    return best


def run_lengths(text: str) -> str:
    coded = ""
    i = 0
    while i < len(text):
        j = i
        while j < len(text) and text[j] == text[i]:
            j += 1
        coded += text[i] + str(j - i)
        i = j
    return coded


def once_only(text: str) -> str:
    return "".join(character for character in text if text.count(character) == 1)


def distinct_pieces(text: str, length: int) -> int:
    return len({text[i : i + length] for i in range(len(text) - length + 1)})


def character_counts(text: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for character in text:
        counts[character] = counts.get(character, 0) + 1
    return counts


def last_positions(text: str) -> dict[str, int]:
    return {character: i for i, character in enumerate(text)}


def common_prefix(first: str, second: str) -> str:
    length = 0
    while length < min(len(first), len(second)) and first[length] == second[length]:
        length += 1
    return first[:length]


def changes_to_anagram(first: str, second: str) -> int:
    left = Counter(first)
    right = Counter(second)
    surplus = sum((left - right).values())
    return surplus + sum((right - left).values())


def differing_positions(first: str, second: str) -> list[int]:
    return [i for i in range(min(len(first), len(second))) if first[i] != second[i]]


def initials(words: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word[0]] = counts.get(word[0], 0) + 1
    return counts


def anagram_groups(words: list[str]) -> int:
    return len({"".join(sorted(word)) for word in words})


def word_chain(words: list[str]) -> list[str]:
    chain: list[str] = []
    for word in words:
        if not chain or chain[-1][-1] == word[0]:
            chain.append(word)
    return chain


def most_frequent_words(words: list[str], count: int) -> list[str]:
    counts = Counter(words)
    return sorted(counts, key=lambda word: (-counts[word], word))[:count]


def palindromes(words: list[str]) -> list[str]:
    return [word for word in words if word == word[::-1]]


def heaviest_keys(counts: dict[str, int], number: int) -> list[str]:
    return sorted(counts, key=lambda key: (-counts[key], key))[:number]


def keys_by_length(counts: dict[str, int]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for key, count in counts.items():
        length = str(len(key))
        sums[length] = sums.get(length, 0) + count
    return sums


def merged_counts(counts: dict[str, int], others: dict[str, int]) -> dict[str, int]:
    merged = dict(counts)
    for key, count in others.items():
        merged[key] = merged.get(key, 0) + count
    return merged


def changed_keys(counts: dict[str, int], others: dict[str, int]) -> list[str]:
    missing = object()
    return sorted(
        key for key in {*counts, *others} if counts.get(key, missing) != others.get(key, missing)
    )


LIST_CORES: tuple[Step, ...] = (
    Step(longest_rising_run, "ints", "int",
         "Find the length of the longest run of neighbouring numbers in which each is greater than "
         "the one before (0 for an empty list).", level=0.2),
    Step(count_inversions, "ints", "int",
         "Count the pairs of positions i < j whose numbers satisfy values[i] > values[j].",
         level=0.2),
    Step(local_peaks, "ints", "ints",
         "List, ascending, the positions of the numbers that are greater than both neighbours; the "
         "first and the last position never count.", level=0.2),
    Step(next_greater, "ints", "ints",
         "Replace each number by the nearest later number that is greater than it; where there is "
         "none it stays.", level=0.3),
    Step(widest_gap, "ints", "int",
         "Find the greatest difference between two numbers that are neighbours once the list is "
         "sorted (0 for fewer than two numbers).", level=0.1),
    Step(smallest_mode, "ints", "int",
         "Find the most frequent number, the smallest one where several are (0 for an empty list).",
         level=0.2),
    Step(balance_points, "ints", "ints",
         "List, ascending, the positions for which the sum of all numbers before and the sum of "
         "all numbers after differ by at most 5.", level=0.3),
    Step(window_sums, "ints", "ints",
         "List the sums of all runs of {width} neighbouring numbers, from left to right.",
         {"width": (2, 3, 4)}, level=0.1),
    Step(pairs_with_sum, "ints_target", "int",
         "Count the pairs of positions i < j whose numbers have the sum `target`.", level=0.2),
    Step(closest_to_target, "ints_target", "int",
         "Find the number closest to `target`, the smaller one of two equally close (`target` "
         "itself for an empty list).", level=0.1),
    Step(spans_below, "ints_target", "int",
         "Count the non-empty runs of neighbouring numbers whose sum is less than `target`.",
         level=0.3),
    Step(three_way_split, "ints_target", "ints",
         "List first the numbers greater than `target`, then those equal to it, then those less "
         "than it, each group in its order.", level=0.1),
    Step(shared_values, "two_lists", "ints",
         "List, ascending, the numbers that the list and `others` share, each as often as it "
         "occurs in both.", level=0.2),
    Step(interleave, "two_lists", "ints",
         "Take numbers in turn from the list and from `others`, beginning with the list; when one "
         "ends, go on with the other.", level=0.1),
    Step(dominated_count, "two_lists", "int",
         "Count the numbers of the list that are greater than every number of `others`.",
         level=0.1),
    Step(longest_without_repeat, "text", "int",
         "Find the length of the longest run of neighbouring characters that are all different.",
         level=0.3),
    Step(run_lengths, "text", "text",
         "Replace each run of the same character by the character and the run's length in decimal "
         "(a run of one as well).", level=0.2),
    Step(once_only, "text", "text",
         "Keep only the characters that occur exactly once in the whole text, in their order.",
         level=0.1),
    Step(distinct_pieces, "text", "int",
         "Count the different pieces of {length} neighbouring characters.",
         {"length": (1, 2, 3)}, level=0.2),
    Step(character_counts, "text", "counts",
         "Build a dict from each character of the text to the number of times it occurs.",
         level=0.1),
    Step(last_positions, "text", "counts",
         "Build a dict from each character of the text to its last position, counted from 0.",
         level=0.1),
    Step(common_prefix, "two_texts", "text",
         "Find the longest text with which both texts begin.", level=0.1),
    Step(changes_to_anagram, "two_texts", "int",
         "Count the characters that must be deleted, from both texts together and as few as "
         "possible, so that each is a rearrangement of the other.", level=0.3),
    Step(differing_positions, "two_texts", "ints",
         "List, ascending, the positions that exist in both texts and at which they differ.",
         level=0.1),
    Step(initials, "words", "counts",
         "Build a dict from each first letter to the number of strings that begin with it.",
         level=0.1),
    Step(anagram_groups, "words", "int",
         "Count the groups that remain when strings that are rearrangements of each other are one "
         "group.", level=0.3),
    Step(word_chain, "words", "words",
         "Build a chain greedily: take the first string; then, going on through the list, each "
         "string that begins with the last letter of the string taken last.", level=0.3),
    Step(most_frequent_words, "words", "words",
         "List the {count} most frequent strings (fewer if there are fewer), the most frequent "
         "first, equally frequent ones alphabetically.", {"count": (1, 2, 3)}, level=0.3),
    Step(palindromes, "words", "words",
         "Keep only the strings that read the same backwards.", level=0.1),
    Step(heaviest_keys, "counts", "words",
         "List the {number} keys with the greatest numbers (fewer if there are fewer), the "
         "greatest first, equal ones alphabetically.", {"number": (1, 2, 3, 4)}, level=0.2),
    Step(keys_by_length, "counts", "counts",
         "Build a dict from each length of a key, written as a decimal string, to the sum of the "
         "numbers of the keys of that length.", level=0.2),
    Step(merged_counts, "two_counts", "counts",
         "Merge the dict with `others`: the numbers of keys that are in both are added.",
         level=0.1),
    Step(changed_keys, "two_counts", "words",
         "List, alphabetically, the keys that are in one of the dict and `others` only or have "
         "different numbers in them.", level=0.2),
)  # fmt: skip
