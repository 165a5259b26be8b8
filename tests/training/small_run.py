"""A tiny run on real text, made in seconds."""

from dataclasses import replace
from pathlib import Path

import torch

from openk2.core.events import EventLog
from openk2.core.run_folder import RunFolder
from openk2.data.corpus import Corpus, prepare_corpus
from openk2.models import KimiK2Config
from openk2.training.config import OptimizerConfig, PretrainConfig, TrainingConfig
from openk2.training.pretrain import Pretraining

__all__ = ["small_config", "small_corpus", "small_run"]


def small_config(**training: int) -> PretrainConfig:
    """Two layers, four experts, batches of 8 x 32 tokens, six steps."""
    config = PretrainConfig(
        name="small",
        model=KimiK2Config.preset(
            "nano",
            vocab_size=400,
            hidden_size=28,
            num_hidden_layers=2,
            num_attention_heads=2,
            q_lora_rank=12,
            kv_lora_rank=8,
            qk_nope_head_dim=8,
            qk_rope_head_dim=4,
            v_head_dim=8,
            intermediate_size=72,
            moe_intermediate_size=8,
            n_routed_experts=4,
            num_experts_per_tok=2,
        ),
        training=TrainingConfig(
            steps=6,
            sequence_length=32,
            batch_size=8,
            micro_batch_size=4,
            evaluate_every=3,
            checkpoint_every=2,
            sample_prompt="def ",
            sample_tokens=4,
        ),
        optimizer=OptimizerConfig(
            learning_rate=1e-2, final_learning_rate=1e-3, warmup_steps=2, decay_steps=2
        ),
    )
    return replace(config, training=replace(config.training, **training))


def small_corpus(folder: Path) -> Corpus:
    """The sources of this project's own core room as a corpus."""
    source = Path(__file__).parents[2] / "src" / "openk2" / "core"
    return prepare_corpus(folder, [source], 400, 0.2)


def small_run(folder: Path, config: PretrainConfig, corpus: Corpus) -> Pretraining:
    """A run of `config` in `folder`, at its first step or where it stopped."""
    run_folder = RunFolder(folder)
    run_folder.open(config)
    (run_folder.data).mkdir(exist_ok=True)
    corpus.tokenizer.save(run_folder.data / "tokenizer.json")
    events = EventLog(run_folder.events)
    run = Pretraining(config, corpus, run_folder, events, torch.float32, torch.device("cpu"))
    run.restore()
    return run
