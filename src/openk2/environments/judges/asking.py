"""A question to a model whose answer must be JSON that code can check."""

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from openk2.core.generation import JsonSchemaFormat, SamplingOptions
from openk2.core.protocols import Generator
from openk2.core.records import Message
from openk2.environments.base import seeded_random, spoken

__all__ = ["JudgeOptions", "ask", "quotes"]

T = TypeVar("T")
MAX_VERDICT = 100_000  # characters of a model's answer that are read at all
FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?```", re.S)


@dataclass(frozen=True)
class JudgeOptions:
    """How a judge's model is asked.

    sampling    of the verdict; its seed is replaced, another one for each try
    attempts    tries until a verdict can be read and its quotes are found; then there is none
    timeout_s   of one try; who does not answer in time has not answered
    seed        of everything that a judge draws
    """

    sampling: SamplingOptions = SamplingOptions(temperature=0.6, max_tokens=2048)  # noqa: RUF009
    attempts: int = 3
    timeout_s: float = 300.0
    seed: int = 0


async def ask(
    generator: Generator,
    messages: Sequence[Message],
    schema: Mapping[str, Any],
    read: Callable[[Mapping[str, Any]], T],
    options: JudgeOptions,
) -> T | None:
    """What `read` makes of the model's JSON object; None where no attempt gave a readable one.

    `read` raises ValueError for an object that it does not accept. The generator's own exceptions
    propagate: they are failures of the machine, not opinions.
    """
    draws = seeded_random(options.seed, *(message.content for message in messages))
    for _ in range(options.attempts):
        sampling = replace(options.sampling, seed=draws.getrandbits(31))
        call = generator.chat(messages, (), sampling, response_format=JsonSchemaFormat(schema))
        try:
            completion = (await asyncio.wait_for(call, options.timeout_s))[0]
        except TimeoutError:
            continue
        said = completion.message.content if completion.message else completion.text
        try:
            return read(_json_object(spoken(said)))
        except ValueError:
            continue
    return None


def quotes(text: str, quote: object) -> str:
    """`quote` where it stands in `text` word for word; ValueError otherwise.

    White space may differ; what holds no letter and no digit is no quote.
    """
    if not isinstance(quote, str):
        raise ValueError("a quote is not a text")
    words = " ".join(quote.split())
    if not any(map(str.isalnum, words)) or words not in " ".join(text.split()):
        raise ValueError("a quote is not in the text")
    return words


def _json_object(text: str) -> Mapping[str, Any]:
    if len(text) > MAX_VERDICT:
        raise ValueError("the verdict is too long")
    fenced = FENCE.search(text)
    try:
        found = json.loads(fenced[1] if fenced else text)
    except RecursionError:
        raise ValueError("the verdict is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("the verdict is not an object")
    return found
