"""Models in a judge's role that follow a rule: generators like any other, without weights."""

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jsonschema

from openk2.core.generation import (
    DEFAULT_SAMPLING,
    Completion,
    Constraint,
    JsonSchemaFormat,
    SamplingOptions,
)
from openk2.core.records import Message, ToolSpec

__all__ = ["RuleModel", "enclosed", "pairwise_model", "preferring"]

ENCLOSED = re.compile(r"\[([\w ]+) ([0-9a-f]{16}) begins\]\n(.*?)\n\[\1 \2 ends\]", re.S)


class RuleModel:
    """Answers with rule(messages, schema), which may be anything; counts its calls."""

    def __init__(
        self,
        rule: Callable[[Sequence[Message], Mapping[str, Any]], object],
        delay_s: float = 0.0,
    ) -> None:
        self.rule = rule
        self.delay_s = delay_s
        self.calls: list[tuple[Sequence[Message], SamplingOptions]] = []
        self.closed = False

    async def chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec] = (),
        options: SamplingOptions = DEFAULT_SAMPLING,
        *,
        samples: int = 1,
        tool_choice: str = "auto",
        response_format: Constraint | None = None,
    ) -> list[Completion]:
        self.calls.append((messages, options))
        await asyncio.sleep(self.delay_s)
        schema = response_format.schema if isinstance(response_format, JsonSchemaFormat) else {}
        assert isinstance(schema, Mapping)
        said = self.rule(messages, schema)
        if not isinstance(said, str):
            jsonschema.validate(said, schema)  # what an engine under this constraint could say
            said = json.dumps(said)
        return [Completion(said, "stop", message=Message("assistant", said))] * samples

    async def complete(
        self,
        prompt: str,
        options: SamplingOptions = DEFAULT_SAMPLING,
        *,
        samples: int = 1,
        response_format: Constraint | None = None,
    ) -> list[Completion]:
        return await self.chat(
            [Message("user", prompt)], (), options, samples=samples, response_format=response_format
        )

    async def close(self) -> None:
        self.closed = True


def enclosed(messages: Sequence[Message]) -> dict[str, str]:
    """label -> the text between its marks."""
    return {label: text for label, _, text in ENCLOSED.findall(messages[-1].content)}


def preferring(
    better: Callable[[str, str, str], str],
) -> Callable[[Sequence[Message], Mapping[str, Any]], object]:
    """A judge's rule that names better(request, A, B), "A", "B" or "tie", on every criterion."""

    def rule(messages: Sequence[Message], schema: Mapping[str, Any]) -> object:
        shown = enclosed(messages)
        letter = better(shown["request"], shown["candidate A"], shown["candidate B"])
        quoted = "A" if letter == "tie" else letter
        quote = "" if letter == "tie" else shown[f"candidate {quoted}"][:200]
        verdicts = {}
        for name, verdict in schema["properties"].items():
            verdicts[name] = {"candidate": quoted, "quote": quote, "winner": letter}
            if "met_A" in verdict["properties"]:
                verdicts[name] |= {"met_A": letter != "B", "met_B": letter != "A"}
        return verdicts

    return rule


def pairwise_model(better: Callable[[str, str, str], str]) -> RuleModel:
    return RuleModel(preferring(better))
