"""Every benchmark runs at a tiny size, prints finite figures, and compares equal work.

Nothing here looks at how long anything takes.
"""

import math
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import (
    command_start,
    communication,
    expert_stacks_step,
    experts,
    generation,
    nano_against_stock,
    optimizer_step,
    qk_clip_cost,
    serving,
    train_step,
)
from benchmarks.stock import EXPERTS, PRECISIONS, StockOptimizer, stock_inputs, stock_model
from benchmarks.table import Table, verdict
from benchmarks.timing import Timing, interleaved
from openk2.models import KimiK2MoEModel
from openk2.models.presets import k2_proportions
from openk2.recipes.catalogue import recipe
from openk2.training.config import PretrainConfig

ROOT = Path(__file__).parents[2]
MODEL = k2_proportions(56, 3, 8, 16, experts=8, vocabulary=400, experts_per_token=2)
CASES = (
    train_step.Case("whole rows", 2, 32, None, 1.3),
    train_step.Case("packed documents", 2, 48, 10, 2.0),
)


def figures(table: Table) -> list[float]:
    """Every number in the cells, checked to be finite."""
    cells = [cell.replace(",", "") for row in table.rows for cell in row]
    found = [float(number) for cell in cells for number in re.findall(r"-?\d+\.?\d*", cell)]
    assert found
    assert all(math.isfinite(value) for value in found)
    assert not any("nan" in cell or "inf" in cell for cell in cells)
    return found


def nano_config(folder: Path) -> PretrainConfig:
    """The recipe nano, of a size that trains in a second, on this package's own sources."""
    texts = sorted((ROOT / "src" / "openk2" / "models").glob("*.py"))[:6]
    for text in texts:
        (folder / text.name).write_text(text.read_text(encoding="utf-8"), encoding="utf-8")
    nano = recipe("nano")
    return replace(
        nano,
        model=MODEL,
        training=replace(
            nano.training,
            steps=10,
            sequence_length=32,
            batch_size=4,
            micro_batch_size=2,
            sample_tokens=2,
        ),
        optimizer=replace(nano.optimizer, warmup_steps=2, decay_steps=6),
        data=replace(nano.data, paths=(str(folder),)),
    )


def test_train_step() -> None:
    tables = train_step.run(rounds=2, config=MODEL, cases=CASES[1:], warm_up=1)
    assert len(tables) == 3  # timings and ratios of the case, and the whole step
    programs = 2 + len(PRECISIONS)  # the peer with its faster experts only
    assert [len(table.rows) for table in tables] == [programs, 2, programs]
    for table in tables:
        assert min(figures(table)) >= 0
    assert tables[0].notes[-1].count(" ms)") == len(PRECISIONS)


def test_the_end_of_the_warm_up_decides_which_experts_are_timed() -> None:
    early, late = Timing((9.0, 9.0, 5.0, 1.0, 2.0)), Timing((1.0, 1.0, 3.0, 4.0, 90.0))
    assert train_step.end_of_warm_up({"early": early, "late": late}) == {"early": 2.0, "late": 4.0}
    assert train_step.end_of_warm_up({"short": Timing((7.0,))}) == {"short": 7.0}


def test_every_program_has_the_same_batch_in_a_round() -> None:
    first, again, other = (train_step.random_batch(CASES[1], 400, seed) for seed in (3, 3, 4))
    assert (first.tokens_BT == again.tokens_BT).all()
    assert (first.targets_BT == again.targets_BT).all()
    assert first.starts == again.starts
    assert (first.tokens_BT != other.tokens_BT).any()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_peer_computes_the_same(case: train_step.Case) -> None:
    model = KimiK2MoEModel(MODEL, seed=0)
    batch = train_step.random_batch(case, MODEL.vocab_size)
    peer = stock_model(model, "float32")
    for implementation in EXPERTS:
        peer.set_experts_implementation(implementation)
        found = train_step.agreement(model, peer, batch, stock_inputs(batch))
        assert found.holds
        assert found.largest_logit_difference < 1e-5


def test_a_peer_that_attends_across_documents_is_noticed() -> None:
    model = KimiK2MoEModel(MODEL, seed=0)
    batch = train_step.random_batch(CASES[1], MODEL.vocab_size)
    assert any(len(row) > 1 for row in batch.starts)
    inputs = stock_inputs(batch)
    del inputs["position_ids"]
    assert not train_step.agreement(model, stock_model(model, "float32"), batch, inputs).holds


def test_the_peer_has_a_rule_for_every_parameter() -> None:
    peer = stock_model(KimiK2MoEModel(MODEL, seed=0), "float32")
    muon, adamw = StockOptimizer(peer, 1e-3, 0.1, 0.95).optimizers
    names = {parameter: name for name, parameter in peer.named_parameters()}
    by_rule = [
        {names[p] for group in optimizer.param_groups for p in group["params"]}
        for optimizer in (muon, adamw)
    ]
    assert not by_rule[0] & by_rule[1]
    assert by_rule[0] | by_rule[1] == set(names.values())
    assert "model.layers.1.mlp.gate.weight" in by_rule[0]
    assert {"lm_head.weight", "model.layers.1.mlp.experts.down_proj"} <= by_rule[1]


def test_experts() -> None:
    shape = experts.Shape(experts=8, experts_per_token=2, hidden=32, width=16)
    (table,) = experts.run(rounds=2, shapes=[shape], tokens=64)
    assert len(table.rows) == 2 * (len(experts.ROUTINGS) - 1)  # 6 mean loads exceed E / K
    assert min(figures(table)) >= 0


@pytest.mark.parametrize("routing", experts.ROUTINGS, ids=lambda routing: routing.name)
def test_routing_has_the_load_asked_for(routing: experts.Routing) -> None:
    shape = experts.Shape(experts=64, experts_per_token=8, hidden=1, width=1)
    first, second = (routing.draw(512, shape, seed) for seed in range(2))
    assert not torch.equal(first, second)
    for experts_NK in (first, second):
        assert all(len(set(row)) == 8 for row in experts_NK.tolist())
        loads_E = torch.bincount(experts_NK.flatten(), minlength=64) * 64 / experts_NK.numel()
        if routing.busiest is not None:
            assert loads_E[0] == loads_E.max() == routing.busiest
        else:
            assert 1 < loads_E.max() < (1.5 if routing.skew == 0 else 5)


def test_optimizer_step() -> None:
    missing = optimizer_step.Program("Muon", partial(import_module, "no_peer"), "no-peer")
    wrong = replace(
        optimizer_step.TORCH, name="wrong", make=partial(torch.optim.Muon, nesterov=False)
    )
    programs = (optimizer_step.OPENK2, optimizer_step.TORCH, missing, wrong)
    model = optimizer_step.Matrices("tiny", ((16, 24), (24, 16), (16, 16)), target=1.0)
    (table,) = optimizer_step.run(rounds=2, models=[model], programs=programs, threads=[1])
    assert [row[0].split(",")[0] for row in table.rows] == [
        "OpenK2", "torch.optim.Muon", "Muon", "wrong"
    ]  # fmt: skip
    assert all(len(row[-1]) == 0 and min(map(float, row[1:4])) > 0 for row in table.rows[:2])
    assert "No module named" in table.rows[2][-1]
    assert "away from the float64" in table.rows[3][-1]
    assert "the best peer, torch.optim.Muon" in table.notes[-1]
    assert table.notes[-1].endswith("2 of 3 peers did not run")


def test_expert_stacks_step() -> None:
    model = expert_stacks_step.experts(layers=2, count=3, hidden=24, width=16)
    (table,) = expert_stacks_step.run(rounds=2, models=[model], threads=[1])
    assert [row[-1] for row in table.rows] == ["", ""]
    assert table.notes[0].startswith("18 matrices, 0.0 M elements")


def test_a_peer_gets_stacked_experts_as_matrices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # `build` sets it for good
    model = expert_stacks_step.experts(layers=1, count=3, hidden=24, width=16)
    counts: list[int] = []

    def make(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        counts.append(len(parameters))
        return torch.optim.Muon(parameters)

    optimizer_step.build(replace(optimizer_step.TORCH, make=make), model, 1, str(tmp_path))
    assert counts == [9]


def test_qk_clip_cost() -> None:
    (table,) = qk_clip_cost.run(rounds=3, config=MODEL, case=CASES[1], batch_count=2)
    assert [row[1] for row in table.rows] == ["0%", "0%", "0%", "8%"]  # two of 24 heads
    assert [row[2] for row in table.rows] == ["3"] * 4
    figures(table)
    assert table.rows[0][5:] == ["", "", "", ""]


def test_communication() -> None:
    (table,) = communication.run(processes=(2,))
    cells = {row[1]: row for row in table.rows}
    for name in ("fsdp", "tensor parallel by columns, expert parallel", "ddp, replicas share"):
        assert float(cells[name][2]) >= float(cells[name][3]) > 0
        assert cells[name][-1] == "met"
    assert float(cells["expert parallel, the rest replicated"][2]) == 0
    # Half of what gathering everywhere sends, there and back: the same between two processes.
    assert cells["fsdp"][2] == cells["fsdp"][5]


def test_grown_heads_have_the_logits_asked_for() -> None:
    model = KimiK2MoEModel(MODEL, seed=0)
    batch = train_step.random_batch(CASES[0], MODEL.vocab_size)
    qk_clip_cost.grow_heads(model, batch)
    with model.exact_max_logits() as found:
        model(torch.from_numpy(batch.tokens_BT))
    largest = torch.stack(found).flatten().sort().values
    low, high = qk_clip_cost.OTHERS
    expected = torch.tensor(
        [*torch.linspace(low, high, 22).tolist(), *[qk_clip_cost.EXCEEDING] * 2]
    )
    torch.testing.assert_close(largest, expected, rtol=0.02, atol=0)


def test_the_threshold_splits_the_heads_alike_on_all_batches() -> None:
    largest_NAH = np.array([[[1.0, 9.0], [2.0, 3.0]], [[1.5, 8.0], [4.0, 2.0]]])
    tau, count = qk_clip_cost.threshold_between(largest_NAH, 0.25)
    assert (tau, count) == (pytest.approx(math.sqrt(4 * 8)), 1)
    assert ((largest_NAH > tau).sum((1, 2)) == count).all()
    largest_NAH[1, 1, 0] = 8.5  # the largest of one batch is not the other's
    with pytest.raises(ValueError, match="no tau"):
        qk_clip_cost.threshold_between(largest_NAH, 0.25)


def test_the_median_interval_holds_the_median_and_narrows() -> None:
    values = np.random.default_rng(0).normal(3.0, 1.0, 400)
    median, low, high = qk_clip_cost.median_interval(values)
    _, wider_low, wider_high = qk_clip_cost.median_interval(values[:25])
    assert median == np.median(values)
    assert low < median < high
    assert 0 < high - low < wider_high - wider_low


def test_a_cost_is_judged_by_its_whole_interval() -> None:
    assert qk_clip_cost.judge(-1.0, 0.9, target=1.0) == "met"
    assert qk_clip_cost.judge(0.5, 1.1, target=1.0) == "undecided"
    assert qk_clip_cost.judge(1.1, 2.0, target=1.0) == "missed"


def test_nano_against_stock(tmp_path: Path) -> None:
    trials, results = nano_against_stock.run([1e-3, 2e-3], seeds=2, config=nano_config(tmp_path))
    figures(trials)
    assert len(trials.rows) == 2 + len(PRECISIONS) - 1
    assert [float(row[-1]) for row in trials.rows] == sorted(float(row[-1]) for row in trials.rows)
    figures(results)
    assert [row[0] for row in results.rows] == ["0"] * 4 + ["1"] * 4
    assert results.rows[0][2:4] == ["10", f"{10 * 4 * 32:,}"]
    assert all(0 < float(row[-1]) < 20 for row in results.rows)


def test_a_scaled_recipe_keeps_the_shape_of_its_schedule() -> None:
    nano = recipe("nano")
    for steps in (1, 10, 500, 1234):
        config = nano_against_stock.with_steps(nano, steps)
        share = steps / nano.training.steps
        assert abs(config.optimizer.warmup_steps - nano.optimizer.warmup_steps * share) <= 1
        assert abs(config.optimizer.decay_steps - nano.optimizer.decay_steps * share) <= 1


def test_command_start() -> None:
    (table,) = command_start.run(rounds=2)
    assert min(figures(table)) >= 0


def test_the_command_prints_the_machine_and_writes_markdown(tmp_path: Path) -> None:
    file = tmp_path / "figures.md"
    arguments = ["command_start", "--threads", "1", "--markdown", str(file)]
    command = [sys.executable, "-m", "benchmarks", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for text in (result.stdout, file.read_text(encoding="utf-8")):
        assert "torch" in text.splitlines()[0] or "python -m benchmarks" in text.splitlines()[0]
        assert "load average at start" in text
        assert "load average at end" in text
        assert "k2 --help" in text
    assert "| command |" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments", [["--rounds", "4"], ["nothing"], ["--seeds", "0"], ["--budget-scale", "0"]]
)
def test_wrong_arguments_are_refused(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 2


def test_rounds_are_interleaved_and_warm_up_is_not_counted() -> None:
    calls: list[str] = []
    works = {name: lambda name=name: calls.append(name) for name in "ab"}  # type: ignore[misc]
    timings = interleaved(works, rounds=3, warm_up=1)
    assert "".join(calls) == "abababab"
    assert [timing.n for timing in timings.values()] == [3, 3]


def test_median_and_spread() -> None:
    timing = Timing((1.0, 2.0, 3.0, 4.0, 100.0))
    assert timing.median == 3.0
    assert timing.spread == pytest.approx(2 / 3)


def test_table() -> None:
    table = Table("Title", ("name", "ms"), [["a", "1.5"], ["bcd", "12.0"]], ["note"])
    assert table.plain().splitlines()[2:] == ["name    ms", "a      1.5", "bcd   12.0", "note"]
    assert table.markdown().splitlines()[2:5] == ["| name | ms |", "| --- | ---: |", "| a | 1.5 |"]
    assert verdict(1.2, 1.3) == "missed"
    assert verdict(0.1, 0.2, larger_is_better=False) == "met"
    with pytest.raises(ValueError, match="does not fit"):
        Table("Title", ("name", "ms"), [["a"]])


def test_generation() -> None:
    case = generation.Case("small", 3, 2, (3, 9), (2, 6), 1.0)
    config = replace(MODEL, max_position_embeddings=256)
    against_peer, constrained = generation.run(1, config, [case], constrained_tokens=12)
    assert figures(against_peer)
    assert figures(constrained)


def test_serving() -> None:
    config = replace(MODEL, max_position_embeddings=256)
    (table,) = serving.run(1, config, clients=3, new_tokens=8)
    assert figures(table)
