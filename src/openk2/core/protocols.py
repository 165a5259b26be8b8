"""Where rooms that do not import each other meet."""

from typing import Any, Protocol, runtime_checkable

__all__ = ["ClipTarget"]


@runtime_checkable
class ClipTarget(Protocol):
    """An attention layer as QK-Clip sees it (paper section 2.1, Algorithm 1).

    The layer measures S_max per head in its forward pass and knows which of its own weight rows
    make a head's attention logits; the optimizer knows the threshold and when to clip. So the
    optimizer serves any model, and no model knows the optimizer.
    """

    num_attention_heads: int

    def observe_max_logits(self, threshold: float) -> None:
        """From now on, measure S_max in every forward pass in training mode.

        `threshold` is tau: a head whose cheap upper bound stays at or below it need not be measured
        exactly, because no clip can follow.
        """

    def max_logits(self) -> Any:
        """S_max per head since the last reset, a float32 tensor [heads]; -inf where nothing ran.

        Signed, scaled and masked: the maximum of q.k * softmax_scale over the batch and the visible
        token pairs. Exact wherever it exceeds tau, otherwise an upper bound that does not.
        """

    def reset_max_logits(self) -> None:
        """Forget what was measured; called once per optimizer step."""

    def scale_attention_logits(self, factor_H: Any) -> None:
        """Scale weights in place so that head h's logits become factor_H[h] times what they were.

        `factor_H` is a float32 tensor [heads] with entries in (0, 1].
        """
