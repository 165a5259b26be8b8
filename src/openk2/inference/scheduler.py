"""Which tokens the next forward pass computes: continuous batching over lanes and blocks.

Running sequences have a lane each and advance by one token a step. What room a step has left is
filled with pieces of new prompts, first come first served, so that a long prompt delays nobody. A
prompt is computed once for all samples that begin with it, and its full blocks serve whoever begins
with the same tokens. When blocks run out, the youngest sequence gives its own back and is computed
anew later; the oldest always gets on.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from openk2.inference.decoder import Chunk, DecodeGroup, StepTokens
from openk2.inference.latent_cache import BLOCK_TOKENS, NO_BLOCK, LatentCache, block_key
from openk2.inference.sequences import Prefill, Sequence

__all__ = ["Scheduler", "StepPlan"]

IntArray = npt.NDArray[np.int64]

# Blocks read for nothing that one more group of sequences, of similar length, is worth.
WASTED_BLOCKS = 64


@dataclass(frozen=True)
class StepPlan:
    """One forward pass. `lanes_S`: whose next token the first S rows compute."""

    lanes_S: IntArray
    pieces: list[tuple[Prefill, slice]]
    step: StepTokens


class Scheduler:
    """Lanes, the queue of prompts, and who holds which blocks."""

    def __init__(self, cache: LatentCache, lanes: int, context: int, prefill_tokens: int) -> None:
        self.cache = cache
        self.prefill_tokens = prefill_tokens
        self.running: dict[int, Sequence] = {}  # by lane, the oldest first
        self.queue: deque[Prefill] = deque()
        self.preempted = 0  # how many times a sequence gave its blocks back
        self._free_lanes = list(range(lanes - 1, -1, -1))
        self._length = np.zeros(lanes, dtype=np.int64)  # tokens of the lane that are cached
        self._last = np.zeros(lanes, dtype=np.int64)  # its newest token, which is not
        self._table = np.full((lanes, -(-context // BLOCK_TOKENS)), NO_BLOCK, dtype=np.int64)

    def add(self, prefill: Prefill) -> None:
        """Queue a prompt behind the others."""
        self.queue.append(prefill)

    def plan(self) -> StepPlan | None:
        """The next forward pass, with blocks for all that it writes; None if nothing is to do."""
        self._extend_running()
        lanes_S = self._lanes_by_length()
        positions = [self._length[lanes_S]]
        tokens = [self._last[lanes_S]]
        slots = [self._slots(self._table[lanes_S], positions[0])]
        begin, pieces, chunks = len(lanes_S), [], []
        for prefill, count in self._pieces():
            rows = slice(begin, begin + count)
            place = np.arange(prefill.done, prefill.done + count)
            blocks = np.asarray(prefill.blocks, dtype=np.int64)
            tokens.append(np.asarray(prefill.tokens[prefill.done : prefill.done + count]))
            positions.append(place)
            slots.append(blocks[place // BLOCK_TOKENS] * BLOCK_TOKENS + place % BLOCK_TOKENS)
            cached = self._tensor(blocks) if prefill.done else None
            chunks.append(Chunk(rows, prefill.done, cached))
            pieces.append((prefill, rows))
            begin += count
        if not begin:
            return None
        tokens_N, positions_N, slots_N = (
            self._tensor(np.concatenate(part)) for part in (tokens, positions, slots)
        )
        step = StepTokens(tokens_N, positions_N, slots_N, self._groups(lanes_S), chunks)
        return StepPlan(lanes_S, pieces, step)

    def computed(self, plan: StepPlan) -> None:
        """The forward pass of `plan` has run: its tokens are cached, and full blocks are known."""
        self._length[plan.lanes_S] += 1
        for lane in plan.lanes_S[self._length[plan.lanes_S] % BLOCK_TOKENS == 0].tolist():
            sequence = self.running[lane]
            number = len(sequence.block_keys)
            previous = sequence.block_keys[-1] if number else b""
            key = block_key(previous, sequence.block_tokens(number, BLOCK_TOKENS))
            sequence.block_keys.append(key)
            self.cache.publish(sequence.blocks[number], key)
        for prefill, rows in plan.pieces:
            prefill.done += rows.stop - rows.start
            for number in range(len(prefill.block_keys), prefill.done // BLOCK_TOKENS):
                prefill.block_keys.append(self._key(prefill, number))
                self.cache.publish(prefill.blocks[number], prefill.block_keys[number])

    def launch(self) -> list[tuple[Sequence, Prefill]]:
        """Give lanes to sequences whose prompt is cached, as long as there are any."""
        launched = []
        for prefill in self.queue:
            while prefill.logits is not None and prefill.sequences and self._free_lanes:
                partial = prefill.done % BLOCK_TOKENS != 0
                last = len(prefill.sequences) == 1
                if partial and not last and not self.cache.available:
                    break
                sequence = prefill.sequences.popleft()
                self._occupy(sequence, prefill, partial, last)
                launched.append((sequence, prefill))
        if launched:
            self.queue = deque(prefill for prefill in self.queue if prefill.sequences)
        return launched

    def _occupy(self, sequence: Sequence, prefill: Prefill, partial: bool, last: bool) -> None:
        blocks = list(prefill.blocks)
        if last:
            prefill.blocks = []
        else:
            self.cache.retain(blocks[:-1] if partial else blocks)
            if partial:  # which every sequence goes on to fill by itself
                (own,) = self.cache.allocate(1)
                self.cache.copy(blocks[-1], own)
                blocks[-1] = own
        lane = self._free_lanes.pop()
        sequence.lane, sequence.blocks = lane, blocks
        sequence.block_keys = list(prefill.block_keys)
        sequence.cached_tokens = prefill.cached
        self._table[lane] = NO_BLOCK
        self._table[lane, : len(blocks)] = blocks
        self._length[lane] = prefill.done
        self.running[lane] = sequence

    def drawn(self, lanes: IntArray, tokens: list[int]) -> None:
        """The newest token of each lane."""
        self._last[lanes] = tokens

    def finish(self, sequence: Sequence) -> None:
        """Take a sequence off its lane and give its blocks back."""
        self.cache.release(sequence.blocks)
        sequence.blocks = []
        del self.running[sequence.lane]
        self._free_lanes.append(sequence.lane)
        sequence.lane = -1

    def remove(self, request: int) -> list[Sequence]:
        """Forget a request: its sequences, running or waiting."""
        gone = [sequence for sequence in self.running.values() if sequence.request == request]
        for sequence in gone:
            self.finish(sequence)
        for prefill in [p for p in self.queue if p.request == request]:
            gone += prefill.sequences
            self.cache.release(prefill.blocks)
            self.queue.remove(prefill)
        return gone

    def restart(self) -> None:
        """Nothing cached is valid any more: compute every running sequence's tokens anew."""
        for sequence in list(self.running.values())[::-1]:
            self._preempt(sequence)
        for prefill in self.queue:
            self._reset(prefill)
        self.cache.forget_all()

    def _extend_running(self) -> None:
        """A block for every sequence whose last one is full."""
        while True:
            lanes = np.fromiter(self.running, dtype=np.int64, count=len(self.running))
            full = lanes[self._length[lanes] % BLOCK_TOKENS == 0]
            if len(full) <= self.cache.available:
                break
            self._make_room()
        for lane, block in zip(full.tolist(), self.cache.allocate(len(full)), strict=True):
            sequence = self.running[lane]
            self._table[lane, len(sequence.blocks)] = block
            sequence.blocks.append(block)

    def _make_room(self) -> None:
        """Take blocks from the youngest that holds any; from a prompt in preparation first."""
        for prefill in reversed(self.queue):
            if prefill.blocks:
                self._reset(prefill)
                return
        self._preempt(next(reversed(self.running.values())))

    def _preempt(self, sequence: Sequence) -> None:
        self.preempted += 1
        self.finish(sequence)
        sequence.block_keys = []
        tokens = (*sequence.prompt, *sequence.tokens)
        self.queue.appendleft(Prefill(tokens, deque([sequence])))

    def _reset(self, prefill: Prefill) -> None:
        self.cache.release(prefill.blocks)
        prefill.blocks, prefill.block_keys, prefill.scores = [], [], []
        prefill.done, prefill.cached, prefill.logits = 0, 0, None

    def _pieces(self) -> list[tuple[Prefill, int]]:
        """The next tokens of the prompts at the head of the queue, with blocks to put them in."""
        room, lanes = self.prefill_tokens, len(self._free_lanes)
        being_computed: set[bytes] = set()
        pieces: list[tuple[Prefill, int]] = []
        for prefill in self.queue:
            if room <= 0 or lanes <= 0:
                break
            lanes -= len(prefill.sequences)
            if prefill.logits is not None:
                continue
            self._take_cached(prefill)
            full = prefill.done // BLOCK_TOKENS
            shared = prefill.done % BLOCK_TOKENS == 0 and not prefill.want_scores
            if (
                shared
                and len(prefill.tokens) - prefill.done > BLOCK_TOKENS
                and self._key(prefill, full) in being_computed
            ):
                continue  # another computes the same block in this step: take it in the next
            count = min(room, len(prefill.tokens) - prefill.done)
            # Whoever runs may need a block each before long.
            spare = self.cache.available - (len(self.running) if pieces or self.running else 0)
            count = min(count, (len(prefill.blocks) + spare) * BLOCK_TOKENS - prefill.done)
            if count <= 0:
                if not pieces and not self.running:
                    # Prompts behind this one hold what it needs, and nobody else will give any.
                    self._make_room()
                break
            need = -(-(prefill.done + count) // BLOCK_TOKENS) - len(prefill.blocks)
            prefill.blocks += self.cache.allocate(need)
            previous = prefill.block_keys[-1] if prefill.block_keys else b""
            for number in range(full, (prefill.done + count) // BLOCK_TOKENS):
                begin = number * BLOCK_TOKENS
                previous = block_key(previous, prefill.tokens[begin : begin + BLOCK_TOKENS])
                being_computed.add(previous)
            pieces.append((prefill, count))
            room -= count
        return pieces

    def _take_cached(self, prefill: Prefill) -> None:
        """Use the blocks that others have computed; the last token is always computed here."""
        if prefill.want_scores or prefill.done % BLOCK_TOKENS:
            return
        while len(prefill.tokens) - prefill.done > BLOCK_TOKENS:
            key = self._key(prefill, prefill.done // BLOCK_TOKENS)
            block = self.cache.find(key)
            if block is None:
                return
            self.cache.retain([block])
            prefill.blocks.append(block)
            prefill.block_keys.append(key)
            prefill.done += BLOCK_TOKENS
            prefill.cached += BLOCK_TOKENS

    def _key(self, prefill: Prefill, number: int) -> bytes:
        begin = number * BLOCK_TOKENS
        previous = prefill.block_keys[number - 1] if number else b""
        return block_key(previous, prefill.tokens[begin : begin + BLOCK_TOKENS])

    def _lanes_by_length(self) -> IntArray:
        """Running lanes, those with the most blocks first, so that similar ones are neighbours."""
        lanes = np.fromiter(self.running, dtype=np.int64, count=len(self.running))
        return lanes[np.argsort(-(self._length[lanes] // BLOCK_TOKENS), kind="stable")]

    def _groups(self, lanes_S: IntArray) -> list[DecodeGroup]:
        """Cut the sequences where the shorter ones would read too many blocks for nothing."""
        blocks_S = self._length[lanes_S] // BLOCK_TOKENS + 1
        cuts = (np.flatnonzero(np.diff(blocks_S)) + 1).tolist()
        groups, begin, total = [], 0, len(lanes_S)
        for cut in [*cuts, total] if total else []:
            if cut < total:
                wasted = (total - cut) * (blocks_S[begin] - blocks_S[cut])
                if wasted <= WASTED_BLOCKS:
                    continue
            lanes = lanes_S[begin:cut]
            table = self._table[lanes, : blocks_S[begin]]
            reach = np.arange(blocks_S[begin] * BLOCK_TOKENS)
            hidden = reach > self._length[lanes][:, None]
            mask = np.where(hidden, -np.inf, 0).astype(np.float32)[:, None]
            tensors = self._tensor(table), self._tensor(mask).to(self.cache.pool_LNPW.dtype)
            groups.append(DecodeGroup(slice(begin, cut), *tensors))
            begin = cut
        return groups

    def _slots(self, table: IntArray, positions: IntArray) -> IntArray:
        blocks = table[np.arange(len(table)), positions // BLOCK_TOKENS]
        slots: IntArray = blocks * BLOCK_TOKENS + positions % BLOCK_TOKENS
        return slots

    def _tensor(self, array: "npt.NDArray[np.generic]") -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.cache.pool_LNPW.device)
