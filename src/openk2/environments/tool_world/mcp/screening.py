"""What a server says is hostile text: tool lists are screened and pinned, results made plain.

A tool's description reaches the model as if the owner of the dialog had written it, so it is the
favourite place for an attack (tool poisoning; changed later, a rug pull). A tool whose name,
description or schema looks like one is withheld unless the catalogue allows it by name, and the
hash of the whole list is pinned when a server is taken in.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from openk2.environments.tool_world.schemas import compiled_schema

__all__ = [
    "ListedTool",
    "defects",
    "delimited",
    "pin",
    "plain",
    "suspicions",
]

MAX_TEXT = 8_000

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")

# Characters that a person does not see and a model reads, or that steer a terminal: controls but
# newline and tab, formats (zero-width, bidirectional, tags), blank letters, variation selectors,
# surrogates.
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u06dd\u070f\u0890\u0891\u08e2\u0600-\u0605\u115f"
    "\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

# What an honest description has no need to say. Matched on lower-case compatibility forms with
# single spaces, so that full-width letters and line breaks do not hide it.
SUSPICIOUS: Mapping[str, re.Pattern[str]] = {
    "a tag that gives orders": re.compile(
        r"< ?/? ?(important|system|instructions?|secrets?|admin|hidden|assistant|critical)\b"
    ),
    "special tokens": re.compile(r"<\|[^|<>]{1,40}\|>|\[/?inst\]"),
    "orders about other tools": re.compile(
        r"\b(before|prior to|whenever|when|after) (you )?(using|calling|invoking|use|call) "
        r"(this|any|other|another|the)\b[^.]{0,60}\b(must|always|first|read|send|pass)\b"
        r"|\balways (call|use|invoke) this tool\b|\binstead of (the )?(other|any)\b"
    ),
    "orders to override": re.compile(
        r"\b(ignore|disregard|forget|override) (all |any |the )?"
        r"(previous|prior|above|other|earlier|system|user)\b"
    ),
    "orders to conceal": re.compile(
        r"\b(do not|don't|never) (tell|mention|inform|reveal|show|notify|disclose)\b"
        r"|\bwithout (telling|informing|notifying|asking|mentioning)\b"
    ),
    "paths of secrets": re.compile(
        r"~/\.|\.ssh\b|\bid_(rsa|ed25519)\b|/etc/(passwd|shadow)|\.aws/|\.kube/|\.netrc\b"
        r"|\bmcp\.json\b|\bprivate key\b|\bapi[_ -]?keys?\b|(^|[ '\"/])\.env\b"
    ),
}


@dataclass(frozen=True)
class ListedTool:
    """A tool as a server listed it.

    reads   the server says that it changes nothing; a hint that proves nothing
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    returns: Mapping[str, Any] | None
    reads: bool = False


def pin(tools: list[ListedTool]) -> str:
    """The hash of a tool list: names, descriptions and schemas, in any order."""
    listed = [
        (tool.name, tool.description, tool.parameters, tool.returns)
        for tool in sorted(tools, key=lambda tool: tool.name)
    ]
    text = json.dumps(listed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def defects(tool: ListedTool) -> list[str]:
    """Why a tool cannot be offered, whoever allows it; empty for one that can."""
    if not NAME.fullmatch(tool.name):
        return ["its name is not letters, digits, _ and - (64 at most)"]
    try:
        for schema in (tool.parameters, tool.returns):
            if schema is not None:
                compiled_schema(schema)
    except ValueError as error:
        return [str(error)]
    return []


def suspicions(tool: ListedTool) -> list[str]:
    """Why a tool without defects should not be offered unread; empty for one that looks honest."""
    found = set()
    for text in (tool.description, *_texts(tool.parameters), *_texts(tool.returns)):
        if len(text) > MAX_TEXT:
            found.add(f"a text of more than {MAX_TEXT} characters")
            continue
        if HIDDEN.search(text):
            found.add("hidden characters")
        read = " ".join(unicodedata.normalize("NFKC", plain(text)).lower().split())
        found.update(name for name, pattern in SUSPICIOUS.items() if pattern.search(read))
    return sorted(found)


def plain(text: str) -> str:
    """A text without the characters that nobody sees."""
    return HIDDEN.sub("", text.replace("\r\n", "\n"))


def delimited(server: str, tool: str, text: str) -> str:
    """A tool's output as data: between marks that the output itself cannot write."""
    inside = re.sub(r"<(\s{0,8}/?\s{0,8}tool_output)", r"&lt;\1", text, flags=re.IGNORECASE)
    return f'<tool_output server="{server}" tool="{tool}">\n{inside}\n</tool_output>'


def _texts(schema: Any) -> Iterator[str]:
    """All texts of a schema, its keys too."""
    if isinstance(schema, str):
        yield schema
    elif isinstance(schema, Mapping):
        for key, value in schema.items():
            yield key
            yield from _texts(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _texts(value)
