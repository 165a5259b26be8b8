"""Markdown and other marks in a text: lists, headings, tables, code, highlights, placeholders."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

from openk2.environments.verifiers.format_checks import words_of
from openk2.environments.verifiers.instructions.constraint import PROSE, Constraint, Counted, Draw
from openk2.environments.verifiers.instructions.draft import Draft
from openk2.environments.verifiers.instructions.reading import Reading

__all__ = [
    "CONSTRAINTS",
    "Bullets",
    "Sections",
    "Highlights",
    "Placeholders",
    "HEADING",
    "FENCE",
    "RULE",
]

Phrase = Callable[[int], str]
BLOCK = PROSE | {"whole", "marks"}
BULLET = re.compile(r"^[ \t]*[-*•][ \t]+\S", re.M)
NUMBERED = re.compile(r"^[ \t]*(\d{1,9})[.)][ \t]+\S", re.M)
HEADING = re.compile(r"^#{1,6}[ \t]+\S", re.M)
TITLE = re.compile(r"^<<([^<>\n]{1,200})>>$")
HIGHLIGHT = re.compile(r"(?<![*\w])\*(?![*\s])[^*\n]{1,200}(?<!\s)\*(?![*\w])")
SECTION = re.compile(r"^section[ \t]+(\d{1,9})[ \t]*:?[ \t]*$", re.M | re.I)
PLACEHOLDER = re.compile(r"\[[A-Za-z][A-Za-z _-]{0,40}\](?!\()")
FENCE = re.compile(r"^```[ \t]*(\w*)[ \t]*$", re.M)
ROW = re.compile(r"^\|.{1,2000}\|$")
RULE = re.compile(r"^\|(?:[ \t]*:?-{3,}:?[ \t]*\|)+$")


class Bullets(Counted):
    id = "format.bullets"
    takes = frozenset({"list"})
    bars = BLOCK
    noun = ("bullet point", "bullet points")
    sizes = (2, 6)
    wordings = (
        'Include {amount}, each on a line that begins with "- ".',
        "Somewhere, give a list of {amount} (markdown, `- item`).",
        'There must be {amount} in the text; a bullet point is a line that starts with "- ".',
    )

    def measure(self, reading: Reading) -> int:
        return len(BULLET.findall(reading.text))

    def plan(self, draft: Draft) -> None:
        draft.paragraphs.narrow(2)
        draft.between.append(
            lambda phrase: "\n".join(f"- {phrase(2 + place % 2)}" for place in range(self.low))
        )


class NumberedList(Counted):
    """Numbered from 1, without a gap."""

    id = "format.numbered"
    takes = frozenset({"digits", "list"})
    bars = BLOCK
    noun = ("item", "items")
    sizes = (2, 6)
    wordings = (
        'Include a numbered list ("1. ", "2. ", ...) of {amount}.',
        "Somewhere, give {amount} in a list numbered 1., 2. and so on.",
        "There must be one numbered list, counted from 1., of {amount}.",
    )

    def measure(self, reading: Reading) -> int:
        numbers = [int(found) for found in NUMBERED.findall(reading.text)]
        return len(numbers) if numbers == list(range(1, len(numbers) + 1)) else 0

    def plan(self, draft: Draft) -> None:
        draft.paragraphs.narrow(2)
        draft.between.append(
            lambda phrase: "\n".join(f"{place + 1}. {phrase(2)}" for place in range(self.low))
        )


class Headings(Counted):
    id = "format.headings"
    takes = frozenset({"top", "start"})
    bars = BLOCK
    noun = ("heading", "headings")
    sizes = (2, 4)
    wordings = (
        'Use {amount} in markdown (lines that begin with "#"), with text under each.',
        "Divide the text with {amount}, markdown style (`## Heading`), each above some text.",
        "Structure the text by {amount} (`#` or `##`), and leave none without text below it.",
    )

    def measure(self, reading: Reading) -> int:
        """0 where there is a heading with nothing under it."""
        parts = HEADING.split(reading.text)[1:]
        filled = all(len(part.partition("\n")[2].split()) >= 3 for part in parts)
        return len(parts) if filled else 0

    def plan(self, draft: Draft) -> None:
        draft.paragraphs.narrow(self.low)
        draft.headings += [lambda phrase: f"## {phrase(2).title()}"] * self.low


class Sections(Counted):
    id = "format.sections"
    takes = frozenset({"top", "start", "digits"})
    bars = BLOCK
    noun = ("section", "sections")
    sizes = (2, 4)
    hardness = 0.4
    wordings = (
        'Write {amount}, each under a line "Section 1", "Section 2" and so on.',
        'Divide the text into {amount}; head them with lines that read "Section" and a number.',
        'The text must have {amount}. Mark each by a line of its own: "Section 1", and so on.',
    )

    def measure(self, reading: Reading) -> int:
        """0 where they are not numbered in order, or one has nothing in it."""
        parts = SECTION.split(reading.text)
        numbers = [int(found) for found in parts[1::2]]
        filled = all(len(words_of(part)) >= 3 for part in parts[2::2])
        return len(numbers) if filled and numbers == list(range(1, len(numbers) + 1)) else 0

    def plan(self, draft: Draft) -> None:
        draft.paragraphs.narrow(self.low)
        draft.headings += [self._head(place + 1) for place in range(self.low)]

    @staticmethod
    def _head(number: int) -> Callable[[Phrase], str]:
        return lambda phrase: f"Section {number}"


@dataclass(frozen=True)
class TextTitle(Constraint):
    id = "format.title"
    takes = frozenset({"start", "first line"})
    bars = BLOCK | {"position"}
    hardness = 0.2
    wordings: ClassVar[tuple[str, ...]] = (
        "Give the text a title in double angle brackets, <<like this>>, on its first line.",
        "The first line must be a title wrapped in << and >>.",
        "Begin with a title on a line of its own, between << and >>.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls()

    def check(self, reading: Reading) -> bool:
        found = TITLE.match(reading.lines[0]) if reading.lines else None
        return found is not None and bool(words_of(found[1])) and len(reading.lines) > 1

    def plan(self, draft: Draft) -> None:
        draft.before.insert(0, lambda phrase: f"<<{phrase(2).title()}>>")


class Highlights(Counted):
    id = "format.highlights"
    bars = frozenset({"whole", "marks"})
    noun = ("part", "parts")
    sizes = (1, 5)
    wordings = (
        "Highlight {amount} of the text with single asterisks, *like this*.",
        "Put {amount} of the text in markdown italics (*one asterisk on each side*).",
        "Emphasise {amount} with asterisks: *a highlighted part*.",
    )

    def measure(self, reading: Reading) -> int:
        """Parts without a word in them do not count."""
        return sum(bool(words_of(found)) for found in HIGHLIGHT.findall(reading.text))

    def plan(self, draft: Draft) -> None:
        draft.decorate(self.low, "*{}*", words=2)


@dataclass(frozen=True)
class Table(Constraint):
    """Exactly one markdown table, with a header row, of this size."""

    columns: int
    rows: int

    id = "format.table"
    takes = frozenset({"table"})
    bars = BLOCK
    hardness = 0.6
    wordings: ClassVar[tuple[str, ...]] = (
        "Include one markdown table of {columns} columns and {rows} rows below its header.",
        "Somewhere, give a markdown table: a header, {rows} rows of data, {columns} columns.",
        "There must be exactly one table in markdown with {columns} columns and, header aside, "
        "{rows} rows.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.rng.randint(2, 4), draw.size(2, 5))

    def check(self, reading: Reading) -> bool:
        lines = reading.lines
        rules = [place for place, line in enumerate(lines) if RULE.match(line)]
        if len(rules) != 1 or rules[0] == 0:
            return False
        first, last = rules[0] - 1, rules[0] + 1
        while last < len(lines) and ROW.match(lines[last]):
            last += 1
        table = [*lines[first : first + 1], *lines[rules[0] + 1 : last]]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
        return (
            ROW.match(lines[first]) is not None
            and len(cells) == self.rows + 1
            and lines[rules[0]].count("|") == self.columns + 1
            and all(len(row) == self.columns and all(row) for row in cells)
        )

    def plan(self, draft: Draft) -> None:
        def table(phrase: Phrase) -> str:
            rows = [[phrase(1) for _ in range(self.columns)] for _ in range(self.rows + 1)]
            rows.insert(1, ["---"] * self.columns)
            return "\n".join(f"| {' | '.join(row)} |" for row in rows)

        draft.paragraphs.narrow(2)
        draft.between.append(table)


@dataclass(frozen=True)
class CodeBlock(Constraint):
    """Exactly one fenced block, in a language, not empty."""

    language: str

    id = "format.code_block"
    takes = frozenset({"code"})
    bars = BLOCK | {"letters", "case", "digits"}
    hardness = 0.5
    wordings: ClassVar[tuple[str, ...]] = (
        "Include exactly one fenced code block marked as {language}.",
        "Somewhere, put one code block that opens with ```{language} and is closed again.",
        "There must be one fenced block of {language} code in the text, with code in it.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.rng.choice(("python", "bash", "sql", "javascript", "yaml")))

    def check(self, reading: Reading) -> bool:
        fences = list(FENCE.finditer(reading.text))
        if len(fences) != 2 or "```" in FENCE.sub("", reading.text):
            return False
        inside = reading.text[fences[0].end() : fences[1].start()]
        return fences[0][1].lower() == self.language and not fences[1][1] and bool(inside.strip())

    def plan(self, draft: Draft) -> None:
        draft.paragraphs.narrow(2)
        draft.between.append(
            lambda phrase: f"```{self.language}\n{phrase(1).lower()} = {phrase(1).lower()}\n```"
        )


class Placeholders(Counted):
    id = "format.placeholders"
    bars = frozenset({"whole", "marks"})
    noun = ("placeholder", "placeholders")
    sizes = (1, 5)
    wordings = (
        "Leave {amount} in square brackets, such as [name].",
        "The text must contain {amount} like [address], in square brackets.",
        "Put {amount} into the text, each in square brackets: [date].",
    )

    def measure(self, reading: Reading) -> int:
        return len(PLACEHOLDER.findall(reading.text))

    def plan(self, draft: Draft) -> None:
        draft.decorate(self.low, "[{}]", words=1)


@dataclass(frozen=True)
class Postscript(Constraint):
    marker: str

    id = "format.postscript"
    takes = frozenset({"end"})
    bars = BLOCK | {"letters", "case", "repeats"}
    hardness = 0.2
    wordings: ClassVar[tuple[str, ...]] = (
        'At the end, add a postscript that starts with "{marker}".',
        'Close with a postscript; its line begins with "{marker}".',
        'The last paragraph must be a postscript that begins with "{marker}".',
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.rng.choice(("P.S.", "P.P.S.", "PS:")))

    def check(self, reading: Reading) -> bool:
        last = reading.lines[-1] if reading.lines else ""
        after = last.removeprefix(self.marker)
        return after != last and len(words_of(after)) >= 3 and len(reading.lines) > 1

    def plan(self, draft: Draft) -> None:
        draft.postscript = self.marker


CONSTRAINTS: tuple[type[Constraint], ...] = (
    Bullets,
    NumberedList,
    Headings,
    Sections,
    TextTitle,
    Highlights,
    Table,
    CodeBlock,
    Placeholders,
    Postscript,
)
