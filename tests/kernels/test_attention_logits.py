"""S_max against its definition, attention against torch's own, kernels against both."""

import copy
import importlib.util
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from openk2.kernels import attention_logits
from openk2.kernels.attention_logits import (
    MaxLogitRecorder,
    attention_with_log_sum_exp,
    exact_max_logits,
)

SCALE = 0.3
MASKS = ("none", "visible", "added", "row", "plain")


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def definition(q: Tensor, k: Tensor, is_causal: bool, mask: Tensor | None) -> Tensor:
    """The scaled and masked logits, float64 [B, H, T, S], pair by pair of heads."""
    heads = []
    for h in range(q.shape[1]):
        key = k[:, h * k.shape[1] // q.shape[1]]
        heads.append(torch.einsum("btq,bsq->bts", q[:, h].double(), key.double()) * SCALE)
    logits = torch.stack(heads, 1)
    if is_causal:
        t, s = torch.arange(q.shape[2])[:, None], torch.arange(k.shape[2])[None]
        logits = logits.masked_fill(s > t, -math.inf)
    if mask is not None and mask.dtype == torch.bool:
        logits = logits.masked_fill(~mask, -math.inf)
    return logits + mask.double() if mask is not None and mask.dtype != torch.bool else logits


def random_mask(kind: str, batch: int, heads: int, queries: int, keys: int) -> Tensor | None:
    """Every way in which a mask may broadcast; a visible one hides a whole row."""
    if kind == "none":
        return None
    if kind == "visible":
        mask = torch.rand(batch, 1, queries, keys) > 0.4
        mask[0, :, 0] = False
        return mask
    shapes = {"added": (1, heads, queries, keys), "row": (batch, 1, 1, keys)}
    return torch.randn(shapes.get(kind, (queries, keys)))


def random_inputs(
    sizes: tuple[int, int, int, int, int, int, int], dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    batch, groups, size, queries, keys, width, value = sizes
    q = torch.randn(batch, queries, groups * size, width).to(dtype).transpose(1, 2)
    k = torch.randn(batch, groups, keys, width).to(dtype)
    return q, k, torch.randn(batch, groups, keys, value).to(dtype)


SIZES = st.tuples(*(st.integers(1, n) for n in (2, 3, 3, 9, 9, 8, 8)))


@settings(max_examples=60, deadline=None)
@given(SIZES, st.booleans(), st.sampled_from(MASKS), st.integers(1, 300), st.integers(0, 10_000))
def test_s_max_is_its_definition(
    sizes: Any, is_causal: bool, kind: str, held: int, seed: int
) -> None:
    """However small the chunks; a bound decides head by head whether it is exact."""
    torch.manual_seed(seed)
    q, k, _ = random_inputs(sizes)
    mask = random_mask(kind, q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    expected_H = definition(q, k, is_causal, mask).amax((0, 2, 3)).float()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_logits, "LOGITS_HELD", held)
        found_H = exact_max_logits(q, k, SCALE, is_causal=is_causal, mask=mask)
        torch.testing.assert_close(found_H, expected_H)
        bound_H = expected_H.clamp(min=-9.0) + torch.rand(q.shape[1])
        threshold = float(bound_H.median())
        mixed_H = exact_max_logits(
            q, k, SCALE, is_causal=is_causal, mask=mask, bound_H=bound_H, threshold=threshold
        )
    over_H = bound_H > threshold
    assert torch.equal(mixed_H[~over_H], bound_H[~over_H])
    torch.testing.assert_close(mixed_H[over_H], expected_H[over_H])


def test_never_more_logits_at_once_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_logits, "LOGITS_HELD", 200)
    products = []

    class Products(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
            result = function(*args, **(kwargs or {}))
            if function is torch.ops.aten.bmm.default:
                products.append(result.numel())
            return result

    q, k, _ = random_inputs((2, 2, 3, 17, 40, 4, 4))
    with Products():
        exact_max_logits(q, k, SCALE)
    assert sum(products) == 2 * 6 * 17 * 40 and max(products) <= 200


def test_hidden_and_broken_logits() -> None:
    """Negative maxima stay negative; nothing seen is -inf; NaN shows where it is visible only."""
    q = torch.ones(1, 4, 3, 2)
    k = -torch.ones(1, 4, 3, 2)
    mask = torch.ones(1, 4, 3, 3, dtype=torch.bool)
    mask[:, 1] = False
    k[0, 2, 2] = math.nan
    mask[:, 2, :, 2] = False
    q[0, 3, 0] = math.nan
    found_H = exact_max_logits(q, k, 0.5, mask=mask)
    expected_H = torch.tensor([-1.0, -math.inf, -1.0, math.nan])
    assert torch.equal(found_H.nan_to_num(7.0), expected_H.nan_to_num(7.0))
    bound_H = torch.tensor([math.nan, 0.0, math.nan, 0.0])
    found_H = exact_max_logits(q, k, 0.5, mask=mask, bound_H=bound_H, threshold=1.0)
    assert torch.equal(found_H, torch.tensor([-1.0, 0.0, -1.0, 0.0]))


def test_low_precision_is_multiplied_in_float32() -> None:
    q, k, _ = random_inputs((1, 2, 1, 8, 8, 64, 8), torch.bfloat16)
    expected_H = definition(q, k, False, None).amax((0, 2, 3)).float()
    torch.testing.assert_close(exact_max_logits(q, k, SCALE), expected_H, rtol=1e-6, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        found_H = exact_max_logits(q.float(), k.float(), SCALE)
    torch.testing.assert_close(found_H, expected_H, rtol=1e-6, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    SIZES,
    st.booleans(),
    st.sampled_from(MASKS),
    st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
    st.integers(0, 10_000),
)
def test_attention_is_that_of_torch(
    sizes: Any, is_causal: bool, kind: str, dtype: torch.dtype, seed: int
) -> None:
    """Values and gradients, for all widths, groups and masks; the log-sum-exp is the rows'."""
    torch.manual_seed(seed)
    q, k, v = (x.requires_grad_() for x in random_inputs(sizes, dtype))
    mask = random_mask(kind, q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(dtype)
    out, log_sum_exp = attention_with_log_sum_exp(q, k, v, SCALE, is_causal=is_causal, mask=mask)
    logits = definition(q.detach(), k.detach(), is_causal, mask)
    added = logits.new_zeros(logits.shape).masked_fill(logits == -math.inf, -math.inf)
    if mask is not None and mask.dtype != torch.bool:
        added += mask
    with sdpa_kernel(SDPBackend.MATH):
        expected = F.scaled_dot_product_attention(
            *(x.double() for x in (q, k, v)), added, scale=SCALE, enable_gqa=True
        )
    weights = torch.randn(expected.shape, dtype=torch.float64)
    found_gradients = torch.autograd.grad((out.double() * weights).sum(), (q, k, v))
    gradients = torch.autograd.grad((expected * weights).sum(), (q, k, v))
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 0.06}[dtype]
    for found, right in ((out, expected), *zip(found_gradients, gradients, strict=True)):
        assert found.shape == right.shape and found.dtype == dtype
        torch.testing.assert_close(found.double(), right.double(), rtol=tolerance, atol=tolerance)
    assert log_sum_exp is not None and not log_sum_exp.requires_grad
    seen = (logits > -math.inf).any(-1)
    torch.testing.assert_close(
        log_sum_exp.double()[seen],
        logits.logsumexp(-1)[seen],
        rtol=max(tolerance, 1e-5) / 2,
        atol=1e-4,
    )
    assert (log_sum_exp.double() >= logits.amax(-1) - 1e-4).all()


@pytest.mark.parametrize("kind", MASKS)
def test_without_a_fused_kernel_there_is_no_log_sum_exp(kind: str) -> None:
    """The values are the same, a causal mask and another one together included."""
    q, k, v = random_inputs((2, 2, 2, 5, 5, 4, 3))
    mask = random_mask(kind, 2, 4, 5, 5)
    fused, _ = attention_with_log_sum_exp(q, k, v, SCALE, is_causal=True, mask=mask)
    with sdpa_kernel(SDPBackend.MATH):
        plain, log_sum_exp = attention_with_log_sum_exp(q, k, v, SCALE, is_causal=True, mask=mask)
    assert log_sum_exp is None
    torch.testing.assert_close(fused, plain)


def test_a_mask_that_learns_gets_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which not every fused kernel would give it."""
    monkeypatch.setattr(attention_logits, "_attention_on_cpu", lambda *_: pytest.fail("fused"))
    q, k, v = random_inputs((2, 2, 2, 5, 5, 4, 3))
    bias = torch.randn(5, 5, requires_grad=True)
    out, log_sum_exp = attention_with_log_sum_exp(q, k, v, SCALE, mask=bias)
    (gradient,) = torch.autograd.grad(out.square().sum(), bias)
    assert log_sum_exp is None and gradient.abs().min() > 0


def test_autocast_acts_as_on_torch_attention() -> None:
    q, k, v = random_inputs((2, 2, 1, 9, 9, 8, 8))
    mask = torch.randn(9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        out, log_sum_exp = attention_with_log_sum_exp(q, k, v.bfloat16(), SCALE, mask=mask)
        expected = F.scaled_dot_product_attention(q, k, v.bfloat16(), mask, scale=SCALE)
    assert out.dtype == torch.bfloat16 and torch.equal(out, expected)
    assert log_sum_exp is not None


# --- CUDA without a GPU: shapes on the meta device, numbers through a stand-in for the kernels


def let_cuda_use(monkeypatch: pytest.MonkeyPatch, flash: bool, efficient: bool) -> None:
    monkeypatch.setattr(torch.backends.cuda, "can_use_flash_attention", lambda _: flash)
    monkeypatch.setattr(torch.backends.cuda, "can_use_efficient_attention", lambda _: efficient)


def test_the_cuda_kernels_take_these_arguments() -> None:
    names = ["query", "key", "value"]
    expected = {
        "flash": [*names, "dropout_p", "is_causal", "return_debug_mask", "scale"],
        "efficient": [*names, "attn_bias", "compute_log_sumexp", "dropout_p", "is_causal", "scale"],
    }
    for kernel, arguments in expected.items():
        schema = getattr(torch.ops.aten, f"_scaled_dot_product_{kernel}_attention").default._schema
        assert [argument.name for argument in schema.arguments] == arguments
        assert [r.name.replace("_", "") for r in schema.returns][:2] == ["output", "logsumexp"]


@pytest.mark.parametrize("kernel", ["flash", "efficient", "neither"])
@pytest.mark.parametrize("value", [12, 20, 28])
def test_cuda_shapes(kernel: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's own shape functions accept the calls, and their gradients come back."""
    let_cuda_use(monkeypatch, kernel == "flash", kernel == "efficient")
    q, k, v = (
        torch.empty(2, heads, 33, width, dtype=torch.bfloat16, device="meta", requires_grad=True)
        for heads, width in ((4, 20), (2, 20), (2, value))
    )
    mask = torch.ones(33, dtype=torch.bool, device="meta")[None, None, None]
    for case in (None, mask) if kernel == "efficient" else (None,):
        found = attention_logits._attention_on_cuda(q, k, v, SCALE, case is None, case)
        if kernel == "neither":
            assert found is None
            continue
        out, log_sum_exp = found
        assert out.shape == (2, 4, 33, value) and log_sum_exp.shape == (2, 4, 33)
        assert log_sum_exp.dtype == torch.float32 and not log_sum_exp.requires_grad
        gradients = torch.autograd.grad(out.float().sum(), (q, k, v))
        assert [g.shape for g in gradients] == [x.shape for x in (q, k, v)]


def stand_in(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, is_causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    """Plain attention that insists on the alignment that the CUDA kernels insist on."""
    assert all(x.shape[-1] % 8 == 0 for x in (q, k, v))
    if bias is not None:
        assert bias.shape == (*q.shape[:3], k.shape[2]) and bias.dtype == q.dtype
        assert all(stride % 16 == 0 for stride in bias.stride()[:3]) and bias.stride(3) == 1
    logits = definition(q, k, is_causal, bias) / SCALE * scale
    v = v.repeat_interleave(q.shape[1] // v.shape[1], 1)
    return logits.softmax(-1).to(v.dtype) @ v, logits.logsumexp(-1).float()


@pytest.mark.parametrize("kernel", ["flash", "efficient"])
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("value", [3, 12])
def test_cuda_numbers(kernel: str, kind: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if kernel == "flash" and kind != "none":
        kernel = "efficient"
    let_cuda_use(monkeypatch, kernel == "flash", kernel == "efficient")

    def flash(q, k, v, dropout_p, is_causal, debug, *, scale):  # type: ignore[no-untyped-def]
        assert q.shape[-1] == v.shape[-1] and dropout_p == 0 and not debug
        return (*stand_in(q, k, v, None, is_causal, scale), None, None, 0, 0, None, None, None)

    def efficient(q, k, v, bias, wanted, dropout_p, is_causal, *, scale):  # type: ignore[no-untyped-def]
        assert q.shape[1] == k.shape[1] == v.shape[1] and wanted and dropout_p == 0
        out, log_sum_exp = stand_in(q, k, v, bias, is_causal, scale)
        return out, F.pad(log_sum_exp, (0, -q.shape[2] % 32), value=math.nan), None, None

    for name, function in (("flash", flash), ("efficient", efficient)):
        monkeypatch.setattr(
            torch.ops.aten,
            f"_scaled_dot_product_{name}_attention",
            SimpleNamespace(default=function),
        )
    q, k, v = random_inputs((2, 2, 2, 7, 7, 5, value))
    mask = random_mask(kind, 2, 4, 7, 7)
    if kind == "visible":
        mask[..., 0] = True  # plain attention of a row that sees nothing is NaN
    four_dimensional = mask[None, None] if kind == "plain" else mask
    found = attention_logits._attention_on_cuda(q, k, v, SCALE, mask is None, four_dimensional)
    expected = F.scaled_dot_product_attention(
        q, k, v, mask, is_causal=mask is None, scale=SCALE, enable_gqa=True
    )
    torch.testing.assert_close(found[0], expected)
    log_sum_exp = definition(q, k, mask is None, mask).logsumexp(-1).float()
    torch.testing.assert_close(found[1], log_sum_exp)


# --- the Triton kernel


@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="pip install triton to run it"
)
@pytest.mark.parametrize("work", ["interpret", "compile"])
def test_the_triton_kernel(work: str) -> None:
    """Interpreted on the CPU it equals the plain path; it compiles for GPUs that are not here."""
    environment = os.environ | ({"TRITON_INTERPRET": "1"} if work == "interpret" else {})
    program = Path(__file__).with_name("triton_max_logits.py")
    done = subprocess.run(
        [sys.executable, str(program), work], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("kind", MASKS)
def test_on_a_gpu(dtype: torch.dtype, kind: str) -> None:
    """Attention as on the CPU, S_max exact where it exceeds tau, and the host never waits."""
    inputs = random_inputs((2, 2, 2, 150, 150, 72, 40), dtype)
    mask = random_mask(kind, 2, 4, 150, 150)
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(dtype)
    is_causal = mask is None
    expected, _ = attention_with_log_sum_exp(*inputs, SCALE, is_causal=is_causal, mask=mask)
    exact_H = definition(*inputs[:2], is_causal, mask).amax((0, 2, 3)).float()
    q, k, v = (x.cuda() for x in inputs)
    here = None if mask is None else mask.cuda()

    def run() -> tuple[Tensor, Tensor, Tensor]:
        out, log_sum_exp = attention_with_log_sum_exp(
            q, k, v, SCALE, is_causal=is_causal, mask=here
        )
        assert log_sum_exp is not None
        bound_H = log_sum_exp.amax((0, 2))
        options = {"is_causal": is_causal, "mask": here, "bound_H": bound_H}
        return out, bound_H, exact_max_logits(q, k, SCALE, **options, threshold=threshold)

    threshold = float(exact_H.median())
    run()  # compiles
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        out, bound_H, found_H = run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-4
    torch.testing.assert_close(out.cpu().float(), expected.float(), rtol=tolerance, atol=tolerance)
    assert (bound_H.cpu() >= exact_H - 1e-3).all() or bound_H.isnan().any()
    over_H = exact_H > threshold
    torch.testing.assert_close(found_H.cpu()[over_H], exact_H[over_H], rtol=1e-4, atol=1e-4)


# --- what is recorded


def test_a_recorder_keeps_the_largest_and_forgets_on_request() -> None:
    recorder = MaxLogitRecorder(3)
    cpu = torch.device("cpu")
    assert torch.equal(recorder.max_logits(cpu), torch.full((3,), -math.inf))
    recorder.record(torch.tensor([1.0, 5.0, -2.0]))
    recorder.record(torch.tensor([4.0, math.nan]), first_head=1)
    found_H = recorder.max_logits(cpu)
    assert found_H[:2].tolist() == [1.0, 5.0] and found_H[2].isnan()
    for copied in (copy.deepcopy(recorder), pickle.loads(pickle.dumps(recorder))):
        copied.record(torch.full((3,), 9.0))
        assert copied.max_logits(cpu)[:2].tolist() == [9.0, 9.0]
    assert recorder.max_logits(cpu)[:2].tolist() == [1.0, 5.0]
    recorder.observe(2.0)
    assert recorder.threshold == 2.0
    assert torch.equal(recorder.max_logits(cpu), torch.full((3,), -math.inf))


def test_a_recorder_first_used_in_inference_mode_serves_training() -> None:
    recorder = MaxLogitRecorder(1)
    with torch.inference_mode():
        recorder.record(torch.tensor([1.0]))
    recorder.record(torch.tensor([2.0]))
    recorder.reset()
    recorder.record(torch.tensor([0.5]))
    assert recorder.max_logits(torch.device("cpu")).tolist() == [0.5]
