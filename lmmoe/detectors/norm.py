"""The L2 norm of the scaled row: no training beyond means and deviations."""

import numpy as np

from lmmoe.detectors import register
from lmmoe.detectors.base import Floats
from lmmoe.detectors.scaling import Scaled, Scaling
from lmmoe.detectors.windowed import Learning


@register("MTSExample")
class MTSExample(Scaled):
    """Sum over channels of the squared z-score, the literature's squared L2 norm.

    The study's repository calls it MTSExample, and it is that study's top scorer.
    """

    name = "MTSExample"

    def _channel_scores(self, rows: Floats) -> Floats:
        return self._scaling(rows) ** 2

    def _score(self, rows: Floats) -> Floats:
        return self._channel_scores(rows).sum(axis=1)


@register("L2 min-max")
class L2MinMax(Scaled):
    """Euclidean norm of the row after min-max scaling by the training rows.

    Source: Sarfraz et al., "Position: Quo Vadis, Unsupervised Time Series Anomaly Detection?"
    (ICML 2024), baseline "L2-norm". A channel at its lowest training value adds nothing. A channel
    adds the square of its scaled value to the squared score; `channel_scores` gives these squares.
    The range is that of all training rows, so that thresholds from the last of them are a little
    low.
    """

    name = "L2 min-max"

    def _scaler(self, rows: Floats) -> Scaling:
        return Scaling.min_max(rows)

    def _channel_scores(self, rows: Floats) -> Floats:
        return self._scaling(rows) ** 2

    def _score(self, rows: Floats) -> Floats:
        return np.sqrt(self._channel_scores(rows).sum(axis=1))


@register("range deviation")
class RangeDeviation(Learning):
    """How many channels of the row lie outside their range in the training rows learned from.

    Source: Sarfraz et al. (ICML 2024), baseline "sensor range deviation"; theirs is 1 where any
    channel does, and sees no step of a constant channel that is shorter than 1 in its raw unit.
    """

    name = "range deviation"
    seeded = False

    def _fit(self, rows: Floats) -> None:
        learned = rows[: self._cut(len(rows))]
        self._low, self._high = learned.min(axis=0), learned.max(axis=0)

    def _channel_scores(self, rows: Floats) -> Floats:
        return ((rows < self._low) | (rows > self._high)).astype(np.float64)

    def _score(self, rows: Floats) -> Floats:
        return self._channel_scores(rows).sum(axis=1)

    def _state(self) -> dict[str, np.ndarray]:
        return {"low": self._low, "high": self._high}

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self._low, self._high = state["low"], state["high"]
