"""What differences between detectors are worth: intervals and paired tests.

Values are one number per entity, seeds averaged before; NaN stands for "no result". Entities of one
fleet are not independent of each other, which none of these methods knows: intervals are too
narrow and p-values too small where machines resemble each other.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

# Tables of runs keep ten significant digits: what differs by less is the same number.
DIGITS = 9


class Paired(NamedTuple):
    """One detector against another on the ``entities`` for which both have values.

    ``difference`` is the mean of first - second, ``low`` and ``high`` bound it; ``wins`` counts
    the entities on which the first is higher; ``p`` is `wilcoxon_p`'s.
    """

    entities: int
    difference: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int
    p: float


def bootstrap_mean(values: npt.ArrayLike) -> tuple[float, float, float]:
    """Give the mean of values ``(n,)`` and both ends of its 95 % percentile bootstrap interval.

    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3, with 10,000 draws.
    NaN values are left out. One value has no interval (NaN), none no mean either; with a handful
    the interval is too narrow, as percentile intervals are.
    """
    known = np.sort(_known(values))  # whatever the order of the entities
    if len(known) < 2:
        return known.mean() if len(known) else np.nan, np.nan, np.nan
    drawn = np.random.default_rng(0).integers(len(known), size=(10_000, len(known)))
    low, high = np.quantile(known[drawn].mean(axis=1), [0.025, 0.975])
    return float(known.mean()), float(low), float(high)


def wilcoxon_p(differences: npt.ArrayLike) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (Biometrics Bulletin, 1945), exact.

    Differences ``(n,)`` of zero are dropped, as Wilcoxon did; equal sizes share their mean rank.
    All 2^n ways to choose the signs count, in O(n^3) steps, so ties and a small n do no harm. But
    with 5 differences or fewer p is never below 0.0625. NaN without any, 1 where all are zero.
    """
    known = _known(differences).round(DIGITS)
    if not len(known):
        return np.nan
    known = known[known != 0]
    twice = (2 * pd.Series(np.abs(known)).rank()).to_numpy(int)  # mean ranks are halves
    chances = np.zeros(twice.sum() + 1)  # of each sum of the ranks with a plus
    chances[0] = 1.0
    for rank in twice:
        chances = (chances + np.append(np.zeros(rank), chances[:-rank])) / 2
    rarer = min(twice[known > 0].sum(), twice[known < 0].sum())
    return float(min(1.0, 2 * chances[: rarer + 1].sum()))


def paired(first: npt.ArrayLike, second: npt.ArrayLike) -> Paired:
    """Compare two detectors by values ``(n,)`` on the same entities; NaN pairs are left out."""
    differences = _known(np.subtract(first, second)).round(DIGITS)
    counts = [int((np.sign(differences) == sign).sum()) for sign in (1, 0, -1)]
    interval, p = bootstrap_mean(differences), wilcoxon_p(differences)
    return Paired(len(differences), *interval, *counts, p)


def holm(p: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Adjust p-values ``(m,)`` for m comparisons (Holm, Scandinavian J. of Statistics, 1979).

    The i-th smallest is multiplied by m - i + 1; none becomes smaller than one before it, nor
    larger than 1. NaN stays NaN and does not count among the m.
    """
    known = pd.Series(np.asarray(p, dtype=float))
    ranked = known.dropna().sort_values()
    adjusted = (ranked * np.arange(len(ranked), 0, -1)).cummax().clip(upper=1)
    return adjusted.reindex(known.index).to_numpy()


def _known(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values = np.asarray(values, dtype=float)
    return values[~np.isnan(values)]
