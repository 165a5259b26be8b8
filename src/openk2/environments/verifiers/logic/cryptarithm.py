"""Sums in which letters stand for digits, with exactly one solution (paper section 3.1, logic)."""

import itertools
import math
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from openk2.environments.base import Problem
from openk2.environments.verifiers.answers import ANSWER_FORMAT
from openk2.environments.verifiers.logic.puzzle import Puzzle, between

__all__ = ["Cryptarithm", "count_solutions"]

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
PAIR = re.compile(r"([A-Za-z])\s*=\s*([0-9])")


def count_solutions(addends: Sequence[str], total: str, limit: int) -> int:
    """In how many ways digits can replace the letters, counted up to `limit`.

    Different letters are different digits and no number begins with 0. Goes from the last column
    to the first; in each, the digits of the addends decide that of the total.
    """
    leading = {word[0] for word in (*addends, total)}
    columns = [
        ([word[-1 - place] for word in addends if place < len(word)], total[-1 - place])
        for place in range(len(total))
    ]
    digits: dict[str, int] = {}
    taken = [False] * 10

    def column(place: int, carry: int) -> int:
        if place == len(columns):
            return int(carry == 0)
        letters, below = columns[place]
        return row(place, [letter for letter in letters if letter not in digits], letters, below,
                   carry)  # fmt: skip

    def row(place: int, open_letters: list[str], letters: list[str], below: str, carry: int) -> int:
        found = 0
        if open_letters:
            letter = open_letters[0]
            rest = [other for other in open_letters if other != letter]
            for digit in range(letter in leading, 10):
                if not taken[digit]:
                    digits[letter], taken[digit] = digit, True
                    found += row(place, rest, letters, below, carry)
                    del digits[letter]
                    taken[digit] = False
                    if found >= limit:
                        break
            return found
        value = carry + sum(digits[letter] for letter in letters)
        digit = value % 10
        if below in digits:
            return column(place + 1, value // 10) if digits[below] == digit else 0
        if taken[digit] or (digit == 0 and below in leading):
            return 0
        digits[below], taken[digit] = digit, True
        found = column(place + 1, value // 10)
        del digits[below]
        taken[digit] = False
        return found

    return min(limit, column(0, 0))


class Cryptarithm(Puzzle):
    """Two or three addends of three to six letters. Truth: addends, total, solution."""

    name: ClassVar[str] = "logic.cryptarithm"

    TEMPLATES = (
        "In the sum {sum} every letter stands for a digit. {rule} Which digit is each letter? "
        "{form}",
        "Solve the cryptarithm {sum}. {rule} {form}",
        "Each letter below hides one digit.\n\n    {sum}\n\n{rule} Find the digits. {form}",
    )
    RULE = "Different letters are different digits, and no number begins with 0."

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        while True:
            addends, total, digits = _draw(rng, difficulty)
            # Of the ways to choose digits, one in 10^columns would fit by chance: with many more
            # ways than that there is no hope of a single solution, and a long search to see it.
            few = math.perm(10, len(digits)) < 2 * 10 ** len(total)
            if few and count_solutions(addends, total, 2) == 1:
                break
        letters = sorted(digits)
        form = (
            "Give every letter with its digit in the form `Answer: "
            + ", ".join(f"{letter}=?" for letter in letters)
            + "`. "
        ) + ANSWER_FORMAT
        prompt = rng.choice(self.TEMPLATES).format(
            sum=f"{' + '.join(addends)} = {total}", rule=self.RULE, form=form
        )
        solution = ", ".join(f"{letter}={digits[letter]}" for letter in letters)
        truth = {"addends": addends, "total": total, "solution": solution}
        return Problem(prompt, truth, _canonical(addends, total))

    def fault(self, truth: Mapping[str, Any], answer: str) -> str:
        pairs = PAIR.findall(answer)
        if PAIR.sub("", answer).strip(" ,;.{}"):
            return "the answer is not a list of letters with their digits"
        digits = {letter.upper(): int(digit) for letter, digit in pairs}
        words = (*truth["addends"], truth["total"])
        if len(pairs) != len(digits) or set(digits) != set("".join(words)):
            return "the answer does not name every letter once"
        if len(set(digits.values())) != len(digits):
            return "two letters have the same digit"
        if any(digits[word[0]] == 0 for word in words):
            return "a number begins with 0"
        *addends, total = (int("".join(str(digits[letter]) for letter in word)) for word in words)
        return "" if sum(addends) == total else "the sum does not hold"


def _draw(rng: random.Random, difficulty: float) -> tuple[list[str], str, dict[str, int]]:
    """A sum in letters and the digits it came from; it may have other solutions."""
    count = 3 if difficulty > 0.6 else 2
    length = between(3, 6, difficulty)
    numbers = [rng.randrange(10 ** (length - 1), 10**length) for _ in range(count)]
    letters = rng.sample(ALPHABET, 10)
    words = ["".join(letters[int(d)] for d in str(n)) for n in (*numbers, sum(numbers))]
    used = set("".join(words))
    return words[:-1], words[-1], {one: d for d, one in enumerate(letters) if one in used}


def _canonical(addends: Sequence[str], total: str) -> str:
    """The same for two sums that differ in the order of addends and the choice of letters."""
    forms = []
    for order in itertools.permutations(addends):
        names: dict[str, str] = {}
        text = "+".join(order) + "=" + total
        forms.append(
            "".join(
                names.setdefault(one, ALPHABET[len(names)]) if one.isalpha() else one
                for one in text
            )
        )
    return min(forms)
