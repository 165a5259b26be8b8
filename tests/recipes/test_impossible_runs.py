"""Runs that cannot be: each is one line that names the setting, and leaves no folder behind."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from openk2.core.events import read_events

from ..k2_process import TINY, Result, k2, sources

Tiny = Callable[..., Result]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Runs the tiny model on sources; a run that cannot begin must leave no folder."""
    work = tmp_path_factory.mktemp("impossible") / "work"
    sources(work / "text")

    def run(*settings: str) -> Result:
        out = work / f"run-{len(list(work.iterdir()))}"
        result = k2("run", "nano", "--data", "text", "--out", out.name, *TINY, *settings, cwd=work)
        assert result.code != 2 or not out.exists(), result
        return result

    return run


@pytest.mark.parametrize(
    ("settings", "fragments"),
    [
        ("model.num_attention_heads=0", ["num_attention_heads is 0", "at least 1"]),
        ("model.hidden_size=-28", ["hidden_size is -28"]),
        ("model.num_experts_per_tok=9", ["num_experts_per_tok is 9", "the 4 of n_routed_experts"]),
        ("model.qk_rope_head_dim=5", ["qk_rope_head_dim is 5", "even"]),
        ("model.v_head_dim=99", ["v_head_dim"]),
        ("model.q_lora_rank=0", ["q_lora_rank is 0", "none"]),
        ("model.first_k_dense_replace=3", ["first_k_dense_replace"]),
        ("model.rms_norm_eps=nan", ["rms_norm_eps", "nan"]),
        ("model.rope_scaling.factor=2", ["rope_scaling"]),
        ("model.vocab_size=100", ["vocabulary_size is 100", "at least 273"]),
        ("training.steps=0", ["steps is 0"]),
        ("training.batch_size=5", ["batch_size 5", "multiple of micro_batch_size 2"]),
        ("training.micro_batch_size=8", ["batch_size 4", "micro_batch_size 8"]),
        ("training.sequence_length=9999", ["sequence_length 9999", "max_position_embeddings 4096"]),
        ("training.dtype=float16", ["'float16'", "bfloat16 or float32"]),
        ("training.device=tpu", ["'tpu'", "cpu or cuda"]),
        ("training.threads=0", ["threads is 0"]),
        ("training.checkpoint_every=0", ["checkpoint_every is 0"]),
        ("optimizer.warmup_steps=99", ["warmup_steps 99", "6 training steps"]),
        ("optimizer.warmup_steps=-1", ["warmup_steps", "negative"]),
        ("optimizer.final_learning_rate=1", ["final_learning_rate", "between 0 and learning_rate"]),
        ("optimizer.gradient_clip=0", ["gradient_clip", "positive"]),
        ("optimizer.qk_clip_threshold=-1", ["qk_clip_threshold", "positive"]),
        ("data.validation_fraction=0", ["validation_fraction", "between 0 and 1"]),
        ("data.validation_fraction=1", ["validation_fraction", "between 0 and 1"]),
        ("data.validation_fraction=0.999999", ["too few documents", "give more"]),
        ("data.strict=yes", ["data.strict", "true or false"]),
        ("training.sequence_length=4000", ["training tokens", "4 x 4000", "more text"]),
    ],
)
def test_impossible_setting(tiny: Tiny, settings: str, fragments: list[str]) -> None:
    message = tiny(f"--{settings}").error()
    assert [fragment for fragment in fragments if fragment not in message] == []


@pytest.mark.parametrize(
    "setting",
    [
        "optimizer.learning_rate=inf",
        "optimizer.weight_decay=-1",
        "optimizer.momentum=1",
        "optimizer.momentum=-0.5",
        "optimizer.router_bias_rate=-1",
        "model.rms_norm_eps=-1",
        "model.rope_theta=0",
        "model.initializer_range=-1",
        "model.routed_scaling_factor=inf",
        "training.sample_tokens=-5",
        "seed=99999999999999999999999",
    ],
)
def test_a_value_outside_its_range_is_refused_by_its_configuration(
    tiny: Tiny, setting: str
) -> None:
    assert setting.split("=")[0].split(".")[-1] in tiny(f"--{setting}").error()


def test_a_model_larger_than_the_memory_is_refused(tiny: Tiny) -> None:
    assert "memory" in tiny("--model.hidden_size=10000000000").error()


@pytest.mark.parametrize(
    "settings",
    [
        ["--model.num_hidden_layers=1"],
        ["--model.first_k_dense_replace=2"],
        ["--model.first_k_dense_replace=0", "--model.n_shared_experts=0"],
        ["--model.n_routed_experts=1", "--model.num_experts_per_tok=1"],
        ["--model.q_lora_rank=none", "--model.hidden_size=29"],
        ["--model.max_position_embeddings=32", "--training.sample_tokens=64"],
        ["--optimizer.qk_clip_threshold=inf", "--optimizer.gradient_clip=inf"],
        ["--optimizer.warmup_steps=0", "--optimizer.decay_steps=0", "--training.steps=1"],
        ["--training.sample_prompt=", "--training.sequence_length=1"],
    ],
    ids=" ".join,
)
def test_an_unusual_configuration_runs(settings: list[str], tmp_path: Path) -> None:
    work = tmp_path / "work"
    sources(work / "text")
    result = k2(
        "run", "nano", "--data", "text", "--out", "run", "--json", *TINY, *settings, cwd=work
    )
    assert result.code == 0, result
    assert json.loads(result.stdout)["status"] == "finished"


# At the first rate the gradients are no longer finite, at the second the weights neither.
@pytest.mark.parametrize("rate", ["1e3", "1e20"])
def test_a_run_that_diverges_ends_and_says_so(rate: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    sources(work / "text")
    rates = [f"--optimizer.learning_rate={rate}", "--optimizer.final_learning_rate=0"]
    result = k2("run", "nano", "--data", "text", "--out", "run", "--json", *TINY, *rates, cwd=work)
    assert result.code == 0, result
    summary = json.loads(result.stdout)
    assert summary["status"] == "finished"
    assert summary["skipped_steps"] >= 2
    assert len(list(read_events(work / "run" / "events.jsonl", "sample"))) == 2


def test_a_corrected_command_takes_the_folder_of_a_refused_one(tmp_path: Path) -> None:
    work = tmp_path / "work"
    sources(work / "text")
    command = ["run", "nano", "--out", "run", *TINY]
    assert "tetx" in k2(*command, "--data", "tetx", cwd=work).error()
    assert (
        "give more text"
        in k2(*command, "--data", "text", "--training.sequence_length=4000", cwd=work).error()
    )
    assert k2(*command, "--data", "text", cwd=work).code == 0


def test_a_run_of_another_configuration_is_refused_and_kept(tmp_path: Path) -> None:
    work = tmp_path / "work"
    sources(work / "text")
    command = ["run", "nano", "--data", "text", "--out", "run", *TINY]
    assert k2(*command, cwd=work).code == 0
    before = {path: path.stat().st_mtime_ns for path in (work / "run").rglob("*")}
    message = k2(*command, "--training.steps=8", "--seed=1", cwd=work).error()
    assert "seed: 0 -> 1; training.steps: 6 -> 8" in message
    assert "choose another --out" in message
    assert {path: path.stat().st_mtime_ns for path in (work / "run").rglob("*")} == before
