"""The program that a response hands in.

The last closed block that is marked as Python counts: who corrects a first draft below it means the
second one. A choice among several gains nothing, as only one is ever run.
"""

import re
from dataclasses import dataclass

__all__ = ["CODE_FORMAT", "MAX_CODE", "CodeBlock", "code_blocks", "submitted_code"]

CODE_FORMAT = (
    "Hand in one complete Python 3 module in a fenced block that begins with ```python and ends "
    "with ```. If there are several such blocks, only the last one counts. Only the standard "
    "library is there."
)
MAX_CODE = 100_000  # characters
FENCE = re.compile(r"^ {0,3}(`{3,})([^`\n]*)$")


@dataclass(frozen=True)
class CodeBlock:
    """A closed fenced block: what follows the opening fence, the text, and the line before it."""

    info: str
    text: str
    above: str


def code_blocks(response: str) -> list[CodeBlock]:
    """The closed fenced blocks of a Markdown text, in order; one that is never closed is none."""
    blocks: list[CodeBlock] = []
    fence, info, above, last, body = "", "", "", "", list[str]()
    for line in response.replace("\r\n", "\n").split("\n"):
        found = FENCE.match(line)
        if fence:
            if found and len(found[1]) >= len(fence) and not found[2].strip():
                blocks.append(CodeBlock(info, "".join(f"{one}\n" for one in body), above))
                fence, last, body = "", "", []
            else:
                body.append(line)
        elif found:
            fence, info, above = found[1], found[2].strip(), last
        elif line.strip():
            last = line
    return blocks


def submitted_code(response: str) -> str | None:
    """The last Python block, None where there is none or it is no text that can be run."""
    code = [one.text for one in code_blocks(response) if one.info.lower() in ("python", "py")]
    return code[-1] if code and is_source(code[-1]) else None


def is_source(text: str) -> bool:
    """Whether Python could read it: of bounded length, encodable, without null characters."""
    if len(text) > MAX_CODE or "\0" in text:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in text)
