import pytest
import torch
from torch import nn

from openk2.optimizers.param_plan import ParameterRule, plan_parameters
from openk2.optimizers.plan_table import format_plan


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
        "layers.0.experts_down": ("muon", "stacked experts"),
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
    assert matrix.matrix_views == ((1, 12, 8),)
    assert experts.matrix_views == ((4, 8, 6),)
    assert (head.matrix_views, head.matrices) == ((), 0)
    fused = ParameterRule("qkv", (3, 16, 6), "muon", "", row_sizes=(8, 4, 4))
    assert fused.matrix_views == ((3, 8, 6), (6, 4, 6)) and fused.matrices == 9


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
    with pytest.raises(ValueError, match=r"^blocks\.kernel: .* the rule 'adamw'"):
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


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("mixer.kernels", (4, 3, 3), "nothing says whether .* is a stack"),
        ("pos_table", (16, 8), "may be no hidden matrix"),
        ("mixer.A_log", (16, 8), "may be no hidden matrix"),
        ("model._flat_param", (1000,), "FSDP1.*fully_shard"),
    ],
)
def test_what_nobody_explained_is_an_error_with_the_fix(
    name: str, shape: tuple[int, ...], message: str
) -> None:
    parameter = nn.Parameter(torch.zeros(shape))
    with pytest.raises(ValueError, match=f"^{name}: .*{message}"):
        plan_parameters([(name, parameter)])
    (planned,) = plan_parameters([(name, parameter)], {"*": {"rule": "adamw"}})
    assert (planned.rule, planned.reason) == ("adamw", "set by hand")


def test_an_output_head_by_another_name_is_an_error_with_the_fix() -> None:
    model = Model()
    model.classifier = nn.Linear(8, 16, bias=False)  # as many rows as there are positions
    with pytest.raises(ValueError, match=r"^classifier\.weight: .*overrides=.*'adamw'"):
        plan_parameters(model)
    plan = by_name(plan_parameters(model, {"classifier.*": {"rule": "muon"}}))
    assert plan["classifier.weight"].rule == "muon"


def test_a_flattened_linear_weight_is_an_error() -> None:
    model = nn.Sequential(nn.Linear(3, 4))
    model[0].weight = nn.Parameter(torch.zeros(12))
    with pytest.raises(ValueError, match=r"^0\.weight: \[12\] stands in for the matrix"):
        plan_parameters(model)


def test_an_override_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no trainable parameter is called 'layers\.9\.\*'"):
        plan_parameters(Model(), {"layers.9.*": {"rule": "adamw"}})


def test_a_fused_gate_and_up_projection_is_two_matrices() -> None:
    shapes = {"experts.gate_up_proj": (4, 12, 8), "experts.down_proj": (4, 8, 6)}
    named = [(name, nn.Parameter(torch.zeros(shape))) for name, shape in shapes.items()]
    assert plan_parameters(named)[0].row_sizes == (6, 6)
    with pytest.raises(ValueError, match=r"^experts.gate_up_proj: .* several projections.*row_siz"):
        plan_parameters(named[:1])
    (planned,) = plan_parameters(named[:1], {"*": {"row_sizes": (4, 8)}})
    assert planned.row_sizes == (4, 8)


@pytest.mark.parametrize("name", ["attn.Wqkv.weight", "lstm.weight_ih_l0", "attn.c_attn.weight"])
def test_projections_stored_as_one_need_their_sizes(name: str) -> None:
    named = [(name, nn.Parameter(torch.zeros(12, 8)))]
    with pytest.raises(ValueError, match=r"row_sizes.*one matrix with \{'rule': 'muon'\}"):
        plan_parameters(named)
    assert plan_parameters(named, {name: {"row_sizes": (4, 4, 4)}})[0].matrices == 3
    assert plan_parameters(named, {name: {"rule": "muon"}})[0].matrices == 1


def test_row_sizes_must_add_up() -> None:
    weight = nn.Parameter(torch.zeros(12, 8))
    with pytest.raises(ValueError, match=r"up: row_sizes \[5, 5\] do not add up to its 12 rows"):
        plan_parameters([("up", weight)], {"up": {"row_sizes": (5, 5)}})


def test_the_printed_plan_groups_what_is_alike() -> None:
    plan = [
        ParameterRule("embed_tokens.weight", (200, 8), "adamw", "embedding"),
        ParameterRule("layers.0.up", (4, 8, 6), "muon", "stacked experts", (), 0.5, 100.0, "here"),
        ParameterRule("layers.0.gate.weight", (4, 8), "muon", "router gate", (2, 2), 0.1, 7.0, "a"),
        ParameterRule("layers.1.up", (4, 8, 6), "muon", "stacked experts", (), 0.5, 100.0, "there"),
    ]
    expected = """
rule   parameters  shape      matrices    lr scale  FLOPs  owner     reason           first
adamw  1           [200, 8]   -           1         -                embedding        embed_tokens.weight
muon   2           [4, 8, 6]  4 x [8, 6]  0.5       2e+02  2 owners  stacked experts  layers.0.up
muon   1           [4, 8]     2 x [2, 8]  0.1       7      a         router gate      layers.0.gate.weight
muon 416 elements, adamw 1,600 elements; Newton-Schulz 207 FLOPs a step
"""  # noqa: E501
    assert format_plan(plan) == expected.strip()


def test_an_override_decides_about_a_convolution_kernel() -> None:
    model = nn.Sequential(nn.Conv1d(4, 4, 3), nn.Linear(4, 4))
    plan = by_name(plan_parameters(model, {"0.weight": {"rule": "adamw"}}))
    assert (plan["0.weight"].rule, plan["1.weight"].rule) == ("adamw", "muon")


def test_modules_whose_weights_are_tables_and_gains_under_any_name() -> None:
    model = nn.ModuleDict(
        {"bag": nn.EmbeddingBag(9, 4), "ln": nn.LayerNorm((3, 4)), "rms": nn.RMSNorm((3, 4))}
    )
    reasons = {p.name: (p.rule, p.reason) for p in plan_parameters(model)}
    assert reasons == {
        "bag.weight": ("adamw", "embedding"),
        "ln.weight": ("adamw", "norm gain"),
        "ln.bias": ("adamw", "bias"),
        "rms.weight": ("adamw", "norm gain"),
    }


@pytest.mark.parametrize("name", ["classifier.weight", "model.score.weight", "head.weight"])
def test_a_likely_head_is_an_error_with_the_fix(name: str) -> None:
    weight = nn.Parameter(torch.zeros(3, 8))
    with pytest.raises(ValueError, match=rf"^{name}: .* may be an output head; .*overrides="):
        plan_parameters([(name, weight)])
    assert plan_parameters([(name.replace(".weight", ".dense.weight"), weight)])[0].rule == "muon"
