import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from openk2.optimizers import muon_update
from openk2.optimizers.muon_clip import MuonClipOptimizer
from openk2.optimizers.newton_schulz import iteration_dtype

from . import reference
from .small_model import ADAMW_NAMES, SmallModel, run, set_gradients, weights


def reference_run(
    model: SmallModel, steps: int, lr: float, decay: float, mu: float, nesterov: bool, tau: float
) -> dict[str, Tensor]:
    """The weights after `steps` of Algorithm 1 in float64, one matrix at a time."""
    model = copy.deepcopy(model).double()
    state = {name: [torch.zeros_like(p), torch.zeros_like(p)] for name, p in weights(model).items()}
    for t in range(1, steps + 1):
        max_logits = model.observe(t).tolist()
        set_gradients(model, t)
        for name, parameter in model.named_parameters():
            W, G, (M, V) = parameter.data, parameter.grad, state[name]
            if name in ADAMW_NAMES:
                W, M, V = reference.adamw(W, M, V, G, t, lr, decay)
            elif W.ndim == 3:
                experts = [
                    reference.muon(W[e], M[e], G[e], lr, decay, mu, nesterov) for e in range(len(W))
                ]
                W, M = (torch.stack(tensors) for tensors in zip(*experts, strict=True))
            else:
                W, M = reference.muon(W, M, G, lr, decay, mu, nesterov)
            parameter.data, state[name] = W, [M, V]
        a = model.attention
        a.q_b_proj.weight.data, a.kv_b_proj.weight.data = reference.qk_clip(
            a.q_b_proj.weight.data,
            a.kv_b_proj.weight.data,
            max_logits,
            tau,
            a.nope,
            a.rope,
            a.value,
        )
    return weights(model)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(2, 9),
    st.integers(2, 9),
    st.floats(1e-4, 0.3),
    st.floats(0, 0.3),
    st.floats(0, 0.99),
    st.booleans(),
    st.floats(0.05, 2.0),
)
def test_equals_algorithm_1_in_float64(
    seed: int, n: int, m: int, lr: float, decay: float, mu: float, nesterov: bool, tau: float
) -> None:
    model = SmallModel(seed, n, m)
    expected = reference_run(model, 4, lr, decay, mu, nesterov, tau)
    optimizer = MuonClipOptimizer.from_model(
        model,
        lr=lr,
        weight_decay=decay,
        momentum=mu,
        nesterov=nesterov,
        qk_clip_threshold=tau,
    )
    run(optimizer, model, range(1, 5))
    for name, weight in weights(model).items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-9, msg=name)


@pytest.mark.parametrize(
    ("newton_schulz_dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 3e-2)]
)
def test_float32_weights_follow_the_float64_reference(
    newton_schulz_dtype: torch.dtype, tolerance: float
) -> None:
    model = SmallModel(0, 24, 40, torch.float32)
    expected = reference_run(model, 4, 0.05, 0.1, 0.95, True, 1.0)
    start = weights(model)
    optimizer = MuonClipOptimizer.from_model(
        model, lr=0.05, qk_clip_threshold=1.0, newton_schulz_dtype=newton_schulz_dtype
    )
    run(optimizer, model, range(1, 5))
    for name, weight in weights(model).items():
        error = (weight - expected[name]).norm() / (expected[name] - start[name]).norm()
        assert error < tolerance, name


@pytest.mark.parametrize("nesterov", [True, False])
def test_equals_torch_muon_up_to_bfloat16_noise(nesterov: bool) -> None:
    """torch averages (M = mu M + (1 - mu) G); Newton-Schulz takes the factor away again."""
    shapes = [(32, 48), (48, 32), (40, 40)]
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = copy.deepcopy(ours)
    start = [p.detach().clone() for p in ours]
    options = {"lr": 0.05, "weight_decay": 0.2, "momentum": 0.9, "nesterov": nesterov}
    optimizers = [
        MuonClipOptimizer(
            [{"params": ours, "rule": "muon"}], newton_schulz_dtype=torch.bfloat16, **options
        ),
        torch.optim.Muon(theirs, adjust_lr_fn="match_rms_adamw", **options),
    ]
    for _ in range(5):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for mine, other, before in zip(ours, theirs, start, strict=True):
        assert (mine - other).norm() / (other - before).norm() < 0.02


def test_other_parameters_equal_torch_adamw() -> None:
    ours = [nn.Parameter(torch.randn(shape)) for shape in [(7,), (5, 3), ()]]
    theirs = copy.deepcopy(ours)
    options = {"lr": 0.03, "weight_decay": 0.2, "betas": (0.8, 0.97), "eps": 1e-6}
    mine = MuonClipOptimizer([{"params": ours, "rule": "adamw"}], **options)
    torch_adamw = torch.optim.AdamW(theirs, foreach=True, **options)
    for step in range(6):
        for a, b in zip(ours, theirs, strict=True):
            # The first parameter has no gradient in the even steps, so ages differ.
            a.grad = None if a.ndim == 1 and step % 2 else torch.randn_like(a)
            b.grad = None if a.grad is None else a.grad.clone()
        mine.step()
        torch_adamw.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_stacked_experts_equal_separate_experts() -> None:
    stacked = nn.Parameter(torch.randn(6, 20, 12))
    separate = [nn.Parameter(expert.detach().clone()) for expert in stacked]
    options = {"lr": 0.1, "newton_schulz_dtype": torch.float32}
    one = MuonClipOptimizer([{"params": [stacked], "rule": "muon"}], **options)
    many = MuonClipOptimizer([{"params": separate, "rule": "muon"}], **options)
    for _ in range(3):
        stacked.grad = torch.randn_like(stacked)
        for e, expert in enumerate(separate):
            expert.grad = stacked.grad[e].clone()
        one.step()
        many.step()
    torch.testing.assert_close(stacked, torch.stack(list(separate)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("limit", [1, 40, 100, 130])
def test_the_memory_cap_changes_batches_but_not_results(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SmallModel(3)
    expected = reference_run(model, 2, 0.1, 0.1, 0.95, True, 1.0)
    sizes = []
    newton_schulz = muon_update.newton_schulz

    def record(matrices: Tensor, steps: object, dtype: torch.dtype | None) -> Tensor:
        sizes.append(matrices.numel() if len(matrices) > 1 else 0)
        return newton_schulz(matrices, steps, dtype)

    monkeypatch.setattr(muon_update, "CPU_BATCH_ELEMENTS", limit)
    monkeypatch.setattr(muon_update, "CPU_PIECE_ELEMENTS", limit)
    monkeypatch.setattr(muon_update, "newton_schulz", record)
    optimizer = MuonClipOptimizer.from_model(model, lr=0.1, qk_clip_threshold=1.0)
    run(optimizer, model, range(1, 3))
    assert max(sizes) <= limit
    for name, weight in weights(model).items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-9, msg=name)


def test_batches_are_filled_to_the_cap_with_matrices_of_one_dtype(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batches = []
    newton_schulz = muon_update.newton_schulz

    def record(matrices: Tensor, steps: object, dtype: torch.dtype | None) -> Tensor:
        batches.append((len(matrices), matrices.dtype))
        return newton_schulz(matrices, steps, dtype)

    monkeypatch.setattr(muon_update, "CPU_BATCH_ELEMENTS", 2 * 12)
    monkeypatch.setattr(muon_update, "newton_schulz", record)
    dtypes = [torch.float32] * 3 + [torch.float64] + [torch.float32] * 2
    parameters = [nn.Parameter(torch.randn(3, 4, dtype=dtype)) for dtype in dtypes]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    MuonClipOptimizer([{"params": parameters, "rule": "muon"}]).step()
    low = iteration_dtype(parameters[0].device, torch.float32)
    assert [count for count, dtype in batches if dtype == low] == [2, 2, 1]
    assert [count for count, dtype in batches if dtype == torch.float64] == [1]


@pytest.mark.parametrize("merged", [False, True])
def test_one_batch_takes_all_matrices_of_a_shape_and_where_it_pays_its_transpose(
    merged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []
    newton_schulz = muon_update.newton_schulz

    def record(matrices: Tensor, steps: object, dtype: torch.dtype | None) -> Tensor:
        shapes.append(tuple(matrices.shape))
        return newton_schulz(matrices, steps, dtype)

    monkeypatch.setattr(muon_update, "newton_schulz", record)
    monkeypatch.setattr(muon_update, "merges_transposes", lambda device: merged)
    model = SmallModel(3)
    expected = reference_run(model, 2, 0.1, 0.1, 0.95, True, 1.0)
    run(MuonClipOptimizer.from_model(model, lr=0.1, qk_clip_threshold=1.0), model, range(1, 3))
    assert ((6, 5, 8) in shapes) == merged
    assert ({(4, 8, 5), (2, 5, 8)} <= set(shapes)) == (not merged)
    assert len(shapes) == 2 * len(set(shapes))
    for name, weight in weights(model).items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-9, msg=name)


def test_the_scale_of_all_gradients_does_not_matter() -> None:
    results = []
    for scale in (1.0, 2.0**-100, 2.0**100):
        model = SmallModel(0, dtype=torch.float32)
        optimizer = MuonClipOptimizer.from_model(model, lr=0.1)
        for t in range(3):
            set_gradients(model, t, scale)
            model.embed_tokens.weight.grad = model.gain.grad = None
            optimizer.step()
        results.append(weights(model))
    for other in results[1:]:
        assert all(torch.equal(other[name], weight) for name, weight in results[0].items())


def test_zero_gradients_only_decay() -> None:
    model = SmallModel(0)
    before = weights(model)
    optimizer = MuonClipOptimizer.from_model(model, lr=0.5, weight_decay=0.1)
    set_gradients(model, 0, scale=0.0)
    optimizer.step()
    for name, weight in weights(model).items():
        torch.testing.assert_close(weight, before[name] * 0.95, msg=name)


def test_gradients_are_not_changed() -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        model = SmallModel(0, dtype=dtype)
        optimizer = MuonClipOptimizer.from_model(model, nesterov=False)
        for t in range(2):
            set_gradients(model, t)
            before = {name: p.grad.clone() for name, p in model.named_parameters()}
            optimizer.step()
            for name, parameter in model.named_parameters():
                assert torch.equal(parameter.grad, before[name]), name


def clip_model(biases: list[float]) -> tuple[SmallModel, Tensor]:
    """A model whose head h has the logits biases[h] * 36 / sqrt(6) for the returned input."""
    model = SmallModel(0, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.attention.parameters():
            parameter.zero_()
        for head, bias in enumerate(biases):
            model.attention.q_b_proj.weight[6 * head] = bias
            model.attention.kv_b_proj.weight[9 * head] = 1.0
    return model, torch.ones(2, 6)


def test_a_negative_maximum_beside_an_exploding_head_gives_no_nan() -> None:
    model, x_TD = clip_model([100.0, -3.0, 0.0])
    optimizer = MuonClipOptimizer.from_model(model, qk_clip_threshold=100.0)
    model.attention(x_TD)
    before = weights(model)
    optimizer.step()
    after = weights(model)
    assert all(weight.isfinite().all() for weight in after.values())
    assert optimizer.last_max_logits is not None and optimizer.last_clip_factors is not None
    assert (optimizer.last_max_logits[0, 1:] <= 0).all()
    assert optimizer.last_clip_factors[0].tolist() == [
        pytest.approx(100 / float(optimizer.last_max_logits[0, 0])),
        1.0,
        1.0,
    ]
    assert model.attention(x_TD).max().item() == pytest.approx(100.0)
    for name in ("attention.q_b_proj.weight", "attention.kv_b_proj.weight"):
        assert torch.equal(after[name][9:], before[name][9:])
        assert not torch.equal(after[name][0], before[name][0])


def test_each_step_clips_by_its_own_forward_passes() -> None:
    model, x_TD = clip_model([100.0, -3.0, 0.0])
    optimizer = MuonClipOptimizer.from_model(model, qk_clip_threshold=100.0)
    model.attention(x_TD)
    model.attention(0.01 * x_TD)
    optimizer.step()
    clipped = weights(model)
    optimizer.step()
    assert optimizer.last_max_logits is not None
    assert optimizer.last_max_logits.tolist() == [[-torch.inf] * 3]
    assert all(torch.equal(weight, clipped[name]) for name, weight in weights(model).items())


def test_without_a_threshold_nothing_is_measured_or_clipped() -> None:
    model, x_TD = clip_model([100.0, -3.0, 0.0])
    optimizer = MuonClipOptimizer.from_model(model, qk_clip_threshold=None)
    assert model.attention.observed_threshold is None
    model.attention(x_TD)
    before = weights(model)
    optimizer.step()
    assert all(torch.equal(weight, before[name]) for name, weight in weights(model).items())
    assert optimizer.last_max_logits is None and optimizer.last_clip_factors is None


def test_from_model_tells_the_layers_the_threshold() -> None:
    model = SmallModel(0)
    MuonClipOptimizer.from_model(model, qk_clip_threshold=30.0)
    assert model.attention.observed_threshold == 30.0


def test_update_rms_is_that_of_the_update_before_the_learning_rate() -> None:
    model = SmallModel(0, 24, 40)
    optimizer = MuonClipOptimizer.from_model(model, lr=0.25, weight_decay=0.0)
    assert optimizer.update_rms() == 0.0
    set_gradients(model, 1, scale=0.0)
    optimizer.step()
    assert optimizer.update_rms() == 0.0
    before = weights(model)
    set_gradients(model, 0)
    optimizer.step()
    updates = [
        ((weight - before[name]) / 0.25).flatten()
        for name, weight in weights(model).items()
        if name not in ADAMW_NAMES
    ]
    assert optimizer.update_rms() == pytest.approx(torch.cat(updates).square().mean().sqrt().item())
    assert 0.15 < optimizer.update_rms() < 0.25


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_never_waits_for_the_device() -> None:
    model = SmallModel(0, 24, 40, torch.float32).cuda()
    model.attention.reset_max_logits()
    set_gradients(model, 0)
    optimizer = MuonClipOptimizer.from_model(model, non_finite="ignore")
    optimizer.step()
    model.attention(torch.ones(2, 6, device="cuda"))
    torch.cuda.set_sync_debug_mode("error")
    try:
        optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert optimizer.update_rms() == pytest.approx(0.2, abs=0.05)
