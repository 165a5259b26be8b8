"""What a run came to, without the clock: equal for a run that was interrupted and one that was not."""

from pathlib import Path
from typing import Any

import torch

from openk2.core.events import read_events

__all__ = ["assert_same_outcome", "logged"]

CLOCK = {"time", "seconds", "tokens_per_second", "training_seconds"}


def logged(run: Path, *kinds: str) -> list[dict[str, Any]]:
    """The events of some kinds in order, without what depends on the clock."""
    return [
        {key: value for key, value in event.items() if key not in CLOCK}
        for event in read_events(run / "events.jsonl")
        if event["kind"] in kinds
    ]


def assert_same_outcome(run: Path, undisturbed: Path) -> None:
    """Every bit of the weights and of the optimizer's state, and every measurement once."""
    for kind in ("run", "corpus", "plan", "step", "validation", "sample", "checkpoint", "finish"):
        assert logged(run, kind) == logged(undisturbed, kind), kind
    steps = [event["step"] for event in logged(run, "step")]
    assert steps == list(range(1, steps[-1] + 1))
    assert not list(run.rglob("*.partial"))
    names = [sorted(p.name for p in (r / "checkpoints").iterdir()) for r in (run, undisturbed)]
    assert names[0] == names[1]
    last, other = (r / "checkpoints" / names[0][-1] for r in (run, undisturbed))
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (last / name).read_bytes() == (other / name).read_bytes(), name
    states = [torch.load(f / "training_state.pt", weights_only=True) for f in (last, other)]
    assert states[0]["step"] == states[1]["step"] == steps[-1]
    assert_equal(states[0]["optimizer"], states[1]["optimizer"])


def assert_equal(a: Any, b: Any, where: str = "optimizer") -> None:
    """The same tree, each tensor the same bits."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype, where
        assert torch.equal(a.view(torch.uint8), b.view(torch.uint8)), where
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
