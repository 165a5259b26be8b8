"""Steps that go before or after a problem's core: short operations on one value of one kind."""

from openk2.environments.verifiers.coding.steps import Step

__all__ = ["TRANSFORMS"]


def keep_multiples(values: list[int], divisor: int) -> list[int]:
    return [value for value in values if value % divisor == 0]


def drop_multiples(values: list[int], divisor: int) -> list[int]:
    return [value for value in values if value % divisor != 0]


def keep_above(values: list[int], limit: int) -> list[int]:
    return [value for value in values if value > limit]


def keep_every(values: list[int], step: int) -> list[int]:
    return values[::step]


def reverse_list(values: list[int]) -> list[int]:
    return values[::-1]


def sort_ascending(values: list[int]) -> list[int]:
    return sorted(values)


def sort_by_remainder(values: list[int], divisor: int) -> list[int]:
    return sorted(values, key=lambda value: (value % divisor, value))


def drop_repeats(values: list[int]) -> list[int]:
    return list(dict.fromkeys(values))


def scale_and_shift(values: list[int], factor: int, amount: int) -> list[int]:
    return [factor * value + amount for value in values]


def take_remainders(values: list[int], divisor: int) -> list[int]:
    return [value % divisor for value in values]


def take_absolute(values: list[int]) -> list[int]:
    return [abs(value) for value in values]


def running_totals(values: list[int]) -> list[int]:
    totals = []
    total = 0
    for value in values:
        total += value
        totals.append(total)
    return totals


def neighbour_differences(values: list[int]) -> list[int]:
    return [values[i] - values[i - 1] for i in range(1, len(values))]


def rotate_left(values: list[int], places: int) -> list[int]:
    if not values:
        return []
    start = places % len(values)
    return values[start:] + values[:start]


def digit_sums(values: list[int]) -> list[int]:
    return [sum(int(digit) for digit in str(abs(value))) for value in values]


def clamp(values: list[int], low: int, high: int) -> list[int]:
    return [min(max(value, low), high) for value in values]


def reverse_text(text: str) -> str:
    return text[::-1]


def shift_letters(text: str, places: int) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    shifted = ""
    for character in text:
        if character in alphabet:
            character = alphabet[(alphabet.index(character) + places) % 26]
        shifted += character
    return shifted


def remove_vowels(text: str) -> str:
    return "".join(character for character in text if character not in "aeiou")


def squeeze_repeats(text: str) -> str:
    kept = ""
    for character in text:
        if not kept or kept[-1] != character:
            kept += character
    return kept


def drop_every(text: str, step: int) -> str:
    return "".join(text[i] for i in range(len(text)) if (i + 1) % step != 0)


def double_character(text: str, character: str) -> str:
    return text.replace(character, 2 * character)


def rotate_text(text: str, places: int) -> str:
    if not text:
        return ""
    start = places % len(text)
    return text[start:] + text[:start]


def sort_words(words: list[str]) -> list[str]:
    return sorted(words)


def sort_by_length(words: list[str]) -> list[str]:
    return sorted(words, key=lambda word: (len(word), word))


def reverse_each(words: list[str]) -> list[str]:
    return [word[::-1] for word in words]


def keep_longer(words: list[str], length: int) -> list[str]:
    return [word for word in words if len(word) > length]


def keep_containing(words: list[str], letter: str) -> list[str]:
    return [word for word in words if letter in word]


def unique_words(words: list[str]) -> list[str]:
    return list(dict.fromkeys(words))


def cut_words(words: list[str], length: int) -> list[str]:
    return [word[:length] for word in words]


def keep_counts(counts: dict[str, int], limit: int) -> dict[str, int]:
    return {key: count for key, count in counts.items() if count > limit}


def scale_counts(counts: dict[str, int], factor: int) -> dict[str, int]:
    return {key: factor * count for key, count in counts.items()}


def transpose(grid: list[list[int]]) -> list[list[int]]:
    return [list(column) for column in zip(*grid, strict=True)]


def flip_rows(grid: list[list[int]]) -> list[list[int]]:
    return [row[::-1] for row in grid]


def scale_cells(grid: list[list[int]], factor: int, amount: int) -> list[list[int]]:
    return [[factor * cell + amount for cell in row] for row in grid]


def cell_remainders(grid: list[list[int]], divisor: int) -> list[list[int]]:
    return [[cell % divisor for cell in row] for row in grid]


def affine(number: int, factor: int, amount: int) -> int:
    return factor * number + amount


def remainder(number: int, divisor: int) -> int:
    return number % divisor


def square_remainder(number: int, divisor: int) -> int:
    return number * number % divisor


def exclusive_or(number: int, mask: int) -> int:
    return number ^ mask


def digit_sum(number: int) -> int:
    return sum(int(digit) for digit in str(abs(number)))


def total(values: list[int]) -> int:
    return sum(values)


def spread(values: list[int]) -> int:
    return max(values) - min(values) if values else 0


def alternating_sum(values: list[int]) -> int:
    return sum(values[::2]) - sum(values[1::2])


def join_numbers(values: list[int], separator: str) -> str:
    return separator.join(str(value) for value in values)


def join_words(words: list[str], separator: str) -> str:
    return separator.join(words)


def word_lengths(words: list[str]) -> list[int]:
    return [len(word) for word in words]


def sorted_keys(counts: dict[str, int]) -> list[str]:
    return sorted(counts)


def sorted_counts(counts: dict[str, int]) -> list[int]:
    return sorted(counts.values())


def row_sums(grid: list[list[int]]) -> list[int]:
    return [sum(row) for row in grid]


def in_base(number: int, base: int) -> str:
    digits = ""
    rest = abs(number)
    while rest:
        digits = str(rest % base) + digits
        rest //= base
    return ("-" if number < 0 else "") + (digits or "0")


def mean(values: list[int]) -> float:
    return sum(values) / len(values) if values else 0.0


def divide(number: int, divisor: int) -> float:
    return number / divisor


DIVISORS = (2, 3, 4, 5)
TRANSFORMS: tuple[Step, ...] = (
    Step(keep_multiples, "ints", "ints", "Keep only the numbers divisible by {divisor}.",
         {"divisor": DIVISORS}),
    Step(drop_multiples, "ints", "ints", "Remove the numbers divisible by {divisor}.",
         {"divisor": DIVISORS}),
    Step(keep_above, "ints", "ints", "Keep only the numbers greater than {limit}.",
         {"limit": (-5, -2, 0, 3, 5, 10)}),
    Step(keep_every, "ints", "ints",
         "Keep only every {step}th number, beginning with the first (positions 0, {step}, ...).",
         {"step": (2, 3, 4)}),
    Step(reverse_list, "ints", "ints", "Reverse the list."),
    Step(sort_ascending, "ints", "ints", "Sort the list in ascending order."),
    Step(sort_by_remainder, "ints", "ints",
         "Sort the list by remainder modulo {divisor} (between 0 and {divisor} - 1), equal "
         "remainders by value, both ascending.", {"divisor": (3, 4, 5, 7)}),
    Step(drop_repeats, "ints", "ints", "Keep only the first occurrence of each number."),
    Step(scale_and_shift, "ints", "ints", "Multiply each number by {factor} and add {amount}.",
         {"factor": (-2, -1, 2, 3), "amount": (-7, -3, 1, 4, 6)}),
    Step(take_remainders, "ints", "ints",
         "Replace each number by its remainder modulo {divisor} (between 0 and {divisor} - 1).",
         {"divisor": (4, 5, 7, 9, 11)}),
    Step(take_absolute, "ints", "ints", "Replace each number by its absolute value."),
    Step(running_totals, "ints", "ints",
         "Replace each number by the sum of all numbers up to and including it."),
    Step(neighbour_differences, "ints", "ints",
         "Replace the list by the differences of each number minus the one before it (one element "
         "fewer; an empty list stays empty)."),
    Step(rotate_left, "ints", "ints", "Move the first element to the end, {places} times over.",
         {"places": (1, 2, 3, 5)}),
    Step(digit_sums, "ints", "ints",
         "Replace each number by the sum of the decimal digits of its absolute value."),
    Step(clamp, "ints", "ints",
         "Raise numbers below {low} to {low} and lower numbers above {high} to {high}.",
         {"low": (-6, -3, 0, 2), "high": (6, 8, 11, 20)}),
    Step(reverse_text, "text", "text", "Reverse the text."),
    Step(shift_letters, "text", "text",
         "Replace each lower-case letter a-z by the one {places} places later in the alphabet, "
         "going on with a after z; other characters stay.", {"places": (1, 2, 3, 5, 13, 20)}),
    Step(remove_vowels, "text", "text", "Remove the letters a, e, i, o and u (lower case only)."),
    Step(squeeze_repeats, "text", "text",
         "Shorten every run of the same character to one character."),
    Step(drop_every, "text", "text",
         "Remove every {step}th character (the {step}th, the {step}th after that, and so on).",
         {"step": (2, 3, 4, 5)}),
    Step(double_character, "text", "text", "Write every {character!r} twice.",
         {"character": ("a", "b", "c", "e")}),
    Step(rotate_text, "text", "text", "Move the first character to the end, {places} times over.",
         {"places": (1, 2, 3, 4)}),
    Step(sort_words, "words", "words", "Sort the strings alphabetically."),
    Step(sort_by_length, "words", "words",
         "Sort the strings by length, equally long ones alphabetically."),
    Step(reverse_each, "words", "words", "Reverse each string; their order stays."),
    Step(keep_longer, "words", "words", "Keep only the strings longer than {length} characters.",
         {"length": (1, 2, 3, 4)}),
    Step(keep_containing, "words", "words", "Keep only the strings that contain {letter!r}.",
         {"letter": ("a", "e", "n", "t", "b")}),
    Step(unique_words, "words", "words", "Keep only the first occurrence of each string."),
    Step(cut_words, "words", "words",
         "Cut each string to its first {length} characters (shorter ones stay).",
         {"length": (1, 2, 3, 4)}),
    Step(keep_counts, "counts", "counts", "Remove the entries whose number is {limit} or less.",
         {"limit": (-1, 0, 1, 3, 5)}),
    Step(scale_counts, "counts", "counts", "Multiply every number of the dict by {factor}.",
         {"factor": (-2, -1, 2, 3, 5)}),
    Step(transpose, "matrix", "matrix", "Transpose the grid: rows become columns."),
    Step(flip_rows, "matrix", "matrix", "Reverse each row of the grid."),
    Step(scale_cells, "matrix", "matrix", "Multiply each cell by {factor} and add {amount}.",
         {"factor": (-1, 2, 3), "amount": (-4, -1, 1, 2, 5)}),
    Step(cell_remainders, "matrix", "matrix",
         "Replace each cell by its remainder modulo {divisor} (between 0 and {divisor} - 1).",
         {"divisor": (2, 3, 5, 7)}),
    Step(affine, "int", "int", "Multiply the number by {factor} and add {amount}.",
         {"factor": (-3, -1, 2, 3, 7), "amount": (-9, -4, 1, 5, 11)}),
    Step(remainder, "int", "int",
         "Take the remainder of the number modulo {divisor} (between 0 and {divisor} - 1).",
         {"divisor": (7, 10, 13, 97)}),
    Step(square_remainder, "int", "int",
         "Square the number and take the remainder modulo {divisor}.",
         {"divisor": (11, 50, 101, 1000)}),
    Step(exclusive_or, "int", "int",
         "Take the bitwise exclusive or (Python's ^) of the number and {mask}.",
         {"mask": (1, 5, 12, 21)}),
    Step(digit_sum, "int", "int", "Take the sum of the decimal digits of its absolute value."),
    Step(total, "ints", "int", "Take the sum of the list (0 if it is empty)."),
    Step(spread, "ints", "int",
         "Take the difference of the greatest and the smallest number (0 for an empty list)."),
    Step(alternating_sum, "ints", "int",
         "Take the sum of the numbers at positions 0, 2, 4, ... minus the sum of the others."),
    Step(join_numbers, "ints", "text",
         "Write the numbers in decimal, joined by {separator!r} (an empty string for none).",
         {"separator": (",", "-", "/", "+")}),
    Step(join_words, "words", "text", "Join the strings with {separator!r} between them.",
         {"separator": (",", "-", "/", "")}),
    Step(word_lengths, "words", "ints", "Replace each string by its length."),
    Step(sorted_keys, "counts", "words", "Take the list of its keys in alphabetical order."),
    Step(sorted_counts, "counts", "ints", "Take the list of its numbers in ascending order."),
    Step(row_sums, "matrix", "ints", "Take the list of the sums of its rows."),
    Step(in_base, "int", "text",
         "Write the number in base {base}, with a leading '-' if it is negative ('0' for zero).",
         {"base": (2, 3, 5, 8)}),
    Step(mean, "ints", "float",
         "Take the arithmetic mean as a floating-point number (0.0 for an empty list)."),
    Step(divide, "int", "float", "Divide the number by {divisor}, as a floating-point number.",
         {"divisor": (3, 7, 9)}),
)  # fmt: skip
