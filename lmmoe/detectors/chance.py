"""Random scores: the floor under every table."""

import numpy as np

from lmmoe.detectors import register
from lmmoe.detectors.base import Detector, Floats


@register("random")
class Random(Detector):
    """Independent uniform numbers in [0, 1), whatever the rows."""

    name = "random"

    def _fit(self, rows: Floats) -> None:
        """Nothing to learn."""

    def _score(self, rows: Floats) -> Floats:
        return np.random.default_rng(self.seed).random(len(rows))
