"""The corpus that needs no download: the running Python's standard library.

- The sources (.py) of the library, one document a file, without tests, without what the build
  wrote about this machine, and without generated tables.
- The reference manual that the library carries for `help()`, one document a topic.
- The documentation strings of modules written in C, which have no source here.

About 11 MB of code and English, the same on every machine with the same Python version. Nothing
is redistributed: each machine reads its own copy, which Python's licence (PSF) allows.
"""

import builtins
import hashlib
import importlib
import inspect
import itertools
import os
import platform
import re
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from types import ModuleType

from openk2.core.errors import UserError
from openk2.data.documents import Document

__all__ = ["embedded_documents", "embedded_source"]

EXCLUDED_FOLDERS = {
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idle_test",
    "__pycache__",
}
# Build settings and paths of this machine.
EXCLUDED_PREFIXES = ("_sysconfigdata", "config-")
# The code pages in encodings/ are tables, near-duplicates of each other: a model that saw some in
# training would predict the rest, and a comparison with gzip on validation text would be unfair.
GENERATED_MARK = "gencodec.py"
# Source of one dictionary, whose values `_topics` gives.
TOPICS_FILE = Path("pydoc_data", "topics.py")

# How C code writes the first argument in a signature: "($self, x, /)".
SELF_ARGUMENT = re.compile(r"\(\$\w+(, /)?(, )?")

# Importing these has no side effect; one that this build of Python lacks is left out.
C_MODULES = sorted(
    {
        *sys.builtin_module_names,
        *("_asyncio", "_bisect", "_blake2", "_bz2", "_contextvars", "_csv", "_ctypes"),
        *("_datetime", "_decimal", "_elementtree", "_hashlib", "_heapq", "_json", "_lsprof"),
        *("_lzma", "_md5", "_multiprocessing", "_opcode", "_pickle", "_posixsubprocess"),
        *("_queue", "_random", "_sha1", "_socket", "_sqlite3", "_ssl", "_statistics"),
        *("_struct", "_uuid", "_zoneinfo", "array", "binascii", "cmath", "fcntl", "grp"),
        *("itertools", "math", "mmap", "pyexpat", "resource", "select", "syslog", "termios"),
        *("unicodedata", "zlib"),
    }
)


def embedded_source() -> str:
    """What to call this corpus in a report."""
    return f"Python {platform.python_version()} standard library"


def embedded_documents() -> Iterator[Document]:
    """The documents in a fixed order, exact duplicates once.

    Raises UserError where Python's library is installed without its sources.
    """
    seen: set[bytes] = set()
    for document in itertools.chain(_sources(), _topics(), _references()):
        digest = hashlib.blake2b(document.text.encode(), digest_size=16).digest()
        if document.text and digest not in seen:
            seen.add(digest)
            yield document


def _sources() -> Iterator[Document]:
    library = Path(sysconfig.get_paths()["stdlib"])
    kept: list[Path] = []
    for folder, folders, files in os.walk(library):
        folders[:] = [name for name in folders if name not in EXCLUDED_FOLDERS]
        paths = [Path(folder, name).relative_to(library) for name in files]
        kept += [
            path
            for path in paths
            if path.suffix == ".py"
            and path != TOPICS_FILE
            and not path.parts[0].startswith(EXCLUDED_PREFIXES)
        ]
    if not kept:
        raise UserError(
            f"{library}: this Python has no library sources to learn from; give your own documents"
        )
    for path in sorted(kept):
        # A few old modules are in Latin-1 and say so; what they lose is an author's accent.
        text = (library / path).read_text(encoding="utf-8", errors="replace")
        if GENERATED_MARK not in text:
            yield Document(text, path.as_posix(), 1)


def _topics() -> Iterator[Document]:
    for name, text in sorted(topics.items()):
        yield Document(text, f"reference/topics/{name}", 1)


def _references() -> Iterator[Document]:
    for name in C_MODULES:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        yield Document(_module_reference(module), f"reference/{name}", 1)


def _module_reference(module: ModuleType) -> str:
    """The documentation strings of a module, its functions, its classes and their members."""
    entries = [_entry(module.__name__, module)]
    for name, value in sorted(vars(module).items()):
        # A program may replace sys.excepthook, whose original stays in sys.__excepthook__, and
        # may put names of its own into builtins.
        replaceable = f"__{name}__" in vars(module)
        if name.startswith("_") or replaceable or getattr(value, "__name__", None) != name:
            continue
        path = f"{module.__name__}.{name}"
        if inspect.isbuiltin(value):
            entries.append(_entry(path, value))
        elif inspect.isclass(value) and (value.__module__ != "builtins" or module is builtins):
            entries.append(_entry(path, value))
            for member, attribute in sorted(vars(value).items()):
                documented = inspect.isroutine(attribute) or inspect.isdatadescriptor(attribute)
                if documented and attribute.__doc__ and not member.startswith("_"):
                    entries.append(_entry(f"{path}.{member}", attribute))
    return "\n".join(entries)


def _entry(path: str, value: object) -> str:
    signature = getattr(value, "__text_signature__", None) or ""
    documentation = textwrap.indent(inspect.cleandoc(value.__doc__ or ""), "    ")
    return f"{path}{SELF_ARGUMENT.sub('(', signature)}\n{documentation}\n"
