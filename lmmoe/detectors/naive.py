"""Forecasts that need no model: what every forecaster has to beat."""

import numpy as np

from lmmoe import kinds
from lmmoe.detectors import register
from lmmoe.detectors.base import Floats
from lmmoe.detectors.scaling import Scaled
from lmmoe.detectors.windowed import Windowed


@register("moving average")
@register("last value", window=1)
class MovingAverage(Scaled, Windowed):
    """Forecast each row as the mean of the ``window`` rows before it; 1 repeats the last value.

    Score: the mean over channels of the squared error in z-scores, the rule of the study's
    forecasters, so that only the forecast differs (Hyndman and Athanasopoulos, "Forecasting:
    Principles and Practice", 3rd edition, section 5.2, the naive method). Only the scaling is
    learned: ``held_out`` changes nothing.
    """

    name = "moving average"

    def __init__(self, *, window: int = 16, **others: object) -> None:
        super().__init__(**others)
        kinds.whole(window=window)
        self.window = window

    @property
    def unscored(self) -> int:
        """Rows before the first one that can be forecast."""
        return self.window

    def _late_channel_scores(self, rows: Floats) -> Floats:
        scaled = self._scaling(rows)
        past = np.lib.stride_tricks.sliding_window_view(scaled[:-1], self.window, axis=0)
        return (scaled[self.window :] - past.mean(axis=-1)) ** 2
