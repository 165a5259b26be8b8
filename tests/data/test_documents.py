"""Documents from real files, most of them broken in ways that real files are."""

import gzip
import json
import os
import tempfile
from itertools import pairwise
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openk2.core.errors import UserError
from openk2.data import Document, ReadReport, read_documents
from openk2.data.documents import DOCUMENT_BYTES


def read(*paths: Path, strict: bool = False) -> tuple[list[Document], ReadReport]:
    report = ReadReport(strict=strict)
    documents = list(read_documents(paths, report))
    assert report.documents == len(documents)
    return documents, report


def read_bytes(data: bytes) -> tuple[list[Document], ReadReport]:
    """What a text file of these bytes holds."""
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(data)
        file.flush()
        return read(Path(file.name))


def texts(*paths: Path) -> list[str]:
    return [document.text for document in read(*paths)[0]]


def test_a_folder_is_read_recursively_in_sorted_order(tmp_path: Path) -> None:
    for name in ("b.md", "a/z.py", "a/b/c.txt", "a.txt", "c/empty.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("" if "empty" in name else name)
    for name in (".hidden.txt", ".git/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("secret")
    documents, report = read(tmp_path)
    assert [d.text for d in documents] == ["a.txt", "b.md", "a/z.py", "a/b/c.txt"]
    assert documents[0] == Document("a.txt", str(tmp_path / "a.txt"), 1)
    assert (report.hidden, report.empty, report.skipped_count) == (2, 1, 0)


def test_the_order_of_a_folder_does_not_depend_on_when_its_files_were_made(tmp_path: Path) -> None:
    names = [f"{folder}/{file}" for folder in "abcdefgh" for file in "abcdefgh"]
    for name in Random(0).sample(names, len(names)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert texts(tmp_path) == names


def test_line_ends_and_byte_order_marks_of_a_text_file_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "dos.txt"
    path.write_bytes("\ufeffone\r\ntwo\rthree\n".encode())
    assert texts(path) == ["\ufeffone\r\ntwo\rthree\n"]


def test_bytes_that_are_not_utf8_are_replaced_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes("é, ß and déjà vu".encode("latin-1") + "; naïve".encode())
    documents, report = read(path, strict=True)
    assert documents[0].text == "\ufffd, \ufffd and d\ufffdj\ufffd vu; naïve"
    assert report.replaced_bytes == 4


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_become_text_that_utf8_can_hold(data: bytes) -> None:
    documents, report = read_bytes(data)
    if b"\0" in data:
        assert report.skipped_count == 1
    else:
        valid = "".join(d.text for d in documents).replace("\ufffd", "").encode()
        assert len(valid) + report.replaced_bytes + 3 * data.count(b"\xef\xbf\xbd") == len(data)


def test_a_binary_file_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (tmp_path / "utf16.txt").write_bytes("text".encode("utf-16"))
    (tmp_path / "text.txt").write_text("text")
    documents, report = read(tmp_path)
    assert [d.text for d in documents] == ["text"]
    assert [Path(str(skip["file"])).name for skip in report.skipped] == ["image.png", "utf16.txt"]
    assert all("NUL" in str(skip["reason"]) for skip in report.skipped)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["word ", "\n", "\n\n", "汉字", "😀", "x" * 9000]), max_size=60),
    st.integers(1, 8),
)
def test_a_long_text_file_is_cut_without_loss(parts: list[str], times: int) -> None:
    text = "".join(parts) * times * 4
    documents, report = read_bytes(text.encode())
    assert "".join(d.text for d in documents) == text
    assert report.replaced_bytes == 0
    for before, after in pairwise(documents):
        assert DOCUMENT_BYTES // 2 <= len(before.text.encode()) <= DOCUMENT_BYTES
        assert after.line == before.line + before.text.count("\n")


@pytest.mark.parametrize("character", ["a", "é", "月", "😀"])
@pytest.mark.parametrize("before", range(4))
def test_a_long_line_is_cut_between_characters(character: str, before: int) -> None:
    text = "." * before + character * DOCUMENT_BYTES
    documents, report = read_bytes(text.encode())
    assert len(documents) > 1
    assert "".join(d.text for d in documents) == text
    assert report.replaced_bytes == 0


def test_a_long_text_file_is_cut_at_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("".join(f"Chapter {i}\n{'words ' * 400}\n\n" for i in range(100)))
    documents, _ = read(path)
    assert len(documents) > 2
    assert all(d.text.startswith("Chapter ") and d.text.endswith("\n\n") for d in documents)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_json_lines(tmp_path: Path, name: str) -> None:
    rows = ['\ufeff{"text": "one\\nline"}', "", '{"id": 2, "text": "月"}', '{"text": ""}']
    data = "\r\n".join(rows).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    documents, report = read(tmp_path / name, strict=True)
    assert [(d.text, d.line) for d in documents] == [("one\nline", 1), ("月", 3)]
    assert report.empty == 1


BROKEN_ROWS = {
    '{"text": "cut sho': "not JSON: Unterminated string starting at",
    '["text"]': 'the row has no "text" that is a string',
    '{"txt": "a"}': 'the row has no "text" that is a string',
    '{"text": null}': 'the row has no "text" that is a string',
    "[" * 100_000: "not readable JSON: maximum recursion depth exceeded",
    '{"text": "a", "id": ' + "9" * 5000 + "}": "not readable JSON: Exceeds the limit",
}


def test_broken_json_lines_are_skipped_with_their_line_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    good = json.dumps({"text": "good"})
    path.write_text("\n".join(line for row in BROKEN_ROWS for line in (good, row)))
    documents, report = read(path)
    assert [d.text for d in documents] == ["good"] * len(BROKEN_ROWS)
    assert report.skipped_count == len(BROKEN_ROWS)
    for skip, line, reason in zip(
        report.skipped, range(2, 100, 2), BROKEN_ROWS.values(), strict=False
    ):
        assert (skip["file"], skip["line"]) == (str(path), line)
        assert str(skip["reason"]).startswith(reason)
    with pytest.raises(UserError, match=r"rows.jsonl:2: not JSON"):
        read(path, strict=True)


def test_surrogates_and_bad_bytes_in_json_are_replaced_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text": "\\ud800 \\ud83d\\ude00 \xe9"}\n')
    documents, report = read(path)
    assert documents[0].text == "\ufffd \U0001f600 \ufffd"
    assert report.replaced_bytes == 2


def test_only_the_first_hundred_skips_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("broken\n" * 250)
    documents, report = read(path)
    assert (documents, report.skipped_count, len(report.skipped)) == ([], 250, 100)


@pytest.mark.parametrize("damage", ["cut", "noise", "no gzip"])
def test_what_a_damaged_gzip_still_holds_is_read(tmp_path: Path, damage: str) -> None:
    noise = Random(0)
    rows = [json.dumps({"text": noise.randbytes(40).hex()}) + "\n" for _ in range(9000)]
    data = gzip.compress("".join(rows).encode())
    middle = len(data) // 2
    data = {
        "cut": data[:middle],
        "noise": data[:middle] + b"\xff" * 500 + data[middle + 500 :],
        "no gzip": b"plain text",
    }[damage]
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(data)
    documents, report = read(path)
    assert (damage == "no gzip") == (not documents)
    assert report.skipped_count >= 1
    if damage != "noise":
        assert "damaged gzip, the rest is lost" in str(report.skipped[-1]["reason"])
    with pytest.raises(UserError, match=r"rows\.jsonl\.gz:\d+: "):
        read(path, strict=True)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), "string")]
)
def test_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "rows.parquet"
    column = pa.array(["one", "月", "", None, "five"])
    column = column.dictionary_encode() if pa.types.is_dictionary(kind) else column.cast(kind)
    pq.write_table(pa.table({"id": range(5), "text": column}), path, row_group_size=2)
    documents, report = read(path)
    assert [(d.text, d.line) for d in documents] == [("one", 1), ("月", 2), ("five", 5)]
    assert report.empty == 1
    assert report.skipped == [{"file": str(path), "line": 4, "reason": 'the row\'s "text" is null'}]


def test_a_parquet_string_that_is_not_utf8_is_replaced_and_counted(tmp_path: Path) -> None:
    offsets = pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0")
    column = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"a\xffbc"))
    pq.write_table(pa.table({"text": column}), tmp_path / "rows.parquet")
    documents, report = read(tmp_path)
    assert [d.text for d in documents] == ["a\ufffd", "bc"]
    assert report.replaced_bytes == 1


@pytest.mark.parametrize("damage", ["structure", "text"])
def test_a_damaged_row_group_is_skipped_and_the_others_are_read(
    tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "rows.parquet"
    table = pa.table({"text": [f"row {i} of three hundred" for i in range(300)]})
    layout = {"row_group_size": 100, "use_dictionary": False, "compression": "none"}
    # Damaged text is still text: only a checksum, where the writer left one, gives it away.
    pq.write_table(table, path, write_page_checksum=damage == "text", **layout)
    data = bytearray(path.read_bytes())
    begin = data.index(b"row 150 of")
    data[begin : begin + 8] = b"row  666" if damage == "text" else b"\xff" * 8
    if damage == "structure":
        data[begin - 4 : begin] = b"\xff" * 4  # the length of the string
    path.write_bytes(data)
    documents, report = read(path)
    assert [d.line for d in documents] == [*range(1, 101), *range(201, 301)]
    assert [(skip["file"], skip["line"]) for skip in report.skipped] == [(str(path), 101)]
    assert "damaged row group" in str(report.skipped[0]["reason"])
    with pytest.raises(UserError, match=r"rows.parquet:101: damaged row group"):
        read(path, strict=True)


def test_rows_of_large_row_groups_keep_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openk2.data.documents.BATCH_ROWS", 7)
    table = pa.table({"text": [str(i) for i in range(1, 101)]})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=40)
    documents, _ = read(tmp_path)
    assert [(d.text, d.line) for d in documents] == [(str(i), i) for i in range(1, 101)]


def test_files_that_are_no_parquet_of_text_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "a-noise.parquet").write_bytes(b"PAR1" + b"\xff" * 100 + b"PAR1")
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "b-column.parquet")
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "c-numbers.parquet")
    (tmp_path / "d-empty.parquet").touch()
    (tmp_path / "e.txt").write_text("fine")
    documents, report = read(tmp_path)
    assert [d.text for d in documents] == ["fine"]
    reasons = [str(skip["reason"]) for skip in report.skipped]
    assert len(reasons) == 4
    assert reasons[1:3] == ['it has no column "text"', 'its column "text" holds int64, not text']


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.parquet").touch()
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UserError, match=r'pip install "openk2\[parquet\]"'):
        read(tmp_path)


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        read(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UserError, match="link: no such file or folder"):
        read(tmp_path / "link")


def test_what_cannot_be_opened_in_a_folder_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "a-link.txt").symlink_to("nowhere")
    os.mkfifo(tmp_path / "b-pipe.txt")
    (tmp_path / "c-folder.jsonl").mkdir()
    (tmp_path / "c-folder.jsonl" / "inside.txt").write_text("inside")
    (tmp_path / "d-linked-folder").symlink_to("c-folder.jsonl")
    documents, report = read(tmp_path)
    assert [d.text for d in documents] == ["inside"]
    assert [(Path(str(s["file"])).name, s["reason"]) for s in report.skipped] == [
        ("d-linked-folder", "a link to a folder, not followed"),
        ("a-link.txt", "a dangling link, or not a regular file"),
        ("b-pipe.txt", "a dangling link, or not a regular file"),
    ]
    with pytest.raises(UserError, match="not followed"):
        read(tmp_path, strict=True)


def test_a_folder_that_cannot_be_listed_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "folder").mkdir()
    report = ReadReport()
    documents = read_documents([tmp_path], report)
    assert next(documents).text == "first"
    (tmp_path / "folder").rmdir()
    assert list(documents) == []
    assert report.skipped[0]["reason"] == "cannot be listed: No such file or directory"


def test_a_file_name_that_is_not_utf8_is_still_text_in_the_report(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl")).write_text("broken\n")
    _, report = read(tmp_path)
    assert str(report.skipped[0]["file"]).encode().endswith("caf\ufffd.jsonl".encode())
