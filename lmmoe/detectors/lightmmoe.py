"""LightMMoE, the study's detector, and CAD, which it is derived from."""

import torch
from torch import Tensor

from lmmoe import training
from lmmoe.detectors import register
from lmmoe.detectors.base import Floats
from lmmoe.detectors.mixture import LOSSES, Mixture
from lmmoe.mmoe import MMoE, byhand, scoring


@register("LightMMoE")
@register("untrained LightMMoE", epochs=0)
@register(
    "CAD",
    experts=3,
    tower=128,
    shared=0.0,
    expert_dropout=0.0,
    tower_dropout=0.0,
    batch=128,
    epochs=8,
)
@register(
    "CAD-FSE23",
    experts=5,
    kernels=16,
    hidden=256,
    out=128,
    tower=32,
    expert_dropout=0.0,
    tower_dropout=0.0,
    horizon=3,
    scaling="none",
    batch=128,
    epochs=10,
)
class LightMMoE(Mixture):
    """A light multi-gate mixture of experts; the settings of the study's program.

    Presets: ``LightMMoE`` (232,390 parameters at 38 channels), the same ``untrained``; ``CAD`` as
    the study describes it (465,182), which is not what it ran (`lmmoe.detectors.cad_as_run`);
    ``CAD-FSE23`` as its paper sets it for SMD (1,106,598; "Beyond Sharing: Conflict-Aware
    Multivariate Time Series Anomaly Detection", ESEC/FSE 2023, section 4), on data as published.
    """

    name = "LightMMoE"

    def _learner(
        self, network: MMoE, inputs: Tensor, generator: torch.Generator
    ) -> training.Learner:
        """Take steps with hand-written gradients where the settings are among those they know."""
        if self.clip or self.plateau or self.adaptive or not byhand.suits(network):
            return super()._learner(network, inputs, generator)
        return byhand.Descent(
            network,
            LOSSES[self.loss],
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            generator=generator,
        )

    def _forecasts(self, rows: Floats) -> Tensor:
        """Forecast rows ``unscored`` to the last; by the fast way under the same condition."""
        if not byhand.suits(self.network):
            return super()._forecasts(rows)
        scaled = self._scaled(rows)
        return scoring.forecasts(self.network, scaled[: len(scaled) - self.horizon])
