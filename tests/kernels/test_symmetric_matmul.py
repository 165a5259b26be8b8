import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from openk2.kernels.symmetric_matmul import KERNEL_MIN_SIDE, symmetric_matmul

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="pip install triton to run it"
)
TOLERANCE = {
    torch.float64: 1e-14,
    torch.float32: 1e-6,
    torch.bfloat16: 2**-8,
    torch.float16: 2**-11,
}


def random_matrices(*shape: int, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def relative_error(result: torch.Tensor, expected: torch.Tensor) -> float:
    return ((result.double() - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("S", "K"), [(1, 1), (5, 7), (33, 20)])
def test_equals_the_product_in_float64(dtype: torch.dtype, S: int, K: int) -> None:
    X = random_matrices(3, S, K, dtype=dtype)
    exact = X.double() @ X.double().mT
    assert relative_error(symmetric_matmul(X), exact) < TOLERANCE[dtype]
    A = exact.to(dtype)
    exact = 2.5 * A.double() @ A.double() - 0.5 * A.double()
    out = torch.full_like(A, torch.nan)
    result = symmetric_matmul(A, addend=A, beta=-0.5, alpha=2.5, out=out)
    assert result is out and relative_error(out, exact) < TOLERANCE[dtype]


def test_of_two_commuting_matrices() -> None:
    A = random_matrices(2, 6, 9, dtype=torch.float64)
    A = A @ A.mT
    torch.testing.assert_close(symmetric_matmul(A, A @ A), A @ A @ A)
    result = symmetric_matmul(A, A @ A, addend=A, beta=3.0, alpha=0.5)
    torch.testing.assert_close(result, 0.5 * A @ A @ A + 3 * A)


def test_what_out_held_does_not_matter() -> None:
    X = random_matrices(2, 3, 4, dtype=torch.float32)
    out = torch.full((2, 3, 3), torch.nan)
    assert torch.equal(symmetric_matmul(X, alpha=2.0, out=out), 2 * X @ X.mT)


def run_python(program: str, **environment: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr


def test_importing_and_using_it_without_a_gpu_imports_no_triton() -> None:
    run_python(
        "import sys, torch, openk2.optimizers, openk2.kernels.symmetric_matmul as module\n"
        "module.symmetric_matmul(torch.ones(1, 2, 2))\n"
        "assert 'triton' not in sys.modules and 'openk2.kernels.symmetric_matmul_triton' not in "
        "sys.modules\n"
    )


# Interpreted: every load, store and mask of the kernel, on tensors of the CPU. The variable must be
# set before triton is imported, so it has a process of its own. Triton's interpreter multiplies
# bfloat16 as if it were integers, hence float16 for the 16 bits.
INTERPRETED = """
import torch
from openk2.kernels.symmetric_matmul import symmetric_matmul
from openk2.kernels.symmetric_matmul_triton import symmetric_matmul_triton

def check(kernel, X, Y, addend, beta, alpha, out):
    expected = symmetric_matmul(X, Y, addend=addend, beta=beta, alpha=alpha, out=None)
    result = kernel(X, Y, addend, beta, alpha, out)
    assert result is out and torch.equal(out, out.mT)
    tolerance = {torch.float32: 1e-5, torch.float16: 2**-10}[X.dtype]
    error = (out.double() - expected.double()).abs().max() / expected.double().abs().max()
    assert error < tolerance, (X.dtype, X.shape, X.stride(), error)

torch.manual_seed(0)
for dtype in (torch.float32, torch.float16):
    for N, S, K in ((1, 1, 1), (2, 5, 70), (2, 130, 65), (3, 200, 33)):
        X = torch.randn(N, S, K).to(dtype)
        A = (X.float() @ X.float().mT / K).to(dtype)
        new = lambda: torch.full((N, S, S), torch.nan, dtype=dtype)
        check(symmetric_matmul_triton, X, X, None, 1.0, 0.5, new())
        check(symmetric_matmul_triton, A, A, A, -4.775, 2.0315, new())
        strided = torch.randn(K + 1, N + 1, S + 3).to(dtype)[1:, :N, 3:].permute(1, 2, 0)
        wide = torch.full((N, S, 2 * S), torch.nan, dtype=dtype)
        check(symmetric_matmul_triton, strided, strided, A.mT, 1.0, 1.0, wide[..., ::2])
        assert wide[..., 1::2].isnan().all()
    elsewhere = torch.zeros(2 * N, S, S + 5, dtype=dtype)[::2, :, 5:].copy_(A)
    check(symmetric_matmul_triton, A @ A, elsewhere, elsewhere, 1.0, 1.0, new())
"""


@needs_triton
def test_the_kernel_equals_the_fallback_in_the_interpreter() -> None:
    run_python(INTERPRETED, TRITON_INTERPRET="1")


# Compiled for a GPU that need not be there: the 16-bit kernels run on tensor cores.
COMPILED = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from openk2.kernels.symmetric_matmul_triton import _lower_triangle as kernel

def signature(name, type):
    if name in ("X", "Y", "C", "out"):
        return "*" + type
    if name in ("alpha", "beta"):
        return "fp32"
    return "constexpr" if name.isupper() and len(name) > 1 else "i32"

types = {name: signature(name, "bf16") for name in kernel.arg_names}
constants = {"HAS_ADDEND": True, "TILE": 128, "DEPTH": 64}
positions = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
for architecture, instruction in ((80, "mma.sync"), (90, "wgmma.mma_async")):
    compiled = compile(
        ASTSource(kernel, types, constexprs=positions),
        target=GPUTarget("cuda", architecture, 32),
        options={"num_warps": 8, "num_stages": 3},
    )
    assert instruction in compiled.asm["ptx"]
    assert compiled.metadata.shared <= 160 * 1024
"""


@needs_triton
def test_the_kernel_compiles_to_tensor_cores() -> None:
    run_python(COMPILED)


@pytest.mark.gpu
@needs_triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_kernel_equals_the_fallback_on_the_device(dtype: torch.dtype) -> None:
    S = KERNEL_MIN_SIDE + 8
    X = random_matrices(2, S, 300, dtype=dtype).cuda()
    A = symmetric_matmul(X)
    assert torch.equal(A, A.mT)
    assert relative_error(A, X.double() @ X.double().mT) < TOLERANCE[dtype]
    A = A / 300
    exact = 2.5 * A.double() @ A.double() - 0.5 * A.double()
    assert relative_error(symmetric_matmul(A, addend=A, beta=-0.5, alpha=2.5), exact) < 2**-7
