"""`k2 environments`: what there is to play, a task as the model sees it, and who is paid."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from openk2.core.errors import UserError
from openk2.core.records import Message
from openk2.core.terminal import printable
from openk2.environments.base import VerifiableEnvironment
from openk2.environments.baselines import measure, players
from openk2.environments.registry import FAMILIES, VerifiableEnvironments
from openk2.environments.tool_world.environment import ToolWorld
from openk2.environments.tool_world.players import Oracle, play

__all__ = ["check_environments", "list_environments", "show_task", "verify_response"]


def list_environments(as_json: bool) -> int:
    """Every environment by family; returns the exit code."""
    names = list(VerifiableEnvironments())
    if as_json:
        print(json.dumps(names))
        return 0
    by_family = {family: [n for n in names if n.startswith(f"{family}.")] for family in FAMILIES}
    for family, found in by_family.items():
        print(f"{family} ({len(found)})")
        for name in found:
            print(f"  {name}")
    counts = Counter(name.partition(".")[0] for name in names)
    print(f"{len(names)} environments in {len(counts)} families")
    return 0


def show_task(
    name: str, index: int, split: str, difficulty: float | None, as_json: bool, solved: bool
) -> int:
    """A task as the model meets it, and with `solved` an honest way through it."""
    environment = VerifiableEnvironments()[name]
    task = environment.task(index, split, difficulty)
    observation = environment.reset(task)
    messages = list(observation.messages)
    if solved and isinstance(environment, ToolWorld):
        play(environment, Oracle(environment))
        messages = environment.messages
    elif solved:
        assert isinstance(environment, VerifiableEnvironment)
        messages.append(Message("assistant", environment.solve(task)))
        environment.step(messages[-1])
    found: dict[str, Any] = {
        "environment": name,
        "index": index,
        "split": split,
        "difficulty": task.difficulty,
        "messages": [_plain(message) for message in messages],
        "tools": [tool.to_openai() for tool in observation.tools],
    }
    if solved:
        score = environment.score()
        found["score"] = {"reward": score.reward, "parts": dict(score.parts)}
    if as_json:
        print(json.dumps(found))
        return 0
    print(f"{name}, task {index} of {split}, difficulty {task.difficulty:.2f}")
    for message in found["messages"]:
        print(f"\n[{message['role']}]")
        print(printable(message["content"]))
        for call in message.get("calls", ()):
            print(printable(f"-> {call}"))
    if found["tools"]:
        print("\ntools: " + ", ".join(tool["function"]["name"] for tool in found["tools"]))
    if solved:
        print(f"\nreward {found['score']['reward']}: {found['score']['parts']}")
    return 0


def _plain(message: Message) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        plain["calls"] = [f"{call.name}({call.arguments})" for call in message.tool_calls]
    return plain


def verify_response(
    name: str, index: int, split: str, difficulty: float | None, as_json: bool
) -> int:
    """The score of a response that is read from the standard input."""
    environment = VerifiableEnvironments()[name]
    score = environment.verify(environment.task(index, split, difficulty), sys.stdin.read())
    found = {"reward": score.reward, "valid": score.valid, "parts": dict(score.parts)}
    if as_json:
        print(json.dumps({**found, "reason": score.reason}))
    else:
        print(printable(f"reward {score.reward}; {score.reason or 'nothing to remark'}"))
        for part, value in score.parts.items():
            print(f"  {part} {value:g}")
    return 0


def check_environments(names: Sequence[str], count: int, split: str, as_json: bool) -> int:
    """A table of who is paid how often; exit code 1 if any of that is not `Paid.fair`."""
    if count < 1:
        raise UserError(f"--count is {count}; it must be at least 1")
    every = VerifiableEnvironments()
    chosen = [name for given in names for name in _matching(given)] if names else list(every)
    console = Console(stderr=True)
    rows: list[dict[str, Any]] = []
    unfair: list[str] = []
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        total = sum(count * len(players(every[name])) for name in chosen)
        bar = progress.add_task("episodes", total=total)
        for name in chosen:
            progress.update(bar, description=name)
            for paid in measure(name, count, split, lambda: progress.advance(bar)):
                low, high = paid.interval
                row = {"environment": name, "player": paid.player, "n": paid.n, "paid": paid.rate}
                rows.append({**row, "interval": [low, high], "invalid": paid.invalid})
                if not paid.fair:
                    how = f"{paid.rate:.1%} of {paid.n} and got no verdict on {paid.invalid}"
                    unfair.append(f"{name}: {paid.player} was paid {how}")
    if as_json:
        print(json.dumps(rows))
    else:
        _print_rates(rows)
        for line in unfair:
            print(line)
    return 1 if unfair else 0


def _matching(given: str) -> list[str]:
    """The environments that a name or a family stands for."""
    if given in FAMILIES:
        return [name for name in VerifiableEnvironments() if name.startswith(f"{given}.")]
    VerifiableEnvironments()[given]  # an unknown name is an error that lists the known ones
    return [given]


def _print_rates(rows: Sequence[dict[str, Any]]) -> None:
    table = Table("environment", "player", "n", "paid", "95 % interval", "invalid")
    for row in rows:
        low, high = row["interval"]
        table.add_row(
            row["environment"],
            row["player"],
            str(row["n"]),
            f"{row['paid']:.1%}",
            f"{low:.1%} to {high:.1%}",
            str(row["invalid"]),
        )
    Console().print(table)
