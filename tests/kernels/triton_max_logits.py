"""Run by test_attention_logits.py in a process of its own: Triton reads TRITON_INTERPRET once."""

import itertools
import math
import sys

import torch

from openk2.kernels import max_logits_triton
from openk2.kernels.attention_logits import exact_max_logits
from openk2.kernels.max_logits_triton import max_logits


def interpret() -> None:
    """Equal to the plain path; bfloat16 is left out, whose products the interpreter gets wrong."""
    torch.manual_seed(0)
    shapes = [(4, 2, 70, 66, 24), (3, 1, 5, 130, 8), (1, 1, 1, 1, 80), (4, 4, 66, 40, 33)]
    for (heads, groups, queries, keys, width), dtype, is_causal, kind in itertools.product(
        shapes, (torch.float32, torch.float16), (False, True), ("none", "visible", "added")
    ):
        q = torch.randn(2, queries, heads, width).to(dtype).transpose(1, 2)
        k = torch.randn(2, groups, keys, width).to(dtype)
        mask = None
        if kind == "visible":
            mask = torch.rand(2, 1, queries, keys) > 0.5
            mask[:, :, 0] = False
        elif kind == "added":
            mask = torch.randn(1, heads, 1, keys)
        options = {"is_causal": is_causal, "mask": mask}
        exact_H = exact_max_logits(q, k, 0.3, **options)
        found_H = max_logits(q, k, 0.3, is_causal, mask, None, None)
        torch.testing.assert_close(found_H, exact_H, rtol=1e-5, atol=1e-5)
        bound_H = exact_H.clamp(min=-9) + 0.1
        threshold = float(bound_H.median())
        found_H = max_logits(q, k, 0.3, is_causal, mask, bound_H, threshold)
        below_H = bound_H <= threshold
        assert torch.equal(found_H[below_H], bound_H[below_H])
        torch.testing.assert_close(found_H[~below_H], exact_H[~below_H], rtol=1e-5, atol=1e-5)
    q, k = torch.randn(1, 2, 5, 8), torch.randn(1, 2, 5, 8).half()  # as under autocast
    found_H = max_logits(q, k, 0.3, True, None, None, None)
    torch.testing.assert_close(found_H, exact_max_logits(q, k, 0.3, is_causal=True))
    q, k = torch.ones(1, 3, 2, 4), -torch.ones(1, 3, 2, 4)
    q[0, 1, 1] = math.nan
    bound_H = torch.tensor([9.0, math.nan, 0.0])
    found_H = max_logits(q, k, 0.5, True, None, bound_H, 1.0)
    assert found_H[[0, 2]].tolist() == [-2.0, 0.0] and found_H[1].isnan(), found_H


def compile_for_gpus() -> None:
    """To machine code for A100 and H100, without one, in the memory of the smallest GPUs."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = max_logits_triton._max_logits
    constants = {"WIDTH": 192, "HEADS_PER_KEY": 2, "BLOCK_T": 64, "BLOCK_S": 64, "BLOCK_Q": 32}
    for (dtype, architecture), (kind, mask_type) in zip(
        itertools.product(("bf16", "fp32"), (80, 90)),
        (("none", "bf16"), ("visible", "u8"), ("added", "bf16"), ("none", "fp32")),
        strict=True,
    ):
        constants |= {"CAUSAL": kind == "none", "MASK": kind}
        pointers = {"q_ptr": dtype, "k_ptr": dtype, "mask_ptr": mask_type}
        signature = {
            name: "constexpr"
            if name in constants
            else f"*{pointers.get(name, 'fp32')}"
            if name.endswith("_ptr")
            else "fp32"
            if name in ("scale", "threshold")
            else "i32"
            for name in kernel.arg_names
        }
        compiled = triton.compile(
            ASTSource(kernel, signature, constants), target=GPUTarget("cuda", architecture, 32)
        )
        assert compiled.asm["cubin"] and compiled.metadata.shared <= 48 * 1024


if __name__ == "__main__":
    interpret() if sys.argv[1] == "interpret" else compile_for_gpus()
