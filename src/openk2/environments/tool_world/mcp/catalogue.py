"""The servers that were taken in: which package, how it is run, what it may keep, how it is probed.

All of them work without a network and are run without one. `pin` is the hash of the tool list that
a person looked at; a server whose list is another is quarantined before its first call.
"""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from openk2.environments.tool_world.mcp.command import ServerCommand, StateKind

__all__ = ["CATALOGUE", "CatalogueEntry", "Probe"]

# An empty repository, as `git init` leaves it.
EMPTY_REPOSITORY: Mapping[str, str | None] = {
    ".git/HEAD": "ref: refs/heads/main\n",
    ".git/config": "[core]\n\trepositoryformatversion = 0\n\tbare = false\n"
    "[user]\n\tname = Agent\n\temail = agent@example.org\n",
    ".git/objects/info": None,
    ".git/objects/pack": None,
    ".git/refs/heads": None,
    ".git/refs/tags": None,
    "README.md": "A repository.\n",
}


@dataclass(frozen=True)
class Probe:
    """A call that shows a server at work, and a text that its answer must hold."""

    tool: str
    arguments: Mapping[str, Any]
    expected: str


@dataclass(frozen=True)
class CatalogueEntry:
    """A server that can be installed.

    arguments     what follows the interpreter; {install} is its folder, {state} the episode's
    tools         how many it lists
    probes        calls that build on one another, in a fresh episode
    state         see ServerCommand
    """

    name: str
    kind: Literal["python", "node"]
    package: str
    version: str
    arguments: tuple[str, ...]
    tools: int
    pin: str
    state: StateKind
    probes: tuple[Probe, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    initial: Mapping[str, str | None] = field(default_factory=dict)
    allowed: frozenset[str] = frozenset()

    def command(self, folder: Path) -> ServerCommand:
        """How it is run where it is installed in `folder`."""
        node = shutil.which("node") or "node"
        interpreter = f"{folder}/venv/bin/python" if self.kind == "python" else node
        arguments = [part.replace("{install}", str(folder)) for part in self.arguments]
        runtime = Path(sys.base_prefix) if self.kind == "python" else Path(node).resolve()
        return ServerCommand(
            name=self.name,
            argv=(interpreter, *arguments),
            environment=self.environment,
            readable=(folder, runtime),
            initial=self.initial,
            pin=self.pin,
            state=self.state,
            allowed=self.allowed,
        )


def _python(
    name: str, package: str, version: str, start: str, *arguments: str, **rest: Any
) -> CatalogueEntry:
    # -P: the state folder is the working folder, and what lies there is no module.
    return CatalogueEntry(name, "python", package, version, ("-P", "-c", start, *arguments), **rest)


def _node(
    name: str, package: str, version: str, script: str, *arguments: str, **rest: Any
) -> CatalogueEntry:
    path = f"{{install}}/node_modules/{package}/{script}"
    return CatalogueEntry(name, "node", package, version, (path, *arguments), **rest)


def _thought(number: int) -> dict[str, Any]:
    return {
        "thought": f"Step {number}.",
        "thoughtNumber": number,
        "totalThoughts": 2,
        "nextThoughtNeeded": number < 2,
    }


OFFICIAL, RELEASE = "@modelcontextprotocol/server-", "2026.8.31"
DOCUMENT, WORKBOOK = "/state/letter.docx", "/state/figures.xlsx"

ENTRIES = (
    _python(
        "time",
        "mcp-server-time",
        "2026.10.19",
        "import mcp_server_time as s; s.main()",
        "--local-timezone",
        "UTC",
        tools=2,
        state="none",
        pin="9b0c796e88c971e849845413a3ca9a16daadadf7e4de2ec345edc60dbf16658e",
        probes=(
            Probe(
                "convert_time",
                {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"},
                "21:00",
            ),
        ),
    ),
    _python(
        "git",
        "mcp-server-git",
        "2026.10.19",
        "import mcp_server_git as s; s.main()",
        "--repository",
        "{state}",
        tools=12,
        state="files",
        initial=EMPTY_REPOSITORY,
        pin="aff37b9a418e6ae5be37017551d757152bc3204ccddd24dae7426542990e02ab",
        probes=(
            Probe("git_add", {"repo_path": "/state", "files": ["README.md"]}, "staged"),
            Probe("git_commit", {"repo_path": "/state", "message": "First steps"}, "committed"),
            Probe("git_log", {"repo_path": "/state"}, "First steps"),
        ),
    ),
    _python(
        "sqlite",
        "mcp-server-sqlite",
        "2025.4.25",
        "import mcp_server_sqlite as s; s.main()",
        "--db-path",
        "{state}/data.db",
        tools=6,
        state="files",
        pin="f4da202a0fbcfdbbac3f52834877492a9ec67e93e780a3b6a650cce36e115b2d",
        probes=(
            Probe("create_table", {"query": "CREATE TABLE notes (text TEXT)"}, "success"),
            Probe("write_query", {"query": "INSERT INTO notes VALUES ('buy milk')"}, "1"),
            Probe("read_query", {"query": "SELECT text FROM notes"}, "buy milk"),
        ),
    ),
    _python(
        "calculator",
        "mcp-server-calculator",
        "0.2.1",
        "import mcp_server_calculator as s; s.main()",
        tools=1,
        state="none",
        pin="0f2bbb230fcca7246ea886f09ec640e19385080cd795fec25f9fc31402b168f3",
        probes=(Probe("calculate", {"expression": "6 * 7"}, "\n42\n"),),
    ),
    _python(
        "text-editor",
        "mcp-text-editor",
        "1.0.2",
        "import mcp_text_editor as s; s.run()",
        tools=2,
        state="files",
        initial={"notes.txt": "buy milk\n"},
        pin="1cd96a0748dcfd7b1686c5744f388083557e662533c1fdca70bb56160217647e",
        # It asks to read a file before it is edited, to have the hash that an edit needs.
        allowed=frozenset({"edit_text_file_contents"}),
        probes=(
            Probe(
                "get_text_file_contents",
                {"files": [{"file_path": "/state/notes.txt", "ranges": [{"start": 1}]}]},
                "buy milk",
            ),
        ),
    ),
    _python(
        "word",
        "office-word-mcp-server",
        "1.1.11",
        "from word_document_server.main import run_server; run_server()",
        tools=54,
        state="files",
        pin="a9daaf32b678d8c95c4b6fa519eacd68a561ea0e2b06945acd589171f078fc0e",
        probes=(
            Probe("create_document", {"filename": DOCUMENT}, "created"),
            Probe("add_paragraph", {"filename": DOCUMENT, "text": "Dear reader"}, "added"),
            Probe("get_document_text", {"filename": DOCUMENT}, "Dear reader"),
        ),
    ),
    _python(
        "powerpoint",
        "office-powerpoint-mcp-server",
        "2.0.7",
        "import ppt_mcp_server as s; s.main()",
        tools=37,
        state="memory",
        pin="b9d17cd701364f6e0dbc4b79366da6e80599802f6c993f07aab0c7947eb1b821",
        probes=(
            Probe("create_presentation", {}, "presentation_1"),
            Probe(
                "add_slide",
                {"title": "Results", "presentation_id": "presentation_1"},
                "slide_index",
            ),
            Probe(
                "get_presentation_info", {"presentation_id": "presentation_1"}, '"slide_count": 1'
            ),
        ),
    ),
    _python(
        "excel",
        "excel-mcp-server",
        "2.2.2",
        "from excel_mcp.cli import main; main()",
        "stdio",
        tools=46,
        state="files",
        pin="07270058e92505d58b0c51f480a699e5a26ae7490618a60578e61c7307ee2a4c",
        probes=(
            Probe("create_workbook", {"path": WORKBOOK}, "figures"),
            Probe("describe_workbook", {"path": WORKBOOK}, "Sheet1"),
        ),
    ),
    _python(
        "chess",
        "mcp-chess",
        "0.1.9",
        "from mcp_chess.server import main; main()",
        tools=6,
        state="memory",
        pin="512f7b6302aa9d430c52243ac013a28c8e82d11b86193d9f09356a2cb0c1d52d",
        probes=(
            Probe("make_move", {"move_san": "e4"}, "e2e4"),
            Probe("get_turn", {}, "black"),
        ),
    ),
    _python(
        "random-number",
        "random-number-mcp",
        "0.1.3",
        "from random_number_mcp.server import main; main()",
        tools=7,
        state="none",
        pin="9e1a20def1b0a280e3abedcf1a5c90137ece3274295f5b9dc76d2880c85b21b8",
        probes=(Probe("random_int", {"low": 7, "high": 7}, "\n7\n"),),
    ),
    _python(
        "command-line",
        "cli-mcp-server",
        "0.2.5",
        "import cli_mcp_server as s; s.main()",
        tools=2,
        state="files",
        initial={"notes.txt": "buy milk\n"},
        environment={"ALLOWED_DIR": "{state}", "ALLOWED_COMMANDS": "ls,cat,pwd,echo,wc,head,tail"},
        pin="3b0f21a73c42393999ac6f9da98e9a26e036e637f2401fd87e5a29e765fc8471",
        probes=(Probe("run_command", {"command": "cat notes.txt"}, "buy milk"),),
    ),
    _node(
        "filesystem",
        f"{OFFICIAL}filesystem",
        RELEASE,
        "dist/index.js",
        "{state}",
        tools=14,
        state="files",
        pin="669ff5dec6e4527ce2a3ea3bd664b9f5507883e2d33fca52ae034b7baa9f6de1",
        probes=(
            Probe("write_file", {"path": "/state/a.txt", "content": "buy milk"}, "/state/a.txt"),
            Probe("read_text_file", {"path": "/state/a.txt"}, "buy milk"),
        ),
    ),
    _node(
        "memory",
        f"{OFFICIAL}memory",
        RELEASE,
        "dist/index.js",
        tools=9,
        state="files",
        environment={"MEMORY_FILE_PATH": "{state}/memory.jsonl"},
        pin="4eeaa576304d417e54308fc0939139ffa961fcd4b6d3dc7b955e27e944dcb170",
        probes=(
            Probe(
                "create_entities",
                {
                    "entities": [
                        {"name": "Ada", "entityType": "person", "observations": ["likes tea"]}
                    ]
                },
                "Ada",
            ),
            Probe("read_graph", {}, "likes tea"),
        ),
    ),
    _node(
        "sequential-thinking",
        f"{OFFICIAL}sequential-thinking",
        RELEASE,
        "dist/index.js",
        tools=1,
        state="memory",
        pin="b23c6bcb154f10afa6a0353e4fd380e36a171fbb0b08e0ad643f61bb20bb2ad1",
        probes=(
            Probe("sequentialthinking", _thought(1), '"thoughtHistoryLength": 1'),
            Probe("sequentialthinking", _thought(2), '"thoughtHistoryLength": 2'),
        ),
    ),
    _node(
        "everything",
        f"{OFFICIAL}everything",
        RELEASE,
        "dist/index.js",
        tools=13,
        state="memory",
        pin="c80658f510e5a6e188516e2351e3ec456af7f5c08ce2c17f3735d608b07254fd",
        probes=(Probe("echo", {"message": "here"}, "Echo: here"),),
    ),
    _node(
        "task-manager",
        "@kazuph/mcp-taskmanager",
        "1.1.1",
        "dist/index.js",
        tools=10,
        state="files",
        environment={"TASK_MANAGER_FILE_PATH": "{state}/tasks.json"},
        pin="368787a111754643a34916add8a1bbc2e4cb2769acb0322409c5055f8c196f64",
        probes=(
            Probe(
                "request_planning",
                {
                    "originalRequest": "Write a letter",
                    "tasks": [{"title": "Draft", "description": "A first draft"}],
                },
                "req-1",
            ),
            Probe("list_requests", {}, "Write a letter"),
        ),
    ),
    _node(
        "recipes",
        "howtocook-mcp",
        "0.2.2",
        "build/index.js",
        tools=5,
        state="none",
        pin="f2625caf833ead54431699544eb854521c81fab073b05137882fe7a7a5fe5e4c",
        probes=(Probe("mcp_howtocook_whatToEat", {"peopleCount": 2}, '"peopleCount": 2'),),
    ),
)
CATALOGUE: Mapping[str, CatalogueEntry] = MappingProxyType({entry.name: entry for entry in ENTRIES})
