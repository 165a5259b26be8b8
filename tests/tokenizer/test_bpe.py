"""Byte-level BPE: exact round trips, documents that cannot make special tokens, and oracles."""

import functools
import json
import os
import subprocess
import sys
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
import regex
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from openk2.core.errors import UserError
from openk2.tokenizer import SPECIAL_TOKENS, Tokenizer

# As the release's tokenization_kimi.py joins it.
RELEASED_PATTERN = "|".join(
    r"""
[\p{Han}]+
[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?
[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?
\p{N}{1,3}
 ?[^\s\p{L}\p{N}]+[\r\n]*
\s*[\r\n]+
\s+(?!\S)
\s+
""".strip("\n").split("\n")
)

TRAINING_TEXTS = [
    "def encode(text: str) -> list[int]:\n    return [ord(c) for c in text]\n" * 3,
    "The quick brown fox doesn't jump; it's THE LAZY DOG'S turn. 1234567 89\r\n\r\n" * 3,
    "月之暗面发布了模型。カタカナとひらがな、한국어, русский язык, ελληνικά, العربية, हिन्दी" * 3,
    "<|im_end|>[EOS]<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{}" * 3,
]

# Pieces that matter to the pattern, among any text at all.
TEXTS = st.lists(
    st.one_of(
        st.sampled_from([*SPECIAL_TOKENS, *TRAINING_TEXTS, "'LL", "  ", "\r\n", "\t", "\0", "汉A"]),
        st.text(max_size=8),
    ),
    max_size=8,
).map("".join)


@functools.cache
def small_tokenizer() -> Tokenizer:
    return Tokenizer.train(TRAINING_TEXTS, 500)


@settings(deadline=None)
@given(TEXTS)
def test_every_text_survives_the_round_trip(text: str) -> None:
    tokenizer = small_tokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_every_character_survives_the_round_trip() -> None:
    tokenizer = small_tokenizer()
    codes = [*range(0xD800), *range(0xE000, 0x110000)]
    for start in range(0, len(codes), 4096):
        text = "".join(map(chr, codes[start : start + 4096]))
        assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(deadline=None)
@given(TEXTS)
def test_a_document_cannot_make_a_special_token(text: str) -> None:
    tokenizer = small_tokenizer()
    assert not set(tokenizer.encode(text)) & set(tokenizer.special.values())


@settings(deadline=None)
@given(TEXTS)
def test_token_bytes_add_up_to_the_length_in_utf8(text: str) -> None:
    tokenizer = small_tokenizer()
    lengths = tokenizer.token_bytes()
    assert len(lengths) == tokenizer.vocabulary_size
    assert sum(lengths[id] for id in tokenizer.encode(text)) == len(text.encode())
    assert all(lengths[id] == 0 for id in tokenizer.special.values())
    assert lengths.count(0) == len(SPECIAL_TOKENS)


@settings(deadline=None)
@given(TEXTS)
def test_the_token_table_spells_every_text(text: str) -> None:
    table = small_tokenizer().token_table()
    assert b"".join(table[id] for id in small_tokenizer().encode(text)) == text.encode()


def test_the_token_table_has_every_byte_and_the_names_of_special_tokens() -> None:
    tokenizer = small_tokenizer()
    table = tokenizer.token_table()
    assert len(table) == tokenizer.vocabulary_size == len(set(table))
    assert sorted(table[:256]) == [bytes([byte]) for byte in range(256)]
    assert {table[id].decode(): id for id in tokenizer.special.values()} == tokenizer.special


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=4))
def test_a_batch_is_its_texts_one_by_one(texts: list[str]) -> None:
    tokenizer = small_tokenizer()
    assert list(tokenizer.encode_batch(texts)) == [tokenizer.encode(text) for text in texts]


def pieces(text: str) -> list[str]:
    """The release's pieces, by the engine it runs on."""
    return regex.findall(RELEASED_PATTERN, text, flags=regex.VERSION1)


def textbook_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Piece by piece, always join the pair of the lowest rank, until no pair has one."""
    model = json.loads(tokenizer._description)["model"]
    ranks = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    ids = []
    for piece in pieces(text):
        parts = list(to_bytes.pre_tokenize_str(piece)[0][0])
        while True:
            pairs = list(pairwise(parts))
            best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)), default=None)
            if best not in ranks:
                break
            at = pairs.index(best)
            parts[at : at + 2] = ["".join(best)]
        ids += [model["vocab"][part] for part in parts]
    return ids


@settings(deadline=None)
@given(TEXTS)
def test_ids_are_those_of_textbook_bpe_on_the_released_pattern(text: str) -> None:
    # Engines of different Unicode versions differ on code points that one does not know.
    text = "".join(c for c in text if unicodedata.category(c) not in ("Cn", "Co"))
    assert small_tokenizer().encode(text) == textbook_ids(small_tokenizer(), text)


def test_long_pieces_are_encoded_whole() -> None:
    """Only the learner shortens them."""
    tokenizer = Tokenizer.train(["abc" * 40], 300)
    assert tokenizer.encode("abc" * 100) == textbook_ids(tokenizer, "abc" * 100)


def test_special_tokens_come_last_in_the_order_of_the_release() -> None:
    tokenizer = small_tokenizer()
    first = tokenizer.vocabulary_size - len(SPECIAL_TOKENS)
    assert list(tokenizer.special.values()) == list(range(first, tokenizer.vocabulary_size))
    assert tokenizer.vocabulary_size == 500
    # The released ids of the same names rise in the same order.
    released = {"[BOS]": 163584, "[EOS]": 163585, "<|im_end|>": 163586, "<|im_user|>": 163587}
    released |= {"<|im_assistant|>": 163588, "<|start_header_id|>": 163590, "[EOT]": 163593}
    released |= {"<|im_system|>": 163594, "<|tool_calls_section_begin|>": 163595}
    released |= {"<|tool_call_begin|>": 163597, "<|im_middle|>": 163601, "[PAD]": 163839}
    assert sorted(released, key=tokenizer.special.__getitem__) == list(released)


def test_skipping_special_tokens_keeps_the_tool_tokens() -> None:
    tokenizer = small_tokenizer()
    ids = [
        tokenizer.special["<|im_assistant|>"],
        *tokenizer.encode("call"),
        tokenizer.special["<|tool_call_begin|>"],
        tokenizer.special["<|im_end|>"],
    ]
    assert tokenizer.decode(ids) == "<|im_assistant|>call<|tool_call_begin|><|im_end|>"
    assert tokenizer.decode(ids, skip_special=True) == "call<|tool_call_begin|>"


def test_bytes_cut_inside_a_character_decode_to_the_replacement_character() -> None:
    tokenizer = small_tokenizer()
    ids = tokenizer.encode("\U0001f600")
    assert len(ids) == 4
    assert tokenizer.decode(ids[:2]) == "\ufffd"


def test_training_gives_the_same_tokenizer_on_any_number_of_threads(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from openk2.tokenizer import Tokenizer;"
        "from openk2.data import embedded_documents; from itertools import islice;"
        "texts = [d.text for d in islice(embedded_documents(), 60)];"
        "Tokenizer.train(texts, 1500).save(Path(sys.argv[1]))"
    )
    files: list[Path] = []
    for threads in ("1", "4", "4"):
        files.append(tmp_path / f"{len(files)}.json")
        environment = {**os.environ, "RAYON_NUM_THREADS": threads}
        subprocess.run([sys.executable, "-c", program, files[-1]], check=True, env=environment)
    assert files[0].read_bytes() == files[1].read_bytes() == files[2].read_bytes()


def test_a_run_of_a_million_letters_trains_and_encodes() -> None:
    run = "ACGT" * 250_000
    tokenizer = Tokenizer.train([run], 300)
    assert tokenizer.decode(tokenizer.encode(run)) == run


def test_a_saved_tokenizer_loads_equal(tmp_path: Path) -> None:
    tokenizer = small_tokenizer()
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    loaded = Tokenizer.load(path)
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.special == tokenizer.special
    text = "".join(TRAINING_TEXTS)
    assert loaded.encode(text) == tokenizer.encode(text)
    assert os.listdir(tmp_path) == ["tokenizer.json"]


def test_other_libraries_read_the_file(tmp_path: Path) -> None:
    tokenizer = small_tokenizer()
    tokenizer.save(tmp_path / "tokenizer.json")
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    text = "It's 月之暗面, naïve café\n"
    assert theirs.encode(text, add_special_tokens=False) == tokenizer.encode(text)
    # To others the file says that special text is special: their chat templates need it.
    assert theirs.encode("<|im_end|>") == [tokenizer.special["<|im_end|>"]]
    assert theirs.decode(tokenizer.encode(text)) == text


def test_a_small_text_gives_a_smaller_vocabulary() -> None:
    tokenizer = Tokenizer.train(["abab"], 1000)
    assert tokenizer.vocabulary_size == 256 + 1 + len(SPECIAL_TOKENS)
    assert tokenizer.special["[PAD]"] == tokenizer.vocabulary_size - 1


def test_no_merges_fit_below_the_bytes_and_special_tokens() -> None:
    with pytest.raises(UserError, match="must be at least 273"):
        Tokenizer.train(["abab"], 272)
    assert len(Tokenizer.train(["abab"], 273).encode("abab")) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the tokenizer: No such file"),
        (b"{", "not a tokenizer of OpenK2"),
        (b"\xff\xfe", "not a tokenizer of OpenK2"),
        (b"{}", "not a tokenizer of OpenK2"),
        (tokenizers.Tokenizer(models.BPE()).to_str().encode(), r"no special token \[BOS\]"),
    ],
)
def test_a_file_that_is_no_tokenizer_is_named(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        Tokenizer.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_neither_the_tokenizer_nor_the_data_layer_imports_torch() -> None:
    program = "import sys, openk2.data, openk2.tokenizer; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
