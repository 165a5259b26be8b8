"""The whole model: seeds, presets, packing, precision."""

import pytest
import torch

from openk2.models import KimiK2Config, KimiK2MoEModel

from ..parity.random_models import SEEDS, random_batch, random_model

CONFIG = KimiK2Config.preset("nano", vocab_size=128, num_hidden_layers=3)


def test_a_seed_makes_the_model() -> None:
    one, same, other = (KimiK2MoEModel(CONFIG, seed=seed) for seed in (1, 1, 2))
    weights = [model.state_dict() for model in (one, same, other)]
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])
    assert not torch.equal(weights[0]["lm_head.weight"], weights[2]["lm_head.weight"])
    matrices = [p for p in one.parameters() if p.dim() > 1]
    assert torch.cat([p.flatten() for p in matrices]).std().item() == pytest.approx(0.02, rel=0.01)


@pytest.mark.parametrize("seed", SEEDS[:4])
def test_packed_documents_equal_the_documents_alone(seed: int) -> None:
    model = random_model(seed)
    tokens, documents = random_batch(model.config, seed, packed=True)
    together = model(tokens, documents)
    for row, starts in enumerate(documents.starts):
        for begin, end in zip(starts, [*starts[1:], tokens.shape[1]], strict=True):
            alone = model(tokens[row : row + 1, begin:end])
            assert torch.allclose(together[row, begin:end], alone[0], atol=1e-5)


def test_the_future_changes_nothing() -> None:
    model = KimiK2MoEModel(CONFIG, seed=0)
    tokens = torch.randint(128, (1, 20))
    changed = tokens.clone()
    changed[0, 15:] = (changed[0, 15:] + 1) % 128
    assert torch.allclose(model(tokens)[0, :15], model(changed)[0, :15], atol=1e-6)


def test_kimi_k2_is_built_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = KimiK2MoEModel(KimiK2Config.preset("kimi-k2"))
    assert sum(1 for _ in model.routers()) == 60
    assert model.layers[1].mlp.experts.gate_proj.shape == (384, 2048, 7168)
