"""The recipes, by name."""

from collections.abc import Callable

from openk2.core.errors import UserError
from openk2.models.config import KimiK2Config
from openk2.training.config import OptimizerConfig, PretrainConfig, TrainingConfig

__all__ = ["RECIPES", "micro", "nano", "recipe"]


def nano() -> PretrainConfig:
    """A K2 in miniature on a laptop's CPU, in minutes: the first command of a newcomer.

    Constants are scaled to the model's size, so that what they do is seen. tau is 20 rather than
    100, since in a few hundred steps logits reach 25 rather than 1000. The learning rate is 1e-2
    rather than 2e-4, as suits a model this narrow. Router biases move by 1e-2 a step rather than
    Moonlight's 1e-3, since there are 450 steps, not 200,000, to find the balance in.
    """
    return PretrainConfig(
        name="nano",
        model=KimiK2Config.preset("nano"),
        training=TrainingConfig(
            steps=450,
            sequence_length=256,
            batch_size=16,
            micro_batch_size=16,
            evaluate_every=90,
            checkpoint_every=45,
            sample_prompt="def __init__(self,",
        ),
        optimizer=OptimizerConfig(
            learning_rate=1e-2,
            final_learning_rate=1e-4,
            warmup_steps=20,
            decay_steps=300,
            qk_clip_threshold=20.0,
            router_bias_rate=1e-2,
        ),
    )


def micro() -> PretrainConfig:
    """A model of 0.1 B parameters, 33 M activated, on 82 M tokens: 1.6e16 operations."""
    return PretrainConfig(
        name="micro",
        model=KimiK2Config.preset("micro"),
        training=TrainingConfig(
            steps=2500,
            sequence_length=512,
            batch_size=64,
            micro_batch_size=16,
            evaluate_every=250,
            checkpoint_every=50,
            sample_prompt="def __init__(self,",
        ),
        optimizer=OptimizerConfig(
            learning_rate=1e-3,
            final_learning_rate=5e-5,
            warmup_steps=100,
            decay_steps=1500,
        ),
    )


RECIPES: dict[str, Callable[[], PretrainConfig]] = {"nano": nano, "micro": micro}


def recipe(name: str) -> PretrainConfig:
    """The recipe of that name; UserError names those there are."""
    if name not in RECIPES:
        raise UserError(f"no recipe '{name}'; there are {', '.join(RECIPES)}, or a .toml file")
    return RECIPES[name]()
