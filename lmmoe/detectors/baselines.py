"""Detectors that learn a scaling at most: floors, norms, naive forecasts, a statistical mixture."""

from zlib import crc32

import numpy as np

from lmmoe.detectors.base import Arrays, Detector, First, Share, Whole
from lmmoe.detectors.scaling import Floats, unit
from lmmoe.errors import DataError


class Random(Detector):
    """Independent uniform numbers in [0, 1), whatever the rows; others for other rows."""

    name = "random"
    scaling = "none"

    def _score_rows(self, rows: Floats) -> Floats:
        # By itself a seed would give training and test rows, and all entities, the same numbers.
        data = crc32((rows + 0.0).tobytes())  # -0.0 becomes 0.0
        return np.random.default_rng([self.seed, data]).random(len(rows))

    def _score_channels(self, rows: Floats) -> Floats:
        """No channel before another: each the same share."""
        return np.repeat(self._score_rows(rows)[:, None] / rows.shape[1], rows.shape[1], axis=1)


class RowIndex(Detector):
    """The position of a row in its series, from 0: what a late row gains by being late.

    Wu and Keogh, "Current Time Series Anomaly Detection Benchmarks are Flawed" (TKDE 2021),
    found the anomalies of several benchmarks mostly near the end ("run-to-failure bias").
    """

    name = "row index"
    seeded = False
    scaling = "none"

    def _score_rows(self, rows: Floats) -> Floats:
        return np.arange(len(rows), dtype=np.float64)


class MTSExample(Detector):
    """Sum over channels of the squared z-score, the literature's squared L2 norm.

    The study's repository calls it MTSExample, and it is that study's top scorer.
    """

    name = "MTSExample"
    seeded = False

    def _score_channels(self, rows: Floats) -> Floats:
        return self._scaling(rows) ** 2

    def _score_rows(self, rows: Floats) -> Floats:
        return self._score_channels(rows).sum(axis=1)


class L2MinMax(MTSExample):
    """Euclidean norm of the row after min-max scaling by the training rows.

    Source: Sarfraz et al., "Position: Quo Vadis, Unsupervised Time Series Anomaly Detection?"
    (ICML 2024), baseline "L2-norm". A channel's score is its share in the squared norm.
    """

    name = "L2 min-max"
    scaling = "min-max"

    def _score_rows(self, rows: Floats) -> Floats:
        return np.sqrt(super()._score_rows(rows))


class RangeDeviation(Detector):
    """How many channels of the row lie outside their range in the training rows learned from.

    Source: Sarfraz et al. (ICML 2024), baseline "sensor range deviation"; theirs is 1 where any
    channel does.
    """

    name = "range deviation"
    seeded = False
    scaling = "none"
    parameters = 0  # a range is no more than a scaling

    held_out: Share = 0.1

    def _learn(self, scaled: Floats) -> Arrays:
        return {"low": scaled.min(axis=0), "high": scaled.max(axis=0)}

    def _score_channels(self, rows: Floats) -> Floats:
        low, high = self._learned["low"], self._learned["high"]
        return ((rows < low) | (rows > high)).astype(np.float64)

    def _score_rows(self, rows: Floats) -> Floats:
        return self._score_channels(rows).sum(axis=1)


class MovingAverage(Detector):
    """Forecast each row as the mean of the ``window`` rows before it; 1 repeats the last value.

    Score: the mean over channels of the squared error in z-scores (Hyndman and Athanasopoulos,
    "Forecasting: Principles and Practice", 3rd edition, section 5.2).
    """

    name = "moving average"
    seeded = False
    horizon = 1

    held_out: Share = 0.1
    first_scores: First = "lowest"
    window: Whole = 16

    def _score_channels(self, rows: Floats) -> Floats:
        scaled = self._scaling(rows)
        past = np.lib.stride_tricks.sliding_window_view(scaled[:-1], self.window, axis=0)
        return (scaled[self.window :] - past.mean(axis=-1)) ** 2


class SmartSimpleAD(Detector):
    """The study's mixture of level, spread and change, not causal: a score sees 6 rows ahead.

    Level (0.6) is the squared norm of the weighted z-scores, spread (0.25) their population
    variance in a centred window of 3 rows, change (0.15) the variance of the differences inside one
    of 7 rows, both summed over channels; windows are clipped at both ends. Each is scaled over the
    rows that are scored. Channels that vary in training weigh the same, constant ones nothing.
    """

    name = "SmartSimpleAD"
    seeded = False
    min_rows = 2
    rescales = True
    parameters = 0  # weights tell which channels vary, no more

    def _learn(self, scaled: Floats) -> Arrays:
        # The study's rule: the root of a channel's share of the variance of the scaled rows.
        variance = np.where(np.ptp(scaled, axis=0) > 0, scaled.var(axis=0), 0.0)
        if not variance.any():
            raise DataError(f"no channel varies in training, and {self.name} weighs by variance")
        roots = np.sqrt(variance / variance.sum())
        return {"weights": roots / roots.sum()}

    def _score_rows(self, rows: Floats) -> Floats:
        import pandas as pd
        from scipy.ndimage import gaussian_filter1d

        weighted = pd.DataFrame(self._scaling(rows) * self._learned["weights"])
        spread = weighted.rolling(3, center=True, min_periods=1).var(ddof=0)
        # 7 rows hold 6 differences: the last is 3 rows after the one in the middle.
        steps = weighted.diff().reindex(range(len(rows) + 3))
        change = steps.rolling(6, min_periods=1).var(ddof=0)[3:]
        sums = (part.sum(axis=1).to_numpy() for part in (weighted**2, spread, change))
        level, spread, change = map(unit, sums)
        mixed = 0.6 * level + 0.25 * spread + 0.15 * change
        return (1 - 0.15) * mixed + 0.15 * gaussian_filter1d(mixed, sigma=0.8)
