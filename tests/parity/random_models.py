"""Small models of every shape the architecture allows, and their twins in transformers."""

import random
import tempfile
from pathlib import Path

import torch
from transformers import DeepseekV3ForCausalLM

from openk2.integrations.hf_checkpoints import save_pretrained
from openk2.models import KimiK2Config, KimiK2MoEModel, PackedDocuments, YarnScaling

SEEDS = range(12)


def random_config(seed: int) -> KimiK2Config:
    """Sizes, YaRN, the query latent and the number of dense layers drawn by seed."""
    draw = random.Random(seed)
    layers = draw.randint(2, 4)
    nope, rope = draw.choice([8, 16, 24]), draw.choice([2, 8, 16])
    experts = draw.choice([4, 6, 9])
    yarn = YarnScaling(
        factor=draw.choice([4.0, 32.0]),
        original_max_position_embeddings=draw.choice([16, 64]),
        beta_fast=draw.choice([1.0, 32.0]),
        mscale=draw.choice([0.7, 1.0]),
    )
    return KimiK2Config(
        vocab_size=97,
        hidden_size=draw.choice([32, 56]),
        num_hidden_layers=layers,
        num_attention_heads=draw.choice([1, 3, 4]),
        q_lora_rank=draw.choice([None, 12, 24]),
        kv_lora_rank=draw.choice([8, 20]),
        qk_nope_head_dim=nope,
        qk_rope_head_dim=rope,
        v_head_dim=draw.randint(4, nope + rope),
        intermediate_size=draw.choice([40, 72]),
        moe_intermediate_size=draw.choice([8, 16]),
        n_routed_experts=experts,
        num_experts_per_tok=draw.randint(1, experts - 1),
        routed_scaling_factor=draw.choice([1.0, 2.827]),
        n_shared_experts=draw.choice([1, 2]),
        first_k_dense_replace=draw.randint(1, layers - 1),
        rms_norm_eps=draw.choice([1e-6, 1e-5]),
        rope_scaling=yarn if draw.random() < 0.6 else None,
        max_position_embeddings=4096,
        initializer_range=0.08,
    )


def random_model(seed: int) -> KimiK2MoEModel:
    """A model with random weights, norm gains and router biases."""
    model = KimiK2MoEModel(random_config(seed), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5, generator=generator)
        for router in model.routers():
            router.e_score_correction_bias.normal_(0, 0.1, generator=generator)
    return model


def transformers_twin(model: KimiK2MoEModel) -> DeepseekV3ForCausalLM:
    """The same weights in stock transformers, through an exported folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = save_pretrained(model, Path(folder) / "export")
        twin, info = DeepseekV3ForCausalLM.from_pretrained(
            path, dtype=torch.float32, output_loading_info=True
        )
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    return twin


def random_batch(
    config: KimiK2Config, seed: int, packed: bool
) -> tuple[torch.Tensor, PackedDocuments]:
    """Tokens [3, 37], one document a row or several."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(config.vocab_size, (3, 37), generator=generator)
    starts = [[0, 5, 6, 20], [0], [0, 30]] if packed else None
    return tokens, PackedDocuments(3, 37, starts)
