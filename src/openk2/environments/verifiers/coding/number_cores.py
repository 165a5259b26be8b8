"""Cores over numbers and over small languages that must be parsed."""

import math

from openk2.environments.verifiers.coding.steps import Step

__all__ = ["NUMBER_CORES"]


def prime_factors(n: int) -> list[int]:
    factors = []
    divisor = 2
    while divisor * divisor <= n:
        while n % divisor == 0:
            factors.append(divisor)
            n //= divisor
        divisor += 1
    if n > 1:
        factors.append(n)
    return factors


def proper_divisor_sum(n: int) -> int:
    return sum(divisor for divisor in range(1, n) if n % divisor == 0)


def collatz_steps(n: int) -> int:
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


def totient(n: int) -> int:
    return sum(1 for k in range(1, n + 1) if math.gcd(k, n) == 1)


def josephus(n: int, step: int) -> int:
    survivor = 0
    for size in range(2, n + 1):
        survivor = (survivor + step) % size
    return survivor + 1


def binary_gaps(n: int) -> list[int]:
    return [len(gap) for gap in bin(n)[2:].strip("0").split("1")[1:-1]]


def fewest_powers(n: int, exponent: int) -> int:
    best = [0] + [n] * n
    for number in range(1, n + 1):
        root = 1
        while root**exponent <= number:
            best[number] = min(best[number], best[number - root**exponent] + 1)
            root += 1
    return best[n]


def recurrence_remainder(n: int, first: int, second: int, divisor: int) -> int:
    older, newer = 0, 1
    for _ in range(n):
        older, newer = newer, (first * newer + second * older) % divisor
    return older


def common_multiples(a: int, b: int) -> int:
    return 1000 // (a * b // math.gcd(a, b))


def power_remainder(a: int, b: int, divisor: int) -> int:
    return pow(a, b, divisor)


def lattice_paths(a: int, b: int, divisor: int) -> int:
    return math.comb(a + b, a) % divisor


def euclid_quotients(a: int, b: int) -> list[int]:
    quotients = []
    while b:
        quotients.append(a // b)
        a, b = b, a % b
    return quotients


def primes_between(a: int, b: int) -> list[int]:
    low, high = min(a, b), max(a, b)
    primes = []
    for number in range(max(2, low), high + 1):
        if all(number % divisor for divisor in range(2, math.isqrt(number) + 1)):
            primes.append(number)
    return primes


def evaluate(text: str) -> int:
    rank = {"+": 1, "-": 1, "*": 2}
    values: list[int] = []
    signs: list[str] = []
    tokens: list[str] = []
    for character in text:
        if character.isdigit() and tokens and tokens[-1].isdigit():
            tokens[-1] += character
        else:
            tokens.append(character)

    def apply() -> None:
        sign, right, left = signs.pop(), values.pop(), values.pop()
        values.append(
            left + right if sign == "+" else left - right if sign == "-" else left * right
        )

    for token in tokens:
        if token.isdigit():
            values.append(int(token))
        elif token == "(":
            signs.append(token)
        elif token == ")":
            while signs[-1] != "(":
                apply()
            signs.pop()
        else:
            while signs and signs[-1] != "(" and rank[signs[-1]] >= rank[token]:
                apply()
            signs.append(token)
    while signs:
        apply()
    return values[0]


def deepest_parenthesis(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        deepest = max(deepest, depth)
    return deepest


def bracket_depth(text: str) -> int:
    closing = {"(": ")", "[": "]", "{": "}"}
    stack: list[str] = []
    deepest = 0
    for character in text:
        if character in closing:
            stack.append(closing[character])
            deepest = max(deepest, len(stack))
        elif not stack or stack.pop() != character:
            return -1
    return -1 if stack else deepest


def first_bracket_error(text: str) -> int:
    closing = {"(": ")", "[": "]", "{": "}"}
    stack: list[str] = []
    for i, character in enumerate(text):
        if character in closing:
            stack.append(closing[character])
        elif not stack or stack.pop() != character:
            return i
    return len(text) if stack else -1


def expand_runs(text: str) -> str:
    expanded = digits = ""
    for character in text:
        if character.isdigit():
            digits += character
        else:
            expanded += character * int(digits)
            digits = ""
    return expanded


def letters_in_runs(text: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    digits = ""
    for character in text:
        if character.isdigit():
            digits += character
        else:
            counts[character] = counts.get(character, 0) + int(digits)
            digits = ""
    return counts


def read_settings(text: str) -> dict[str, int]:
    settings: dict[str, int] = {}
    for pair in text.split(";"):
        if pair:
            name, value = pair.split("=")
            settings[name] = int(value)
    return settings


def repeated_settings(text: str) -> list[str]:
    names = [pair.split("=")[0] for pair in text.split(";") if pair]
    return sorted({name for name in names if names.count(name) > 1})


def roman_value(text: str) -> int:
    worth = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
    total = 0
    for i, sign in enumerate(text):
        smaller = i + 1 < len(text) and worth[sign] < worth[text[i + 1]]
        total += -worth[sign] if smaller else worth[sign]
    return total


def run_postfix(words: list[str]) -> int:
    stack: list[int] = []
    for word in words:
        if word in ("+", "-", "*"):
            right = stack.pop()
            left = stack.pop()
            stack.append({"+": left + right, "-": left - right, "*": left * right}[word])
        else:
            stack.append(int(word))
    return stack[0]


def deepest_stack(words: list[str]) -> int:
    depth = deepest = 0
    for word in words:
        depth += -1 if word in ("+", "-", "*") else 1
        deepest = max(deepest, depth)
    return deepest


MODULI = (97, 101, 1009, 9973)
NUMBER_CORES: tuple[Step, ...] = (
    Step(prime_factors, "number", "ints",
         "List the prime factors of `n` in ascending order, each as often as it divides `n`.",
         level=0.3),
    Step(proper_divisor_sum, "number", "int",
         "Find the sum of the positive divisors of `n` that are smaller than `n`.", level=0.1),
    Step(collatz_steps, "number", "int",
         "Count the steps until `n` becomes 1 when an even number is halved and an odd one is "
         "replaced by three times itself plus one.", level=0.2),
    Step(totient, "number", "int",
         "Count the integers from 1 to `n` whose greatest common divisor with `n` is 1.",
         level=0.2),
    Step(josephus, "number", "int",
         "People 1 to `n` stand in a circle. Counting begins at person 1, and every {step}th "
         "person counted leaves until one is left; find that person's number.",
         {"step": (2, 3, 4, 5, 7)}, level=0.5),
    Step(binary_gaps, "number", "ints",
         "List, from left to right, the lengths of the runs of zeros (0 for none) between "
         "successive ones in the binary form of `n`.", level=0.4),
    Step(fewest_powers, "small_number", "int",
         "Find the smallest count of positive integers, repetition allowed, whose powers with "
         "exponent {exponent} have the sum `n`.", {"exponent": (2, 3)}, level=0.7),
    Step(recurrence_remainder, "number", "int",
         "Let s(0) = 0, s(1) = 1 and s(k) = {first} * s(k-1) + {second} * s(k-2). Find the "
         "remainder of s(`n`) modulo {divisor}.",
         {"first": (1, 2, 3), "second": (1, 2, 5), "divisor": MODULI}, level=0.4),
    Step(common_multiples, "two_numbers", "int",
         "Count the positive integers up to 1000 that both `a` and `b` divide.", level=0.2),
    Step(power_remainder, "two_numbers", "int",
         "Find the remainder of `a` to the power of `b` modulo {divisor}.", {"divisor": MODULI},
         level=0.2),
    Step(lattice_paths, "two_numbers", "int",
         "Count the ways to walk `a` steps right and `b` steps up in any order, modulo {divisor}.",
         {"divisor": MODULI}, level=0.5),
    Step(euclid_quotients, "two_numbers", "ints",
         "List the whole quotients x // y that Euclid's algorithm meets: begin with x = `a` and "
         "y = `b`, and while y is not 0 replace (x, y) by (y, x % y).", level=0.4),
    Step(primes_between, "two_numbers", "ints",
         "List, ascending, the primes from the smaller to the greater of `a` and `b`, both "
         "included.", level=0.3),
    Step(evaluate, "expression", "int",
         "Find the value of the expression; * binds more strongly than + and -, which work from "
         "left to right.", level=0.8),
    Step(deepest_parenthesis, "expression", "int",
         "Find how deeply parentheses are nested (0 where there are none).", level=0.1),
    Step(bracket_depth, "brackets", "int",
         "Find how deeply the brackets are nested (0 for an empty text), or -1 if they do not "
         "match.", level=0.5),
    Step(first_bracket_error, "brackets", "int",
         "Find the position of the first closing bracket that does not match; the length of the "
         "text if all match but some stay open; -1 if all is matched.", level=0.5),
    Step(expand_runs, "runs", "text",
         "Replace each count and the letter after it by that letter, repeated count times.",
         level=0.3),
    Step(letters_in_runs, "runs", "counts",
         "Build a dict from each letter to the sum of its counts.", level=0.3),
    Step(read_settings, "settings", "counts",
         "Build the dict of the pairs; where a name occurs again, its last value counts.",
         level=0.2),
    Step(repeated_settings, "settings", "words",
         "List, alphabetically, the names that occur in more than one pair.", level=0.2),
    Step(roman_value, "roman", "int", "Find the numeral's value.", level=0.4),
    Step(run_postfix, "postfix", "int",
         "Evaluate the postfix expression: an operator (+, - or *) takes the two values before it, "
         "the left one first.", level=0.4),
    Step(deepest_stack, "postfix", "int",
         "Find the greatest number of values that wait on the stack while the expression is "
         "evaluated.", level=0.3),
)  # fmt: skip
