"""How many parameters, floating-point operations and bytes a model is, from its config alone."""

from dataclasses import dataclass

from openk2.models.config import KimiK2Config

__all__ = ["ParameterCount", "count_parameters", "explain_paper", "training_flops_per_token"]


@dataclass(frozen=True)
class ParameterCount:
    """Parameters in all, those one token passes through, and the input embedding's share."""

    total: int
    activated: int
    embedding: int


def _attention(config: KimiK2Config) -> int:
    hidden, heads, latent = config.hidden_size, config.num_attention_heads, config.kv_lora_rank
    query = heads * config.qk_head_dim
    rank = config.q_lora_rank
    queries = hidden * query if rank is None else hidden * rank + rank + rank * query
    keys_values = hidden * (latent + config.qk_rope_head_dim) + latent
    keys_values += latent * heads * (config.qk_nope_head_dim + config.v_head_dim)
    return queries + keys_values + heads * config.v_head_dim * hidden


def _layer(config: KimiK2Config, dense: bool, experts: int) -> int:
    """A layer of which `experts` routed experts count."""
    hidden = config.hidden_size
    shared = _attention(config) + 2 * hidden
    if dense:
        return shared + 3 * hidden * config.intermediate_size
    networks = experts + config.n_shared_experts
    router = config.n_routed_experts * hidden
    return shared + router + 3 * hidden * config.moe_intermediate_size * networks


def count_parameters(config: KimiK2Config) -> ParameterCount:
    """Exact counts. Activated: both embedding matrices and the K chosen experts of each layer."""
    embedding = config.vocab_size * config.hidden_size
    dense, mixture = config.first_k_dense_replace, config.num_moe_layers
    fixed = 2 * embedding + config.hidden_size + dense * _layer(config, True, 0)
    return ParameterCount(
        total=fixed + mixture * _layer(config, False, config.n_routed_experts),
        activated=fixed + mixture * _layer(config, False, config.num_experts_per_tok),
        embedding=embedding,
    )


def training_flops_per_token(config: KimiK2Config, sequence_length: int) -> float:
    """Forward and backward: 6 a matrix element that a token meets, plus causal attention.

    The input embedding is a look-up and costs nothing. A query meets half of the sequence on
    average, with 2 (query + value width) operations a pair and head forward, twice that backward.
    """
    count = count_parameters(config)
    matrices = 6 * (count.activated - count.embedding)
    widths = config.num_attention_heads * (config.qk_head_dim + config.v_head_dim)
    return matrices + 3 * config.num_hidden_layers * widths * sequence_length


def explain_paper(config: KimiK2Config) -> str:
    """Why the paper's 1.04 T and 32.6 B differ from the released config's own count."""
    count = count_parameters(config)
    extra = _layer(config, False, config.n_routed_experts) - _layer(config, True, 0)
    all_mixture = count.total + config.first_k_dense_replace * extra
    without_router = count.activated - config.num_moe_layers * (
        config.n_routed_experts * config.hidden_size
    )
    return (
        f"total {count.total / 1e9:.1f} B; with every layer a mixture {all_mixture / 1e9:.1f} B "
        f"(the paper's 1.04 T); activated {count.activated / 1e9:.1f} B, "
        f"{without_router / 1e9:.1f} B without the routers, "
        f"{(count.activated - count.embedding) / 1e9:.1f} B without the input embedding: the "
        "paper's 32.6 B lies between, and no count of whole matrices gives it"
    )
