"""Documents and strategies that the data tests share."""

import functools
from pathlib import Path
from random import Random

from hypothesis import strategies as st

from openk2.data import Document, TokenShards
from openk2.data.shards import ShardWriter
from openk2.tokenizer import Tokenizer

TEXTS = st.lists(st.text(min_size=1, max_size=40), min_size=2, max_size=30, unique=True)


@functools.cache
def small_tokenizer() -> Tokenizer:
    """Small, and knows a few words of the documents below."""
    return Tokenizer.train([document.text for document in some_documents(50)], 400)


def some_documents(count: int) -> list[Document]:
    """Documents of very different lengths, in several scripts."""
    words = ["return ", "the cat ", "naïve ", "月之暗面", "😀", "\n", "def f(x): ", "<|im_end|>"]
    random = Random(0)
    return as_documents(
        ["".join(random.choices(words, k=random.randrange(1, 100))) + str(i) for i in range(count)]
    )


def as_documents(texts: list[str]) -> list[Document]:
    return [Document(text, f"{i}.txt", 1) for i, text in enumerate(texts)]


def write_shards(folder: Path, texts: list[str]) -> TokenShards:
    """A split that holds exactly `texts`, in order, whatever their split points."""
    with ShardWriter(folder, small_tokenizer()) as writer:
        for text in texts:
            writer.add(small_tokenizer().encode(text), len(text.encode()))
        writer.finish("test")
    return TokenShards(folder)
