"""What a run came to, without the clock: the same whether it was interrupted or not."""

from pathlib import Path
from typing import Any

import torch

from openk2.core.events import read_events

__all__ = ["assert_same_outcome", "logged"]

CLOCK = {"time", "seconds", "tokens_per_second", "training_seconds"}


def logged(run: Path, *kinds: str) -> list[dict[str, Any]]:
    """The events of some kinds in order, without what depends on the clock.

    Nor with the reasons for threads and dtype: what was chosen at first is configured on resuming.
    """
    log = run / "events.jsonl"
    events = [e for e in (read_events(log) if log.exists() else ()) if e["kind"] in kinds]
    for event in events:
        for name in ("threads_reason", "dtype_reason"):
            event.get("machine", {}).pop(name, None)
    return [{key: value for key, value in e.items() if key not in CLOCK} for e in events]


def assert_same_outcome(run: Path, undisturbed: Path) -> None:
    """Every bit of the weights and of the optimizer's state, and every measurement once."""
    for kind in ("run", "corpus", "plan", "step", "validation", "sample", "finish"):
        assert logged(run, kind) == logged(undisturbed, kind), kind
    stops = [event["step"] for event in logged(run, "stop")]
    saved, due = ([e["step"] for e in logged(r, "checkpoint")] for r in (run, undisturbed))
    assert saved == sorted({*due, *stops})
    steps = [event["step"] for event in logged(run, "step")]
    assert steps == list(range(1, steps[-1] + 1))
    assert not list(run.rglob("*.partial"))
    folders = [sorted((r / "checkpoints").iterdir()) for r in (run, undisturbed)]
    # A kill between the last checkpoint and the removal of the oldest leaves that one.
    assert [f.name for f in folders[0]][-2:] == [f.name for f in folders[1]]
    last, other = (found[-1] for found in folders)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (last / name).read_bytes() == (other / name).read_bytes(), name
    states = [torch.load(f / "training_state.pt", weights_only=True) for f in (last, other)]
    assert states[0]["step"] == states[1]["step"] == steps[-1]
    assert_equal(states[0]["optimizer"], states[1]["optimizer"])


def assert_equal(a: Any, b: Any, where: str = "optimizer") -> None:
    """The same tree, each tensor the same bits."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), where
        assert a.numpy().tobytes() == b.numpy().tobytes(), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{where}.{i}")
    else:
        assert a == b, where
