import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from openk2.optimizers import muon_update
from openk2.optimizers.muon_clip import MuonClipOptimizer
from openk2.optimizers.param_plan import plan_parameters

from .small_model import ADAMW_NAMES, SmallModel, run, set_gradients, weights


def test_parameters_without_a_gradient_are_left_alone() -> None:
    model = SmallModel(0)
    optimizer = MuonClipOptimizer.from_model(model, lr=0.5)
    before = weights(model)
    set_gradients(model, 0)
    model.wide.grad = model.gain.grad = None
    optimizer.step()
    unchanged = {name for name, weight in weights(model).items() if weight.equal(before[name])}
    assert unchanged == {"wide", "gain"}
    assert model.wide not in optimizer.state and model.gain not in optimizer.state


def reloaded(state_dict: dict[str, object]) -> dict[str, object]:
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_resumed_run_is_bit_equal(dtype: torch.dtype) -> None:
    model = SmallModel(0, dtype=dtype)
    optimizer = MuonClipOptimizer.from_model(model, lr=0.1, qk_clip_threshold=1.0)
    run(optimizer, model, range(3))
    resumed_model = copy.deepcopy(model)
    resumed = MuonClipOptimizer.from_model(resumed_model, lr=0.7, qk_clip_threshold=1.0)
    resumed.load_state_dict(reloaded(optimizer.state_dict()))
    for parameter in resumed_model.parameters():
        for name, value in resumed.state[parameter].items():
            assert value.dtype == torch.float32, name
    run(optimizer, model, range(3, 6))
    run(resumed, resumed_model, range(3, 6))
    after, resumed_after = weights(model), weights(resumed_model)
    assert all(torch.equal(resumed_after[name], weight) for name, weight in after.items())


def test_loaded_state_is_a_copy() -> None:
    model, other = SmallModel(0), SmallModel(0)
    optimizer = MuonClipOptimizer.from_model(model)
    run(optimizer, model, range(1))
    loaded = MuonClipOptimizer.from_model(other)
    loaded.load_state_dict(optimizer.state_dict())
    run(optimizer, model, range(1, 2))
    assert not torch.equal(
        optimizer.state[model.wide]["momentum_buffer"], loaded.state[other.wide]["momentum_buffer"]
    )
    assert optimizer.state[model.gain]["step"] == 2 and loaded.state[other.gain]["step"] == 1


def test_learning_rate_schedulers_drive_each_group() -> None:
    model = SmallModel(0)
    optimizer = MuonClipOptimizer.from_model(model, lr=0.1, weight_decay=0.0)
    rules = [group["rule"] for group in optimizer.param_groups]
    factor: dict[str, Callable[[int], float]] = {"muon": lambda t: 0.0, "adamw": lambda t: 1.0}
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, [factor[rule] for rule in rules])
    before = weights(model)
    run(optimizer, model, range(1))
    scheduler.step()
    changed = {name for name, weight in weights(model).items() if not weight.equal(before[name])}
    assert changed == set(ADAMW_NAMES)


def test_closure_runs_with_gradients_and_returns_its_loss() -> None:
    weight = nn.Parameter(torch.eye(3))
    optimizer = MuonClipOptimizer([("weight", weight)], lr=0.1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 3
    assert weight.square().sum() < 3


def test_the_audit_names_a_matrix_that_lost_its_rule() -> None:
    model = SmallModel(0)
    optimizer = MuonClipOptimizer.from_model(model)
    muon_group = next(group for group in optimizer.param_groups if group["rule"] == "muon")
    muon_group["rule"] = "adamw"
    set_gradients(model, 0)
    with pytest.raises(
        RuntimeError, match=r"^wide: planned for Muon with 1 matrices here, but 0 were"
    ):
        optimizer.step()


def test_the_audit_names_a_parameter_that_left_its_group() -> None:
    model = SmallModel(0)
    optimizer = MuonClipOptimizer.from_model(model)
    for group in optimizer.param_groups:
        group["params"] = [p for p in group["params"] if p is not model.tall]
    set_gradients(model, 0)
    with pytest.raises(RuntimeError, match=r"^tall: planned for Muon"):
        optimizer.step()


def test_the_audit_counts_every_expert(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SmallModel(0)
    optimizer = MuonClipOptimizer.from_model(model)
    monkeypatch.setattr(muon_update, "CPU_BATCH_ELEMENTS", 40)
    monkeypatch.setattr(muon_update, "CPU_PIECE_ELEMENTS", 40)
    batches = muon_update._batches

    def lossy(pieces: object) -> object:
        """Loses the batch that holds an expert for the second time."""
        seen = 0
        for batch in batches(pieces):
            holds_expert = any(piece.owner.parameter is model.experts for piece in batch)
            seen += holds_expert
            if not (holds_expert and seen == 2):
                yield batch

    monkeypatch.setattr(muon_update, "_batches", lossy)
    set_gradients(model, 0)
    with pytest.raises(RuntimeError, match=r"^experts: planned for Muon with 3 matrices here, but"):
        optimizer.step()


def test_a_matrix_without_a_name_is_an_error_with_the_fix() -> None:
    gain, matrix = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(3, 4))
    with pytest.raises(
        ValueError, match=r"^parameter 1: \[3, 4\] has no name.*from_model\(model\)"
    ):
        MuonClipOptimizer([gain, matrix])
    optimizer = MuonClipOptimizer([{"params": [matrix], "rule": "muon"}, {"params": [gain]}])
    assert [(p.name, p.rule) for p in optimizer.plan] == [
        ("parameter 0", "muon"),
        ("parameter 1", "adamw"),
    ]


def test_frozen_parameters_are_left_out() -> None:
    frozen = nn.Parameter(torch.randn(3, 3), requires_grad=False)
    optimizer = MuonClipOptimizer([("frozen", frozen), ("up.weight", nn.Parameter(frozen.clone()))])
    assert [p.name for p in optimizer.plan] == ["up.weight"]


def test_named_parameters_are_planned_by_name() -> None:
    optimizer = MuonClipOptimizer(SmallModel(0).named_parameters())
    rules = {planned.name: planned.rule for planned in optimizer.plan}
    assert rules["embed_tokens.weight"] == rules["gain"] == "adamw"
    assert rules["wide"] == rules["experts"] == "muon"


def test_from_model_keeps_the_plan_of_the_model_in_its_order() -> None:
    model = SmallModel(0)
    optimizer = MuonClipOptimizer.from_model(model)
    planned = [(p.name, p.rule, p.reason) for p in plan_parameters(model)]
    assert [(p.name, p.rule, p.reason) for p in optimizer.plan] == planned
    assert [group["rule"] for group in optimizer.param_groups] == ["muon", "adamw"]


def test_groups_keep_their_options_and_may_set_the_rule() -> None:
    a, b, c, d = (nn.Parameter(torch.randn(3, 4)) for _ in range(4))
    gain = nn.Parameter(torch.randn(4))
    optimizer = MuonClipOptimizer(
        [{"params": [("a", a), ("gain", gain)], "lr": 0.5}, {"params": b, "rule": "adamw"}],
        lr=0.1,
    )
    optimizer.add_param_group({"params": [c, d], "rule": "muon", "momentum": 0.0})
    found = [
        (group["rule"], group["lr"], group["momentum"], len(group["params"]))
        for group in optimizer.param_groups
    ]
    assert found == [
        ("muon", 0.5, 0.95, 1),
        ("adamw", 0.5, 0.95, 1),
        ("adamw", 0.1, 0.95, 1),
        ("muon", 0.1, 0.0, 2),
    ]
    names = [planned.name for planned in optimizer.plan]
    assert names == ["a", "gain", "parameter 2", "parameter 3", "parameter 4"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, "lr -1.0"),
        ({"weight_decay": -0.1}, "weight_decay -0.1"),
        ({"eps": -1e-8}, "eps -1e-08"),
        ({"momentum": 1.0}, "momentum 1.0"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"qk_clip_threshold": 0.0}, "qk_clip_threshold 0.0"),
        ({"qk_clip_threshold": float("nan")}, "qk_clip_threshold nan"),
        ({"lr": float("nan")}, "lr nan"),
        ({"lr": torch.ones(2)}, r"lr is a tensor of shape \[2\]"),
        ({"betas": (0.9,)}, "both betas"),
        ({"coefficients": []}, "no name and no"),
        ({"coefficients": [(1.0, 2.0)]}, "no name and no"),
        ({"coefficients": [(2.0, -1.5, 0.5)] * 3, "newton_schulz_steps": 5}, "leave the first out"),
        ({"torch_exact": True, "cautious_weight_decay": True}, "exclude each other"),
        ({"coefficients": "muon"}, "coefficients 'muon' are none of cans, deepseek_v4, k2"),
        ({"update_scale": "none"}, "update_scale 'none' is none of rms, keller, spectral"),
        ({"non_finite": "warn"}, "non_finite 'warn'"),
    ],
)
def test_impossible_options(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MuonClipOptimizer([("up.weight", nn.Parameter(torch.zeros(2, 2)))], **options)


def test_muon_refuses_what_is_no_matrix() -> None:
    kernel, gain = nn.Parameter(torch.zeros(2, 2, 3, 3)), nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match=r"kernel: .*neither a matrix"):
        MuonClipOptimizer([("kernel", kernel)])
    with pytest.raises(ValueError, match=r"parameter 0: .*neither a matrix"):
        MuonClipOptimizer([{"params": [gain], "rule": "muon"}])


def test_hooks_of_others_rewrite_what_is_loaded() -> None:
    model = SmallModel(0)
    optimizer = MuonClipOptimizer.from_model(model, lr=0.1)
    run(optimizer, model, range(2))
    saved = optimizer.state_dict()
    for group in saved["param_groups"]:
        group["param_names"] = [f"module.{name}" for name in group["param_names"]]
    loaded = MuonClipOptimizer.from_model(SmallModel(0))

    def rename(_: object, state_dict: dict[str, Any]) -> dict[str, Any]:
        groups = [
            {**g, "param_names": [name.removeprefix("module.") for name in g["param_names"]]}
            for g in state_dict["param_groups"]
        ]
        return {**state_dict, "param_groups": groups}

    def forget(optimizer: torch.optim.Optimizer) -> None:
        for state in optimizer.state.values():
            if "momentum_buffer" in state:
                state["momentum_buffer"].zero_()

    with pytest.raises(ValueError, match=r"group 0 has module\.wide"):
        loaded.load_state_dict(saved)
    loaded.register_load_state_dict_pre_hook(rename)
    loaded.register_load_state_dict_post_hook(forget)
    loaded.load_state_dict(saved)
    momenta = [s["momentum_buffer"] for s in loaded.state.values() if "momentum_buffer" in s]
    assert momenta and not any(momentum.any() for momentum in momenta)
    assert any(state["exp_avg"].any() for state in loaded.state.values() if "exp_avg" in state)


def test_groups_of_another_optimizer_keep_their_names() -> None:
    optimizer = MuonClipOptimizer.from_model(SmallModel(0))
    torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)  # leaves "initial_lr" in the groups
    again = MuonClipOptimizer(optimizer.param_groups)
    plans = [{(p.name, p.rule) for p in each.plan} for each in (optimizer, again)]
    assert plans[0] == plans[1]


def test_row_sizes_hold_for_a_group_without_a_rule() -> None:
    up, bias = nn.Parameter(torch.zeros(6, 4)), nn.Parameter(torch.zeros(6))
    named = [("up.weight", up), ("up.bias", bias)]
    optimizer = MuonClipOptimizer([{"params": named, "row_sizes": (2, 4)}])
    assert [(p.rule, p.row_sizes) for p in optimizer.plan] == [("muon", (2, 4)), ("adamw", ())]


def test_members_of_a_group_are_in_order_and_all_named_or_none() -> None:
    gains = [nn.Parameter(torch.zeros(3)) for _ in range(2)]
    with pytest.raises(TypeError, match="in a set have no order"):
        MuonClipOptimizer([{"params": set(gains)}])
    with pytest.raises(ValueError, match="name them all"):
        MuonClipOptimizer([("gain", gains[0]), gains[1]])
