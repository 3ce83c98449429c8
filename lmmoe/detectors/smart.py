"""SmartSimpleAD, a statistical baseline of the study."""

import numpy as np

from lmmoe.detectors import register
from lmmoe.detectors.base import Detector, Floats
from lmmoe.detectors.scaling import Scaling
from lmmoe.detectors.smoothing import unit
from lmmoe.errors import DataError

SHARES = (0.6, 0.25, 0.15)  # of level, spread and change in the score: the study's
SMOOTHED, SIGMA = 0.15, 0.8  # share and width, in rows, of the smoothed score: the study's


@register("SmartSimpleAD")
class SmartSimpleAD(Detector):
    """The study's mixture of level, spread and change, not causal: a score sees 6 rows ahead.

    Each scaled over the rows that are scored, so a score depends on all of these:

    - level: the squared norm of the weighted z-scores,
    - spread: their population variance in a centred window of 3 rows, summed over channels,
    - change: the variance of the differences inside a centred window of 7 rows, likewise.

    Windows are clipped at both ends. A channel weighs the root of its share of the variance of the
    scaled training rows, the weights summing to 1: so all channels weigh the same, but for constant
    ones, which weigh nothing. Source: the study's definition; equals its published results per
    machine on SMD under its protocol.
    """

    name = "SmartSimpleAD"
    seeded = False
    min_rows = 2
    rescales = True

    def _fit(self, rows: Floats) -> None:
        scaling = Scaling.z_score(rows)
        variance = np.where(np.ptp(rows, axis=0) > 0, scaling(rows).var(axis=0), 0.0)
        if not variance.any():
            raise DataError(f"no channel varies in training, and {self.name} weighs by variance")
        roots = np.sqrt(variance / variance.sum())
        self._scaling, self._weights = scaling, roots / roots.sum()

    def _score(self, rows: Floats) -> Floats:
        from scipy.ndimage import gaussian_filter1d

        weighted = self._scaling(rows) * self._weights
        parts = (
            (weighted**2).sum(axis=1),
            _variances(weighted, 3, 1),
            # 7 rows hold 6 differences: 3 before the row in the middle and 3 after.
            _variances(np.diff(weighted, axis=0), 6, 3),
        )
        mixed = sum(share * unit(part) for share, part in zip(SHARES, parts, strict=True))
        return (1 - SMOOTHED) * mixed + SMOOTHED * gaussian_filter1d(mixed, SIGMA)

    def _state(self) -> dict[str, np.ndarray]:
        return {"weights": self._weights} | self._scaling.state

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self._scaling = Scaling(state["shift"], state["scale"])
        self._weights = state["weights"]


def _variances(values: Floats, window: int, before: int) -> Floats:
    """Population variance of ``(t, c)`` in windows that start ``before`` values early.

    Summed over channels; windows reach beyond both ends by ``before`` values and are clipped.
    """
    gap = np.full((before, values.shape[1]), np.nan)
    padded = np.concatenate([gap, values, gap])
    views = np.lib.stride_tricks.sliding_window_view(padded, window, axis=0)
    return np.nanvar(views, axis=-1).sum(axis=1)
