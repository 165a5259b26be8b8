"""What an optimizer can tell of its last step, at no wait for the device until somebody asks."""

import warnings
from collections.abc import Mapping, Sequence
from math import sqrt

import torch
from torch import Tensor

from openk2.optimizers.muon_update import UpdateStatistics
from openk2.optimizers.qk_clip import QKClip
from openk2.optimizers.sharded import Exchange

__all__ = ["StepDiagnostics", "check_gradients"]


def check_gradients(
    gradients: Mapping[Tensor, Tensor], left_out: Sequence[tuple[str, Tensor]]
) -> None:
    """Say what a step that trains less than its user thinks would keep to itself.

    `left_out`: (name, parameter) of what was frozen when the optimizer was built. RuntimeError if
    one of them has a gradient now; a warning if no parameter at all has one.
    """
    for name, parameter in left_out:
        if parameter.grad is not None:
            raise RuntimeError(
                f"{name} was frozen when the optimizer was built and has a gradient now; build the "
                "optimizer again, or freeze it"
            )
    if not gradients:
        warnings.warn(
            "no parameter of the optimizer has a gradient, so this step changes none; if the model "
            "was sharded, moved or given other parameters since, build the optimizer from it again",
            stacklevel=5,
        )


class StepDiagnostics:
    """The part of `MuonClipOptimizer` that is only read.

    Set `measure_orthogonality` before a step whose `orthogonality_residual` is wanted.
    """

    qk_clip: QKClip | None = None
    measure_orthogonality: bool = False
    _statistics: UpdateStatistics = UpdateStatistics()
    _exchange: Exchange | None = None

    @property
    def last_max_logits(self) -> Tensor | None:
        """S_max of the forward passes before the last step, [layers, heads]; None without clip."""
        return None if self.qk_clip is None else self.qk_clip.last_max_logits

    @property
    def last_clip_factors(self) -> Tensor | None:
        """gamma of the last step, [layers, heads]; None without clip."""
        return None if self.qk_clip is None else self.qk_clip.last_clip_factors

    def update_rms(self) -> float:
        """The root mean square of O_t over the Muon updates of the last step, about `rms_scale`.

        Of the matrices that this process orthogonalised, before the learning rate and without the
        decay; 0 if there were none. The host waits for the device here.
        """
        statistics = self._statistics
        if not statistics.elements:
            return 0.0
        return sqrt(sum(float(square) for square in statistics.squares) / statistics.elements)

    def orthogonality_residual(self) -> float | None:
        """The mean of ||O O^T - I||_F / sqrt(short side) over the matrices of the last step.

        None unless `measure_orthogonality` was True in that step; it costs one product a matrix.
        """
        residuals = self._statistics.residuals
        return float(torch.cat(residuals).mean()) if residuals else None

    @property
    def communication_bytes(self) -> tuple[int, int]:
        """(sent by this process in the last step, its share of the fewest that are needed)."""
        exchange = self._exchange
        return (exchange.bytes_sent, exchange.fewest_bytes) if exchange else (0, 0)
