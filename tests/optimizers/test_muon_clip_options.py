"""Every option changes what it says it changes, against a plain computation in float64."""

import copy
from math import sqrt

import pytest
import torch
from torch import Tensor, nn

from openk2.optimizers import AttentionClipTarget, query_key_rows
from openk2.optimizers.group_options import OPTIONS
from openk2.optimizers.muon_clip import MuonClipOptimizer

from . import reference
from .small_model import SmallModel, run, set_gradients, weights


def one_step(weight: Tensor, gradient: Tensor, **options: object) -> tuple[Tensor, object]:
    """What one step makes of a float64 matrix, and the optimizer."""
    parameter = nn.Parameter(weight.clone())
    options = {"lr": 0.1, "weight_decay": 0.0, "qk_clip_threshold": None} | options
    optimizer = MuonClipOptimizer([("up.weight", parameter)], **options)
    parameter.grad = gradient
    optimizer.step()
    return parameter.detach(), optimizer


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(6, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def gradient() -> Tensor:
    return torch.randn(6, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", [(6, 10), (10, 6)])
@pytest.mark.parametrize("update_scale", ["rms", "keller", "spectral"])
def test_the_update_scales(update_scale: str, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    weight, gradient = torch.randn(2, *shape, dtype=torch.float64)
    rows, columns = shape
    scale = {
        "rms": 0.3 * sqrt(10),
        "keller": sqrt(max(1, rows / columns)),
        "spectral": sqrt(rows / columns),
    }[update_scale]
    moved, _ = one_step(weight, gradient, update_scale=update_scale, rms_scale=0.3)
    expected = weight - 0.1 * scale * reference.newton_schulz(gradient)
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-12)


def test_coefficients_by_name_by_hand_and_in_another_number(
    weight: Tensor, gradient: Tensor
) -> None:
    keller = (3.4445, -4.7750, 2.0315)
    for steps in (3, 7):
        by_name, _ = one_step(weight, gradient, coefficients="k2", newton_schulz_steps=steps)
        by_hand, _ = one_step(weight, gradient, coefficients=[keller] * steps)
        assert torch.equal(by_name, by_hand)
    default, _ = one_step(weight, gradient)
    assert not torch.equal(default, by_hand)


@pytest.mark.parametrize("tall", [False, True])
def test_deepseek_v4_leaves_almost_no_residual(
    tall: bool, weight: Tensor, gradient: Tensor
) -> None:
    residuals = {}
    for name in ("k2", "deepseek_v4"):
        parameter = nn.Parameter(weight.mT.clone() if tall else weight.clone())
        optimizer = MuonClipOptimizer([("up.weight", parameter)], coefficients=name)
        parameter.grad = gradient.mT if tall else gradient
        optimizer.step()
        assert optimizer.orthogonality_residual() is None
        optimizer.measure_orthogonality = True
        optimizer.step()
        residuals[name] = optimizer.orthogonality_residual()
    assert residuals["deepseek_v4"] < 0.01 < 0.05 < residuals["k2"] < 0.6


def test_cautious_decay_acts_where_the_update_agrees(weight: Tensor, gradient: Tensor) -> None:
    plain, _ = one_step(weight, gradient)
    cautious, _ = one_step(weight, gradient, weight_decay=0.5, cautious_weight_decay=True)
    update = weight - plain
    expected = plain - torch.where(update * weight > 0, 0.1 * 0.5 * weight, 0.0)
    torch.testing.assert_close(cautious, expected, rtol=0, atol=1e-12)
    assert 10 < int((cautious != plain).sum()) < 50


def test_maximize_ascends(weight: Tensor, gradient: Tensor) -> None:
    up, _ = one_step(weight, gradient, maximize=True)
    down, _ = one_step(weight, -gradient)
    assert torch.equal(up, down)
    bias = nn.Parameter(torch.zeros(3))
    optimizer = MuonClipOptimizer([("bias", bias)], maximize=True)
    bias.grad = torch.ones(3)
    optimizer.step()
    assert (bias > 0).all() and torch.equal(bias.grad, torch.ones(3))


@pytest.mark.parametrize("shape", [(3, 4, 10), (12, 10)])
def test_row_sizes_are_matrices_of_their_own(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    weight, gradient = torch.randn(2, *shape, dtype=torch.float64)
    sizes = (1, 1, 2) if len(shape) == 3 else (2, 2, 5, 3)
    parameter = nn.Parameter(weight.clone())
    group = {"params": [parameter], "rule": "muon", "row_sizes": sizes}
    optimizer = MuonClipOptimizer([group], lr=0.1, weight_decay=0.0)
    parameter.grad = gradient
    optimizer.step()
    pieces = zip(weight.split(sizes, -2), gradient.split(sizes, -2), strict=True)
    expected = []
    for w, g in pieces:
        stack_w, stack_g = (t if t.ndim == 3 else t[None] for t in (w, g))
        updated = [
            reference.muon(a, torch.zeros_like(a), b, 0.1, 0.0, 0.95, True)[0]
            for a, b in zip(stack_w, stack_g, strict=True)
        ]
        expected.append(torch.stack(updated).view_as(w))
    torch.testing.assert_close(parameter.detach(), torch.cat(expected, dim=-2), rtol=0, atol=1e-12)
    assert optimizer.plan[0].matrices == len(sizes) * (shape[0] if len(shape) == 3 else 1)


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(8, 6), nn.Linear(8, 6)
        self.head = nn.Linear(8, 8)
        rows = query_key_rows(self.q_proj, self.k_proj, 2)
        self.qk_clip = AttentionClipTarget(2, rows, matrices=[])


def test_overrides_and_adamw_settings_make_groups() -> None:
    model = TwoHeads()
    optimizer = MuonClipOptimizer.from_model(
        model,
        lr=0.1,
        adamw={"lr": 0.02},
        overrides={"head.*": {"lr": 0.3}, "head.weight": {"rule": "adamw"}},
    )
    found = {
        name: (group["rule"], group["lr"])
        for group in optimizer.param_groups
        for name in group["param_names"]
    }
    assert found == {
        "q_proj.weight": ("muon", 0.1),
        "q_proj.bias": ("adamw", 0.02),
        "k_proj.weight": ("muon", 0.1),
        "k_proj.bias": ("adamw", 0.02),
        "head.weight": ("adamw", 0.3),
        "head.bias": ("adamw", 0.3),
    }
    assert [p.name for p in optimizer.plan] == [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_gradient_that_is_not_finite_is_named_and_nothing_changes(value: float) -> None:
    model = SmallModel(0)
    optimizer = MuonClipOptimizer.from_model(model)
    run(optimizer, model, range(2))
    before, state = weights(model), copy.deepcopy(optimizer.state_dict()["state"])
    set_gradients(model, 2)
    model.tall.grad[1, 2] = value
    with pytest.raises(FloatingPointError, match=r"^the gradient of tall is not finite; nothing"):
        optimizer.step()
    with torch.no_grad():
        model.wide[0, 0] = value
    with pytest.raises(FloatingPointError, match="gradient of tall and the parameter of wide"):
        optimizer.step()
    with torch.no_grad():
        model.wide.copy_(before["wide"])
    optimizer.non_finite = "skip"
    optimizer.step()
    assert optimizer.skipped_steps == 1
    assert all(torch.equal(weight, before[name]) for name, weight in weights(model).items())
    for key, tensors in optimizer.state_dict()["state"].items():
        assert all(torch.equal(tensor, state[key][name]) for name, tensor in tensors.items())
    # The skipped forward pass is forgotten: it may have been what went wrong.
    assert (model.attention.max_logits() == -torch.inf).all()


def test_a_tensor_learning_rate_is_the_number_it_holds() -> None:
    models = [SmallModel(0), SmallModel(0)]
    rates = [0.05, torch.tensor(0.05, dtype=torch.float64)]
    for model, lr in zip(models, rates, strict=True):
        run(MuonClipOptimizer.from_model(model, lr=lr), model, range(3))
    pairs = zip(weights(models[0]).values(), weights(models[1]).values(), strict=True)
    for number, tensor in pairs:
        torch.testing.assert_close(tensor, number, rtol=0, atol=1e-15)


def test_a_tied_parameter_given_twice_is_an_error() -> None:
    weight = nn.Parameter(torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"reader.weight is the same tensor as writer.weight"):
        MuonClipOptimizer([("writer.weight", weight), ("reader.weight", weight)])


def test_sparse_gradients_are_an_error_with_the_fix() -> None:
    table = nn.Embedding(5, 3, sparse=True)
    optimizer = MuonClipOptimizer.from_model(table, qk_clip_threshold=None)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="sparse=False"):
        optimizer.step()


def test_a_parameter_that_was_frozen_at_first_is_named_when_it_has_a_gradient() -> None:
    model = TwoHeads()
    model.head.weight.requires_grad_(False)
    optimizer = MuonClipOptimizer.from_model(model)
    model.q_proj.weight.grad = torch.ones_like(model.q_proj.weight)
    optimizer.step()
    model.head.weight.requires_grad_(True).grad = torch.ones_like(model.head.weight)
    with pytest.raises(RuntimeError, match=r"^head.weight was frozen when the optimizer was built"):
        optimizer.step()


def test_groups_added_later_are_planned_and_updated() -> None:
    model = SmallModel(0)
    optimizer = MuonClipOptimizer.from_model(model, lr=0.1)
    late = nn.Parameter(torch.randn(5, 8, dtype=torch.float64))
    optimizer.add_param_group({"params": [("late.weight", late)], "lr": 0.7})
    before = late.detach().clone()
    late.grad = torch.randn_like(late)
    optimizer.step()
    assert optimizer.plan[-1].name == "late.weight" and optimizer.plan[-1].flops > 0
    assert optimizer.param_groups[-1]["lr"] == 0.7
    assert not torch.equal(late, before)
    with pytest.raises(ValueError, match="lr -1"):
        optimizer.add_param_group({"params": [("bad", nn.Parameter(torch.zeros(2)))], "lr": -1.0})


@pytest.mark.slow
def test_a_compiled_iteration_gives_the_same_update(weight: Tensor, gradient: Tensor) -> None:
    plain, _ = one_step(weight, gradient)
    compiled, _ = one_step(weight, gradient, compile=True)
    torch.testing.assert_close(compiled, plain, rtol=0, atol=1e-12)


def test_a_tensor_learning_rate_is_each_group_s_own() -> None:
    model = SmallModel(0)
    optimizer = MuonClipOptimizer.from_model(model, lr=torch.tensor(0.5))
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    run(optimizer, model, range(1))
    scheduler.step(1.0)
    scheduler.step(2.0)
    assert [float(group["lr"]) for group in optimizer.param_groups] == [0.25, 0.25]


@pytest.mark.parametrize(
    "options",
    [{"adamw": {"learning_rate": 0.1}}, {"overrides": {"wide": {"ruel": "adamw"}}}],
)
def test_a_misspelt_setting_is_an_error(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^'(learning_rate|ruel)' is no option .* are lr, "):
        MuonClipOptimizer.from_model(SmallModel(0), **options)


def test_settings_that_are_no_dictionary_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"^overrides: 'wide' is given 'adamw'; .*'rule': 'adamw'"):
        MuonClipOptimizer.from_model(SmallModel(0), overrides={"wide": "adamw"})


def test_the_options_of_groups_are_those_of_the_optimizer() -> None:
    optimizer = MuonClipOptimizer([("up.weight", nn.Parameter(torch.zeros(2, 2)))])
    assert tuple(optimizer.defaults) == OPTIONS


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e4m3fn])
def test_dtypes_without_an_update_are_an_error(dtype: torch.dtype) -> None:
    weight = nn.Parameter(torch.zeros(3, 4, dtype=dtype))
    with pytest.raises(ValueError, match=rf"^up.weight is {dtype}; .* leave it out"):
        MuonClipOptimizer([("up.weight", weight)])


def test_a_step_that_can_train_nothing_says_so() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(3, 4))
    optimizer = MuonClipOptimizer.from_model(model, qk_clip_threshold=None)
    model.to_empty(device="cpu")
    model(torch.zeros(2, 3)).sum().backward()
    with pytest.warns(UserWarning, match="build the optimizer from it again") as caught:
        optimizer.step()
    assert caught[0].filename == __file__


def test_blocks_of_a_stack_must_be_contiguous() -> None:
    stack = nn.Parameter(torch.zeros(3, 10, 8).transpose(1, 2))
    with pytest.raises(
        ValueError, match=r"^parameter 0 is a stack of .* \[80, 1, 8\]; make it con"
    ):
        MuonClipOptimizer([{"params": [stack], "rule": "muon", "row_sizes": (4, 4)}])
