"""Token shards: what goes in comes out, splits by content, damage is noticed."""

import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.core.errors import UserError
from openk2.data import Document, TokenShards, build_shards
from openk2.data.shards import split_point
from openk2.tokenizer import Tokenizer

from .sample import TEXTS, as_documents, small_tokenizer, some_documents


@settings(max_examples=30, deadline=None)
@given(TEXTS, st.floats(0.05, 0.95))
def test_every_document_comes_back_from_one_side(texts: list[str], fraction: float) -> None:
    tokenizer = small_tokenizer()
    below = [text for text in texts if split_point(text, 3) < fraction]
    above = [text for text in texts if split_point(text, 3) >= fraction]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "shards")
        if not below or not above:
            with pytest.raises(UserError, match="give more documents"):
                build_shards(as_documents(texts), tokenizer, folder, fraction, seed=3)
            assert not any(Path(temporary).iterdir())
            return
        build_shards(as_documents(texts), tokenizer, folder, fraction, seed=3, source="here")
        for name, expected in (("train", above), ("validation", below)):
            shards = TokenShards(folder / name)
            assert list(shards.texts(tokenizer)) == expected
            assert shards.documents == len(expected)
            assert shards.bytes == sum(len(text.encode()) for text in expected)
            assert shards.source == "here"
            _check_documents(shards, expected)


def _check_documents(shards: TokenShards, texts: list[str]) -> None:
    """Each document is [BOS] tokens [EOS], and token_bytes adds up to its length in UTF-8."""
    assert len(shards.offsets) == len(texts) + 1
    assert shards.offsets[-1] == len(shards) == len(shards.tokens)
    for i, text in enumerate(texts):
        document = shards.tokens[shards.offsets[i] : shards.offsets[i + 1]]
        assert document[0] == shards.bos and document[-1] == shards.eos
        assert not np.isin(document[1:-1], [shards.bos, shards.eos]).any()
        assert shards.token_bytes[document].sum() == len(text.encode())


def test_the_side_of_a_document_is_its_content_alone() -> None:
    points = [split_point(document.text, 0) for document in some_documents(2000)]
    assert points == [split_point(document.text, 0) for document in some_documents(2000)]
    assert points != [split_point(document.text, 1) for document in some_documents(2000)]
    assert all(0 <= point < 1 for point in points)
    # 2000 uniform points: 5 % +- 5 standard deviations.
    assert 0.025 < sum(point < 0.05 for point in points) / 2000 < 0.075


def test_copies_of_a_document_are_on_the_same_side(tmp_path: Path) -> None:
    documents = some_documents(40) * 3
    build_shards(documents, small_tokenizer(), tmp_path / "shards", 0.3)
    sides = [Counter(_texts(tmp_path / "shards" / name)) for name in ("train", "validation")]
    assert not sides[0].keys() & sides[1].keys()
    assert set((sides[0] + sides[1]).values()) == {3}


def test_files_are_little_endian_and_the_same_every_time(tmp_path: Path) -> None:
    tokenizer = small_tokenizer()
    for name in ("one", "two"):
        build_shards(iter(some_documents(40)), tokenizer, tmp_path / name, 0.3)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*")]
    assert len(files) == 8
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    first = next(text for text in _texts(tmp_path / "one" / "train"))
    begin = (tmp_path / "one" / "train" / "tokens.bin").read_bytes()
    assert begin[:4] == tokenizer.special["[BOS]"].to_bytes(4, "little")
    assert begin[4:8] == tokenizer.encode(first)[0].to_bytes(4, "little")


def test_an_error_while_reading_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> object:
        yield from some_documents(40)
        raise UserError("rows.jsonl:7: not JSON")

    with pytest.raises(UserError, match=r"rows\.jsonl:7"):
        build_shards(broken(), small_tokenizer(), tmp_path / "shards", 0.3)
    assert not any(tmp_path.iterdir())


def test_batches_do_not_change_the_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_shards(some_documents(40), small_tokenizer(), tmp_path / "one", 0.3)
    monkeypatch.setattr("openk2.data.shards.ENCODE_CHARACTERS", 100)
    build_shards(some_documents(40), small_tokenizer(), tmp_path / "many", 0.3)
    assert _texts(tmp_path / "one" / "train") == _texts(tmp_path / "many" / "train")


@pytest.mark.parametrize("name", ["tokens.bin", "offsets.bin", "token_bytes.bin", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "longer", "gone"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, damage: str) -> None:
    build_shards(some_documents(40), small_tokenizer(), tmp_path / "shards", 0.3)
    path = tmp_path / "shards" / "train" / name
    if damage == "gone":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else data + data)
    with pytest.raises(UserError) as error:
        TokenShards(path.parent)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    ["[]", "5", '{"version": 1}', "[" * 100_000],
    ids=["list", "number", "fields missing", "deep"],
)
def test_a_manifest_of_another_shape_is_named(tmp_path: Path, text: str) -> None:
    build_shards(some_documents(40), small_tokenizer(), tmp_path / "shards", 0.3)
    path = tmp_path / "shards" / "train" / "manifest.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json: damaged"):
        TokenShards(path.parent)


def test_a_shard_of_another_version_or_mixed_up_is_refused(tmp_path: Path) -> None:
    build_shards(some_documents(40), small_tokenizer(), tmp_path / "shards", 0.3)
    train = tmp_path / "shards" / "train"
    manifest = json.loads((train / "manifest.json").read_text())
    (train / "manifest.json").write_text(json.dumps({**manifest, "version": 2}))
    with pytest.raises(UserError, match="version 2, this OpenK2 reads version 1"):
        TokenShards(train)
    (train / "manifest.json").write_text(json.dumps(manifest))
    offsets = np.fromfile(train / "offsets.bin", "<u8")
    (offsets + 1).tofile(train / "offsets.bin")
    with pytest.raises(UserError, match="do not belong together"):
        TokenShards(train)


def test_another_tokenizers_shard_is_not_decoded(tmp_path: Path) -> None:
    build_shards(some_documents(40), small_tokenizer(), tmp_path / "shards", 0.3)
    other = Tokenizer.train(["other other"], 300)
    with pytest.raises(UserError, match="made by another tokenizer"):
        next(TokenShards(tmp_path / "shards" / "train").texts(other))


def _texts(folder: Path) -> list[str]:
    return list(TokenShards(folder).texts(small_tokenizer()))


def test_a_document_that_imitates_separators_stays_one_document(tmp_path: Path) -> None:
    texts = ["[EOS][BOS]<|im_end|>", "[BOS]", "plain", "more", "and more"]
    build_shards([Document(t, "a", 1) for t in texts], small_tokenizer(), tmp_path / "s", 0.4)
    both = [TokenShards(tmp_path / "s" / name) for name in ("train", "validation")]
    assert sum(int((s.tokens == s.bos).sum()) for s in both) == len(texts)
    assert sum(int((s.tokens == s.eos).sum()) for s in both) == len(texts)
