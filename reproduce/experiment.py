"""Runs that are not repeated: each in a process of its own with one thread, kept once it ends.

OUT/data/           tokenizer and token shards, the same for every run
OUT/runs/NAME.json  {"arguments": what it was asked, "result": what it measured}
"""

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openk2.core.errors import UserError
from openk2.core.events import finite
from openk2.core.run_folder import write_atomically
from openk2.data import prepare_corpus

__all__ = ["Run", "Script", "markdown", "positive", "print_dry_run", "run_all"]

ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Run:
    """`function(corpus_folder, **arguments)` gives the run's result, which is plain JSON.

    Arguments are plain JSON too, or dataclasses of it.
    """

    name: str
    function: Callable[..., dict[str, Any]]
    arguments: dict[str, Any]

    def described(self) -> Any:
        """The arguments as JSON reads them back."""
        return json.loads(json.dumps(self.arguments, default=asdict))


class Script(argparse.ArgumentParser):
    """The options that every script has; `--steps` and `--data` are for a quick look."""

    def __init__(self, description: str | None, steps: int) -> None:
        super().__init__(description=description, allow_abbrev=False)
        self.add_argument("--out", type=Path, required=True, help="finished runs there are kept")
        self.add_argument("--seeds", type=positive, default=3, help="default: 3")
        self.add_argument("--steps", type=positive, default=steps, help=f"default: {steps}")
        self.add_argument(
            "--processes", type=int, default=2, help="of one thread; default: 2; 0: in this one"
        )
        self.add_argument(
            "--data", action="append", help="files or folders of text; default: the nano corpus"
        )
        self.add_argument("--dry-run", action="store_true", help="say what would run, and end")
        self.add_argument("--json", action="store_true", help="print the tables as JSON")

    def run(self, work: Callable[[argparse.Namespace], None]) -> None:
        """Parse the command line and work; exit code 2 with one line where the input is wrong."""
        try:
            work(self.parse_args())
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)


def run_all(
    runs: Sequence[Run], out: Path, vocabulary: int, data: Sequence[str] | None, processes: int
) -> list[dict[str, Any]]:
    """The results in the order of `runs`; those that `out` has already are read, not run.

    UserError if `out` holds a run of this name that was asked something else.
    """
    results = {run.name: found for run in runs if (found := _kept(run, out)) is not None}
    missing = [run for run in runs if run.name not in results]
    corpus_folder = out / "data"
    out.mkdir(parents=True, exist_ok=True)
    prepare_corpus(corpus_folder, data, vocabulary)
    for run, result in _results(missing, corpus_folder, processes):
        _keep(run, out, result)
        results[run.name] = result
        print(f"{run.name}: done, {len(results)} of {len(runs)}", file=sys.stderr, flush=True)
    return [results[run.name] for run in runs]


def _results(
    runs: Sequence[Run], corpus_folder: Path, processes: int
) -> Iterator[tuple[Run, dict[str, Any]]]:
    """Each run with its result, as they end."""
    if processes < 1:
        yield from ((run, finite(run.function(corpus_folder, **run.arguments))) for run in runs)
        return
    for variable in ONE_THREAD:
        os.environ[variable] = "1"  # for the processes that are started here
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, max_tasks_per_child=1)
    try:
        waiting = {pool.submit(run.function, corpus_folder, **run.arguments): run for run in runs}
        for done in as_completed(waiting):
            yield waiting[done], finite(done.result())
    finally:
        pool.shutdown(cancel_futures=True)  # after an error no further run begins


def print_dry_run(runs: Sequence[Run], out: Path, seconds: float, processes: int) -> None:
    """What `run_all` would do; `seconds` is what one run takes where the figure was made."""
    missing = [run.name for run in runs if _kept(run, out) is None]
    minutes = -(-len(missing) // max(1, processes)) * seconds / 60
    print(f"{len(runs)} runs into {out}, {len(runs) - len(missing)} of them finished")
    print("\n".join(missing))
    print(f"about {minutes:.0f} min with {max(1, processes)} processes, at {seconds:.0f} s a run")


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of one set of keys as a pipe table; one decimal from 10 on, four below."""

    def line(cells: Iterable[Any]) -> str:
        texts = (_figure(cell) if isinstance(cell, float) else str(cell) for cell in cells)
        return "| " + " | ".join(texts) + " |"

    return "\n".join(
        [line(rows[0]), line("---" for _ in rows[0]), *(line(r.values()) for r in rows)]
    )


def _figure(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.4f}"


def _path(run: Run, out: Path) -> Path:
    return out / "runs" / f"{run.name}.json"


def _kept(run: Run, out: Path) -> Any:
    """The result of a finished run, None if there is none."""
    path = _path(run, out)
    if not path.exists():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    if kept["arguments"] != run.described():
        raise UserError(f"{path}: was run with other settings; choose another --out or delete it")
    return kept["result"]


def _keep(run: Run, out: Path, result: Any) -> None:
    path = _path(run, out)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, json.dumps({"arguments": run.described(), "result": result}).encode())


def positive(text: str) -> int:
    """The value of an option that is a number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value
