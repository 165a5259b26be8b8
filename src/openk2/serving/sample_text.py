"""A sample's tokens as the text that a client sees, while they come."""

from collections.abc import Sequence

from openk2.core.generation import SamplingOptions
from openk2.tokenizer import StreamDecoder, Tokenizer

__all__ = ["SampleText", "StopCutter"]


class StopCutter:
    """Text up to the first stop string; what may become one is held back."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self._found = False

    def feed(self, text: str) -> str:
        """What of `text`, and of what was held, certainly precedes any stop string."""
        if self._found:
            return ""
        text = self._held + text
        places = [place for place in (text.find(stop) for stop in self._stops) if place >= 0]
        if places:
            self._found, self._held = True, ""
            return text[: min(places)]
        kept = len(text) - max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[kept:]
        return text[:kept]

    def finish(self) -> str:
        """What is held, which no stop string came of."""
        held, self._held = self._held, ""
        return held


class SampleText:
    """Plain text: envelope tokens and what stops the sample are left out, tool call tokens stay."""

    def __init__(self, tokenizer: Tokenizer, options: SamplingOptions) -> None:
        self._decoder = StreamDecoder(tokenizer, skip_special=True)
        self._cutter = StopCutter(options.stop)
        self._stop_tokens = frozenset(options.stop_tokens)

    def echo(self, prompt: Sequence[int]) -> str:
        """The prompt's text, in which stop strings stop nothing; comes before anything else."""
        return self._decoder.feed(prompt)

    def feed(self, tokens: Sequence[int]) -> str:
        shown = [token for token in tokens if token not in self._stop_tokens]
        return self._cutter.feed(self._decoder.feed(shown))

    def finish(self) -> str:
        return self._cutter.feed(self._decoder.finish()) + self._cutter.finish()


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`, but are not all of it."""
    longest = min(len(stop) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if stop.startswith(text[-n:])), 0)
