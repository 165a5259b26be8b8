"""The changes to a repository that a response hands in, and what becomes of its files.

Three forms, in fenced blocks: a whole file (python, below a line with its path), search and replace
sections (below a line with the path) and a unified diff. A change names files that exist and may be
changed, or all of it is refused: tests and their configuration never come from a response.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from openk2.environments.verifiers.coding.response import code_blocks, is_source

__all__ = ["PATCH_FORMAT", "Change", "PatchProblem", "patched", "stated_changes"]

PATCH_FORMAT = """\
Hand in your changes in fenced blocks, in one of these forms:
- a whole file: a line with its path, then a block that begins with ```python and holds all of the
  new file;
- a unified diff in a block that begins with ```diff (line numbers are ignored; the lines that are
  kept and removed must occur in the file exactly once in that order);
- search and replace: a line with the path, then a block that holds one or more sections

<<<<<<< SEARCH
lines as they are, found exactly once in the file
=======
lines as they shall be
>>>>>>> REPLACE

Change only the modules of the package. A response that touches tests or any other file, or whose
changes do not apply, is rejected as a whole."""

MAX_CHANGES = 200
FILE_ENDINGS = (".py", ".ini", ".cfg", ".toml", ".pth", ".txt", ".json", ".yml", ".sh")
MARKS = (
    re.compile(r"<{5,9} SEARCH\s*"),
    re.compile(r"={5,9}\s*"),
    re.compile(r">{5,9} REPLACE\s*"),
)


class PatchProblem(ValueError):
    """What is wrong with the changes of a response, in one line."""


@dataclass(frozen=True)
class Change:
    """Of the file `path`: `old` (whole lines, None for the whole file) becomes `new`."""

    path: str
    old: str | None
    new: str


def stated_changes(response: str) -> list[Change]:
    """The changes of a response, in order; PatchProblem where a block cannot be read."""
    changes: list[Change] = []
    for block in code_blocks(response):
        info = block.info.lower()
        if info in ("diff", "patch"):
            changes.extend(_diff_changes(block.text.split("\n")))
            continue
        path = _path_in(block.above)
        if path is None or info not in ("", "python", "py"):
            continue
        lines = block.text.splitlines(keepends=True)
        if any(MARKS[0].fullmatch(line) for line in lines):
            changes.extend(Change(path, old, new) for old, new in _sections(lines))
        else:
            changes.append(Change(path, None, block.text))
    if len(changes) > MAX_CHANGES:
        raise PatchProblem(f"{len(changes)} changes; {MAX_CHANGES} are allowed")
    return changes


def _path_in(line: str) -> str | None:
    """The last word of a line that looks like a file."""
    words = [word.strip("`*#:()[]\"',") for word in line[:300].split()]
    files = [word for word in words if word.endswith(FILE_ENDINGS) or "/" in word]
    return files[-1] if files else "Makefile" if "Makefile" in words else None


def _sections(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What is searched and what replaces it; PatchProblem where a mark is out of order."""
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    place = 0
    for line in lines:
        mark = next((i for i, mark in enumerate(MARKS) if mark.fullmatch(line)), None)
        if mark is None:
            parts[place].append(line)
        elif mark != place:
            raise PatchProblem("the marks of a search and replace block are out of order")
        elif mark == 2:
            yield "".join(parts[1]), "".join(parts[2])
            parts, place = ([], [], []), 0
        else:
            place += 1
    if place:
        raise PatchProblem("a search and replace section has no end")


def _diff_changes(lines: Sequence[str]) -> Iterator[Change]:
    path, old, new, blank = "", list[str](), list[str](), 0

    def hunk() -> Iterator[Change]:
        # An empty line without the space of a kept line is one that an editor stripped; at the end
        # of a hunk it rather stands between two hunks.
        before, after = old[: len(old) - blank], new[: len(new) - blank]
        if before or after:
            yield Change(path, "".join(before), "".join(after))
        old.clear()
        new.clear()

    for line in lines:
        if line.startswith(("--- ", "diff ", "index ", "+++ ", "@@")):
            yield from hunk()
            blank = 0
            if line.startswith("+++ "):
                path = line[4:].split("\t")[0].strip().removeprefix("b/")
        elif path and line[:1] in ("", " ", "-", "+"):
            blank = 0 if line else blank + 1
            if line[:1] != "+":
                old.append(line[1:] + "\n")
            if line[:1] != "-":
                new.append(line[1:] + "\n")
    yield from hunk()


def patched(files: Mapping[str, str], changes: Sequence[Change]) -> dict[str, str]:
    """`files` with `changes` applied; PatchProblem where one is refused or does not apply."""
    result = dict(files)
    for change in changes:
        path = change.path.removeprefix("./")
        if path not in files:
            raise PatchProblem(f"{change.path[:100]} is not a module that may be changed")
        if change.old is None:
            result[path] = change.new
            continue
        text, old = "\n" + result[path], "\n" + change.old
        if not change.old.strip() or text.count(old) != 1:
            raise PatchProblem(f"a change of {path} does not fit exactly one place")
        result[path] = text.replace(old, "\n" + change.new)[1:]
        if not is_source(result[path]):
            raise PatchProblem(f"{path} is not a text that Python can read")
    if not all(map(is_source, result.values())):
        raise PatchProblem("a file is not a text that Python can read")
    return result
