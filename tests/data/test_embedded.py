"""The embedded corpus: the same on every call, and what it promises to leave out."""

import subprocess
import sys

import pytest

from openk2.core.errors import UserError
from openk2.data import embedded_documents, embedded_source


def test_it_is_the_sources_and_the_reference_texts_once_each() -> None:
    documents = list(embedded_documents())
    by_source = {document.source: document.text for document in documents}
    assert len(by_source) == len(documents)
    assert len(set(by_source.values())) == len(documents)
    assert all(text for text in by_source.values())
    assert sum(len(text.encode()) for text in by_source.values()) > 8_000_000
    assert '"""HTTP/1.1 client library' in by_source["http/client.py"]
    assert "operator precedence" in by_source["reference/topics/operator-summary"]
    assert "math.acos(x, /)\n    Return the arc cosine" in by_source["reference/math"]
    assert "builtins.dict.setdefault(key, default=None, /)\n" in by_source["reference/builtins"]


def test_tests_generated_tables_and_this_machine_are_left_out() -> None:
    for document in embedded_documents():
        folders = document.source.split("/")[:-1]
        assert not {"test", "tests", "idle_test", "site-packages", "__pycache__"} & set(folders)
        assert "gencodec.py" not in document.text
        assert not document.source.startswith("_sysconfigdata")
        assert document.source != "pydoc_data/topics.py"
        assert sys.prefix not in document.text
        # An object printed with its address would differ from run to run.
        assert " object at 0x7f" not in document.text


def test_it_does_not_depend_on_what_the_program_has_changed() -> None:
    digest = (
        "import hashlib; from openk2.data import embedded_documents;"
        "print(hashlib.sha256(repr(list(embedded_documents())).encode()).hexdigest())"
    )
    change = (
        "import builtins, sys, asyncio, sqlite3, xml.dom.minidom;"
        "sys.excepthook = sys.displayhook = print; sys.ps1 = '> '; builtins.display = print;"
    )
    outputs = [
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout
        for program in (digest, change + digest)
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 65


def test_a_python_without_its_sources_is_named(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = str(tmp_path_factory.mktemp("stdlib"))
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"stdlib": empty})
    with pytest.raises(UserError, match="no library sources to learn from"):
        next(embedded_documents())


def test_its_name_says_which_python() -> None:
    assert embedded_source() == f"Python {sys.version.split()[0]} standard library"
