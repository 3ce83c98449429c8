"""Forecasts that need no model: what every forecaster has to beat."""

from typing import Literal

import numpy as np

from lmmoe import kinds
from lmmoe.detectors import register
from lmmoe.detectors.base import Floats
from lmmoe.detectors.scaling import Scaling
from lmmoe.detectors.windowed import Windowed


@register("moving average")
@register("last value", window=1)
class MovingAverage(Windowed):
    """Forecast each row as the mean of the ``window`` rows before it; 1 repeats the last value.

    Score: the mean over channels of the squared error in z-scores, the rule of the study's
    forecasters, so that only the forecast differs (Hyndman and Athanasopoulos, "Forecasting:
    Principles and Practice", 3rd edition, section 5.2, the naive method). Only the scaling is
    learned: ``held_out`` changes nothing.
    """

    name = "moving average"
    seeded = False

    def __init__(
        self,
        *,
        window: int = 16,
        held_out: float = 0.1,
        first_scores: Literal["lowest", "zero"] = "lowest",
        seed: int = 0,
        contamination: float = 0.1,
    ) -> None:
        super().__init__(
            held_out=held_out, first_scores=first_scores, seed=seed, contamination=contamination
        )
        kinds.whole(window=window)
        self.window = window

    @property
    def unscored(self) -> int:
        """Rows before the first one that can be forecast."""
        return self.window

    def _fit(self, rows: Floats) -> None:
        self._scaling = Scaling.z_score(rows)

    def _late_channel_scores(self, rows: Floats) -> Floats:
        scaled = self._scaling(rows)
        past = np.lib.stride_tricks.sliding_window_view(scaled[:-1], self.window, axis=0)
        return (scaled[self.window :] - past.mean(axis=-1)) ** 2

    def _state(self) -> dict[str, np.ndarray]:
        return self._scaling.state

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self._scaling = Scaling(state["shift"], state["scale"])
