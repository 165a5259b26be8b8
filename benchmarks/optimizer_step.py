"""One optimizer step over hidden matrices alone: OpenK2's Muon against other people's.

A dense model of 62 matrices and 3.2 M elements, with random gradients. All do the same work:
Nesterov momentum, five Newton-Schulz steps in bfloat16 where the CPU has it, decoupled decay. After
its first two steps each optimizer's update must point where a float64 iteration points, or its row
says that it does not; a peer that is not installed has a row, too. Every optimizer has a process of
its own, and the time of its first step a column: some compile there.
"""

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, version
from importlib.util import module_from_spec
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.table import Table, verdict
from benchmarks.timing import Prepare, Timing, Worker, interleaved_workers
from openk2.core.device import limit_spinning
from openk2.optimizers import MuonClipOptimizer
from openk2.optimizers.non_finite import NonFinite
from openk2.recipes.catalogue import nano
from openk2.training.machine import set_up

__all__ = [
    "DENSE",
    "OPENK2",
    "PROGRAMS",
    "TORCH",
    "Matrices",
    "Program",
    "build",
    "float64_direction",
    "run",
]

RATE, DECAY, MOMENTUM = 0.02, 0.1, 0.95
KELLER_JORDAN = ((3.4445, -4.7750, 2.0315),) * 5
# heavyball's own; as many products.
HEAVYBALL = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
WARM_UP = 4  # rounds, of which the first is reported on its own
# Between unit vectors. bfloat16 takes 0.012, of matrices of a few rows 0.02; the other coefficients
# would be 0.17 away, four steps 0.33, momentum without Nesterov 0.37.
TOLERANCE = 0.05
CHECKED = 32  # parameters, at most twice that

Coefficients = tuple[tuple[float, float, float], ...]
MakeOptimizer = Callable[[list[nn.Parameter]], Any]


@dataclass(frozen=True)
class Matrices:
    """The hidden matrices of a model: parameters [rows, columns] or [stack, rows, columns]."""

    title: str
    shapes: tuple[tuple[int, ...], ...]
    target: float  # our milliseconds over those of the best peer

    def describe(self) -> str:
        """Count, elements and the operations of five Newton-Schulz steps."""
        count = elements = operations = 0
        for *stack, rows, columns in self.shapes:
            short, long = sorted((rows, columns))
            number = stack[0] if stack else 1
            count += number
            elements += number * short * long
            operations += number * (20 * short**2 * long + 10 * short**3)
        return (
            f"{count:,} matrices, {elements / 1e6:.1f} M elements, "
            f"{operations / 1e9:.1f} GFLOP of Newton-Schulz"
        )


# Ten layers of width 160 with two key-value heads of 64, and a projection before and after them.
DENSE = Matrices(
    "Optimizer step, dense model",
    ((160, 160), (128, 160), (128, 160), (160, 160), (640, 160), (160, 640)) * 10
    + ((160, 704), (704, 160)),
    1.0,
)


@dataclass(frozen=True)
class Program:
    """An optimizer as its process makes it; `make` is pickled."""

    name: str
    make: MakeOptimizer
    distribution: str = "torch"
    coefficients: Coefficients | None = KELLER_JORDAN  # none: it does not orthogonalise
    slices: bool = False  # stacks are given to it matrix by matrix

    @property
    def label(self) -> str:
        try:
            return f"{self.name}, {self.distribution} {version(self.distribution)}"
        except PackageNotFoundError:
            return f"{self.name}, {self.distribution} (not installed)"


def _openk2(parameters: list[nn.Parameter], non_finite: NonFinite) -> MuonClipOptimizer:
    return MuonClipOptimizer(
        [{"params": parameters, "rule": "muon"}],
        lr=RATE,
        weight_decay=DECAY,
        momentum=MOMENTUM,
        qk_clip_threshold=None,
        non_finite=non_finite,
    )


def _pytorch_optimizer(parameters: list[nn.Parameter], foreach: bool | None) -> Any:
    peer = importlib.import_module("pytorch_optimizer")
    group = {"params": parameters, "use_muon": True}
    return peer.Muon([group], lr=RATE, weight_decay=DECAY, use_adjusted_lr=True, foreach=foreach)


def _timm(parameters: list[nn.Parameter]) -> Any:
    # The packages' own __init__ files import torchvision, which an optimizer has no use for.
    path = None
    for name in ("timm", "timm.optim"):
        spec = PathFinder.find_spec(name, path)
        if spec is None:
            raise ModuleNotFoundError(f"No module named '{name}'")
        sys.modules[name] = module_from_spec(spec)
        path = spec.submodule_search_locations
    peer = importlib.import_module("timm.optim.muon")
    return peer.Muon(
        parameters, lr=RATE, weight_decay=DECAY, nesterov=True, ns_coefficients="original"
    )


def _muon_optimizer(parameters: list[nn.Parameter]) -> Any:
    peer = importlib.import_module("muon")
    return peer.SingleDeviceMuon(parameters, lr=RATE, weight_decay=DECAY)


def _heavyball(parameters: list[nn.Parameter]) -> Any:
    peer = importlib.import_module("heavyball")
    options = {"betas": (MOMENTUM, 0.99), "heavyball_momentum": True, "weight_decay": DECAY}
    return peer.Muon(parameters, lr=RATE, **options)


TORCH = Program(
    "torch.optim.Muon",
    partial(torch.optim.Muon, lr=RATE, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"),
    slices=True,
)
OPENK2 = Program("OpenK2", partial(_openk2, non_finite="error"), "openk2")
# No peer looks for infinite gradients, so this is the row of equal work.
UNCHECKED = Program("OpenK2 unchecked", partial(_openk2, non_finite="ignore"), "openk2")
PROGRAMS = (
    OPENK2,
    UNCHECKED,
    TORCH,
    Program("foreach Muon", partial(_pytorch_optimizer, foreach=None), "pytorch-optimizer"),
    Program("single Muon", partial(_pytorch_optimizer, foreach=False), "pytorch-optimizer"),
    Program("Muon", _timm, "timm"),
    Program("SingleDeviceMuon", _muon_optimizer, "muon-optimizer"),
    Program("Muon", _heavyball, "heavyball", HEAVYBALL),
    Program(
        "foreach AdamW (a floor, no peer)",
        partial(torch.optim.AdamW, lr=RATE, weight_decay=DECAY, foreach=True),
        coefficients=None,
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What an optimizer's process answered: seconds, or why there are none."""

    first: float | None
    timing: Timing | None
    reason: str


def run(
    rounds: int,
    models: Sequence[Matrices] = (DENSE,),
    programs: Sequence[Program] = PROGRAMS,
    threads: Sequence[int] | None = None,
) -> list[Table]:
    """A table for each model and number of threads; by default one thread and all."""
    threads = threads or sorted({1, torch.get_num_threads()})
    return [
        _table(matrices, count, programs, _timed(programs, matrices, rounds, count))
        for matrices in models
        for count in threads
    ]


def build(program: Program, matrices: Matrices, threads: int, cache: str) -> Prepare:
    """In an optimizer's own process: make it, and give it fresh gradients before each round."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # empty: the first step compiles what it needs
    warnings.simplefilter("ignore", FutureWarning)  # of torch to its own compiler
    set_up(replace(nano().training, threads=threads))
    generator = torch.Generator().manual_seed(0)
    shapes = [
        part
        for shape in matrices.shapes
        for part in ([shape[1:]] * shape[0] if program.slices and len(shape) == 3 else [shape])
    ]
    parameters, *gradients = (
        [torch.randn(shape, generator=generator) * scale for shape in shapes]
        for scale in (0.02, 1e-3, 1e-3)  # weights, gradients of even rounds, of odd rounds
    )
    members = [nn.Parameter(weight) for weight in parameters]
    step = program.make(members).step
    checked = slice(None, None, max(1, len(members) // CHECKED))
    before: list[Tensor] = []

    def prepare(number: int) -> Callable[[], object]:
        if number == 1:
            before.extend(member.detach().clone() for member in members[checked])
        if number == 2 and program.coefficients is not None:
            drawn = zip(gradients[0][checked], gradients[1][checked], strict=True)
            for old, member, pair in zip(before, members[checked], drawn, strict=True):
                _check_direction(old, member.detach(), *pair, program.coefficients)
        for member, gradient in zip(members, gradients[number % 2], strict=True):
            member.grad = gradient.clone()  # some peers write into it, or take it away
        return step

    return prepare


def float64_direction(direction: Tensor, coefficients: Coefficients) -> Tensor:
    """Newton-Schulz as it is written, on one matrix, in float64; of Frobenius norm one."""
    X = direction.double() / direction.double().norm()
    for a, b, c in coefficients:
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X / X.norm()


def _check_direction(
    before: Tensor, after: Tensor, first: Tensor, second: Tensor, coefficients: Coefficients
) -> None:
    """AssertionError unless the second step went where Nesterov's momentum leads; one matrix."""
    matrix = -1 if before.ndim == 3 else slice(None)
    update = ((1 - RATE * DECAY) * before[matrix].double() - after[matrix].double()) / RATE
    momentum = MOMENTUM * first[matrix].double() + second[matrix].double()
    expected = float64_direction(second[matrix] + MOMENTUM * momentum, coefficients)
    difference = float((update / update.norm() - expected).norm())
    if not difference <= TOLERANCE:
        raise AssertionError(f"its update is {difference:.2f} away from the float64 iteration's")


def _timed(
    programs: Sequence[Program], matrices: Matrices, rounds: int, threads: int
) -> dict[str, Outcome]:
    """By label. A program that fails before the timed rounds has its reason and stays out."""
    first_steps: dict[str, float] = {}
    limit_spinning()
    with TemporaryDirectory() as cache:
        workers = {
            program.label: Worker(program.label, partial(build, program, matrices, threads, cache))
            for program in programs
        }
        try:
            # All are built before the first step of any: importing torch keeps the cores busy.
            reasons = {label: _failure(worker.wait) for label, worker in workers.items()}
            for label, worker in workers.items():
                if not reasons[label]:
                    reasons[label] = _failure(partial(_warm_up, worker, first_steps))
            ready = {label: worker for label, worker in workers.items() if not reasons[label]}
            timings = interleaved_workers(ready, range(WARM_UP, WARM_UP + rounds))
        finally:
            for worker in workers.values():
                worker.end()
    return {
        label: Outcome(first_steps.get(label), timings.get(label), reason)
        for label, reason in reasons.items()
    }


def _warm_up(worker: Worker, first_steps: dict[str, float]) -> None:
    first_steps[worker.name] = worker.run(0)
    for number in range(1, WARM_UP):
        worker.run(number)


def _failure(part: Callable[[], object]) -> str:
    """The last line of what went wrong in a worker, or nothing."""
    try:
        part()
    except RuntimeError as error:
        return str(error).strip().splitlines()[-1]
    return ""


def _table(
    matrices: Matrices, threads: int, programs: Sequence[Program], outcomes: dict[str, Outcome]
) -> Table:
    ours = outcomes[OPENK2.label].timing
    if ours is None:
        raise RuntimeError(f"{OPENK2.label}: {outcomes[OPENK2.label].reason}")
    rivals = {program.label for program in programs if program.coefficients}
    rivals -= {OPENK2.label, UNCHECKED.label}
    rows, peers = [], {}
    for label, outcome in outcomes.items():
        if outcome.first is None or outcome.timing is None:
            rows.append([label, "-", "-", "-", "-", "-", outcome.reason])
            continue
        ratio = ours.median / outcome.timing.median
        cells = [f"{outcome.first * 1e3:.0f}", *outcome.timing.cells(), f"{ratio:.2f}", ""]
        rows.append([label, *cells])
        if label in rivals:
            peers[label] = ratio
    notes = [matrices.describe()]
    if peers:
        best = max(peers, key=peers.__getitem__)
        result = verdict(peers[best], matrices.target, larger_is_better=False)
        if len(peers) < len(rivals):
            result += f", but {len(rivals) - len(peers)} of {len(rivals)} peers did not run"
        notes.append(
            f"{peers[best]:.2f} times the milliseconds of the best peer, {best}; "
            f"target at most {matrices.target}: {result}"
        )
        unchecked = outcomes.get(UNCHECKED.label)
        if unchecked is not None and unchecked.timing is not None:
            of_best = peers[best] * unchecked.timing.median / ours.median
            notes.append(
                f"{of_best:.2f} times without the check for infinite gradients (non_finite="
                "'ignore'), which no peer makes"
            )
    columns = ("optimizer", "first step ms", "n", "ms", "spread", "ours / its", "reason")
    title = f"{matrices.title}, {threads} {'thread' if threads == 1 else 'threads'}"
    return Table(title, columns, rows, notes)
