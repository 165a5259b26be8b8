"""A model with one parameter of every kind that the optimizer treats differently."""

import torch
from torch import Tensor, nn

from openk2.optimizers.muon_clip import MuonClipOptimizer

from .latent_attention import LatentAttentionLogits

ADAMW_NAMES = ("embed_tokens.weight", "gain")


class SmallModel(nn.Module):
    """One parameter of every kind, and an attention layer whose logits can be clipped."""

    def __init__(self, seed: int, n: int = 5, m: int = 8, dtype: torch.dtype = torch.float64):
        super().__init__()
        torch.manual_seed(seed)
        self.embed_tokens = nn.Embedding(31, m)
        self.wide = nn.Parameter(torch.randn(n, m))
        self.tall = nn.Parameter(torch.randn(m, n))
        self.also_wide = nn.Parameter(torch.randn(n, m))
        self.experts = nn.Parameter(torch.randn(3, m, n))
        self.gain = nn.Parameter(torch.randn(m))
        self.attention = LatentAttentionLogits()
        self.to(dtype)

    def observe(self, seed: int) -> Tensor:
        """Run the attention on a random input; the maximum logit per head."""
        generator = torch.Generator().manual_seed(seed)
        dtype = self.wide.dtype
        x_TD = torch.randn(4, 6, generator=generator, dtype=torch.float64).to(dtype)
        return self.attention(x_TD).detach().amax(dim=(1, 2))


def set_gradients(model: nn.Module, seed: int, scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        gradient = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.grad = (gradient * scale).to(parameter)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def run(optimizer: MuonClipOptimizer, model: SmallModel, steps: range) -> None:
    for t in steps:
        model.observe(t)
        set_gradients(model, t)
        optimizer.step()
