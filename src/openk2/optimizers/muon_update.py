"""The Muon part of Algorithm 1 on matrices: directions in, orthogonalised, scaled, subtracted.

    direction = mu M_t + G_t with Nesterov, else M_t
    W -= lr * scale * NewtonSchulz(direction)

Matrices of one shape, or of its transpose, are orthogonalised together, across parameters, layers,
experts and heads. Shape letters: N matrices, R rows, C columns, S short side, L long side.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from openk2.optimizers.coefficients import Coefficients, coefficients
from openk2.optimizers.matrices import Geometry
from openk2.optimizers.newton_schulz import iteration_dtype, newton_schulz

__all__ = [
    "MAX_BATCH_ELEMENTS",
    "Iteration",
    "MuonMatrices",
    "MuonParameter",
    "UpdateScale",
    "UpdateStatistics",
    "accumulate",
    "apply_update",
    "direction",
    "group_coefficients",
    "matrices_here",
    "number_or_tensor",
    "update_batches",
    "update_scale",
]

# Elements of one Newton-Schulz batch. A single larger matrix is a batch of its own.
MAX_BATCH_ELEMENTS = 2**26  # 64 Mi: 128 MiB for each bfloat16 temporary
# On a CPU larger batches leave the caches between one product and the next, and larger pieces of
# a batch between the additions before and after.
CPU_BATCH_ELEMENTS = 2**20
CPU_PIECE_ELEMENTS = 2**17

UpdateScale = Literal["rms", "keller", "spectral"]


@dataclass(frozen=True)
class Iteration:
    """How Newton-Schulz runs: in which dtype (None: what suits the device), compiled or not."""

    dtype: torch.dtype | None = None
    compiled: bool = False

    def dtype_of(self, parameter: Tensor) -> torch.dtype:
        """The dtype in which the matrices of a parameter are iterated, and sent."""
        wide = torch.promote_types(parameter.dtype, torch.float32)
        return self.dtype or iteration_dtype(parameter.device, wide)

    def __call__(self, matrices_NSL: Tensor, steps: Coefficients) -> Tensor:
        """Newton-Schulz of a batch that has the dtype of the iteration."""
        run = torch.compile(newton_schulz) if self.compiled else newton_schulz
        return run(matrices_NSL, steps, matrices_NSL.dtype)


@dataclass(slots=True)
class MuonParameter:
    """One parameter in one step: the parts that this process holds, and its group's options.

    `accumulated`: the momentum has this step's gradient already; otherwise each matrix takes it in
    when its turn comes, while it is in the cache.
    """

    parameter: Tensor
    geometry: Geometry
    group: dict[str, Any]
    weight: Tensor
    gradient: Tensor
    momentum: Tensor
    lr: float | Tensor  # a tensor only where the host would have to wait for it
    coefficients: Coefficients
    accumulated: bool = False


@dataclass
class UpdateStatistics:
    """What a step did, kept on the device until somebody asks."""

    squares: list[Tensor] = field(default_factory=list)
    elements: int = 0
    residuals: list[Tensor] = field(default_factory=list)
    matrices: Counter[Tensor] = field(default_factory=Counter)
    measure_orthogonality: bool = False

    def record(self, orthogonal_NRC: Tensor, scales: Sequence[tuple[int, float]]) -> None:
        """Take in a batch; `scales` are (matrices, scale) of its parts, in order."""
        # One norm a matrix, which a CPU's cores share; in the dtype of the iteration, whose sums
        # torch keeps in float32 anyway.
        norms_N = torch.linalg.vector_norm(orthogonal_NRC, dim=(1, 2)).to(torch.float32)
        if len({scale for _, scale in scales}) == 1:
            parts = [(norms_N, scales[0][1])]
        else:
            pieces = norms_N.split([count for count, _ in scales])
            parts = [(piece, scale) for piece, (_, scale) in zip(pieces, scales, strict=True)]
        self.squares += [(norms * scale).square().sum() for norms, scale in parts]
        self.elements += orthogonal_NRC.numel()
        if self.measure_orthogonality:
            X = orthogonal_NRC.to(torch.promote_types(orthogonal_NRC.dtype, torch.float32))
            X = X.mT if X.shape[1] > X.shape[2] else X
            identity = torch.eye(X.shape[1], dtype=X.dtype, device=X.device)
            residual_NSS = torch.baddbmm(identity, X, X.mT, beta=-1)
            residual_N = torch.linalg.vector_norm(residual_NSS, dim=(1, 2))
            self.residuals.append(residual_N / sqrt(X.shape[1]))


class MuonMatrices(NamedTuple):
    """Equal matrices of one parameter: views [N, R, C], or [R, C] of a single one.

    Where transposes are merged they are [N, S, L], the short side first.
    """

    owner: MuonParameter
    weight: Tensor
    gradient: Tensor
    momentum: Tensor
    number: int
    scale: float

    def direction(self) -> Tensor:
        """What Newton-Schulz takes: mu M_t + G_t, or M_t."""
        owner = self.owner
        if not owner.accumulated:
            accumulate(owner.group, self.gradient, self.momentum)
        return direction(owner.group, self.gradient, self.momentum)


def accumulate(group: Mapping[str, Any], gradient: Tensor, momentum: Tensor) -> None:
    """M_t = mu M_{t-1} + G_t in place; of equal parts of both."""
    torch.add(gradient, momentum, alpha=group["momentum"], out=momentum)


def direction(group: Mapping[str, Any], gradient: Tensor, momentum: Tensor) -> Tensor:
    """mu M_t + G_t with Nesterov, else M_t itself; of equal parts of both."""
    if not group["nesterov"]:
        return momentum
    return torch.add(gradient, momentum, alpha=group["momentum"])


def matrices_here(item: MuonParameter) -> Iterator[MuonMatrices]:
    """The whole matrices of a parameter that are here, at most a batch of them at a time."""
    on_cpu = item.weight.is_cpu
    gradient = item.gradient.contiguous() if item.gradient.ndim == 3 else item.gradient
    for region in item.geometry.regions:
        views = [region.view(t) for t in (item.weight, gradient, item.momentum)]
        *stack, rows, columns = views[0].shape
        count = stack[0] if stack else 1
        scale = update_scale(item.group, rows, columns)
        if rows > columns and merges_transposes(item.weight.device):
            views = [view.mT for view in views]
        limit = min(CPU_PIECE_ELEMENTS, CPU_BATCH_ELEMENTS) if on_cpu else MAX_BATCH_ELEMENTS
        at_once = max(1, limit // (rows * columns))
        if count <= at_once:
            weight, its_gradient, momentum = views
            yield MuonMatrices(item, weight, its_gradient, momentum, count, scale)
            continue
        for weight, its_gradient, momentum in zip(*(v.split(at_once) for v in views), strict=True):
            yield MuonMatrices(item, weight, its_gradient, momentum, len(weight), scale)


def update_batches(
    items: Iterable[MuonParameter], iteration: Iteration, statistics: UpdateStatistics
) -> None:
    """Update all whole matrices that are here, batch by batch."""
    pieces = (piece for item in items for piece in matrices_here(item))
    for batch in _batches(pieces):
        first = batch[0]
        dtype = iteration.dtype_of(first.owner.parameter)
        total = sum(piece.number for piece in batch)
        X_NRC = first.weight.new_empty(total, *first.weight.shape[-2:], dtype=dtype)
        # One piece after the other, so that what it reads and writes stays in the cache.
        for piece, slot in zip(batch, _slots(X_NRC, batch), strict=True):
            slot.copy_(piece.direction())
        orthogonal_NRC = iteration(X_NRC, first.owner.coefficients)
        for piece, update in zip(batch, _slots(orthogonal_NRC, batch), strict=True):
            apply_update(piece.weight, update, piece.owner, piece.scale)
            statistics.matrices[piece.owner.parameter] += piece.number
        statistics.record(orthogonal_NRC, [(piece.number, piece.scale) for piece in batch])


def _slots(X_NRC: Tensor, batch: Sequence[MuonMatrices]) -> Iterable[Tensor]:
    """The part of a batch that belongs to each piece, of its shape."""
    if all(piece.weight.ndim == 2 for piece in batch):
        return X_NRC.unbind()
    parts = X_NRC.split([piece.number for piece in batch])
    return (part.view_as(piece.weight) for part, piece in zip(parts, batch, strict=True))


def apply_update(weight: Tensor, update: Tensor, item: MuonParameter, scale: float) -> None:
    """weight = (1 - lr * decay) weight - lr * scale * update; of equal shapes."""
    lr, decay = item.lr, item.group["weight_decay"]
    if decay and item.group["cautious_weight_decay"]:
        # Only where the update and the decay pull a weight the same way (arXiv 2510.12402).
        agrees = update * weight > 0
        weight.sub_(weight * agrees * (lr * decay))
    elif decay:
        weight.mul_(1 - lr * decay)
    if isinstance(lr, Tensor):
        weight.sub_(update.to(weight.dtype) * (lr * scale))
    else:
        weight.add_(update, alpha=-lr * scale)


def merges_transposes(device: torch.device) -> bool:
    """Whether a shape and its transpose make one batch, which saves launches on a GPU.

    On a CPU copying a matrix across its rows costs more than another batch.
    """
    return device.type != "cpu"


def number_or_tensor(lr: float | Tensor) -> float | Tensor:
    """A learning rate as a number where reading it makes nobody wait for a device."""
    return float(lr) if isinstance(lr, Tensor) and lr.device.type == "cpu" else lr


def group_coefficients(group: Mapping[str, Any]) -> Coefficients:
    """(a, b, c) of each step, from a group's name or own sequence of them."""
    chosen = group["coefficients"]
    if isinstance(chosen, str):
        return coefficients(chosen, group["newton_schulz_steps"])
    return tuple((float(a), float(b), float(c)) for a, b, c in chosen)


def update_scale(group: Mapping[str, Any], rows: int, columns: int) -> float:
    """What O is multiplied by, besides the learning rate.

    "rms": rms_scale * sqrt(max(rows, columns)), an update RMS of about `rms_scale` (Moonlight,
    K2); "keller": sqrt(max(1, rows / columns)) (Keller Jordan's Muon, torch's default);
    "spectral": sqrt(rows / columns) (arXiv 2310.17813).
    """
    rule: UpdateScale = group["update_scale"]
    if rule == "rms":
        return float(group["rms_scale"] * sqrt(max(rows, columns)))
    return sqrt(max(1.0, rows / columns)) if rule == "keller" else sqrt(rows / columns)


def _batches(pieces: Iterable[MuonMatrices]) -> Iterator[list[MuonMatrices]]:
    """The pieces in batches of one shape, device, dtype and iteration, of limited size."""
    cpu_limit = CPU_BATCH_ELEMENTS * torch.get_num_threads()  # each core has a cache of its own
    filling: dict[tuple[Any, ...], list[MuonMatrices]] = defaultdict(list)
    elements: Counter[tuple[Any, ...]] = Counter()
    for piece in pieces:
        momentum, size = piece.momentum, piece.momentum.numel()
        shape, steps = momentum.shape[-2:], piece.owner.coefficients
        key = (shape, momentum.device, momentum.dtype, steps)
        limit = cpu_limit if momentum.is_cpu else MAX_BATCH_ELEMENTS
        if filling[key] and elements[key] + size > limit:
            yield filling.pop(key)
            elements[key] = 0
        filling[key].append(piece)
        elements[key] += size
    yield from filling.values()
