"""Latent attention: both paths agree, documents stay apart, S_max and the clip are exact."""

import copy
import math
import pickle
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from openk2.core.protocols import ClipTarget
from openk2.kernels import attention_logits
from openk2.models import KimiK2Config, KimiK2MoEModel, MultiHeadLatentAttention, PackedDocuments
from openk2.models import attention as attention_module
from openk2.models.attention import latent_attention, latent_logit_rows, packed_max_logits
from openk2.models.layers import rotary_turns
from openk2.optimizers import MuonClipOptimizer
from openk2.optimizers.qk_clip import scale_logits

CONFIG = KimiK2Config.preset(
    "nano",
    vocab_size=64,
    hidden_size=28,
    num_hidden_layers=2,
    num_attention_heads=3,
    q_lora_rank=10,
    kv_lora_rank=6,
    qk_nope_head_dim=8,
    qk_rope_head_dim=4,
    v_head_dim=7,
    intermediate_size=24,
    moe_intermediate_size=8,
    n_routed_experts=4,
    num_experts_per_tok=2,
)
STARTS = [[0, 3, 4, 11], [0], [0, 15]]


def layer(dtype: torch.dtype = torch.float64, std: float = 0.5) -> MultiHeadLatentAttention:
    torch.manual_seed(0)
    module = MultiHeadLatentAttention(CONFIG).to(dtype)
    for parameter in module.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=std)
    return module


def inputs(starts: list[list[int]] | None = STARTS) -> tuple[Tensor, PackedDocuments]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 17, CONFIG.hidden_size, dtype=torch.float64, generator=generator)
    return x, PackedDocuments(3, 17, starts)


def naive_logits(module: MultiHeadLatentAttention, x_TD: Tensor) -> Tensor:
    """The scaled, masked logits [H, T, T] of one document, written from the definition."""
    length = len(x_TD)
    heads, nope, rope = module.num_attention_heads, module.nope, module.rope
    q = module.q_b_proj(module.q_a_layernorm(module.q_a_proj(x_TD))).view(length, heads, -1)
    latent, k_rope = module.kv_a_proj_with_mqa(x_TD).split([module.kv_lora_rank, rope], -1)
    kv = module.kv_b_proj(module.kv_a_layernorm(latent)).view(length, heads, -1)
    angle = torch.arange(length)[:, None] / CONFIG.rope_theta ** (torch.arange(0, rope, 2) / rope)
    turn = torch.polar(torch.ones_like(angle, dtype=torch.float64), angle.double())
    as_complex = lambda t: torch.view_as_complex(t.reshape(*t.shape[:-1], -1, 2).contiguous())  # noqa: E731
    q_rope, k_rope = as_complex(q[..., nope:]) * turn[:, None], as_complex(k_rope) * turn
    content = torch.einsum("ihd,jhd->hij", q[..., :nope], kv[..., :nope])
    position = torch.einsum("ihd,jd->hij", q_rope, k_rope.conj()).real
    hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
    return ((content + position) * module.scale).masked_fill(hidden, -math.inf)


def naive_max_logits(
    module: MultiHeadLatentAttention, x: Tensor, starts: list[list[int]]
) -> Tensor:
    largest = []
    for row, row_starts in zip(x, starts, strict=True):
        for begin, end in zip(row_starts, [*row_starts[1:], len(row)], strict=True):
            largest.append(naive_logits(module, row[begin:end]).amax((1, 2)))
    return torch.stack(largest).amax(0)


@pytest.mark.parametrize("starts", [None, STARTS], ids=["plain", "packed"])
def test_the_flash_path_equals_plain_operations(starts: list[list[int]] | None) -> None:
    module = layer()
    x, documents = inputs(starts)
    rotary = rotary_turns(CONFIG, documents.positions_BT)
    results = []
    for function in (attention_module._FlashLatentAttention.apply, latent_attention):
        x.grad = None
        x.requires_grad_()
        q = module.q_b_proj(module.q_a_layernorm(module.q_a_proj(x))).view(3, 17, 3, -1)
        latent, k_rope = module.kv_a_proj_with_mqa(x).split([module.kv_lora_rank, module.rope], -1)
        kv = module.kv_b_proj(module.kv_a_layernorm(latent)).view(3, 17, 3, -1)
        with sdpa_kernel(SDPBackend.MATH):  # which the flash path, called by its name, ignores
            out, *_ = function(q, kv, k_rope, rotary, module.scale, documents)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        results.append((out.detach(), x.grad.clone()))
    for ours, plain in zip(*results, strict=True):
        assert torch.allclose(ours, plain, rtol=1e-9, atol=1e-10)


def test_documents_do_not_see_each_other() -> None:
    module = layer()
    x, documents = inputs()
    out = module(x, rotary_turns(CONFIG, documents.positions_BT), documents)
    alone = PackedDocuments(1, 7)
    part = module(x[:1, 4:11], rotary_turns(CONFIG, alone.positions_BT), alone)
    assert torch.allclose(out[0, 4:11], part[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("path", ["flash", "any device", "no bound"])
def test_max_logits_equal_the_definition(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads over the threshold are exact; the others' bound lies between the exact value and it."""
    if path != "flash":
        monkeypatch.setattr(attention_module._FlashLatentAttention, "apply", latent_attention)
    monkeypatch.setattr(attention_logits, "LOGITS_HELD", 200)
    module = layer().train()
    x, documents = inputs()
    exact = naive_max_logits(module, x, STARTS)
    threshold = exact.max().item() - 1e-3
    module.observe_max_logits(threshold)
    heads_measured: set[int] = set()
    measure = attention_logits._max_logits
    monkeypatch.setattr(
        attention_logits,
        "_max_logits",
        lambda *arguments: (heads_measured.update(arguments[-1].tolist()), measure(*arguments))[1],
    )
    with sdpa_kernel(SDPBackend.MATH) if path == "no bound" else nullcontext():
        module(x, rotary_turns(CONFIG, documents.positions_BT), documents)
    measured = module.max_logits().double()
    over = exact > threshold
    assert over.any() and not over.all()
    assert torch.allclose(measured[over], exact[over], rtol=1e-6)
    assert (measured[~over] >= exact[~over] - 1e-6).all()
    assert (measured[~over] <= threshold).all()
    expected = range(3) if path == "no bound" else over.nonzero().flatten().tolist()
    assert heads_measured == set(expected)


def test_exact_measuring_needs_neither_training_nor_a_threshold() -> None:
    module = layer().eval()
    x, documents = inputs()
    module.observe_max_logits(1e9)
    module.measure_exactly = True
    with torch.inference_mode():
        module(x, rotary_turns(CONFIG, documents.positions_BT), documents)
        exact = naive_max_logits(module, x, STARTS)
    assert torch.allclose(module.max_logits().double(), exact, rtol=1e-6)


def test_max_logits_accumulate_over_micro_batches_and_ignore_evaluation() -> None:
    module = layer()
    x, documents = inputs()
    rotary = rotary_turns(CONFIG, documents.positions_BT)
    module.observe_max_logits(1e-9)
    module.eval()
    module(x, rotary, documents)
    module.train()
    with torch.no_grad():
        module(x, rotary, documents)
    assert (module.max_logits() == -math.inf).all()
    other = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(9))
    second_inputs = other, rotary, documents
    alone = []
    for arguments in ((x, rotary, documents), second_inputs):
        module(*arguments)
        alone.append(module.max_logits().clone())
        module.reset_max_logits()
    assert (alone[0] > alone[1]).any() and (alone[1] > alone[0]).any()
    module(x, rotary, documents)
    module(*second_inputs)
    assert torch.equal(module.max_logits(), torch.maximum(*alone))
    module.reset_max_logits()
    assert (module.max_logits() == -math.inf).all()


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_activation_checkpointing_measures_the_same(use_reentrant: bool) -> None:
    module = layer()
    x, documents = inputs()
    arguments = x.requires_grad_(), rotary_turns(CONFIG, documents.positions_BT), documents
    module.observe_max_logits(1e-9)
    module(*arguments).sum().backward()
    plain = module.max_logits().clone()
    module.reset_max_logits()
    checkpoint(module, *arguments, use_reentrant=use_reentrant).sum().backward()
    assert torch.equal(module.max_logits(), plain) and (plain > 0).all()


def test_what_is_measured_is_no_state_and_goes_along_with_copies() -> None:
    """A buffer would be overwritten with that of process 0 by DistributedDataParallel."""
    module = layer()
    x, documents = inputs()
    module.observe_max_logits(1e-9)
    module(x, rotary_turns(CONFIG, documents.positions_BT), documents)
    assert not list(module.buffers()) and set(module.state_dict()) == set(
        dict(module.named_parameters())
    )
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin.max_logits(), module.max_logits())
        assert twin.logit_rows()[0].parameter is twin.q_b_proj.weight
        twin.reset_max_logits()
    assert (module.max_logits() > 0).all()


@given(st.lists(st.floats(0.05, 1.0), min_size=3, max_size=3))
@settings(max_examples=20, deadline=None)
def test_scaling_changes_the_named_rows_and_nothing_else(factors: list[float]) -> None:
    """W_qc, W_kc by sqrt(g), W_qr by g; the logits of head h become g_h times what they were."""
    module = layer()
    x, _ = inputs()
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    logits = naive_logits(module, x[0])
    factor = torch.tensor(factors, dtype=torch.float64)
    scale_logits(module.logit_rows(), factor)
    scaled = naive_logits(module, x[0])
    visible = logits > -math.inf
    expected = logits * factor[:, None, None]
    assert torch.allclose(scaled[visible], expected[visible], rtol=1e-9, atol=1e-12)

    nope, value = CONFIG.qk_nope_head_dim, CONFIG.v_head_dim
    query = before["q_b_proj.weight"].view(3, CONFIG.qk_head_dim, -1)
    query[:, :nope] *= factor.sqrt()[:, None, None]
    query[:, nope:] *= factor[:, None, None]
    key_value = before["kv_b_proj.weight"].view(3, nope + value, -1)
    key_value[:, :nope] *= factor.sqrt()[:, None, None]
    for name, parameter in module.named_parameters():
        assert torch.allclose(parameter, before[name], rtol=1e-14, atol=0), name
        if name not in ("q_b_proj.weight", "kv_b_proj.weight"):
            assert torch.equal(parameter, before[name]), name


def test_without_a_query_latent_the_projection_itself_is_scaled() -> None:
    config = KimiK2Config.preset("nano", q_lora_rank=None)
    module = MultiHeadLatentAttention(config)
    torch.nn.init.ones_(module.q_proj.weight)
    torch.nn.init.ones_(module.kv_b_proj.weight)
    scale_logits(module.logit_rows(), torch.tensor([0.25, 1.0, 1.0, 1.0]))
    query = module.q_proj.weight.view(4, config.qk_head_dim, -1)
    assert (query[0, : config.qk_nope_head_dim] == 0.5).all()
    assert (query[0, config.qk_nope_head_dim :] == 0.25).all()
    assert (query[1:] == 1).all()


def test_after_the_clip_a_clipped_head_is_at_the_threshold() -> None:
    """The optimizer's own step with a learning rate of 0 leaves the clip alone to act."""
    model = KimiK2MoEModel(CONFIG, seed=0).train()
    with torch.no_grad():
        for attention in model.attention_layers():
            attention.q_b_proj.weight *= 60
    tokens = torch.randint(64, (3, 17), generator=torch.Generator().manual_seed(2))
    documents = PackedDocuments(3, 17, STARTS)

    def measure() -> Tensor:
        with torch.no_grad(), model.exact_max_logits() as layers:
            model(tokens, documents)
        return torch.stack(layers)

    before = measure()
    threshold = float(before.median())
    optimizer = MuonClipOptimizer.from_model(
        model, lr=0.0, weight_decay=0.0, qk_clip_threshold=threshold
    )
    model(tokens, documents).sum().backward()
    optimizer.step()
    clipped = before > threshold
    assert torch.equal(optimizer.last_clip_factors < 1, clipped)
    after = measure()
    # The first layer's input is unchanged by the clip, so its heads' maxima are known exactly.
    first = clipped[0]
    assert first.any() and not first.all()
    assert torch.allclose(after[0][first], torch.full_like(after[0][first], threshold), rtol=1e-5)
    assert torch.equal(after[0][~first], before[0][~first])


def test_it_is_a_clip_target() -> None:
    assert isinstance(layer(), ClipTarget)


def test_biases_of_the_up_projections_scale_with_their_weights() -> None:
    query, key_value = nn.Linear(3, 12), nn.Linear(3, 10)
    before = [
        parameter.detach().clone() for m in (query, key_value) for parameter in m.parameters()
    ]
    rows = latent_logit_rows(query, key_value, heads=2, nope=4, rope=2, value=1)
    scale_logits(rows, torch.tensor([1.0, 0.25]))
    factors = (
        torch.tensor([1.0] * 6 + [0.5] * 4 + [0.25] * 2),
        torch.tensor([1.0] * 5 + [0.5] * 4 + [1.0]),
    )
    for module, factor, (weight, bias) in zip(
        (query, key_value), factors, (before[:2], before[2:]), strict=True
    ):
        assert torch.equal(module.weight, weight * factor[:, None])
        assert torch.equal(module.bias, bias * factor)


def test_heads_are_the_matrices_of_the_up_projections() -> None:
    module = layer()
    query, key_value = module.head_matrices()
    assert query.module is module.q_b_proj and key_value.module is module.kv_b_proj
    nope, value = CONFIG.qk_nope_head_dim, CONFIG.v_head_dim
    assert query.heads == (CONFIG.qk_head_dim,) * 3 and key_value.heads == (nope, value) * 3
    for item in (query, key_value):
        rows = item.module.weight.shape[0]
        assert sum(item.heads) == sum(item.projections) == rows and item.projections == (rows,)


def test_packed_max_logits_may_be_negative() -> None:
    q = torch.ones(1, 3, 2, 4)
    assert (packed_max_logits(q, -q, 0.5, PackedDocuments(1, 3)) == -2).all()
