"""Scores that ignore the values: the floors under every table."""

from zlib import crc32

import numpy as np

from lmmoe.detectors import register
from lmmoe.detectors.base import Detector, Floats


@register("random")
class Random(Detector):
    """Independent uniform numbers in [0, 1), whatever the rows; others for other rows."""

    name = "random"

    def _fit(self, rows: Floats) -> None:
        """Nothing to learn."""

    def _score(self, rows: Floats) -> Floats:
        # By itself a seed would give training and test rows, and all entities, the same numbers.
        data = crc32((rows + 0.0).tobytes())  # -0.0 becomes 0.0
        return np.random.default_rng([self.seed, data]).random(len(rows))

    def _channel_scores(self, rows: Floats) -> Floats:
        """No channel before another: each the same share."""
        return np.repeat(self._score(rows)[:, None] / rows.shape[1], rows.shape[1], axis=1)


@register("row index")
class RowIndex(Detector):
    """The position of a row in its series, from 0: what a late row gains by being late.

    Wu and Keogh, "Current Time Series Anomaly Detection Benchmarks are Flawed" (TKDE 2021),
    found the anomalies of several benchmarks mostly near the end ("run-to-failure bias").
    """

    name = "row index"
    seeded = False

    def _fit(self, rows: Floats) -> None:
        """Nothing to learn."""

    def _score(self, rows: Floats) -> Floats:
        return np.arange(len(rows), dtype=np.float64)
