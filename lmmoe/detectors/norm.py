"""The L2 norm of the scaled row: no training beyond means and deviations."""

import numpy as np

from lmmoe.detectors import register
from lmmoe.detectors.base import Detector, Floats
from lmmoe.detectors.scaling import ZScore


@register("MTSExample")
class MTSExample(Detector):
    """Sum over channels of the squared z-score, the literature's squared L2 norm.

    The study's repository calls it MTSExample, and it is that study's top scorer.
    """

    name = "MTSExample"
    seeded = False

    def _fit(self, rows: Floats) -> None:
        self._scaling = ZScore.of(rows)

    def _channel_scores(self, rows: Floats) -> Floats:
        return self._scaling(rows) ** 2

    def _score(self, rows: Floats) -> Floats:
        return self._channel_scores(rows).sum(axis=1)

    def _state(self) -> dict[str, np.ndarray]:
        return {"mean": self._scaling.mean, "scale": self._scaling.scale}

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self._scaling = ZScore(state["mean"], state["scale"])
