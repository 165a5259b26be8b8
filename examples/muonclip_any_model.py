"""MuonClip on a Hugging Face model: the two lines, and what they do, in under a minute on a laptop.

    pip install openk2 transformers
    python examples/muonclip_any_model.py                       a small Llama, MuonClip
    python examples/muonclip_any_model.py --family deepseek_v3  latent attention and experts
    python examples/muonclip_any_model.py --adamw               torch's AdamW with QK-Clip

The model is built from a config and the text is Python's own standard library, byte by byte, so
nothing is downloaded. Watch S_max, the largest attention logit of any head before the clip: it
grows to tau and stays near it, while the loss falls. So small a model, trained so briefly, has
small logits, so tau is small too; real runs use 100. (Of heads that stay below tau, what is printed
is an upper bound.)
"""

import argparse
import sysconfig
from pathlib import Path

import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

from openk2.optimizers import MuonClipOptimizer, QKClip, format_plan

SEQUENCES, LENGTH = 16, 128  # of a batch, in bytes

COMMON = {
    "vocab_size": 256,
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": LENGTH,
    "tie_word_embeddings": False,
    "use_cache": False,
}
LATENT_ATTENTION_AND_EXPERTS = {
    "num_key_value_heads": 4,
    "q_lora_rank": 64,
    "kv_lora_rank": 48,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "head_dim": 16,
    "v_head_dim": 24,
    "first_k_dense_replace": 1,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 96,
}
FAMILIES = {
    "llama": COMMON,
    "qwen3": COMMON,
    "gemma": COMMON,
    "deepseek_v3": COMMON | LATENT_ATTENTION_AND_EXPERTS,
}


def build_model(family: str) -> PreTrainedModel:
    return AutoModelForCausalLM.from_config(CONFIG_MAPPING[family](**FAMILIES[family]))


def standard_library() -> Tensor:
    """The bytes of Python's own modules, one after another."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    text = bytearray(b"".join(file.read_bytes() for file in files))
    return torch.frombuffer(text, dtype=torch.uint8)


def random_batch(text: Tensor) -> Tensor:
    """Token numbers [SEQUENCES, LENGTH] from random places."""
    starts = torch.randint(len(text) - LENGTH, (SEQUENCES, 1))
    return text[starts + torch.arange(LENGTH)].long()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=FAMILIES, default="llama")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--tau", type=float, default=2.0, help="threshold of QK-Clip")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--adamw", action="store_true", help="AdamW with QK-Clip")
    arguments = parser.parse_args()
    if min(arguments.steps, arguments.tau, arguments.lr) <= 0:
        parser.error("--steps, --tau and --lr must be positive")

    torch.manual_seed(0)
    model, text = build_model(arguments.family), standard_library()

    if arguments.adamw:
        optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.lr, weight_decay=0.1)
        clip = QKClip(optimizer, model, threshold=arguments.tau)  # runs after each step
    else:
        # Finds the matrices for Muon, the rest for AdamW, and the attention layers to clip.
        optimizer = clip = MuonClipOptimizer.from_model(
            model, lr=arguments.lr, weight_decay=0.1, qk_clip_threshold=arguments.tau
        )
        print(format_plan(optimizer.plan), end="\n\n")

    print("step   loss  S_max  heads clipped")
    for step in range(1, arguments.steps + 1):
        tokens = random_batch(text)
        loss = model(tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step == 1 or step % 10 == 0 or step == arguments.steps:
            clipped = clip.last_clip_factors < 1
            s_max = clip.last_max_logits.max()
            print(f"{step:4} {loss:6.3f} {s_max:6.2f}  {int(clipped.sum())} of {clipped.numel()}")


if __name__ == "__main__":
    main()
