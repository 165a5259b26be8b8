"""prepare_corpus: whole or absent, reused, honest about what it met, and nothing leaks."""

import gzip
import json
import lzma
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openk2.core.errors import UserError
from openk2.data import embedded_source, load_corpus, prepare_corpus
from openk2.tokenizer import Tokenizer

from .sample import some_documents

# The fields of the `corpus` event as docs/events.md lists them.
EVENT_FIELDS = re.findall(
    r"`(\w+)`",
    re.sub(
        r"\{.*?\}",
        "",
        next(
            line
            for line in Path(__file__, "../../../docs/events.md").resolve().read_text().splitlines()
            if line.startswith("| `corpus` |")
        ),
    ),
)[1:]


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    for document in some_documents(60):
        (folder / document.source).write_text(document.text)
    return folder


def test_a_corpus_of_users_files(tmp_path: Path, documents: Path) -> None:
    (documents / "z.jsonl").write_bytes(b'{"text": "caf\xe9"}\nbroken\n')
    corpus = prepare_corpus(tmp_path / "corpus", [documents], 300, 0.2, seed=1)
    train, validation = (list(s.texts(corpus.tokenizer)) for s in (corpus.train, corpus.validation))
    expected = [document.text for document in some_documents(60)]
    assert sorted(train + validation) == sorted([*expected, "caf\ufffd"])
    statistics = corpus.statistics
    assert list(statistics) == EVENT_FIELDS
    assert statistics["source"] == str(documents)
    assert statistics["documents"] == 61
    assert statistics["train_documents"] == len(train) == corpus.train.documents
    assert statistics["validation_documents"] == len(validation) > 1
    assert statistics["train_tokens"] == len(corpus.train)
    assert statistics["train_bytes"] == sum(len(text.encode()) for text in train)
    assert statistics["validation_tokens"] == len(corpus.validation)
    joined = "".join(validation).encode()
    assert statistics["validation_bytes"] == len(joined)
    assert statistics["vocabulary"] == corpus.tokenizer.vocabulary_size == 300
    assert statistics["bytes_per_token"] == len(joined) / len(corpus.validation)
    assert statistics["replaced_bytes"] == statistics["skipped_count"] == 1
    assert statistics["skipped"] == [
        {"file": str(documents / "z.jsonl"), "line": 2, "reason": "not JSON: Expecting value"}
    ]
    assert statistics["gzip_bits_per_byte"] == 8 * len(gzip.compress(joined, 9)) / len(joined)
    xz = lzma.compress(joined, preset=9)
    assert statistics["xz_bits_per_byte"] == 8 * len(xz) / len(joined)
    json.dumps(statistics).encode()


def test_the_tokenizer_has_not_seen_the_validation_text(tmp_path: Path, documents: Path) -> None:
    corpus = prepare_corpus(tmp_path / "corpus", [documents], 400, 0.2)
    train = list(corpus.train.texts(corpus.tokenizer))
    assert Tokenizer.train(train, 400).fingerprint == corpus.tokenizer.fingerprint


def test_a_corpus_is_made_once(tmp_path: Path, documents: Path) -> None:
    folder = tmp_path / "corpus"
    made = prepare_corpus(folder, [documents], 400, 0.2)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    shutil.rmtree(documents)
    again = prepare_corpus(folder, [documents], 400, 0.2)
    assert again.statistics == made.statistics == load_corpus(folder).statistics
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(UserError, match="a corpus of vocabulary_size 400, not 500"):
        prepare_corpus(folder, [documents], 500, 0.2)
    with pytest.raises(UserError, match="a corpus of paths"):
        prepare_corpus(folder, None, 400, 0.2)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, documents: Path) -> None:
    with pytest.raises(UserError, match="is not empty and holds no corpus"):
        prepare_corpus(documents, [documents], 400)
    assert len(list(documents.iterdir())) == 60
    (tmp_path / "empty").mkdir()
    prepare_corpus(tmp_path / "empty", [documents], 400)


def test_strict_refuses_before_it_writes(tmp_path: Path, documents: Path) -> None:
    (documents / "z.jsonl").write_text('{"text": "good"}\nbroken\n')
    with pytest.raises(UserError, match=r"z\.jsonl:2: not JSON"):
        prepare_corpus(tmp_path / "corpus", [documents], 400, strict=True)
    assert [path.name for path in tmp_path.iterdir()] == ["documents"]


def test_one_text_file_is_enough(tmp_path: Path) -> None:
    """At 5 % no document may fall to validation by chance; the lowest one then does."""
    book = tmp_path / "book.txt"
    book.write_text("".join(f"Chapter {i}\n{'It was a dark night. ' * 60}\n\n" for i in range(120)))
    corpus = prepare_corpus(tmp_path / "corpus", [book], 400, 0.001)
    assert corpus.validation.documents == 1
    assert corpus.train.documents >= 2
    assert corpus.train.bytes + corpus.validation.bytes == book.stat().st_size


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no text, 0 skipped; give more files"),
        ({"empty.txt": b""}, "no text, 0 skipped; give more files"),
        ({"one.txt": b"only one"}, "too few documents to keep some for validation, 0 skipped"),
        ({"a.txt": b"same", "b.txt": b"same"}, "too few documents"),
        ({"a.png": b"\0"}, r"no text, 1 skipped \(the first: .*a\.png:1: binary"),
    ],
)
def test_a_corpus_without_enough_text_is_an_error(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    with pytest.raises(UserError, match=message) as error:
        prepare_corpus(tmp_path / "corpus", [folder])
    assert str(folder) in str(error.value)
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_outside_0_to_1_is_an_error(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(UserError, match="must be between 0 and 1"):
        prepare_corpus(tmp_path / "corpus", validation_fraction=fraction)


def test_a_damaged_corpus_is_named(tmp_path: Path, documents: Path) -> None:
    folder = tmp_path / "corpus"
    prepare_corpus(folder, [documents], 400)
    Tokenizer.train(["other other"], 300).save(folder / "tokenizer.json")
    with pytest.raises(UserError, match="was made by another tokenizer"):
        load_corpus(folder)
    for text in ("{", "{}", '["a"]', '{"request": [], "statistics": {}}', "[" * 100_000):
        (folder / "corpus.json").write_text(text)
        for read in (load_corpus, lambda folder: prepare_corpus(folder, [documents], 400)):
            with pytest.raises(UserError, match=r"corpus\.json: damaged"):
                read(folder)
    with pytest.raises(UserError, match=r"corpus\.json: cannot be read: No such file"):
        load_corpus(tmp_path / "nowhere")


def test_the_embedded_corpus(tmp_path: Path) -> None:
    statistics = prepare_corpus(tmp_path / "corpus", vocabulary_size=2048).statistics
    assert statistics["source"] == embedded_source()
    assert statistics["documents"] > 600
    assert statistics["train_bytes"] > 8_000_000
    assert 0.02 < statistics["validation_bytes"] / statistics["train_bytes"] < 0.12
    assert statistics["skipped_count"] == statistics["replaced_bytes"] == 0
    assert 2.5 < statistics["bytes_per_token"] < 4
    assert 1 < statistics["xz_bits_per_byte"] < statistics["gzip_bits_per_byte"] < 3


@pytest.mark.crash
def test_a_kill_at_any_point_leaves_a_whole_corpus_or_none(tmp_path: Path, documents: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from openk2.data import prepare_corpus;"
        "prepare_corpus(Path(sys.argv[1]), [Path(sys.argv[2])], 1000)"
    )
    for i in range(60):
        shutil.copytree(documents, documents / f"copy-{i}", ignore=shutil.ignore_patterns("copy*"))
    reference = prepare_corpus(tmp_path / "reference", [documents], 1000)
    folder = tmp_path / "corpus"
    command = [sys.executable, "-c", program, str(folder), str(documents)]
    begin = time.monotonic()
    subprocess.run(command, check=True)
    whole = time.monotonic() - begin
    absent = half_written = 0
    for _ in range(40):
        shutil.rmtree(folder, ignore_errors=True)
        process = subprocess.Popen(command)
        time.sleep(random.uniform(0.1, 1.05) * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
        half_written += folder.with_name("corpus.partial").exists()
        if folder.exists():
            assert load_corpus(folder).statistics == reference.statistics
        else:
            absent += 1
    assert absent and half_written, "no kill fell into the work"
    assert prepare_corpus(folder, [documents], 1000).statistics == reference.statistics
    for path in (tmp_path / "reference").rglob("*.*"):
        same = folder / path.relative_to(tmp_path / "reference")
        assert path.read_bytes() == same.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["corpus", "documents", "reference"]
