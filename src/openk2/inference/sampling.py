"""Sampling a continuation, one token at a time."""

from collections.abc import Sequence

import torch

from openk2.models import KimiK2MoEModel

__all__ = ["sample"]


@torch.no_grad()
def sample(
    model: KimiK2MoEModel,
    tokens: Sequence[int],
    count: int,
    temperature: float = 0.8,
    seed: int = 0,
    stop: int | None = None,
) -> list[int]:
    """Up to `count` tokens after `tokens`, until `stop`; temperature 0 takes the likeliest.

    Ends early where a model that diverged gives logits that are not finite. Runs the whole prefix
    for each token, so it is meant for a sample here and there.
    """
    training = model.training
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    device = model.lm_head.weight.device
    text = list(tokens)
    for _ in range(count):
        hidden = model.hidden_states(torch.tensor([text], device=device))[:, -1]
        logits = model.lm_head(hidden)[0].float().cpu()
        if not bool(torch.isfinite(logits).all()):
            break
        if temperature:
            probabilities = torch.softmax(logits / temperature, dim=-1)
            token = int(torch.multinomial(probabilities, 1, generator=generator))
        else:
            token = int(logits.argmax())
        if token == stop:
            break
        text.append(token)
    model.train(training)
    return text[len(tokens) :]
