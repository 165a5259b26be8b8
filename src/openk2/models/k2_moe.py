"""The K2 model: embedding, pre-norm layers of latent attention and feed-forward, head.

Paper section 2.3: the first layer dense, the rest mixtures of experts with one shared expert that
is always on. Nothing here knows about ranks, training or sampling.

B batch rows, T positions, D hidden width, V vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from openk2.models.attention import MultiHeadLatentAttention
from openk2.models.config import KimiK2Config
from openk2.models.documents import PackedDocuments
from openk2.models.experts import RoutedExperts
from openk2.models.layers import FeedForwardExpert, Linear, RMSNorm, rotary_turns
from openk2.models.router import Router

__all__ = ["KimiK2MoEModel", "MixtureOfExperts", "TransformerLayer"]


class MixtureOfExperts(nn.Module):
    """Routed experts by weight, plus the shared expert unweighted."""

    def __init__(self, config: KimiK2Config) -> None:
        super().__init__()
        width = config.moe_intermediate_size
        self.gate = Router(config)
        self.experts = RoutedExperts(config.n_routed_experts, config.hidden_size, width)
        if config.n_shared_experts:
            self.shared_experts: FeedForwardExpert | None = FeedForwardExpert(
                config.hidden_size, width * config.n_shared_experts
            )
        else:
            self.shared_experts = None

    def forward(self, x_BTD: Tensor) -> Tensor:
        weights_NK, experts_NK = self.gate(x_BTD)
        routed: Tensor = self.experts(x_BTD.flatten(0, 1), weights_NK, experts_NK)
        routed = routed.view_as(x_BTD)
        return routed if self.shared_experts is None else routed + self.shared_experts(x_BTD)


class TransformerLayer(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)); dense in the first layers."""

    def __init__(self, config: KimiK2Config, index: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = MultiHeadLatentAttention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp: nn.Module
        if index < config.first_k_dense_replace:
            self.mlp = FeedForwardExpert(config.hidden_size, config.intermediate_size)
        else:
            self.mlp = MixtureOfExperts(config)

    def forward(self, x_BTD: Tensor, turns: Tensor, documents: PackedDocuments) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), turns, documents)
        return x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))  # type: ignore[no-any-return]


class KimiK2MoEModel(nn.Module):
    """`model(tokens_BT)` gives logits [B, T, V].

    Parameters are float32 and initialised N(0, initializer_range²), norms to one. Activations have
    `compute_dtype` (float32 unless set to bfloat16); logits come in the compute dtype.
    """

    def __init__(self, config: KimiK2Config, seed: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype: torch.dtype | None = None
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            TransformerLayer(config, index) for index in range(config.num_hidden_layers)
        )
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = Linear(config.hidden_size, config.vocab_size)
        self.initialise(seed)

    @torch.no_grad()
    def initialise(self, seed: int | None = None) -> None:
        """Draw every matrix anew, in the order of the parameters; a seed makes it reproducible."""
        generator = None
        if seed is not None:
            generator = torch.Generator(self.embed_tokens.weight.device).manual_seed(seed)
        for parameter in self.parameters():
            if parameter.dim() == 1:
                parameter.fill_(1.0)
            else:
                parameter.normal_(0.0, self.config.initializer_range, generator=generator)

    def reset_state(self) -> None:
        """Start the counts and maxima that a forward pass in training mode accumulates anew."""
        for attention in self.attention_layers():
            attention.reset_max_logits()
        for router in self.routers():
            router.expert_counts_E.zero_()

    def hidden_states(self, tokens_BT: Tensor, documents: PackedDocuments | None = None) -> Tensor:
        """What the head sees: the last layer's output, normed, [B, T, D]."""
        documents = documents or PackedDocuments(*tokens_BT.shape)
        turns = rotary_turns(self.config, documents.positions_BT.to(tokens_BT.device))
        x_BTD = self.embed_tokens(tokens_BT)
        if self.compute_dtype is not None:
            x_BTD = x_BTD.to(self.compute_dtype)
        for layer in self.layers:
            x_BTD = layer(x_BTD, turns, documents)
        return self.norm(x_BTD)  # type: ignore[no-any-return]

    def forward(self, tokens_BT: Tensor, documents: PackedDocuments | None = None) -> Tensor:
        """Logits [B, T, V]; `documents` says where documents begin, else each row is one."""
        return self.lm_head(self.hidden_states(tokens_BT, documents))  # type: ignore[no-any-return]

    def attention_layers(self) -> Iterator[MultiHeadLatentAttention]:
        """The attention of each layer, first to last."""
        for layer in self.layers:
            yield cast(TransformerLayer, layer).self_attn

    def routers(self) -> Iterator[Router]:
        """The routers of the mixture layers, first to last."""
        for layer in self.layers:
            mlp = cast(TransformerLayer, layer).mlp
            if isinstance(mlp, MixtureOfExperts):
                yield mlp.gate

    @contextmanager
    def exact_max_logits(self) -> Iterator[list[Tensor]]:
        """Measure S_max of every head exactly in the forward passes of the block.

        Yields a list that holds one float32 tensor [H] a layer when the block has ended. The
        measurement since the last reset is lost: use it between optimizer steps.
        """
        attention = list(self.attention_layers())
        found: list[Tensor] = []
        for layer in attention:
            layer.reset_max_logits()
            layer.measure_exactly = True
        yield found
        for layer in attention:
            found.append(layer.max_logits().clone())
            layer.reset_max_logits()
            layer.measure_exactly = False

    def balance_loss(self) -> Tensor:
        """The sequence-wise balance loss of the last forward pass, summed over layers; 0 if off."""
        losses = [r.balance_loss for r in self.routers() if r.balance_loss is not None]
        return torch.stack(losses).sum() if losses else torch.zeros(())

    def expert_counts(self) -> Tensor:
        """Assignments per mixture layer and expert since the last bias update, int64 [L, E]."""
        counts = [router.expert_counts_E for router in self.routers()]
        empty = torch.zeros(0, self.config.n_routed_experts, dtype=torch.int64)
        return torch.stack(counts) if counts else empty

    def update_router_bias(self, counts_LE: Tensor, rate: float) -> None:
        """Move every selection bias by one step of `rate` and start counting anew.

        `counts_LE` is `expert_counts()`, summed over whoever else trains the same model.
        """
        for router, counts_E in zip(self.routers(), counts_LE, strict=True):
            router.update_bias(counts_E, rate)
            router.expert_counts_E.zero_()
