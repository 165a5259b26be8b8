"""The Muon part of Algorithm 1 on matrices: directions in, orthogonalised, scaled, subtracted.

    direction = mu M_t + G_t with Nesterov, else M_t
    W -= lr * scale * NewtonSchulz(direction)

Matrices of one shape, or of its transpose, are orthogonalised together, across parameters, layers,
experts and heads. Shape letters: N matrices, R rows, C columns, S short side, L long side.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from openk2.optimizers.coefficients import Coefficients, coefficients
from openk2.optimizers.layout import local_box
from openk2.optimizers.matrices import Region, whole_regions
from openk2.optimizers.newton_schulz import iteration_dtype, newton_schulz
from openk2.optimizers.param_plan import ParameterRule

__all__ = [
    "MAX_BATCH_ELEMENTS",
    "Iteration",
    "MuonMatrices",
    "MuonParameter",
    "UpdateScale",
    "UpdateStatistics",
    "apply_update",
    "group_coefficients",
    "matrices_here",
    "number_or_tensor",
    "update_batches",
    "update_scale",
]

# Elements of one Newton-Schulz batch: 64 Mi, i.e. 256 MiB for each float32 temporary. A single
# larger matrix is a batch of its own.
MAX_BATCH_ELEMENTS = 2**26

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


@dataclass
class MuonParameter:
    """One parameter in one step: the parts that this process holds, and its group's options."""

    parameter: Tensor
    planned: ParameterRule
    group: dict[str, Any]
    weight: Tensor
    gradient: Tensor
    momentum: Tensor

    @property
    def coefficients(self) -> Coefficients:
        return group_coefficients(self.group)

    def scale(self, rows: int, columns: int) -> float:
        return update_scale(self.group, rows, columns)


@dataclass
class UpdateStatistics:
    """What a step did, kept on the device until somebody asks."""

    squares: list[Tensor] = field(default_factory=list)
    elements: int = 0
    residuals: list[Tensor] = field(default_factory=list)
    matrices: Counter[Tensor] = field(default_factory=Counter)
    measure_orthogonality: bool = False

    def record(self, orthogonal_NSL: Tensor, scales: Iterable[tuple[int, float]]) -> None:
        """Take in a batch; `scales` are (matrices, scale) of its parts, in order."""
        dtype = torch.promote_types(orthogonal_NSL.dtype, torch.float32)
        parts = list(scales)
        pieces = [orthogonal_NSL]
        if len({scale for _, scale in parts}) > 1:
            pieces = list(orthogonal_NSL.split([count for count, _ in parts]))
        else:
            parts = parts[:1]
        for piece, (_, scale) in zip(pieces, parts, strict=True):
            norm = torch.linalg.vector_norm(piece, dtype=dtype)
            self.squares.append((norm * scale).square())
        self.elements += orthogonal_NSL.numel()
        if self.measure_orthogonality:
            X = orthogonal_NSL.to(dtype)
            identity = torch.eye(X.shape[1], dtype=dtype, device=X.device)
            residual_NSS = torch.baddbmm(identity, X, X.mT, beta=-1)
            norms_N = torch.linalg.vector_norm(residual_NSS, dim=(1, 2)) / sqrt(X.shape[1])
            self.residuals.append(norms_N)


class MuonMatrices(NamedTuple):
    """Equal matrices of one parameter, the short side first; three views and their owner."""

    owner: MuonParameter
    weight_NSL: Tensor
    gradient_NSL: Tensor
    momentum_NSL: Tensor
    scale: float

    def direction(self) -> Tensor:
        """What Newton-Schulz takes: mu M_t + G_t, or M_t."""
        group = self.owner.group
        if not group["nesterov"]:
            return self.momentum_NSL
        return torch.add(self.gradient_NSL, self.momentum_NSL, alpha=group["momentum"])


def matrices_here(item: MuonParameter) -> Iterator[MuonMatrices]:
    """The whole matrices of a parameter that are here, at most MAX_BATCH_ELEMENTS at a time."""
    for region in whole_regions(item.planned, local_box(item.parameter)):
        yield from _pieces(item, region)


def _pieces(item: MuonParameter, region: Region) -> Iterator[MuonMatrices]:
    gradient = item.gradient.contiguous() if len(item.planned.shape) == 3 else item.gradient
    views = [region.view(t) for t in (item.weight, gradient, item.momentum)]
    rows, columns = views[0].shape[1:]
    scale = item.scale(rows, columns)
    if rows > columns:
        views = [view.mT for view in views]
    at_once = max(1, MAX_BATCH_ELEMENTS // (rows * columns))
    pieces = (torch.split(view, at_once) for view in views)
    for weight, gradient, momentum in zip(*pieces, strict=True):
        yield MuonMatrices(item, weight, gradient, momentum, scale)


def update_batches(
    items: Iterable[MuonParameter], iteration: Iteration, statistics: UpdateStatistics
) -> None:
    """Update all whole matrices that are here, batch by batch."""
    pieces = (piece for item in items for piece in matrices_here(item))
    for batch in _batches(pieces):
        first = batch[0].owner
        dtype = iteration.dtype_of(first.parameter)
        directions_NSL = torch.cat([piece.direction().to(dtype) for piece in batch])
        orthogonal_NSL = iteration(directions_NSL, first.coefficients)
        counts = [len(piece.weight_NSL) for piece in batch]
        for piece, update in zip(batch, orthogonal_NSL.split(counts), strict=True):
            apply_update(piece.weight_NSL, update, piece.owner.group, piece.scale)
            statistics.matrices[piece.owner.parameter] += len(update)
        statistics.record(
            orthogonal_NSL, zip(counts, (piece.scale for piece in batch), strict=True)
        )


def apply_update(weight: Tensor, update: Tensor, group: dict[str, Any], scale: float) -> None:
    """weight -= lr * scale * update, decay included where it is cautious; same shapes."""
    lr, decay = number_or_tensor(group["lr"]), group["weight_decay"]
    if group["cautious_weight_decay"] and decay:
        # Only where the update and the decay pull a weight the same way (arXiv 2510.12402).
        agrees = update * weight > 0
        weight.sub_(weight * agrees * (lr * decay))
    if isinstance(lr, Tensor):
        weight.sub_(update.to(weight.dtype) * (lr * scale))
    else:
        weight.add_(update, alpha=-lr * scale)


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
    filling: dict[tuple[Any, ...], list[MuonMatrices]] = defaultdict(list)
    elements: Counter[tuple[Any, ...]] = Counter()
    for piece in pieces:
        momentum_NSL = piece.momentum_NSL
        shape = tuple(momentum_NSL.shape[1:])
        key = (shape, momentum_NSL.device, momentum_NSL.dtype, piece.owner.coefficients)
        if filling[key] and elements[key] + momentum_NSL.numel() > MAX_BATCH_ELEMENTS:
            yield filling.pop(key)
            elements[key] = 0
        filling[key].append(piece)
        elements[key] += momentum_NSL.numel()
    yield from filling.values()
