"""How long the command takes to answer: `k2 --help`, beside a Python that does nothing."""

import subprocess
import sys
from pathlib import Path

from benchmarks.table import Table, verdict
from benchmarks.timing import interleaved

__all__ = ["run"]

ROUNDS = 11
TARGET_SECONDS = 0.2


def run(rounds: int = ROUNDS) -> list[Table]:
    """Wall time of whole processes, the two commands in turn."""
    command = Path(sys.executable).with_name("k2")
    if not command.exists():
        raise FileNotFoundError(f"{command}: install OpenK2 in this environment first")
    commands = {
        "k2 --help": [str(command), "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    works = {
        name: lambda arguments=arguments: subprocess.run(
            arguments, check=True, stdout=subprocess.DEVNULL
        )
        for name, arguments in commands.items()
    }
    timings = interleaved(works, rounds)
    ours = timings["k2 --help"]
    rows = [
        ["k2 --help", *ours.cells(), f"{TARGET_SECONDS * 1e3:.0f}",
         verdict(ours.median, TARGET_SECONDS, larger_is_better=False)],
        ["python -c pass", *timings["python -c pass"].cells(), "-", ""],
    ]  # fmt: skip
    return [
        Table("Start of the command", ("command", "n", "ms", "spread", "target ms", "result"), rows)
    ]
