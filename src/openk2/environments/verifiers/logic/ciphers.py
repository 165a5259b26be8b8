"""Morse and other ciphers, either way (paper section 3.1, logic: Morse decoding).

A message is words of capital letters with single spaces. A cipher step changes letters or their
places and leaves the spaces where they are; at higher difficulty several steps follow each other.
"""

import json
import random
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from openk2.environments.base import Problem
from openk2.environments.verifiers.answers import ANSWER_FORMAT
from openk2.environments.verifiers.logic.puzzle import Puzzle, between
from openk2.environments.verifiers.logic.vocabulary import WORDS

__all__ = ["MORSE", "Cipher", "Morse", "encipher"]

# ITU-R M.1677-1, section 1.1.
_MORSE = (
    "A=.- B=-... C=-.-. D=-.. E=. F=..-. G=--. H=.... I=.. J=.--- K=-.- L=.-.. M=-- N=-. O=--- "
    "P=.--. Q=--.- R=.-. S=... T=- U=..- V=...- W=.-- X=-..- Y=-.-- Z=--.. 1=.---- 2=..--- "
    "3=...-- 4=....- 5=..... 6=-.... 7=--... 8=---.. 9=----. 0=-----"
)
MORSE: Mapping[str, str] = dict(pair.split("=") for pair in _MORSE.split())
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LOOK_ALIKES = str.maketrans({"−": "-", "–": "-", "—": "-", "·": ".", "•": ".", "_": "-"})


def _message(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words)).upper()


def _plain(text: str) -> str:
    """What two people would call the same message: case, quotes and a final stop apart."""
    return " ".join(text.strip(" \"'`“”.").upper().split())


class Morse(Puzzle):
    """International Morse code, in dots and dashes or in two other signs. Truth: solution, code."""

    name: ClassVar[str] = "logic.morse"

    SIGNS = ((".", "-"), ("0", "1"), ("o", "O"), ("*", "="))
    DECODE = (
        "Decode this Morse code: {code}\n{signs}{form}",
        "A radio operator wrote down {code}\n{signs}What was the message? {form}",
        "What does the following say in International Morse code?\n\n{code}\n\n{signs}{form}",
    )
    ENCODE = (
        "Write this message in International Morse code: {text}\n{form}",
        "Encode “{text}” in Morse code. {form}",
        "You are to send {text} by Morse code. What do you key? {form}",
    )

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        text = _message(rng, between(2, 7, difficulty))
        if rng.random() < difficulty:
            text += f" {rng.randint(1, 9999)}"
        encode = rng.random() < 0.4
        dot, dash = (".", "-") if difficulty < 0.4 else rng.choice(self.SIGNS)
        code = _morse(text)
        if encode:
            form = (
                "Use `.` and `-`, a space between letters and ` / ` between words. " + ANSWER_FORMAT
            )
            prompt = rng.choice(self.ENCODE).format(text=text, form=form)
        else:
            signs = "" if dot == "." else f"Here {dot} is a dot and {dash} is a dash. "
            form = "Give the message in capital letters. " + ANSWER_FORMAT
            shown = code.translate({ord("."): dot, ord("-"): dash})
            prompt = rng.choice(self.DECODE).format(
                code=shown, signs="Letters are separated by a space, words by /. " + signs,
                form=form,
            )  # fmt: skip
        solution = code if encode else text
        identity = json.dumps([text, encode, dot])
        return Problem(prompt, {"solution": solution, "code": encode}, identity)

    def fault(self, truth: Mapping[str, Any], answer: str) -> str:
        if not truth["code"]:
            return "" if _plain(answer) == truth["solution"] else "that is not the message"
        words = answer.strip(" \"'`“”").translate(LOOK_ALIKES).split("/")
        found = " / ".join(" ".join(word.split()) for word in words)
        return "" if found == truth["solution"] else "that is not the message in Morse code"


def _morse(text: str) -> str:
    return " / ".join(" ".join(MORSE[letter] for letter in word) for word in text.split())


def _shifted(text: str, shifts: Callable[[int], int]) -> str:
    """Letter number n of the text, spaces not counted, moved shifts(n) places in the alphabet."""
    moved, count = [], 0
    for letter in text:
        if letter != " ":
            letter = ALPHABET[(ALPHABET.index(letter) + shifts(count)) % 26]
            count += 1
        moved.append(letter)
    return "".join(moved)


def _reordered(text: str, order: Callable[[int], list[int]]) -> str:
    """The letters in another order, around spaces that stay where they are."""
    letters = text.replace(" ", "")
    source = iter([letters[place] for place in order(len(letters))])
    return "".join(" " if letter == " " else next(source) for letter in text)


def _rails(length: int, rails: int) -> list[int]:
    cycle = 2 * (rails - 1)
    return sorted(range(length), key=lambda n: (min(n % cycle, cycle - n % cycle), n))


def encipher(text: str, kind: str, key: str) -> str:
    """One step over a message; what each kind does is told in `STEPS`."""
    match kind:
        case "caesar":
            return _shifted(text, lambda n: int(key))
        case "vigenere":
            return _shifted(text, lambda n: ALPHABET.index(key[n % len(key)]))
        case "atbash":
            return text.translate(
                {ord(a): b for a, b in zip(ALPHABET, ALPHABET[::-1], strict=True)}
            )
        case "keyword":
            alphabet = "".join(dict.fromkeys(key + ALPHABET))
            return text.translate(str.maketrans(ALPHABET, alphabet))
        case "rails":
            return _reordered(text, lambda length: _rails(length, int(key)))
        case "backward":
            return _reordered(text, lambda length: list(range(length))[::-1])
        case _:
            raise ValueError(f"no cipher is called {kind}")


STEPS: Mapping[str, str] = {
    "caesar": "every letter is moved {key} places forward in the alphabet, from Z on to A",
    "vigenere": "a Vigenère cipher with the key {key}: the letters of the key, repeated over the "
    "letters of the message without its spaces, say how far each moves (A is 0, B is 1, ...)",
    "atbash": "every letter is replaced by its mirror in the alphabet (A by Z, B by Y, ...)",
    "keyword": "the alphabet A to Z is replaced, letter by letter, by the letters of {key} (each "
    "the first time that it occurs) followed by the other letters in alphabetical order",
    "rails": "a rail fence of {key} rails: the letters are written in a zigzag over the rails, "
    "starting at the top left, and read off rail by rail from the top",
    "backward": "all letters of the message are put in reverse order",
}


class Cipher(Puzzle):
    """One to three classical steps, applied or undone. Truth: solution."""

    name: ClassVar[str] = "logic.cipher"

    UNDO = (
        "A message was enciphered like this:\n{steps}\n\nThe result is: {text}\n\nWhat was the "
        "message? {form}",
        "Decipher {text}\n\nIt was made from the message in these steps:\n{steps}\n\n{form}",
    )
    APPLY = (
        "Encipher this message: {text}\n\nThe steps are:\n{steps}\n\n{form}",
        "Take the message {text} and apply, in this order:\n{steps}\n\nWhat comes out? {form}",
    )

    def generate(self, rng: random.Random, difficulty: float) -> Problem:
        text = _message(rng, between(2, 6, difficulty))
        kinds = rng.sample(list(STEPS), between(1, 3, difficulty))
        steps = [(kind, _key(rng, kind)) for kind in kinds]
        secret = text
        for kind, key in steps:
            secret = encipher(secret, kind, key)
        apply = rng.random() < 0.4
        told = "\n".join(
            f"{number}. {STEPS[kind].format(key=key)};"
            for number, (kind, key) in enumerate(steps, 1)
        )
        form = (
            "Spaces stay where they are in every step. Give the text in capital letters. "
        ) + ANSWER_FORMAT
        prompt = rng.choice(self.APPLY if apply else self.UNDO).format(
            text=text if apply else secret, steps=told[:-1] + ".", form=form
        )
        identity = json.dumps([text, steps, apply])
        return Problem(prompt, {"solution": secret if apply else text}, identity)

    def fault(self, truth: Mapping[str, Any], answer: str) -> str:
        return "" if _plain(answer) == truth["solution"] else "that is not the text"


def _key(rng: random.Random, kind: str) -> str:
    match kind:
        case "caesar":
            return str(rng.randint(1, 25))
        case "rails":
            return str(rng.randint(2, 4))
        case "vigenere" | "keyword":
            return rng.choice([word for word in WORDS if len(word) > 3]).upper()
        case _:
            return ""
