"""The recipes, by name."""

from collections.abc import Callable

from openk2.core.errors import UserError
from openk2.models.config import KimiK2Config
from openk2.training.config import OptimizerConfig, PretrainConfig, TrainingConfig

__all__ = ["RECIPES", "micro", "nano", "recipe"]


def nano() -> PretrainConfig:
    """A K2 in miniature on a laptop's CPU, in minutes: the first command of a newcomer.

    Two of the paper's constants are scaled to the model's size, so that what they do is seen: tau
    is 20, since in a few hundred steps logits reach 30 rather than 1000, and router biases move by
    1e-2 a step, since there are 450 steps rather than 200,000 to find the balance in.
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
    """A model of 0.1 B parameters: an evening on a workstation, minutes on one GPU."""
    return PretrainConfig(
        name="micro",
        model=KimiK2Config.preset("micro"),
        training=TrainingConfig(
            steps=5000,
            sequence_length=1024,
            batch_size=64,
            micro_batch_size=8,
            evaluate_every=500,
            checkpoint_every=100,
            sample_prompt="def __init__(self,",
        ),
        optimizer=OptimizerConfig(
            learning_rate=1e-3,
            final_learning_rate=5e-5,
            warmup_steps=100,
            decay_steps=2000,
        ),
    )


RECIPES: dict[str, Callable[[], PretrainConfig]] = {"nano": nano, "micro": micro}


def recipe(name: str) -> PretrainConfig:
    """The recipe of that name; UserError names those there are."""
    if name not in RECIPES:
        raise UserError(f"no recipe '{name}'; there are {', '.join(RECIPES)}, or a .toml file")
    return RECIPES[name]()
