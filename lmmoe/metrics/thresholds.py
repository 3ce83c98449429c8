"""Thresholds that no label touches: quantile, alarm budget, peaks over threshold.

All come from calibration scores ``(t,)``, those of consecutive rows taken as normal that the model
was not fitted on. A row is flagged where its score is above the threshold, not at it. Bad scores
raise `ValueError`.
"""

import math

import numpy as np
import numpy.typing as npt

from lmmoe.metrics.alarms import APART
from lmmoe.metrics.f1 import Floats, numbers

FEWEST_EXCESSES = 10  # our choice: with fewer, the two fitted numbers say nothing


def quantile(calibration: npt.ArrayLike, share: float) -> float:
    """Give the score that ``share`` of the calibration rows do not exceed (interpolated)."""
    if not 0 <= share <= 1:
        raise ValueError(f"share={share}: it must be from 0 to 1")
    return float(np.quantile(numbers(calibration, "calibration score"), share))


def alarm_budget(calibration: npt.ArrayLike, rows_per_day: float, *, per_day: float = 1.0) -> float:
    """Give the lowest threshold that keeps to a budget of alarms on the calibration rows.

    That is the lowest calibration score such that at it and at every higher one the number of
    alarms (as `lmmoe.metrics.alarms` counts them) is at most ``per_day`` times the days that the
    rows span. Where none is allowed, the highest score is given, which flags no row.
    """
    scores = numbers(calibration, "calibration score")
    if not 0 < rows_per_day < math.inf:
        raise ValueError(f"rows_per_day={rows_per_day}: a number above 0 is needed")
    if not 0 <= per_day < math.inf:
        raise ValueError(f"per_day={per_day}: a number from 0 on is needed")
    budget = per_day * len(scores) / rows_per_day + 1e-9  # 0.29 * 100 is a little under 29
    # Row i begins an alarm where its score is above the threshold and no recent one is.
    padded = np.concatenate([np.full(APART, -np.inf), scores[:-1]])
    recent = np.lib.stride_tricks.sliding_window_view(padded, APART).max(axis=1)
    begins = recent < scores
    candidates = np.unique(scores)
    counts = np.searchsorted(np.sort(recent[begins]), candidates, side="right")
    counts -= np.searchsorted(np.sort(scores[begins]), candidates, side="right")
    over = np.flatnonzero(counts > budget)
    return float(candidates[over[-1] + 1 if len(over) else 0])


def pot(calibration: npt.ArrayLike, *, level: float = 0.98, q: float = 1e-4) -> float:
    """Give the threshold that a share ``q`` of normal rows should exceed: peaks over threshold.

    Siffer et al., "Anomaly Detection in Streams with Extreme Value Theory", KDD 2017, section 3:
    a generalised Pareto distribution (shape g, scale s) is fitted to the N excesses over t, the
    ``level`` quantile of the n scores; the threshold is t + s / g ((q n / N)^-g - 1). Level and q
    are one choice for all data, made beforehand. With fewer than 10 excesses there is no tail to
    fit: the highest calibration score is given. Where fewer than a share q exceed t, t is given.
    """
    scores = numbers(calibration, "calibration score")
    if not (0 < level < 1 and 0 < q < 1):
        raise ValueError(f"level={level}, q={q}: both must be above 0 and below 1")
    start = np.quantile(scores, level)
    excesses = scores[scores > start] - start
    if len(excesses) < FEWEST_EXCESSES:
        return float(scores.max())
    shape, scale = fit_pareto(excesses)
    fall = math.log(min(1.0, q * len(scores) / len(excesses)))
    # As g becomes 0, this becomes -s log(q n / N).
    return float(start + scale * (np.expm1(-shape * fall) / shape if shape else -fall))


def fit_pareto(excesses: Floats) -> tuple[float, float]:
    """Fit a generalised Pareto distribution to numbers above 0 ``(n,)``: shape g and scale s.

    Maximum likelihood in one dimension: given r = g / s, the best g is the mean of log(1 + r y)
    (Grimshaw, "Computing Maximum Likelihood Estimates for the Generalized Pareto Distribution",
    Technometrics 1993). As there, g is at least -1, below which the likelihood has no bound. The
    maximum over r is searched on a grid that is narrowed again and again: several may be local.
    """
    top = excesses.max()
    values = excesses / top
    # u = log(1 + r top) runs over all numbers as r does over those that are allowed.
    low, high, places = -30.0, 30.0, 241
    for _ in range(7):
        grid = np.linspace(low, high, places)
        ratio = np.expm1(grid)
        flat = np.abs(ratio) < 1e-9  # the exponential distribution, whose scale is the mean
        mean = np.log1p(ratio[:, None] * values).mean(axis=1)
        shape = np.where(flat, 0.0, np.maximum(mean, -1))
        scale = np.where(flat, values.mean(), shape / np.where(flat, 1, ratio))
        # The density is (1 + r y)^(-1 - 1 / g) / s.
        likelihood = -np.log(scale) - mean - np.where(mean < -1, -mean, 1)
        best = int(np.argmax(likelihood))
        low, high, places = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)], 21
    return float(shape[best]), float(scale[best] * top)
