"""The latent cache: what attention keeps of each token, in blocks that sequences may share.

A token costs kv_lora_rank + qk_rope_head_dim numbers a layer, the normed latent and the rotated key
that all heads share, in place of num_attention_heads * (key + value width) (paper section 2.3;
DeepSeek-V2). Tokens lie in blocks of a fixed size, drawn from one pool as a sequence grows. A full
block is known by the tokens up to its end, so that whoever begins with the same tokens takes it as
it is; a block that nobody uses any more stays until the room is needed.

N blocks, P positions a block, C = kv_lora_rank, R = qk_rope_head_dim.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from openk2.models import KimiK2Config

__all__ = [
    "BLOCK_TOKENS",
    "LatentCache",
    "block_key",
    "expanded_bytes_per_token",
    "latent_bytes_per_token",
]

BLOCK_TOKENS = 32
NO_BLOCK = 0  # always zero, never given out: what a table's unused places point to


def latent_bytes_per_token(config: KimiK2Config, dtype: torch.dtype) -> int:
    """What one token takes in this cache, over all layers."""
    width = config.kv_lora_rank + config.qk_rope_head_dim
    return config.num_hidden_layers * width * dtype.itemsize


def expanded_bytes_per_token(config: KimiK2Config, dtype: torch.dtype) -> int:
    """What it would take as keys and values of every head, as transformers caches it."""
    width = config.num_attention_heads * (config.qk_head_dim + config.v_head_dim)
    return config.num_hidden_layers * width * dtype.itemsize


class LatentCache:
    """A pool of blocks with reference counts, and an index of full blocks by their tokens.

    pool_LNPW   the numbers, [layers, N, P, C + R]
    """

    def __init__(
        self, config: KimiK2Config, tokens: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        """Room for at least `tokens` tokens; memory is taken as blocks are first used."""
        self.blocks = -(-tokens // BLOCK_TOKENS)
        width = config.kv_lora_rank + config.qk_rope_head_dim
        shape = (config.num_hidden_layers, self.blocks + 1, BLOCK_TOKENS, width)
        self.pool_LNPW = torch.empty(shape, dtype=dtype, device=device)
        self.pool_LNPW[:, NO_BLOCK].zero_()
        self._users = np.zeros(self.blocks + 1, dtype=np.int32)
        self._free = list(range(self.blocks, NO_BLOCK, -1))
        # Full blocks that nobody uses, the longest unused first.
        self._unused: OrderedDict[int, None] = OrderedDict()
        self._block_of_key: dict[bytes, int] = {}
        self._key_of_block: dict[int, bytes] = {}

    @property
    def available(self) -> int:
        """How many blocks could be allocated now."""
        return len(self._free) + len(self._unused)

    @property
    def used(self) -> int:
        """How many blocks sequences hold."""
        return self.blocks - self.available

    def allocate(self, count: int) -> list[int]:
        """`count` zeroed blocks with one user each; ask `available` first."""
        taken = []
        for _ in range(count):
            if not self._free:
                self._forget(next(iter(self._unused)))
            taken.append(self._free.pop())
        if taken:
            # A masked position counts zero times what lies there, which must not be NaN.
            self.pool_LNPW[:, taken] = 0
            self._users[taken] = 1
        return taken

    def retain(self, blocks: Iterable[int]) -> None:
        """One more user for each."""
        for block in blocks:
            self._users[block] += 1
            self._unused.pop(block, None)

    def release(self, blocks: Iterable[int]) -> None:
        """One user less for each; what nobody uses is free, or kept while there is room."""
        # The end of a text first: it is of less use than its beginning, and goes first.
        for block in reversed(list(blocks)):
            self._users[block] -= 1
            if self._users[block] == 0:
                if block in self._key_of_block:
                    self._unused[block] = None
                else:
                    self._free.append(block)

    def copy(self, source: int, target: int) -> None:
        """Give `target` the contents of `source`, for a sequence that writes on alone."""
        self.pool_LNPW[:, target] = self.pool_LNPW[:, source]

    def find(self, key: bytes) -> int | None:
        """The block known by `key`, or None."""
        return self._block_of_key.get(key)

    def publish(self, block: int, key: bytes) -> None:
        """Let others find a full block by the tokens up to its end."""
        if key not in self._block_of_key:
            self._block_of_key[key] = block
            self._key_of_block[block] = key

    def forget_all(self) -> None:
        """Nothing computed so far is to be found any more: the weights changed."""
        for block in list(self._unused):
            self._forget(block)
        self._block_of_key.clear()
        self._key_of_block.clear()

    def _forget(self, block: int) -> None:
        del self._unused[block]
        del self._block_of_key[self._key_of_block.pop(block)]
        self._free.append(block)


def block_key(previous: bytes, tokens: Sequence[int]) -> bytes:
    """The name of a full block: a digest of all tokens up to its end.

    Cryptographic, because a collision would show one client's text to another.
    """
    digest = hashlib.blake2b(previous, digest_size=16)
    digest.update(np.asarray(tokens, dtype=np.uint32).tobytes())
    return digest.digest()
