"""MuonClip against torch.optim on torch's own table of optimizer inputs."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.testing._internal.common_optimizers import optim_db

from openk2.optimizers.muon_clip import MuonClipOptimizer

MUON = next(info for info in optim_db if info.optim_cls is torch.optim.Muon)
ADAMW = next(info for info in optim_db if info.optim_cls is torch.optim.AdamW)
SCALES = {None: "keller", "original": "keller", "match_rms_adamw": "rms"}
NAMES = {"ns_steps": "newton_schulz_steps", "ns_coefficients": "coefficients"}


def muon_options(theirs: dict[str, object]) -> dict[str, object]:
    """Our options for those of torch.optim.Muon; a new one of theirs fails loudly."""
    options = dict(theirs)
    ours = {"update_scale": SCALES[options.pop("adjust_lr_fn", None)]}
    if "ns_coefficients" in options:
        steps = options.pop("ns_steps", 5)
        options["ns_coefficients"] = (options["ns_coefficients"],) * steps
    if "eps" in options:
        assert options.pop("eps") < 1e-6
    options.setdefault("lr", 1e-3)
    return ours | {NAMES.get(name, name): value for name, value in options.items()}


def table(info: object) -> list[tuple[list[Tensor], dict[str, object]]]:
    torch.manual_seed(0)
    inputs = info.optim_inputs_func(device="cpu", dtype=torch.float32)
    found = []
    for entry in inputs:
        options = dict(entry.kwargs)
        if entry.params is not None:
            found.append((list(entry.params), options))
        else:
            shapes = [(10, 5), (10, 10), (3, 17), (40, 8)]
            found.append(([nn.Parameter(torch.randn(shape)) for shape in shapes], options))
    return found


def muon_table() -> list[tuple[list[Tensor], dict[str, object]]]:
    found = table(MUON)
    assert len(found) >= 7
    return found


@pytest.mark.parametrize("index", range(len(muon_table())))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_torch_exact_is_torch_muon_to_the_bit(index: int, dtype: torch.dtype) -> None:
    parameters, options = muon_table()[index]
    if dtype == torch.bfloat16 and not options.get("nesterov", True):
        pytest.skip("torch 2.13 normalises a bfloat16 momentum in place without nesterov")
    theirs = [nn.Parameter(p.detach().to(dtype)) for p in parameters]
    ours = copy.deepcopy(theirs)
    torch_muon = torch.optim.Muon(theirs, **options)
    mine = MuonClipOptimizer(
        [{"params": ours, "rule": "muon"}],
        torch_exact=True,
        qk_clip_threshold=None,
        **muon_options(options),
    )
    for _ in range(6):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        mine.step()
        torch_muon.step()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(mine.state[a]["momentum_buffer"], torch_muon.state[b]["momentum_buffer"])


def test_torch_exact_loads_the_state_of_torch_muon() -> None:
    theirs = [nn.Parameter(torch.randn(12, 7))]
    ours = copy.deepcopy(theirs)
    options = {"lr": 0.01, "weight_decay": 0.0}
    torch_muon = torch.optim.Muon(theirs, **options)
    mine = MuonClipOptimizer(
        [{"params": ours, "rule": "muon"}], torch_exact=True, update_scale="keller", **options
    )
    for step in range(4):
        theirs[0].grad = torch.randn(12, 7)
        ours[0].grad = theirs[0].grad.clone()
        torch_muon.step()
        if step == 1:
            mine.load_state_dict(torch_muon.state_dict())
            ours[0].data.copy_(theirs[0])
        elif step > 1:
            mine.step()
    assert torch.equal(ours[0], theirs[0])


def test_a_bfloat16_momentum_survives_without_nesterov() -> None:
    """The bug of torch 2.13 that is not copied: the momentum must be the average it claims."""
    weight = nn.Parameter(torch.zeros(4, 4, dtype=torch.bfloat16))
    optimizer = MuonClipOptimizer(
        [{"params": [weight], "rule": "muon"}], torch_exact=True, nesterov=False, momentum=0.5
    )
    weight.grad = torch.ones(4, 4, dtype=torch.bfloat16)
    optimizer.step()
    optimizer.step()
    assert torch.equal(optimizer.state[weight]["momentum_buffer"], weight.grad * 0.75)


@pytest.mark.parametrize("index", range(len(table(ADAMW))))
def test_other_parameters_equal_torch_adamw(index: int) -> None:
    parameters, options = table(ADAMW)[index]
    supported = {"lr", "weight_decay", "betas", "eps", "maximize"}
    if options.get("amsgrad") or options.get("capturable"):
        pytest.skip("amsgrad and capturable are not offered")
    assert set(options) <= supported | {"foreach", "fused", "capturable", "amsgrad"}
    options = {name: value for name, value in options.items() if name in supported}
    options.setdefault("lr", 1e-3)
    options.setdefault("weight_decay", 1e-2)
    options.setdefault("betas", (0.9, 0.999))
    ours = [nn.Parameter(p.detach().clone()) for p in parameters]
    theirs = copy.deepcopy(ours)
    mine = MuonClipOptimizer([{"params": ours, "rule": "adamw"}], **options)
    torch_adamw = torch.optim.AdamW(theirs, **options)
    for _ in range(6):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        mine.step()
        torch_adamw.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
