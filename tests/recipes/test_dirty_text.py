"""Text as users have it: broken parts are skipped and counted, and text that is not there named."""

import json
from pathlib import Path
from typing import Any

import pytest

from openk2.core.events import read_events

from ..k2_process import TINY, Result, k2, sources


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with clean sources in `text`."""
    folder = tmp_path / "work"
    sources(folder / "text")
    return folder


def run(work: Path, *paths: str, strict: bool = False) -> Result:
    setting = f"--data.strict={str(strict).lower()}"
    return k2("run", "nano", "--data", *paths, "--out", "run", *TINY, setting, cwd=work)


def corpus(work: Path, result: Result) -> dict[str, Any]:
    """The corpus event of a run that ended well."""
    assert result.code == 0, result
    return next(read_events(work / "run" / "events.jsonl", "corpus"))


@pytest.mark.parametrize(
    ("name", "data", "fragments"),
    [
        ("empty.txt", b"", ["no text"]),
        ("one.txt", b"one document alone", ["too few documents"]),
        ("zeros.bin", b"\0" * 5000, ["no text", "1 skipped", "zeros.bin:1", "NUL"]),
        ("broken.jsonl", b"{\n[]\n3\n", ["no text", "3 skipped", "broken.jsonl:1"]),
        ("broken.parquet", b"PAR1 and nothing", ["no text", "1 skipped", "not a parquet file"]),
        ("broken.jsonl.gz", b"not gzip", ["no text", "1 skipped", "damaged gzip"]),
    ],
)
def test_no_usable_text(work: Path, name: str, data: bytes, fragments: list[str]) -> None:
    (work / name).write_bytes(data)
    message = run(work, name).error()
    assert name in message
    assert [fragment for fragment in fragments if fragment not in message] == []
    assert not (work / "run").exists()


def test_an_empty_folder(work: Path) -> None:
    (work / "empty").mkdir()
    assert "no text" in run(work, "empty").error()


def test_one_path_of_several_is_missing(work: Path) -> None:
    message = run(work, "text", "absent").error()
    assert "absent: no such file or folder; give a path that exists" in message


def test_bytes_that_are_not_utf8_are_replaced_and_counted(work: Path) -> None:
    (work / "text" / "latin.txt").write_bytes(b"na\xefve caf\xe9 \xff\n" * 20)
    event = corpus(work, run(work, "text"))
    assert event["replaced_bytes"] == 60
    assert event["skipped_count"] == 0
    assert event["documents"] == 25


def test_a_broken_line_is_skipped_and_counted_with_its_place(work: Path) -> None:
    rows = [json.dumps({"text": f"row {i} of the file\n" * 20}) for i in range(40)]
    rows[4] = rows[4][:30]
    rows[9] = '{"title": "no text"}'
    (work / "rows.jsonl").write_text("\n".join(rows) + "\n")
    result = run(work, "text", "rows.jsonl")
    assert "0 bytes replaced, skipped 2 (first: rows.jsonl:5: not JSON" in result.stdout
    event = corpus(work, result)
    assert event["documents"] == 24 + 38
    assert event["skipped_count"] == 2
    assert [(skip["file"], skip["line"]) for skip in event["skipped"]] == [
        ("rows.jsonl", 5),
        ("rows.jsonl", 10),
    ]
    assert "not JSON" in event["skipped"][0]["reason"]


def test_strict_makes_the_first_broken_line_an_error(work: Path) -> None:
    rows = [json.dumps({"text": f"row {i}"}) for i in range(40)]
    rows[4] = "{"
    (work / "rows.jsonl").write_text("\n".join(rows) + "\n")
    message = run(work, "text", "rows.jsonl", strict=True).error()
    assert "rows.jsonl:5: not JSON" in message
    assert not (work / "run").exists()


def test_broken_parquet_is_skipped_and_counted(work: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(
        pa.table({"text": [f"row {i} of a table" for i in range(9)]}), work / "a.parquet"
    )
    whole = (work / "a.parquet").read_bytes()
    (work / "b.parquet").write_bytes(whole[: len(whole) // 2])
    event = corpus(work, run(work, "text", "a.parquet", "b.parquet"))
    assert event["documents"] == 24 + 9
    assert [skip["file"] for skip in event["skipped"]] == ["b.parquet"]
    assert "b.parquet:1" in run_strict_elsewhere(work)


def run_strict_elsewhere(work: Path) -> str:
    command = ["run", "nano", "--data", "b.parquet", "--out", "strict", *TINY, "--data.strict=true"]
    return k2(*command, cwd=work).error()


def test_the_sources_may_go_once_the_corpus_is_made(work: Path) -> None:
    event = corpus(work, run(work, "text"))
    for path in (work / "text").iterdir():
        path.unlink()
    assert corpus(work, run(work, "text")) == event
