"""Counts from the config equal counts of the model; K2's are the published ones."""

import pytest
import torch

from openk2.models import KimiK2Config, KimiK2MoEModel
from openk2.models.accounting import count_parameters, explain_paper, training_flops_per_token
from openk2.models.presets import PRESETS

from ..parity.random_models import SEEDS, random_config


def model_parameters(config: KimiK2Config) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in KimiK2MoEModel(config).parameters())


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_counted_exactly(name: str) -> None:
    config = KimiK2Config.preset(name)
    assert count_parameters(config).total == model_parameters(config)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_models_are_counted_exactly(seed: int) -> None:
    config = random_config(seed)
    assert count_parameters(config).total == model_parameters(config)


def test_kimi_k2() -> None:
    count = count_parameters(KimiK2Config.preset("kimi-k2"))
    assert round(count.total / 1e9, 1) == 1026.4
    assert round(count.activated / 1e9, 1) == 32.9
    assert round((count.activated - count.embedding) / 1e9, 1) == 31.7
    assert "1043.0 B" in explain_paper(KimiK2Config.preset("kimi-k2"))


def test_flops_are_six_a_matrix_element_and_attention() -> None:
    config = KimiK2Config.preset("nano")
    short, long = (training_flops_per_token(config, length) for length in (1, 1001))
    heads = config.num_attention_heads * (config.qk_head_dim + config.v_head_dim)
    assert long - short == 3 * config.num_hidden_layers * heads * 1000
