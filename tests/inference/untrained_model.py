"""A model that knows nothing, drawing under the masks of many grammars at once."""

import json
import re
from collections.abc import Sequence
from functools import cache

import numpy as np

from openk2.inference.constrained import Grammar, Grammars, Matcher, fill_masks
from openk2.tokenizer import Tokenizer

__all__ = ["STOP_NAMES", "allowed_tokens", "draw", "grammars", "tokenizer"]

STOP_NAMES = ("<|im_end|>", "[EOS]", "[EOT]")
LONGEST = 3000  # tokens; what is longer did not finish


@cache
def tokenizer() -> Tokenizer:
    """About a thousand ids: pieces of JSON, of words, and of text beyond ASCII."""
    word = [
        "weather",
        "temperature",
        "celsius",
        "function",
        "city",
        "naïve",
        "日本語",
        "Größe",
        "x.y",
    ]
    texts = [
        json.dumps([{a: [b, i, None, True], b: {"deep": [[{}]]}} for i, b in enumerate(word)])
        for a in word
    ]
    pieces = [
        '"}',
        '"]',
        '":"',
        '", "',
        "}}",
        "]]",
        "},{",
        '\\"',
        "\\\\",
        "functions.",
        " 12",
        "the ",
    ]
    return Tokenizer.train([*texts, *pieces * 20, " ".join(word)], 1000)


@cache
def grammars(beyond: int = 7) -> Grammars:
    """Over a model whose vocabulary is wider than the tokenizer's, by `beyond` ids."""
    known = tokenizer()
    stops = [known.special[name] for name in STOP_NAMES]
    return Grammars(known, stops, known.vocabulary_size + beyond)


def allowed_tokens(matchers: Sequence[Matcher]) -> np.ndarray:
    """Whether each token may come next, bool [matchers, V]."""
    size = grammars().vocabulary_size
    words = np.full((len(matchers), (size + 31) // 32), 0x55555555, dtype=np.int32)
    fill_masks(matchers, words)
    return np.unpackbits(words.view(np.uint8), axis=1, bitorder="little").astype(bool)


def draw(drawn: Sequence[Grammar], seed: int, patience: int = 60) -> list[list[int] | None]:
    """One text of each grammar, as tokens; None where the mask ran empty or no end came.

    The logits are noise. After `patience` tokens the draw leans to tokens that close what is open,
    since a model that knows nothing would go on in an unbounded schema; the mask is never left.
    """
    rng = np.random.default_rng(seed)
    size = grammars().vocabulary_size
    matchers = [grammar.matcher() for grammar in drawn]
    texts: list[list[int]] = [[] for _ in drawn]
    stuck: set[int] = set()
    open_rows = list(range(len(drawn)))
    while open_rows:
        allowed = allowed_tokens([matchers[row] for row in open_rows])
        logits = rng.standard_normal((len(open_rows), size))
        for row, mask, noise in zip(open_rows, allowed[:, :size], logits, strict=True):
            if not mask.any() or matchers[row].problem or len(texts[row]) > LONGEST:
                stuck.add(row)
                continue
            if len(texts[row]) > patience:
                noise = noise + closing_bias(inside_string(texts[row]), bool(rng.integers(2)))
            token = int(np.where(mask, noise, -np.inf).argmax())
            matchers[row].advance(token)
            texts[row].append(token)
        open_rows = [row for row in open_rows if row not in stuck and not matchers[row].finished]
    return [None if row in stuck else text for row, text in enumerate(texts)]


def inside_string(tokens: list[int]) -> bool:
    """Whether the JSON after the last special token stops within a string."""
    special = set(tokenizer().special.values())
    table = tokenizer().token_table()
    start = max((i + 1 for i, token in enumerate(tokens) if token in special), default=0)
    text = b"".join(table[token] for token in tokens[start:])
    return re.sub(rb"\\.", b"", text).count(b'"') % 2 == 1


@cache
def closing_bias(in_string: bool, punctuated: bool) -> np.ndarray:
    """What to add to the logits, float [V], so that the text comes to an end.

    punctuated   within a string that may not end yet, marks rather than letters: "@" needs luck
    """
    table = tokenizer().token_table()
    bias = np.zeros(grammars().vocabulary_size)
    for token, piece in enumerate(table):
        if token in tokenizer().special.values():
            bias[token] = 100
        elif in_string:
            bias[token] = 50 if re.fullmatch(rb'"[]}]*', piece) else 40 if piece[:1] == b'"' else 0
            if punctuated and re.fullmatch(rb"[^A-Za-z0-9]", piece):
                bias[token] += 10
            if punctuated and piece == b"@":
                bias[token] += 10
        elif re.fullmatch(rb'"?[]}]+', piece):
            bias[token] = 50
        elif piece == b'"':
            bias[token] = 40
        elif re.search(rb"[{\[]", piece):
            bias[token] = 5  # a deeper level is the last resort
        elif re.fullmatch(rb"[-+0-9.eE]+", piece):
            bias[token] = 10
        else:
            bias[token] = 20 if b"," in piece else 30
    return bias
