"""One shape for the whole response: JSON, a tag, quotation marks, several texts, a repetition."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from openk2.environments.verifiers.format_checks import json_only, words_of
from openk2.environments.verifiers.instructions.constraint import PROSE, Constraint, Draw, listed
from openk2.environments.verifiers.instructions.draft import Draft
from openk2.environments.verifiers.instructions.reading import Reading

__all__ = ["CONSTRAINTS"]

WHOLE = frozenset({"whole"})
EDGES = frozenset({"start", "end", "top", "first line", "position"})
JSON_BARS = PROSE | EDGES | {"marks", "case", "letters", "digits", "language", "repeats"}
KEYS = ("heading", "opening", "body", "middle", "turn", "ending", "moral", "remark")


@dataclass(frozen=True)
class JsonKeys(Constraint):
    """One JSON object with these keys in any order and no others; its values are texts."""

    keys: tuple[str, ...]

    id = "format.json_keys"
    takes = WHOLE
    bars = JSON_BARS
    hardness = 0.4
    wordings: ClassVar[tuple[str, ...]] = (
        "Answer with one JSON object and nothing around it; its keys are {listed}, its values "
        "texts.",
        "Give the text as a JSON object with exactly the keys {listed}, a string under each. No "
        "code fence.",
        "The whole response must be JSON: an object of strings with the keys {listed}.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(tuple(draw.rng.sample(KEYS, draw.size(2, 5))))

    def facts(self) -> Mapping[str, Any]:
        return {"listed": listed(self.keys)}

    def check(self, reading: Reading) -> bool:
        value, _ = json_only(reading.text)
        return (
            isinstance(value, dict)
            and set(value) == set(self.keys)
            and all(isinstance(one, str) and words_of(one) for one in value.values())
        )

    def plan(self, draft: Draft) -> None:
        def wrap(blocks: list[str]) -> str:
            return json.dumps(dict(zip(self.keys, blocks, strict=True)), ensure_ascii=False)

        draft.paragraphs.narrow(len(self.keys), len(self.keys))
        draft.wrap = wrap


@dataclass(frozen=True)
class JsonItems(Constraint):
    """A JSON array of `count` objects {name: text, number: its place from 1, last: bool}."""

    count: int
    name: str

    id = "format.json_schema"
    takes = WHOLE
    bars = JSON_BARS
    hardness = 0.7
    wordings: ClassVar[tuple[str, ...]] = (
        'Answer with a JSON array of exactly {count} objects and nothing else; each has "{name}" '
        '(a string), "number" (an integer: 1, 2, ...) and "last" (true for the last one only).',
        "The response must be valid JSON after this schema: an array of {count} objects with "
        '"{name}": string, "number": integer counted from 1, "last": boolean, true at the end.',
        'Tell it as JSON: {count} objects in an array, with a text under "{name}", their place, '
        'from 1, under "number", and under "last" whether they are the last. No code fence.',
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.size(2, 5), draw.rng.choice(("text", "scene", "part", "passage")))

    def check(self, reading: Reading) -> bool:
        value, _ = json_only(reading.text)
        return (
            isinstance(value, list)
            and len(value) == self.count
            and all(self._is_item(one, place) for place, one in enumerate(value, 1))
        )

    def _is_item(self, item: object, place: int) -> bool:
        return (
            isinstance(item, dict)
            and set(item) == {self.name, "number", "last"}
            and isinstance(item[self.name], str)
            and bool(words_of(item[self.name]))
            and type(item["number"]) is int
            and item["number"] == place
            and item["last"] is (place == self.count)
        )

    def plan(self, draft: Draft) -> None:
        def wrap(blocks: list[str]) -> str:
            items = [
                {self.name: block, "number": place, "last": place == self.count}
                for place, block in enumerate(blocks, 1)
            ]
            return json.dumps(items, indent=1, ensure_ascii=False)

        draft.paragraphs.narrow(self.count, self.count)
        draft.wrap = wrap


@dataclass(frozen=True)
class Tag(Constraint):
    """The whole response lies in one XML element, with no other tag in it."""

    name: str

    id = "format.xml"
    takes = WHOLE | EDGES
    bars = frozenset({"letters", "case", "marks", "lines"})
    hardness = 0.3
    wordings: ClassVar[tuple[str, ...]] = (
        "Put the whole response between <{name}> and </{name}>, and use no other tags.",
        "Begin with <{name}>, end with </{name}>, and have no tag in between.",
        "Wrap everything you write in a single XML element named {name}.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.rng.choice(("answer", "text", "draft", "result", "piece")))

    def check(self, reading: Reading) -> bool:
        first, last = f"<{self.name}>", f"</{self.name}>"
        text = reading.text
        inside = text[len(first) : -len(last)]
        return (
            text.startswith(first)
            and text.endswith(last)
            and bool(words_of(inside))
            and not re.search(r"</?[A-Za-z]", inside)
        )

    def plan(self, draft: Draft) -> None:
        draft.wrap = lambda blocks: f"<{self.name}>\n" + "\n\n".join(blocks) + f"\n</{self.name}>"


@dataclass(frozen=True)
class Quotation(Constraint):
    id = "format.quotation"
    takes = frozenset({"whole", "end", "first line"})
    bars = frozenset({"marks", "top", "lines"})
    hardness = 0.2
    wordings: ClassVar[tuple[str, ...]] = (
        "Put the whole response in double quotation marks.",
        "The response must begin and end with a double quotation mark, with none in between.",
        'Wrap everything in one pair of double quotation marks ("...").',
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls()

    def check(self, reading: Reading) -> bool:
        text, inside = reading.text, reading.text[1:-1]
        paired = text[:1] + text[-1:] in ('""', "“”") and len(text) > 2
        return paired and not any(mark in inside for mark in '"“”') and bool(words_of(inside))

    def plan(self, draft: Draft) -> None:
        draft.wrap = lambda blocks: '"' + "\n\n".join(blocks) + '"'


@dataclass(frozen=True)
class TwoTexts(Constraint):
    """Two different texts, with a line of six asterisks between them."""

    id = "structure.two_responses"
    takes = WHOLE
    bars = PROSE | {"marks", "position"}
    hardness = 0.4
    wordings: ClassVar[tuple[str, ...]] = (
        "Give two different versions, with a line of six asterisks (******) between them.",
        "Write two responses that differ, and separate them by one line: ******",
        "Answer twice, in different words; between the answers stands a line of six asterisks.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls()

    def check(self, reading: Reading) -> bool:
        parts = re.split(r"^[ \t]*\*{6}[ \t]*$", reading.text, flags=re.M)
        if len(parts) != 2 or "***" in "".join(parts):
            return False
        words = [{word.lower() for word in words_of(part)} for part in parts]
        shared, either = words[0] & words[1], words[0] | words[1]
        return min(map(len, words)) >= 8 and len(shared) <= 0.8 * len(either)

    def plan(self, draft: Draft) -> None:
        draft.paragraphs.narrow(2, 2)
        draft.wrap = lambda blocks: "\n\n******\n\n".join(blocks)


@dataclass(frozen=True)
class Separated(Constraint):
    """Parts with a line of three asterisks between them."""

    count: int

    id = "structure.parts"
    takes = WHOLE
    bars = PROSE | {"marks"}
    hardness = 0.3
    wordings: ClassVar[tuple[str, ...]] = (
        "Divide the text into exactly {count} parts, with a line of three asterisks (***) between "
        "parts.",
        "Write {count} parts and separate each from the next by a line that reads ***",
        "The text must have {count} parts; the divider between two parts is a line: ***",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls(draw.size(2, 5))

    def check(self, reading: Reading) -> bool:
        parts = re.split(r"^[ \t]*\*{3}[ \t]*$", reading.text, flags=re.M)
        return len(parts) == self.count and all(len(words_of(part)) >= 3 for part in parts)

    def plan(self, draft: Draft) -> None:
        draft.paragraphs.narrow(self.count, self.count)
        draft.wrap = lambda blocks: "\n\n***\n\n".join(blocks)


@dataclass(frozen=True)
class RepeatRequest(Constraint):
    """The request comes first, word for word and once; the text follows on another line."""

    id = "structure.repeat_request"
    takes = frozenset({"start", "first line", "whole"})
    bars = PROSE | frozenset({"letters", "case", "marks", "top", "position", "words", "language"})
    hardness = 0.3
    wordings: ClassVar[tuple[str, ...]] = (
        "First repeat the request (the first sentence of this message) word for word on a line of "
        "its own, then write the text.",
        "Before the text, on the first line, copy the first sentence of this message without a "
        "change.",
        "The first line of your response must be the first sentence of this message, unchanged; "
        "the text comes after it.",
    )

    @classmethod
    def draw(cls, draw: Draw) -> Self:
        return cls()

    def check(self, reading: Reading) -> bool:
        first, _, rest = reading.text.partition("\n")
        repeated = bool(reading.request) and first.strip() == reading.request
        return repeated and len(words_of(rest)) >= 20 and reading.request not in rest

    def plan(self, draft: Draft) -> None:
        draft.before.insert(0, lambda phrase: draft.request)


CONSTRAINTS: tuple[type[Constraint], ...] = (
    JsonKeys,
    JsonItems,
    Tag,
    Quotation,
    TwoTexts,
    Separated,
    RepeatRequest,
)
