"""A small model with random weights, and requests of every kind for it."""

import random

import torch

from openk2.core.generation import SamplingOptions
from openk2.inference import Engine, Generation, GenerationRequest
from openk2.models import KimiK2Config, KimiK2MoEModel
from openk2.models.presets import k2_proportions

VOCABULARY = 320


def small_model(seed: int = 0, **changes: object) -> KimiK2MoEModel:
    """Three layers, the first dense; weights large enough that tokens differ in probability."""
    config = k2_proportions(56, 3, 8, 16, experts=8, vocabulary=VOCABULARY, experts_per_token=2)
    fields = {**vars(config), "initializer_range": 0.15, "max_position_embeddings": 512, **changes}
    return KimiK2MoEModel(KimiK2Config(**fields), seed=seed)  # type: ignore[arg-type]


def requests(count: int, seed: int = 0, greedy: bool = False) -> list[GenerationRequest]:
    """Prompts of 1 to 120 tokens, some sharing their beginning, with 1 to 4 samples each."""
    draw = random.Random(seed)
    common = [draw.randrange(VOCABULARY) for _ in range(70)]
    made = []
    for index in range(count):
        own = [draw.randrange(VOCABULARY) for _ in range(draw.randint(1, 50))]
        options = SamplingOptions(
            temperature=0.0 if greedy else draw.choice((1.0, 1.0, 0.7)),
            max_tokens=draw.randint(1, 60),
            seed=index,
        )
        prompt = tuple(common + own if index % 3 == 0 else own)
        made.append(GenerationRequest(prompt, options, samples=draw.randint(1, 4)))
    return made


def tokens_of(generations: list[Generation]) -> list[list[list[int]]]:
    """Request -> sample -> tokens."""
    return [[sample.tokens for sample in generation.samples] for generation in generations]


@torch.no_grad()
def forward_log_probs(
    model: KimiK2MoEModel, prompt: tuple[int, ...], tokens: list[int], temperature: float = 1.0
) -> torch.Tensor:
    """The trainer's forward pass over prompt and continuation: log-probability of each token."""
    logits = model(torch.tensor([[*prompt, *tokens]]))[0, len(prompt) - 1 : -1]
    rows = (logits / temperature).log_softmax(-1)
    return rows.gather(1, torch.tensor(tokens)[:, None])[:, 0]


def empty(engine: Engine) -> bool:
    """Whether nothing is held any more."""
    statistics = engine.statistics()
    return engine.idle and statistics.blocks_used == statistics.running == statistics.waiting == 0
