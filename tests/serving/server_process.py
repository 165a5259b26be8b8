"""`serve` in a process of its own, as the command line runs it."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

__all__ = ["ServerProcess"]

PROGRAM = """
import json
import sys
from pathlib import Path
from openk2.core.errors import UserError
from openk2.inference.engine_process import EngineSettings
from openk2.serving.server import serve
from openk2.serving.service import ServerSettings
settings, engine_settings = (json.loads(argument) for argument in sys.argv[2:])
try:
    code = serve(
        Path(sys.argv[1]), ServerSettings(**settings), EngineSettings(**engine_settings)
    )
    sys.exit(code)
except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


class ServerProcess:
    """A context: on its exit the process is gone, killed if it has to be."""

    def __init__(self, checkpoint: Path, settings: dict, engine_settings: dict) -> None:
        chosen = (settings, engine_settings)
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, checkpoint, *map(json.dumps, chosen)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            # A group of its own: an interrupt from the keyboard reaches the engine's process too.
            start_new_session=True,
        )

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.communicate()

    @property
    def pid(self) -> int:
        return self._process.pid

    def port(self) -> int:
        """From the line that it prints when it is ready; its output where there is none."""
        line = self._process.stdout.readline()
        found = re.fullmatch(r"\S+ at http://127\.0\.0\.1:(\d+)/v1, chat at \S+\n", line)
        assert found, (line, self._process.communicate())
        return int(found[1])

    def interrupt(self, number: signal.Signals) -> None:
        """As from the keyboard: to the process and all its children."""
        os.killpg(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM to the process alone."""
        self._process.terminate()

    def wait(self) -> tuple[int, str]:
        """Exit code and what it wrote to its standard error."""
        _, errors = self._process.communicate(timeout=60)
        return self._process.returncode, errors

    def children(self) -> list[int]:
        """The processes that it has started, by their ids."""
        tasks = Path(f"/proc/{self.pid}/task")
        lists = [(task / "children").read_text() for task in tasks.iterdir()]
        return [int(child) for text in lists for child in text.split()]

    def resident_bytes(self) -> int:
        """Memory of the process and of its children."""
        page = os.sysconf("SC_PAGE_SIZE")
        pids = [self.pid, *self.children()]
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in pids)
