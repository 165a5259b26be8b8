"""A run folder with realistic events, made without a model: 5 layers x 4 heads, 4 x 32 experts."""

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["CONFIG", "HOSTILE", "START", "events", "finish", "step_event", "write_run"]

START = 1_790_000_000.0
LAYERS, HEADS, MOE_LAYERS, EXPERTS = 5, 4, 4, 32
THRESHOLD = 30.0
BYTES_PER_TOKEN = 3.41
HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=\"document.title='owned'\">\x00\x1b[31m"
)
CONFIG = """\
name = "nano"
seed = 1
steps = 600

[model]
layers = 5
heads = 4
experts = 32

[optimizer]
learning_rate = 0.002
qk_clip_threshold = 30.0
"""
SAMPLES = (
    "e  tthe an  oi se, rhat  the  ino  d  wae",
    "the sea was the man and the sea of the ship and the was of the",
    "the old captain had been standing at the wheel for the whole of the night,\n"
    "and the men were afraid to speak to him of the weather.",
    "the harbour lay quiet under the first snow. Nobody had expected the ship so early,\n"
    "and the keeper came down from the light with his lantern still burning.",
)


def step_event(
    step: int,
    rng: random.Random,
    steps: int = 600,
    sizes: tuple[int, int, int, int] = (LAYERS, HEADS, MOE_LAYERS, EXPERTS),
) -> dict[str, Any]:
    """The event of one training step of a model of these (layers, heads, MoE layers, experts)."""
    layers, heads, moe_layers, experts = sizes
    progress = step / steps
    loss = 4.6 + 4.2 * math.exp(-11 * progress) - 1.15 * progress + rng.gauss(0, 0.06)
    rise = math.sin(math.pi * min(progress * 1.15, 1)) ** 2
    logits = [
        [
            2 + (14 + 9 * ((3 * layer + head) % 5)) * rise + abs(rng.gauss(0, 0.8))
            for head in range(heads)
        ]
        for layer in range(layers)
    ]
    spread = 6 + 30 * progress
    loads = [[rng.gammavariate(spread, 1) for _ in range(experts)] for _ in range(moe_layers)]
    loads = [[value / sum(layer) for value in layer] for layer in loads]
    seconds = 0.42 + abs(rng.gauss(0, 0.03))
    return {
        "kind": "step",
        "time": START + 60 + 0.45 * step,
        "step": step,
        "loss": loss,
        "bits_per_byte": loss / math.log(2) / BYTES_PER_TOKEN,
        "balance_loss": 0.0012 + 0.003 * math.exp(-6 * progress),
        "learning_rate": 2e-3 * min(step / 40, 1) * (0.55 + 0.45 * math.cos(math.pi * progress)),
        "gradient_norm": 0.35 + 2.5 * math.exp(-9 * progress) + abs(rng.gauss(0, 0.05)),
        "tokens": 4096 * step,
        "tokens_per_second": 4096 / seconds,
        "seconds": seconds,
        "max_logits": logits,
        "qk_clip_threshold": THRESHOLD,
        "clipped_heads": [[int(value > THRESHOLD) for value in row] for row in logits],
        "expert_load": loads,
        "max_violation": [max(layer) * experts - 1 for layer in loads],
        "update_rms": 0.2 + rng.gauss(0, 0.003),
        "skipped": False,
    }


def events(steps: int = 600, total: int = 600, seed: int = 1) -> Iterator[dict[str, Any]]:
    """The events of a run that has done `steps` of its `total` steps, in order."""
    rng = random.Random(seed)
    yield _run_event(total)
    yield CORPUS
    yield {"kind": "plan", "time": START + 2, "parameters": _plan()}
    for step in range(1, steps + 1):
        event = step_event(step, rng, total)
        yield event
        if step % max(total // 12, 1) == 0:
            yield {
                "kind": "validation",
                "time": event["time"] + 0.1,
                "step": step,
                "loss": event["loss"] + 0.05,
                "bits_per_byte": event["bits_per_byte"] + 0.02,
                "tokens": 40_000,
                "bytes": 136_400,
                "max_logits": [[0.93 * value for value in row] for row in event["max_logits"]],
            }
        if step % max(total // 6, 1) == 0:
            text = SAMPLES[min(len(SAMPLES) - 1, 4 * step // total)]
            for prompt, temperature in (("Once upon a time ", 0.8), ("In the winter ", 0.0)):
                yield {
                    "kind": "sample",
                    "time": event["time"] + 0.2,
                    "step": step,
                    "prompt": prompt,
                    "text": text,
                    "temperature": temperature,
                }
            yield {
                "kind": "checkpoint",
                "time": event["time"] + 0.3,
                "step": step,
                "path": f"checkpoints/step-{step:08d}",
            }


def write_run(path: Path, lines: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> Path:
    """A run folder at `path` with these events; returns `path`."""
    path.mkdir(parents=True)
    (path / "config.toml").write_text(CONFIG, encoding="utf-8")
    text = "".join(json.dumps(event) + "\n" for event in lines)
    (path / "events.jsonl").write_text(text, encoding="utf-8")
    return path


def finish(step: int = 600) -> dict[str, Any]:
    """The event that ends a run after `step` steps."""
    return {"kind": "finish", "time": START + 400, "step": step, "training_seconds": 271.5}


def _run_event(total: int) -> dict[str, Any]:
    return {
        "kind": "run",
        "time": START,
        "name": "nano",
        "machine": {
            "platform": "Linux-6.1-x86_64",
            "cpu": "Example Processor 3.0 GHz",
            "cores": 4,
            "memory_bytes": 16 * 2**30,
            "python": "3.11.9",
            "torch": "2.13.0+cpu",
            "openk2": "0.1.0",
            "threads": 1,
            "threads_reason": "a step took 0.42 s with 1 thread and 1.90 s with 4",
            "dtype": "float32",
            "dtype_reason": "bfloat16 was 1.4 times slower on this processor",
            "device": "cpu",
        },
        "parameters": {"total": 6_812_416, "activated": 2_104_320, "embedding": 524_288},
        "flops_per_token": 12_625_920,
        "steps": total,
        "tokens_per_step": 4096,
    }


CORPUS: dict[str, Any] = {
    "kind": "corpus",
    "time": START + 1,
    "source": "books/",
    "documents": 412,
    "train_documents": 400,
    "validation_documents": 12,
    "train_tokens": 2_912_000,
    "validation_tokens": 88_000,
    "train_bytes": 9_930_000,
    "validation_bytes": 300_080,
    "vocabulary": 4096,
    "bytes_per_token": BYTES_PER_TOKEN,
    "replaced_bytes": 17,
    "skipped": [
        {"file": "books/cover.png", "line": None, "reason": "not text"},
        {"file": "books/<b>notes</b>.jsonl", "line": 12, "reason": "no key 'text'"},
    ],
    "skipped_count": 2,
    "gzip_bits_per_byte": 3.05,
    "xz_bits_per_byte": 2.62,
}


def _plan() -> list[dict[str, Any]]:
    plan = [
        _planned("model.embed_tokens.weight", [4096, 128], "adamw", "embedding"),
        _planned("lm_head.weight", [4096, 128], "adamw", "output head"),
        _planned("model.norm.weight", [128], "adamw", "vector"),
    ]
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        plan += [
            _planned(f"{prefix}.input_layernorm.weight", [128], "adamw", "vector"),
            _planned(f"{prefix}.self_attn.q_b_proj.weight", [192, 96], "muon", "hidden matrix"),
            _planned(f"{prefix}.self_attn.o_proj.weight", [128, 128], "muon", "hidden matrix"),
        ]
        if layer:
            name, shape = f"{prefix}.mlp.experts.gate_proj", [EXPERTS, 64, 128]
            plan.append(_planned(name, shape, "muon", "a matrix an expert"))
    return plan


def _planned(name: str, shape: list[int], rule: str, reason: str) -> dict[str, Any]:
    count = 0 if rule == "adamw" else shape[0] if len(shape) == 3 else 1
    return {"name": name, "shape": shape, "rule": rule, "reason": reason, "matrices": count}
