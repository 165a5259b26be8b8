"""Named sizes: the released models, and small ones in K2's proportions."""

from collections.abc import Callable

from openk2.models.config import KimiK2Config, YarnScaling
from openk2.models.router import routed_scaling_factor

__all__ = ["PRESETS", "k2_proportions"]

# config.json of Kimi-K2-Instruct (July 2025): 128k context by YaRN over a base of 4k.
KIMI_K2 = KimiK2Config(
    vocab_size=163840,
    hidden_size=7168,
    num_hidden_layers=61,
    num_attention_heads=64,
    q_lora_rank=1536,
    kv_lora_rank=512,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
    v_head_dim=128,
    intermediate_size=18432,
    moe_intermediate_size=2048,
    n_routed_experts=384,
    num_experts_per_tok=8,
    routed_scaling_factor=2.827,
    aux_loss_alpha=0.001,
    rope_scaling=YarnScaling(),
    max_position_embeddings=131072,
    bos_token_id=163584,
    eos_token_id=163585,
)

# config.json of Moonlight-16B-A3B: no query latent, two shared experts, no context extension.
MOONLIGHT_16B = KimiK2Config(
    vocab_size=163840,
    hidden_size=2048,
    num_hidden_layers=27,
    num_attention_heads=16,
    q_lora_rank=None,
    kv_lora_rank=512,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
    v_head_dim=128,
    intermediate_size=11264,
    moe_intermediate_size=1408,
    n_routed_experts=64,
    num_experts_per_tok=6,
    routed_scaling_factor=2.446,
    n_shared_experts=2,
    aux_loss_alpha=0.001,
    rms_norm_eps=1e-5,
    max_position_embeddings=8192,
    bos_token_id=163584,
    eos_token_id=163585,
)


def k2_proportions(
    hidden_size: int,
    layers: int,
    head_width: int,
    latent: int,
    experts: int,
    vocabulary: int,
    experts_per_token: int = 8,
) -> KimiK2Config:
    """A small model shaped as K2: hidden, expert and dense widths as 7 : 2 : 18.

    The first layer is dense, one shared expert is always on, half as many rotary as other query
    dimensions, a query latent three times the key-value latent, and heads that together are 8/7 as
    wide as the hidden state. Only the sparsity and the latents' relative width differ, because an
    expert or a latent a few dimensions wide learns nothing.
    """
    if hidden_size % 7:
        raise ValueError(f"hidden_size is {hidden_size}; K2's proportions need a multiple of 7")
    width = hidden_size // 7
    return KimiK2Config(
        vocab_size=vocabulary,
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=8 * width // head_width,
        q_lora_rank=3 * latent,
        kv_lora_rank=latent,
        qk_nope_head_dim=head_width,
        qk_rope_head_dim=head_width // 2,
        v_head_dim=head_width,
        intermediate_size=18 * width,
        moe_intermediate_size=2 * width,
        n_routed_experts=experts,
        num_experts_per_tok=experts_per_token,
        routed_scaling_factor=routed_scaling_factor(experts, experts_per_token),
        max_position_embeddings=4096,
    )


PRESETS: dict[str, Callable[[], KimiK2Config]] = {
    "nano": lambda: k2_proportions(224, 5, 64, 32, experts=32, vocabulary=4096),
    "micro": lambda: k2_proportions(448, 10, 64, 64, experts=64, vocabulary=16384),
    "mini": lambda: k2_proportions(896, 16, 64, 128, experts=128, vocabulary=32768),
    "moonlight-16b": lambda: MOONLIGHT_16B,
    "kimi-k2": lambda: KIMI_K2,
}
