"""Constrained decoding, the paper's "enforcer" (appendix B): which tokens may come next.

A Constraint is compiled once into a Grammar; each sample walks a Matcher of it, and before a token
is drawn its mask forbids all that cannot lead to a text of the grammar. llguidance does the work,
over the tokenizer's own bytes:

- Special tokens match only where a grammar names them. A string that spells "<|im_end|>" is bytes.
- JSON is compact, with at most one space after a comma or a colon: no endless white space. Strings
  are written in UTF-8 with the short escapes (\\n, \\"): each string has one spelling.
- Every constrained text ends with a stop token, which is part of the grammar: when nothing else may
  follow, the mask admits stop tokens alone. Drawing one makes `finished` true. A tool call section
  ends with <|im_end|>, other constraints with any of the stop tokens.
- Where the grammar leaves one text only, the mask admits the tokens that the tokenizer makes of it.

Constraints are hostile input: see `enforceable_schema` for what is refused. What compiles within
the limits and outgrows them later, while a text is drawn, becomes a Matcher's `problem`.
"""

import functools
import json
import re
from collections.abc import Sequence

import numpy as np
from llguidance import (
    LLExecutor,
    LLMatcher,
    LLParserLimits,
    LLTokenizer,
    TokenizerWrapper,
    regex_to_lark,
)
from numpy.typing import NDArray

from openk2.core.generation import Constraint, JsonSchemaFormat, ToolCallFormat
from openk2.inference.enforceable_schema import GrammarError, check_pattern, enforceable
from openk2.inference.tool_call_grammar import tool_call_grammars
from openk2.tokenizer import Tokenizer
from openk2.tokenizer.tool_calls import SECTION_BEGIN

__all__ = ["Grammar", "GrammarError", "Grammars", "Matcher", "fill_masks"]

CACHED_GRAMMARS = 64
EXCERPT = re.compile(r" *\d+ \||<non-verbose/>")
# With \u escapes a key has several spellings, and one of them passes as an additional property.
JSON_OPTIONS = {
    "whitespace_flexible": False,
    "item_separator": ", ?",
    "key_separator": ": ?",
    "json_allowed_escapes": 'nrbtf\\"',
}


class Grammars:
    """Compiles constraints over one tokenizer; one per engine.

    stop_tokens       ids of which one ends a constrained text
    vocabulary_size   width of the model's logits; ids beyond the tokenizer's are never admitted
    threads           how many compute masks side by side; a mask takes about ten microseconds
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop_tokens: Sequence[int],
        vocabulary_size: int,
        threads: int = 1,
    ) -> None:
        self.vocabulary_size = vocabulary_size
        self._special = tokenizer.special
        self._stop_tokens = tuple(stop_tokens)
        self._tokenizer = LLTokenizer(
            TokenizerWrapper(Vocabulary(tokenizer, stop_tokens[0], vocabulary_size)),
            eos_token=list(stop_tokens),
            slices=LLTokenizer.json_slices(),
        )
        self._executor = LLExecutor(threads)
        # States and items are what memory is spent on, "fuel" is time.
        self._limits = LLParserLimits(
            step_lexer_fuel=50_000, max_grammar_size=100_000, verbose_errors=False
        )
        self._latest: tuple[Constraint | None, Grammar | None] = None, None
        self._compiled = functools.lru_cache(CACHED_GRAMMARS)(self._compile)

    def compile(self, constraint: Constraint) -> "Grammar":
        """The grammar of `constraint`, from the cache if it was compiled lately.

        Raises GrammarError, with one line that says what cannot be enforced; within about a second
        for any input.
        """
        # Requests of one batch mostly share theirs, and writing a grammar down takes a millisecond.
        # The same object: to Python True equals 1, and the order of properties makes no difference.
        latest, grammar = self._latest
        if grammar is not None and constraint is latest:
            return grammar
        grammar = self._written(constraint)
        self._latest = constraint, grammar
        return grammar

    def _written(self, constraint: Constraint) -> "Grammar":
        options = dict(JSON_OPTIONS)
        end = "(" + " | ".join(f"<[{token}]>" for token in self._stop_tokens) + ")"
        trigger = None
        if isinstance(constraint, ToolCallFormat):
            grammars = tool_call_grammars(constraint, self._special, options)
            trigger = self._special[SECTION_BEGIN] if constraint.choice == "auto" else None
        elif isinstance(constraint, JsonSchemaFormat):
            schema = enforceable(constraint.schema, "the schema")
            schema = {"allOf": [schema]} if isinstance(schema, bool) else schema
            grammars = [
                {"lark_grammar": f"start: @schema {end}"},
                {"name": "schema", "json_schema": {**schema, "x-guidance": options}},
            ]
        else:
            check_pattern(constraint.pattern, "the pattern")
            pattern = regex_to_lark(constraint.pattern, "")
            grammars = [{"lark_grammar": f"start: TEXT {end}\nTEXT: /{pattern or '()'}/"}]
        return self._compiled(json.dumps({"grammars": grammars}), trigger)

    def _compile(self, description: str, trigger: int | None) -> "Grammar":
        start = LLMatcher(self._tokenizer, description, limits=self._limits, log_level=0)
        if not start.is_error():
            # A grammar without a single text, or one beyond the limits, shows in its first mask.
            start.compute_bitmask()
        if start.is_error() or start.is_stopped():
            raise GrammarError(f"the constraint cannot be enforced: {told(start)}")
        return Grammar(self, start, trigger)


class Vocabulary:
    """What llguidance asks of a tokenizer."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, stop_token: int, vocabulary_size: int) -> None:
        beyond = vocabulary_size - tokenizer.vocabulary_size
        self.tokens = [*tokenizer.token_table(), *[b""] * beyond]  # no bytes: never admitted
        self.special_token_ids = sorted(tokenizer.special.values())
        self.eos_token_id = stop_token
        self._encode = tokenizer.encode

    def __call__(self, text: str) -> list[int]:
        return self._encode(text)


class Grammar:
    """A compiled constraint: where matchers start."""

    def __init__(self, grammars: Grammars, start: LLMatcher, trigger: int | None) -> None:
        self._grammars = grammars
        self._start = start
        self._trigger = trigger

    def matcher(self) -> "Matcher":
        """A new walk from the beginning; microseconds."""
        return Matcher(self._grammars, self._start.deep_copy(), self._trigger)


class Matcher:
    """The walk of one sample through a grammar.

    active     whether tokens are constrained: False while a choice of "auto" has not begun its
               section, when the text is free and no mask is needed
    finished   a stop token was drawn or the walk broke off: nothing may follow
    problem    why the walk broke off: it outgrew the limits, or took a token that was not admitted;
               empty where all is well. From then on masks admit the stop tokens alone, and the text
               is not one of the grammar's
    """

    def __init__(self, grammars: Grammars, walk: LLMatcher, trigger: int | None) -> None:
        self._grammars = grammars
        self._walk = walk
        self._trigger = trigger
        self.active = trigger is None
        self.finished = False
        self.problem = ""

    def advance(self, token: int) -> None:
        """Take the token that was drawn; it was admitted, or the matcher is not active."""
        if not self.active and token == self._trigger:
            self.active = True
        if not self.active:
            self.finished = token in self._grammars._stop_tokens
            return
        if not self._walk.consume_token(token):
            self.problem = told(self._walk)
        self.finished = self._walk.is_stopped()


def fill_masks(matchers: Sequence[Matcher], words: NDArray[np.int32]) -> None:
    """Write the mask of each matcher into its row of `words`, [matchers, ceil(V / 32)].

    Bit t % 32 of word t // 32 says whether token t may come next. The matchers are of one Grammars;
    those that are not active admit everything. Runs on the Grammars' threads without the GIL.
    """
    active = [(matcher._walk, row) for row, matcher in enumerate(matchers) if matcher.active]
    if len(active) < len(matchers):
        words[[row for row, matcher in enumerate(matchers) if not matcher.active]] = -1
    if not active:
        return
    executor = matchers[0]._grammars._executor
    executor.unsafe_compute_mask_ptr(active, words.ctypes.data, words.shape[1] * 4, len(words))
    for matcher in matchers:
        if matcher._walk.is_error() and not matcher.problem:
            matcher.problem = told(matcher._walk)


def told(walk: LLMatcher) -> str:
    """llguidance's error as one line, without the excerpts of grammars that it shows."""
    error = walk.get_error() or "no text satisfies it"
    if "coerce_one_of" in error:
        return "oneOf with branches that may hold at the same time; write anyOf"
    if re.search("too (many|big|large)|panic|unable to determine", error, re.IGNORECASE):
        return f"it is too large or too complex ({error.splitlines()[0]})"
    lines = [line for line in error.splitlines() if not EXCERPT.match(line)]
    reasons = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return " ".join(" ".join(reasons or lines).split())[:300]
