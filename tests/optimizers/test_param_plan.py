import pytest
import torch
from torch import nn

from openk2.optimizers.param_plan import ParameterRule, format_plan, plan_parameters


class OwnEmbedding(nn.Module):
    """An embedding that is no nn.Embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(20, 8))


class OwnNorm(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(*shape))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input_layernorm = OwnNorm(8)
        self.head_norm = OwnNorm(2, 4)
        self.q_b_proj = nn.Linear(8, 12)
        self.gate = nn.Linear(8, 4, bias=False)
        self.experts_down = nn.Parameter(torch.zeros(4, 8, 6))
        self.experts_bias = nn.Parameter(torch.zeros(4, 8))
        self.frozen = nn.Parameter(torch.zeros(3, 3), requires_grad=False)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = OwnEmbedding()
        self.positions = nn.Embedding(16, 8)
        self.layers = nn.ModuleList([Block(), Block()])
        self.lm_head = nn.Linear(8, 20, bias=False)


def by_name(plan: list[ParameterRule]) -> dict[str, ParameterRule]:
    return {planned.name: planned for planned in plan}


def test_every_kind_of_parameter() -> None:
    plan = by_name(plan_parameters(Model()))
    assert {name: (p.rule, p.reason) for name, p in plan.items() if "layers.1" not in name} == {
        "embed_tokens.weight": ("adamw", "embedding"),
        "positions.weight": ("adamw", "embedding"),
        "layers.0.input_layernorm.weight": ("adamw", "norm gain"),
        "layers.0.head_norm.weight": ("adamw", "norm gain"),
        "layers.0.q_b_proj.weight": ("muon", "hidden matrix"),
        "layers.0.q_b_proj.bias": ("adamw", "bias"),
        "layers.0.gate.weight": ("muon", "router gate"),
        "layers.0.experts_down": ("muon", "stacked matrices"),
        "layers.0.experts_bias": ("adamw", "bias"),
        "lm_head.weight": ("adamw", "output head"),
    }
    assert [p.name for p in plan_parameters(Model())] == [
        name for name, p in Model().named_parameters() if p.requires_grad
    ]


def test_matrices_and_their_shape() -> None:
    plan = by_name(plan_parameters(Model()))
    matrix, experts, head = (
        plan[name]
        for name in ("layers.1.q_b_proj.weight", "layers.1.experts_down", "lm_head.weight")
    )
    assert (matrix.shape, matrix.matrices, matrix.matrix_shape) == ((12, 8), 1, (12, 8))
    assert (experts.shape, experts.matrices, experts.matrix_shape) == ((4, 8, 6), 4, (8, 6))
    assert (head.shape, head.matrices, head.matrix_shape) == ((20, 8), 0, None)


def test_tied_weights_are_recognised_from_either_module() -> None:
    model = nn.Module()
    model.reader = nn.Linear(8, 20, bias=False)
    model.lm_head = nn.Linear(8, 20, bias=False)
    model.lm_head.weight = model.reader.weight
    assert plan_parameters(model) == [
        ParameterRule("reader.weight", (20, 8), "adamw", "output head")
    ]
    model.embed_tokens = nn.Embedding(20, 8)
    model.embed_tokens.weight = model.reader.weight
    assert plan_parameters(model)[0].reason == "output head, embedding"


def test_names_alone_give_the_same_plan_for_official_names() -> None:
    named = [(n, p) for n, p in Model().named_parameters() if "positions" not in n]
    from_model = [
        planned for planned in plan_parameters(Model()) if "positions" not in planned.name
    ]
    assert plan_parameters(named) == from_model
    assert plan_parameters(iter(named)) == from_model


@pytest.mark.parametrize("shape", [(4, 3, 2, 2), (2, 2, 2, 2, 2)])
def test_more_than_three_dimensions_are_an_error_with_a_fix(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^blocks\.kernel: .* rule='adamw'"):
        plan_parameters([("blocks.kernel", nn.Parameter(torch.zeros(shape)))])


def test_convolution_kernels_are_no_stacked_matrices() -> None:
    model = nn.Sequential(nn.Conv1d(4, 4, 3))
    with pytest.raises(ValueError, match=r"^0\.weight: a convolution kernel"):
        plan_parameters(model)
    model.requires_grad_(False)
    assert plan_parameters(model) == []


def test_placeholders_without_elements_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"^q_proj: .*empty"):
        plan_parameters([("q_proj", nn.Parameter(torch.zeros(0)))])


def test_a_rule_must_exist_and_fit() -> None:
    with pytest.raises(ValueError, match=r"gain: .*neither a matrix"):
        ParameterRule("gain", (8,), "muon", "wished")
    with pytest.raises(ValueError, match="gain: rule 'sgd'"):
        ParameterRule("gain", (8,), "sgd", "wished")  # type: ignore[arg-type]


def test_the_printed_plan_groups_what_is_alike() -> None:
    plan = [
        ParameterRule("embed_tokens.weight", (200, 8), "adamw", "embedding"),
        ParameterRule("layers.0.up", (4, 8, 6), "muon", "stacked matrices"),
        ParameterRule("layers.0.gate.weight", (4, 8), "muon", "router gate"),
        ParameterRule("layers.1.up", (4, 8, 6), "muon", "stacked matrices"),
    ]
    expected = """
rule   parameters  shape      matrices  reason            first
adamw  1           [200, 8]   0         embedding         embed_tokens.weight
muon   2           [4, 8, 6]  8         stacked matrices  layers.0.up
muon   1           [4, 8]     1         router gate       layers.0.gate.weight
muon 416 elements, adamw 1,600 elements
"""
    assert format_plan(plan) == expected.strip()
