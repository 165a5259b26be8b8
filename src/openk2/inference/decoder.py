"""The model as the engine runs it: one token of many sequences, and pieces of new prompts, at once.

Decoding never expands the cache. Head h's logit q_nope·(W_UK latent) + q_rope·k_rope equals
(W_UKᵀ q_nope, q_rope)·(latent, k_rope): the query is taken to the latent space, all heads attend to
the same cached vectors, and W_UV takes the attended latent to the values ("absorbed", DeepSeek-V2).
Prompts have many queries a key; there expanding costs less, and flash attention runs.

N tokens, of them the first S the next token of S sequences; H heads, D hidden width,
P = qk_nope_head_dim, R = qk_rope_head_dim, V = v_head_dim, C = kv_lora_rank, W = C + R,
B blocks of a sequence, T tokens of a chunk.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openk2.inference.latent_cache import LatentCache
from openk2.models.attention import MultiHeadLatentAttention
from openk2.models.experts import group_tokens
from openk2.models.k2_moe import KimiK2MoEModel, MixtureOfExperts, TransformerLayer
from openk2.models.layers import FeedForwardExpert, RMSNorm, rotary_turns, rotate

__all__ = ["Chunk", "DecodeGroup", "Decoder", "StepTokens"]


@dataclass(frozen=True)
class DecodeGroup:
    """Some of the S sequences, of similar length, that attend together.

    table_SB   their blocks, padded with the empty block
    mask_S1T   0 where a position is theirs, -inf behind their end; T = B * BLOCK_TOKENS
    """

    rows: slice
    table_SB: Tensor
    mask_S1T: Tensor


@dataclass(frozen=True)
class Chunk:
    """A piece of one prompt: `rows` of the step, after `past` tokens that are cached.

    blocks   the blocks of past and piece; None where there is no past
    """

    rows: slice
    past: int
    blocks: Tensor | None


@dataclass(frozen=True)
class StepTokens:
    """What one forward pass computes. `slots_N`: where each token's latent goes in the pool."""

    tokens_N: Tensor
    positions_N: Tensor
    slots_N: Tensor
    decode: list[DecodeGroup]
    chunks: list[Chunk]


class Decoder:
    """The forward pass over a `KimiK2MoEModel`'s own parameters; nothing is copied.

    With a compute dtype other than the parameters', a cast copy is kept and `refresh` renews it.
    """

    def __init__(self, model: KimiK2MoEModel, dtype: torch.dtype) -> None:
        self.source, self.dtype = model, dtype
        self.config = model.config
        self.device = model.lm_head.weight.device
        # The selection bias is a buffer, and changes what comes out as a weight does.
        biases = [router.e_score_correction_bias for router in model.routers()]
        self._watched = [*model.parameters(), *biases]
        self._versions: list[int] = []
        positions = torch.arange(self.config.max_position_embeddings, device=self.device)
        self.turns_T1R = rotary_turns(self.config, positions)[:, None]
        self._cast: KimiK2MoEModel | None = None
        if model.lm_head.weight.dtype != dtype:
            with torch.device("meta"):
                self._cast = KimiK2MoEModel(self.config)
            _cast_matrices(self._cast, dtype)
            self._cast.to_empty(device=self.device)
            self._cast.eval()
        self.refresh()

    def refresh(self) -> bool:
        """Follow the source's weights; True if they changed since the last call.

        In-place updates, such as an optimizer's, are noticed by the tensors' version counters.
        """
        versions = [tensor._version for tensor in self._watched]
        if versions == self._versions:
            return False
        self._versions = versions
        model = self.source
        if self._cast is not None:
            with torch.no_grad():
                for mine, theirs in zip(
                    self._cast.state_dict().values(), model.state_dict().values(), strict=True
                ):
                    mine.copy_(theirs)
            model = self._cast
        self._embedding = model.embed_tokens.weight.detach()
        self._layers = [_Layer(cast(TransformerLayer, layer)) for layer in model.layers]
        self._norm = _Norm(model.norm)
        self._head = model.lm_head.weight.detach()
        return True

    def forward(self, step: StepTokens, cache: LatentCache) -> Tensor:
        """What the head sees of every token, [N, D]; the cache is written."""
        x_ND = F.embedding(step.tokens_N, self._embedding).to(self.dtype)
        turns_N1R = self.turns_T1R.index_select(0, step.positions_N)
        for layer, pool_NPW in zip(self._layers, cache.pool_LNPW, strict=True):
            x_ND = layer.forward(x_ND, turns_N1R, step, pool_NPW)
        return self._norm(x_ND)

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """Float32 logits, [N, vocabulary]."""
        return F.linear(hidden_ND, self._head).float()


def _cast_matrices(model: KimiK2MoEModel, dtype: torch.dtype) -> None:
    """Give every matrix `dtype`; gains and routers stay in float32, as they compute in it."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data = parameter.data.to(dtype)
    for router in model.routers():
        router.float()


class _Norm:
    """RMSNorm with statistics in float32, as `models.layers.RMSNorm`."""

    def __init__(self, norm: RMSNorm) -> None:
        self.gain = norm.weight.detach().float()
        self.eps = torch.tensor(norm.eps, device=self.gain.device)
        self.share = 1 / len(self.gain)

    def __call__(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            return self(x.float()).to(x.dtype)
        # Five small operations; torch.rms_norm runs eight, which for one token is what it costs.
        mean_square = torch.add(self.eps, torch.linalg.vecdot(x, x), alpha=self.share)
        return (x * mean_square.rsqrt_().unsqueeze(-1)).mul_(self.gain)


class _Layer:
    """One layer's weights as views, and what they do."""

    def __init__(self, layer: TransformerLayer) -> None:
        self.attention_norm = _Norm(layer.input_layernorm)
        self.attention = _Attention(layer.self_attn)
        self.feed_forward_norm = _Norm(layer.post_attention_layernorm)
        mlp: nn.Module = layer.mlp
        self.feed_forward: _FeedForward | _Mixture
        if isinstance(mlp, MixtureOfExperts):
            self.feed_forward = _Mixture(mlp)
        else:
            self.feed_forward = _FeedForward(cast(FeedForwardExpert, mlp))

    def forward(
        self, x_ND: Tensor, turns_N1R: Tensor, step: StepTokens, pool_NPW: Tensor
    ) -> Tensor:
        attended = self.attention.forward(self.attention_norm(x_ND), turns_N1R, step, pool_NPW)
        x_ND = torch.addmm(x_ND, attended, self.attention.output_OD)
        return self.feed_forward.add_to(x_ND, self.feed_forward_norm(x_ND))


class _FeedForward:
    def __init__(self, expert: FeedForwardExpert) -> None:
        self.gate, self.up = expert.gate_proj.weight.detach(), expert.up_proj.weight.detach()
        self.down_FD = expert.down_proj.weight.detach().t()

    def add_to(self, sum_ND: Tensor, x_ND: Tensor) -> Tensor:
        """sum + down(silu(gate(x)) * up(x))."""
        hidden = F.silu(F.linear(x_ND, self.gate)).mul_(F.linear(x_ND, self.up))
        return torch.addmm(sum_ND, hidden, self.down_FD)


class _Mixture:
    def __init__(self, mixture: MixtureOfExperts) -> None:
        self.router = mixture.gate
        experts = mixture.experts
        self.gate_EFD, self.up_EFD = experts.gate_proj.detach(), experts.up_proj.detach()
        self.down_EDF = experts.down_proj.detach()
        self.gates, self.ups = self.gate_EFD.unbind(), self.up_EFD.unbind()
        self.downs = self.down_EDF.transpose(1, 2).unbind()
        shared = mixture.shared_experts
        self.shared = None if shared is None else _FeedForward(shared)

    def add_to(self, sum_ND: Tensor, x_ND: Tensor) -> Tensor:
        """sum + the shared expert + the routed experts by weight."""
        weights_NK, experts_NK = self.router.choose(x_ND)[:2]
        if self.shared is not None:
            sum_ND = self.shared.add_to(sum_ND, x_ND)
        if x_ND.device.type == "cpu":
            tokens, threads = len(x_ND), torch.get_num_threads()
            if tokens == 1 and threads < DENSE_THREADS:
                return self._add_one_token(sum_ND, x_ND, weights_NK, experts_NK)
            if tokens * len(self.gate_EFD) <= DENSE_WORK * threads:
                return sum_ND.add_(self._all_experts(x_ND, weights_NK, experts_NK))
        return sum_ND.add_(self._chosen_experts(x_ND, weights_NK, experts_NK))

    def _add_one_token(
        self, sum_1D: Tensor, x_1D: Tensor, weights_1K: Tensor, experts_1K: Tensor
    ) -> Tensor:
        """One expert after the other: the fewest weights to read."""
        chosen = experts_1K[0].tolist()
        gate_KF = torch.cat([F.linear(x_1D, self.gates[expert]) for expert in chosen])
        up_KF = torch.cat([F.linear(x_1D, self.ups[expert]) for expert in chosen])
        activation = F.silu(gate_KF).mul_(up_KF).mul_(weights_1K.to(gate_KF.dtype).T)
        for expert, activation_1F in zip(chosen, activation.split(1), strict=True):
            sum_1D = torch.addmm(sum_1D, activation_1F, self.downs[expert])
        return sum_1D

    def _all_experts(self, x_ND: Tensor, weights_NK: Tensor, experts_NK: Tensor) -> Tensor:
        """Every expert on every token, most with weight 0: three products without any sorting."""
        experts, width, hidden = self.gate_EFD.shape
        weights_NE = x_ND.new_zeros(len(x_ND), experts)
        weights_NE.scatter_(1, experts_NK, weights_NK.to(x_ND.dtype))
        gate = F.linear(x_ND, self.gate_EFD.view(-1, hidden))
        activation = F.silu(gate).mul_(F.linear(x_ND, self.up_EFD.view(-1, hidden)))
        activation_NEF = activation.view(-1, experts, width).mul_(weights_NE[:, :, None])
        return torch.bmm(activation_NEF.transpose(0, 1), self.down_EDF.transpose(1, 2)).sum(0)

    def _chosen_experts(self, x_ND: Tensor, weights_NK: Tensor, experts_NK: Tensor) -> Tensor:
        """Each expert on its own tokens (see models.experts for the two layouts)."""
        aligned = all(w * x_ND.element_size() % 16 == 0 for w in self.down_EDF.shape[1:])
        tiered = not aligned or (x_ND.device.type == "cpu" and x_ND.dtype == torch.bfloat16)
        groups = group_tokens(experts_NK, len(self.gate_EFD), tiered)
        weights = self.gate_EFD, self.up_EFD, self.down_EDF
        if tiered:
            weights = tuple(w[groups.expert_order_E] for w in weights)  # type: ignore[assignment]
        x_SD = x_ND.index_select(0, groups.token_of_slot_S)
        activation = F.silu(groups.multiply(x_SD, weights[0])).mul_(
            groups.multiply(x_SD, weights[1])
        )
        activation.mul_(groups.scatter(weights_NK).to(activation.dtype)[:, None])
        y_SD = groups.multiply(activation, weights[2])
        return F.embedding_bag(groups.slot_of_choice_NK, y_SD, mode="sum")


# All experts at once cost less than sorting up to so many (token, expert) pairs a thread, measured
# on 32 experts of which 8 are chosen (docs/figures.md, "Generation").
DENSE_WORK = 512
DENSE_THREADS = 3  # for one token, with fewer threads than these its experts one by one cost less


class _Attention:
    def __init__(self, attention: MultiHeadLatentAttention) -> None:
        self.heads, self.nope, self.rope = (
            attention.num_attention_heads,
            attention.nope,
            attention.rope,
        )
        self.rank, self.scale = attention.kv_lora_rank, attention.scale
        self.query_down: Tensor | None = None
        if attention.q_lora_rank is None:
            self.query = attention.q_proj.weight.detach()
        else:
            self.query_down = attention.q_a_proj.weight.detach()
            self.query_norm = _Norm(attention.q_a_layernorm)
            self.query = attention.q_b_proj.weight.detach()
        self.key_value_down = attention.kv_a_proj_with_mqa.weight.detach()
        self.key_value_norm = _Norm(attention.kv_a_layernorm)
        self.key_value_up = attention.kv_b_proj.weight.detach()
        up_HXC = self.key_value_up.view(self.heads, -1, self.rank)
        self.key_up_HPC = up_HXC[:, : self.nope]
        self.value_up_HCV = up_HXC[:, self.nope :].transpose(1, 2)
        self.output_OD = attention.o_proj.weight.detach().t()

    def forward(
        self, x_ND: Tensor, turns_N1R: Tensor, step: StepTokens, pool_NPW: Tensor
    ) -> Tensor:
        """Every token's attended values, heads side by side, [N, H * V]."""
        tokens = len(x_ND)
        query = x_ND
        if self.query_down is not None:
            query = self.query_norm(F.linear(x_ND, self.query_down))
        q_NHQ = F.linear(query, self.query).view(tokens, self.heads, -1)
        key_value = F.linear(x_ND, self.key_value_down)
        # One rotation for the queries and the key they share.
        rope = torch.cat([q_NHQ[..., self.nope :], key_value[:, None, self.rank :]], dim=1)
        rope = rotate(rope, turns_N1R)
        q_rope_NHR = rope[:, : self.heads]
        latent = self.key_value_norm(key_value[:, : self.rank])
        entry_NW = torch.cat([latent, rope[:, self.heads]], dim=-1)
        if entry_NW.dtype != pool_NPW.dtype:
            entry_NW = entry_NW.to(pool_NPW.dtype)
        pool_NPW.view(-1, pool_NPW.shape[-1]).index_copy_(0, step.slots_N, entry_NW)
        outputs = []
        if step.decode:
            decoding = step.decode[-1].rows.stop
            outputs.append(
                self._decode(q_NHQ[:decoding], q_rope_NHR[:decoding], step.decode, pool_NPW)
            )
        for chunk in step.chunks:
            q = torch.cat([q_NHQ[chunk.rows, :, : self.nope], q_rope_NHR[chunk.rows]], dim=-1)
            outputs.append(self._prefill(q, entry_NW[chunk.rows].to(q.dtype), chunk, pool_NPW))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _decode(
        self, q_SHQ: Tensor, q_rope_SHR: Tensor, groups: list[DecodeGroup], pool_NPW: Tensor
    ) -> Tensor:
        """Absorbed: queries in the latent space, attending to the cached vectors themselves."""
        q_HSC = torch.bmm(q_SHQ[..., : self.nope].transpose(0, 1), self.key_up_HPC)
        q_SHW = torch.cat([q_HSC.transpose(0, 1), q_rope_SHR], dim=-1)
        if q_SHW.dtype != pool_NPW.dtype:
            q_SHW = q_SHW.to(pool_NPW.dtype)
        attended = []
        for group in groups:
            cached_STW = pool_NPW[group.table_SB].flatten(1, 2)
            logits_SHT = torch.baddbmm(
                group.mask_S1T, q_SHW[group.rows], cached_STW.transpose(1, 2), alpha=self.scale
            )
            weights_SHT = torch.softmax(logits_SHT, dim=-1)
            attended.append(torch.bmm(weights_SHT, cached_STW[..., : self.rank]))
        attended_SHC = attended[0] if len(attended) == 1 else torch.cat(attended)
        if attended_SHC.dtype != q_SHQ.dtype:
            attended_SHC = attended_SHC.to(q_SHQ.dtype)
        out_HSV = torch.bmm(attended_SHC.transpose(0, 1), self.value_up_HCV)
        return out_HSV.transpose(0, 1).flatten(1)

    def _prefill(self, q_THQ: Tensor, entry_TW: Tensor, chunk: Chunk, pool_NPW: Tensor) -> Tensor:
        """Expanded: keys and values of every head, through flash attention."""
        length = len(q_THQ)
        mask = None
        if chunk.blocks is not None:
            entry_TW = pool_NPW[chunk.blocks].flatten(0, 1)[: chunk.past + length].to(q_THQ.dtype)
            rows = torch.arange(chunk.past, chunk.past + length, device=q_THQ.device)
            mask = torch.arange(len(entry_TW), device=q_THQ.device) <= rows[:, None]
        latent, k_rope = entry_TW.split([self.rank, self.rope], -1)
        kv = F.linear(latent, self.key_value_up).view(len(entry_TW), self.heads, -1)
        k_rope = k_rope[:, None].expand(-1, self.heads, -1)
        k = torch.cat([kv[..., : self.nope], k_rope], dim=-1)
        v = kv[..., self.nope :]
        width = v.shape[-1]
        if q_THQ.device.type == "cpu":  # its flash kernel wants values as wide as keys
            v = F.pad(v, (0, k.shape[-1] - width))
        q, k, v = (part.transpose(0, 1)[None] for part in (q_THQ, k, v))
        out = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            is_causal=mask is None,
            scale=self.scale,
        )
        return out[0, ..., :width].transpose(0, 1).flatten(1)
