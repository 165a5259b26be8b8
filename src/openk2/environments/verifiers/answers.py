"""Where in a response the answer stands: one answer, stated once, or none.

A response may reason as it likes; what counts is its final answer, in `\\boxed{...}` or on a
line that begins with `Answer:`. Two different answers are none: who lists every candidate has not
chosen.
"""

import itertools
import re
from dataclasses import dataclass

__all__ = ["ANSWER_FORMAT", "MAX_ANSWER", "FinalAnswer", "final_answer"]

ANSWER_FORMAT = "End with a line `Answer: ...` that holds your final answer and nothing else."
MAX_ANSWER = 10_000  # characters; a longer one is no answer to any task here
MAX_WORDINGS = 3
LINE = re.compile(r"^[ \t>*_#`-]*(?:final )?answer[ \t]*[*_]*:(.*)$", re.I | re.M)
MATHS_MODE = re.compile(r"^\\[(\[]|\\[)\]](?=\.?$)")
MAX_BOXES = 100
BOX = re.compile(r"\\boxed[ \t]*\{")


@dataclass(frozen=True)
class FinalAnswer:
    """`text` is the answer, None where there is none or several; `problem` says why.

    wordings   all that is stated as the answer, for graders that can tell whether `1/2` and
               `\\frac{1}{2}` say the same; empty where there is nothing, or more than MAX_WORDINGS
    """

    text: str | None
    problem: str = ""
    wordings: tuple[str, ...] = ()


def final_answer(response: str) -> FinalAnswer:
    """The one answer that a response gives.

    Boxes and answer lines are equals; where there are several they must say the same up to white
    space, and a box around an answer line's text is taken off.
    """
    lines = [_unboxed(found.strip(" \t\r*_`")) for found in LINE.findall(response)]
    found = {" ".join(text.split()) for text in (*lines, *_boxes(response)) if text}
    if not found:
        return FinalAnswer(None, "no final answer was given")
    longest = max(map(len, found))
    if len(found) > 1:
        few = len(found) <= MAX_WORDINGS and longest <= MAX_ANSWER
        wordings = tuple(sorted(found)) if few else ()
        return FinalAnswer(None, f"{len(found)} different final answers were given", wordings)
    if longest > MAX_ANSWER:
        return FinalAnswer(None, f"the final answer has {longest} characters")
    text = found.pop()
    return FinalAnswer(text, wordings=(text,))


def _unboxed(text: str) -> str:
    text = text.strip("$ ") if text.count("$") == 2 else text
    text = MATHS_MODE.sub("", text).strip()
    boxes = _boxes(text)
    return boxes[0] if len(boxes) == 1 and text.startswith("\\boxed") else text


def _boxes(text: str) -> list[str]:
    """The contents of every \\boxed{...}, with their braces balanced; an open box holds nothing."""
    contents = []
    for start in itertools.islice(BOX.finditer(text), MAX_BOXES):
        depth, place = 1, start.end()
        for place in range(start.end(), min(len(text), start.end() + MAX_ANSWER + 1)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if depth == 0:
                break
        if depth == 0:
            contents.append(text[start.end() : place].strip().strip("$").strip())
    return contents
