"""Where rooms that do not import each other meet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from openk2.core.generation import DEFAULT_SAMPLING, Completion, Constraint, SamplingOptions
from openk2.core.records import Message, ToolSpec

__all__ = ["ClipTarget", "Generator", "HeadMatrices", "LogitRows"]


@dataclass(frozen=True)
class LogitRows:
    """Which rows of one parameter make which heads' attention logits, and to what power.

    When the logits of head h are to become factor[h] times what they were, row i of the parameter
    `getattr(module, name)`, [rows, columns] or [rows], is multiplied by

        min over j of factor[heads[i, j]] ** power[i]

    A row that serves one head lists that head; a key row shared by a group of heads lists the whole
    group, or has power 0, which leaves it alone. `module` may replace its parameter at any time (as
    sharding does), so the parameter is looked up when it is needed.
    """

    module: Any
    name: str
    heads: Any  # int64 tensor [rows, heads that share the row]
    power: Any  # float32 tensor [rows]
    offset: float = 0.0  # what is scaled is parameter + offset: some norms' gain is 1 + weight

    @property
    def parameter(self) -> Any:
        """The parameter as it is now, or None where the module has none (a missing bias)."""
        return getattr(self.module, self.name, None)


@dataclass(frozen=True)
class HeadMatrices:
    """How the rows of one attention weight [rows, columns] fall into matrices.

    `projections` are the sizes of the consecutive row blocks that are projections of their own (a
    fused query-key-value weight has three), `heads` those of the single heads. Both sum to rows.
    """

    module: Any
    name: str
    projections: tuple[int, ...]
    heads: tuple[int, ...]


@runtime_checkable
class ClipTarget(Protocol):
    """An attention layer as QK-Clip sees it (paper section 2.1, Algorithm 1).

    The layer measures S_max per head in its forward pass and says which of its own weight rows make
    a head's attention logits; the optimizer knows the threshold, when to clip and how the weights
    are sharded. So the optimizer serves any model, and no model knows the optimizer.
    """

    num_attention_heads: int

    def observe_max_logits(self, threshold: float) -> None:
        """From now on, and from nothing, measure S_max in every forward pass in training mode.

        `threshold` is tau: a head whose cheap upper bound stays at or below it need not be measured
        exactly, because no clip can follow.
        """

    def max_logits(self) -> Any:
        """S_max per head since the last reset, a float32 tensor [heads]; -inf where nothing ran.

        Signed, scaled and masked: the maximum of q.k * softmax_scale over the batch and the visible
        token pairs. Exact wherever it exceeds tau, otherwise an upper bound that does not; NaN
        where a logit was. A process that computes only some of the heads says -inf for the others.
        """

    def reset_max_logits(self) -> None:
        """Forget what was measured; called once per optimizer step."""

    def logit_rows(self) -> list[LogitRows]:
        """The rows to scale so that head h's logits become factor[h] times what they were."""

    def head_matrices(self) -> list[HeadMatrices]:
        """The weights whose rows fall into several projections or into heads."""


class Generator(Protocol):
    """Whoever continues texts and dialogs: the engine in process, or a server far away.

    Calls may run at the same time; the implementation batches or limits them. `samples` asks for
    that many independent continuations of one prompt. Raises UserError for a request that can
    never succeed; what may succeed later is retried inside.
    """

    async def chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec] = (),
        options: SamplingOptions = DEFAULT_SAMPLING,
        *,
        samples: int = 1,
        tool_choice: str = "auto",
        response_format: Constraint | None = None,
    ) -> list[Completion]:
        """The assistant's next turn. `tool_choice`: none, auto, required, or a tool's name."""

    async def complete(
        self,
        prompt: str,
        options: SamplingOptions = DEFAULT_SAMPLING,
        *,
        samples: int = 1,
        response_format: Constraint | None = None,
    ) -> list[Completion]:
        """A continuation of plain text; no chat format, special tokens in `prompt` are text."""

    async def close(self) -> None:
        """Give back connections, threads and files."""
