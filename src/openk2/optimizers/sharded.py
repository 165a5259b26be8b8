"""Muon on matrices that are cut between processes: each is gathered at one owner, and comes back.

Newton-Schulz needs whole matrices. Every process turns its parts of the momentum into directions
in the dtype of the iteration, so that what is sent is what an unsharded run would compute with, and

    1. sends them, packed into one all-to-all per bucket, to the owners of the matrices;
    2. the owners orthogonalise theirs, equal shapes together;
    3. the parts of the results return by a second all-to-all, and are applied to the shards.

While a bucket travels, the one before it is computed: both collectives are asynchronous, and a
bucket's size bounds the memory. Replicas compute the same thing each, unless
`share_replicas`: then one of them computes a matrix and sends it to the others, which trades
bandwidth for FLOPs.

Source: Moonlight (arXiv 2502.16982) section 2.3 gathers every matrix at all processes that hold a
part; gathering at one owner saves the others' FLOPs and half of the bytes.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed
from torch.distributed.tensor import DTensor

from openk2.optimizers.layout import Box
from openk2.optimizers.matrices import Matrix, stacked, stacked_box
from openk2.optimizers.muon_update import (
    MAX_BATCH_ELEMENTS,
    Iteration,
    MuonParameter,
    UpdateStatistics,
    accumulate,
    apply_update,
    direction,
    group_coefficients,
    update_scale,
)
from openk2.optimizers.transfers import Transfer

__all__ = ["Exchange"]

# At least this many buckets where there is enough to fill them, so that there is something to
# overlap; none smaller than a mebi-element, which latency would rule.
_BUCKETS = 4
_SMALLEST_BUCKET = 2**20


@dataclass(frozen=True)
class _Bucket:
    """Transfers that travel together, between the same processes and in one dtype."""

    ranks: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    transfers: tuple[Transfer, ...]


class _Journey(NamedTuple):
    """An all-to-all under way: what arrives, how much of it from each process, and its handle."""

    arriving: Tensor
    sizes: dict[int, int]
    work: Any

    def wait(self) -> dict[int, Tensor]:
        """What came from each process. On CUDA the stream waits, not the host."""
        self.work.wait()
        chunks = self.arriving.split(list(self.sizes.values()))
        return dict(zip(self.sizes, chunks, strict=True))


class Exchange:
    """All transfers of one optimizer, in buckets: `start`, compute something else, `finish`.

    `bytes_sent` counts what this process sent to others in the last step; `fewest_bytes` is its
    equal share of what they all together cannot do without: every part of a matrix but the largest
    has to go to one place and come back.
    """

    def __init__(self, transfers: Sequence[Transfer], iteration: Iteration) -> None:
        self._iteration = iteration
        self.bytes_sent = 0
        self.buckets = list(_buckets(transfers, iteration))
        # Parameters whose replicas share their matrices: all of those travel, whole or cut.
        self.parameters = {transfer.parameter for transfer in transfers}
        self.shared = {t.parameter for t in transfers if t.is_replicated}
        self._rank = distributed.get_rank()
        self._process_groups: dict[tuple[int, ...], Any] = {}
        self._first: _Journey | None = None

    @property
    def fewest_bytes(self) -> int:
        """This process's share of the fewest bytes that all must send in a step."""
        total = 0.0
        for bucket in self.buckets:
            for transfer in bucket.transfers:
                there = transfer.elements - max(part.size for part in transfer.providers)
                back = sum(part.size for part in transfer.receivers) - max(
                    part.size for part in transfer.receivers
                )
                total += (there + back) * bucket.dtype.itemsize / len(bucket.ranks)
        return round(total)

    def start(self, items: Mapping[Tensor, MuonParameter]) -> None:
        """Send the first bucket on its way.

        All processes of a mesh take part whatever gradients they have: what a process without a
        gradient sends is zero, and it changes nothing of its own.
        """
        self.bytes_sent = 0
        for parameter in self.parameters & items.keys():
            item = items[parameter]
            accumulate(item.group, item.gradient, item.momentum)
            item.accumulated = True
        self._first = self._gather(self.buckets[0], items)

    def finish(self, items: Mapping[Tensor, MuonParameter], statistics: UpdateStatistics) -> None:
        """Update every matrix that travels; the next bucket travels while one is computed."""
        gathering, self._first = self._first, None
        returning: tuple[_Bucket, _Journey] | None = None
        for bucket, following in zip(self.buckets, [*self.buckets[1:], None], strict=True):
            arrived = gathering.wait()  # type: ignore[union-attr]
            gathering = None if following is None else self._gather(following, items)
            results = self._orthogonalise(bucket, arrived, statistics)
            if returning is not None:
                self._apply(*returning, items, statistics)
            returning = bucket, self._return(bucket, results)
        if returning is not None:
            self._apply(*returning, items, statistics)

    def _gather(self, bucket: _Bucket, items: Mapping[Tensor, MuonParameter]) -> _Journey:
        """Send this process's parts of the directions to the owners of their matrices."""
        sending: dict[int, list[Tensor]] = {rank: [] for rank in bucket.ranks}
        sizes = dict.fromkeys(bucket.ranks, 0)
        for transfer in bucket.transfers:
            for part in transfer.providers:
                if part.rank == self._rank:
                    item = items.get(transfer.parameter)
                    if item is None:
                        piece = torch.zeros(part.size, device=bucket.device)
                    else:
                        piece = _direction(item, part.box)
                    sending[transfer.owner].append(piece.to(bucket.dtype).flatten())
                if transfer.owner == self._rank:
                    sizes[part.rank] += part.size
        return self._all_to_all(bucket, sending, sizes)

    def _orthogonalise(
        self, bucket: _Bucket, arrived: dict[int, Tensor], statistics: UpdateStatistics
    ) -> list[Tensor]:
        """The results for the matrices that this process owns, in the order of the bucket."""
        taken = dict.fromkeys(bucket.ranks, 0)
        batches: dict[tuple[Any, ...], list[tuple[int, Tensor]]] = defaultdict(list)
        owned = [t for t in bucket.transfers if t.owner == self._rank]
        for index, transfer in enumerate(owned):
            rows, columns = transfer.matrix.rows, transfer.columns
            matrix = torch.empty(rows, columns, dtype=bucket.dtype, device=bucket.device)
            for part in transfer.providers:
                begin = taken[part.rank]
                taken[part.rank] = end = begin + part.size
                target = matrix[_within(part.box, transfer.matrix)]
                target.copy_(arrived[part.rank][begin:end].view(target.shape))
            steps = group_coefficients(transfer.group)
            short = (min(rows, columns), max(rows, columns))
            batches[short, steps].append((index, matrix.mT if rows > columns else matrix))
        results: list[Tensor] = [torch.empty(0)] * len(owned)
        for (_, steps), members in batches.items():
            stack_NSL = torch.stack([matrix for _, matrix in members])
            orthogonal_NSL = self._iteration(stack_NSL, steps)
            scales = [_scale(owned[index]) for index, _ in members]
            statistics.record(orthogonal_NSL, [(1, scale) for scale in scales])
            for (index, _), result in zip(members, orthogonal_NSL, strict=True):
                tall = owned[index].matrix.rows > owned[index].columns
                results[index] = result.mT if tall else result
        return results

    def _return(self, bucket: _Bucket, results: list[Tensor]) -> _Journey:
        """Send the parts of the results to the processes that hold the weights."""
        sending: dict[int, list[Tensor]] = {rank: [] for rank in bucket.ranks}
        sizes = dict.fromkeys(bucket.ranks, 0)
        finished = iter(results)
        for transfer in bucket.transfers:
            result = next(finished) if transfer.owner == self._rank else None
            for part in transfer.receivers:
                if result is not None:
                    sending[part.rank].append(result[_within(part.box, transfer.matrix)].flatten())
                if part.rank == self._rank:
                    sizes[transfer.owner] += part.size
        return self._all_to_all(bucket, sending, sizes)

    def _apply(
        self,
        bucket: _Bucket,
        journey: _Journey,
        items: Mapping[Tensor, MuonParameter],
        statistics: UpdateStatistics,
    ) -> None:
        arrived = journey.wait()
        taken = dict.fromkeys(bucket.ranks, 0)
        for transfer in bucket.transfers:
            for part in transfer.receivers:
                if part.rank != self._rank:
                    continue
                begin = taken[transfer.owner]
                taken[transfer.owner] = end = begin + part.size
                item = items.get(transfer.parameter)
                if item is None:
                    continue
                weight = _here(item, item.weight, part.box)
                update = arrived[transfer.owner][begin:end].view(weight.shape)
                apply_update(weight, update, item, _scale(transfer))
                statistics.matrices[transfer.parameter] += 1

    def _all_to_all(
        self, bucket: _Bucket, sending: dict[int, list[Tensor]], sizes: dict[int, int]
    ) -> _Journey:
        empty = torch.empty(0, dtype=bucket.dtype, device=bucket.device)
        packed = torch.cat([piece for rank in bucket.ranks for piece in sending[rank]] or [empty])
        counts = [sum(piece.numel() for piece in sending[rank]) for rank in bucket.ranks]
        arriving = torch.empty(sum(sizes.values()), dtype=bucket.dtype, device=bucket.device)
        self.bytes_sent += (sum(counts) - counts[bucket.ranks.index(self._rank)]) * (
            bucket.dtype.itemsize
        )
        work = distributed.all_to_all_single(
            arriving,
            packed,
            list(sizes.values()),
            counts,
            group=self._process_group(bucket),
            async_op=True,
        )
        return _Journey(arriving, sizes, work)

    def _process_group(self, bucket: _Bucket) -> Any:
        """The group of a bucket's processes, from its mesh where the mesh has one."""
        if bucket.ranks not in self._process_groups:
            self._process_groups[bucket.ranks] = _find_group(bucket)
        return self._process_groups[bucket.ranks]


def _find_group(bucket: _Bucket) -> Any:
    if bucket.ranks == tuple(range(distributed.get_world_size())):
        return distributed.group.WORLD
    parameter = bucket.transfers[0].parameter
    if isinstance(parameter, DTensor):
        for group in parameter.device_mesh.get_all_groups():
            if tuple(distributed.get_process_group_ranks(group)) == bucket.ranks:
                return group
    return _new_group(distributed.group.WORLD, bucket.ranks)


@cache
def _new_group(world: Any, ranks: tuple[int, ...]) -> Any:
    """A group made once in the life of `world`, since torch keeps each until the end.

    Buckets are in the order of their ranks, so overlapping groups are made in one order.
    """
    return distributed.new_group(list(ranks), use_local_synchronization=True)


def _buckets(transfers: Iterable[Transfer], iteration: Iteration) -> Iterator[_Bucket]:
    """Transfers in buckets of limited size, in the same order on all processes."""
    together: dict[tuple[Any, ...], list[Transfer]] = defaultdict(list)
    for transfer in transfers:
        parameter = transfer.parameter
        used = iteration.dtype_of(parameter)
        together[transfer.ranks, used, parameter.device].append(transfer)
    for (ranks, used, device), members in together.items():
        total = sum(transfer.elements for transfer in members)
        limit = min(MAX_BATCH_ELEMENTS, max(_SMALLEST_BUCKET, total // _BUCKETS))
        filling: list[Transfer] = []
        elements = 0
        for transfer in members:
            if filling and elements + transfer.elements > limit:
                yield _Bucket(ranks, used, device, tuple(filling))
                filling, elements = [], 0
            filling.append(transfer)
            elements += transfer.elements
        yield _Bucket(ranks, used, device, tuple(filling))


def _scale(transfer: Transfer) -> float:
    return update_scale(transfer.group, transfer.matrix.rows, transfer.columns)


def _direction(item: MuonParameter, box: Box) -> Tensor:
    parts = (_here(item, tensor, box) for tensor in (item.gradient, item.momentum))
    return direction(item.group, *parts)


def _here(item: MuonParameter, tensor: Tensor, box: Box) -> Tensor:
    """The part `box` [rows, columns] of a parameter's local tensor."""
    offsets = stacked_box(item.geometry.box)
    (entry, _), rows, columns = (
        (start - offset, stop - offset)
        for (start, stop), (offset, _) in zip(box, offsets, strict=True)
    )
    return stacked(tensor)[entry, slice(*rows), slice(*columns)]


def _within(box: Box, matrix: Matrix) -> tuple[slice, slice]:
    """Where a part lies in its matrix."""
    _, (top, bottom), columns = box
    return slice(top - matrix.first_row, bottom - matrix.first_row), slice(*columns)
