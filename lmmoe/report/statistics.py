"""What differences between detectors are worth: intervals, paired tests, mean ranks.

Values are one number per entity, seeds averaged before; NaN stands for "no result". Entities of one
fleet are not independent of each other, which none of these methods knows: intervals are too
narrow and p-values too small where machines resemble each other.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

# Tables of runs keep ten significant digits: what differs by less is the same number.
DIGITS = 9


class Interval(NamedTuple):
    """A mean and the ends of its bootstrap interval."""

    mean: float
    low: float
    high: float


class Paired(NamedTuple):
    """One detector against another on the entities where both have a value.

    ``difference`` is the mean of first - second, ``low`` and ``high`` bound it; ``wins`` counts
    the entities on which the first is better; ``p`` is `wilcoxon_p`'s.
    """

    pairs: int
    difference: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int
    p: float


class MeanRanks(NamedTuple):
    """Mean rank of each detector (1 is best) over the entities that all of them have.

    ``ranks`` is sorted, best first; ``left_out`` names the detectors with too few entities;
    ``statistic`` and ``p`` are Friedman's; two detectors differ at ``alpha`` where their mean
    ranks lie at least ``critical_difference`` apart.
    """

    ranks: pd.Series
    entities: int
    left_out: tuple[str, ...]
    statistic: float
    p: float
    critical_difference: float
    alpha: float


def bootstrap_mean(
    values: npt.ArrayLike, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Give the mean of values ``(n,)`` and its percentile bootstrap interval.

    Entities are drawn with replacement; the interval lies between the quantiles of the resampled
    means (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3). NaN values
    are left out. One value has no interval (NaN), none no mean either; with a handful the interval
    is too narrow, as percentile intervals are.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}: it must lie between 0 and 1")
    known = np.sort(_known(values))  # whatever the order of the entities
    if len(known) < 2:
        return Interval(float(known[0]) if len(known) else np.nan, np.nan, np.nan)
    drawn = np.random.default_rng(seed).integers(len(known), size=(resamples, len(known)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(known[drawn].mean(axis=1), [tail, 1 - tail])
    return Interval(float(known.mean()), float(low), float(high))


def wilcoxon_p(differences: npt.ArrayLike) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (Biometrics Bulletin, 1945), exact.

    Differences ``(n,)`` of zero are dropped, as Wilcoxon did; equal sizes share their mean rank.
    The p-value counts all 2^n ways to choose the signs, so it is exact with ties and for small n
    too. But with 5 differences or fewer it cannot go below 0.0625: then nothing is significant at
    5 %. NaN without any difference, 1 where all are zero. Takes O(n^3).
    """
    from scipy.stats import rankdata

    known = _known(differences).round(DIGITS)
    if not len(known):
        return np.nan
    known = known[known != 0]
    twice = (2 * rankdata(np.abs(known))).astype(int)  # mean ranks are halves
    chances = np.zeros(twice.sum() + 1)  # of each sum of the ranks with a plus
    chances[0] = 1.0
    for rank in twice:
        chances = chances / 2
        chances[rank:] += chances[: len(chances) - rank].copy()
    plus = twice[known > 0].sum()
    rarer = min(plus, twice.sum() - plus)
    return float(min(1.0, 2 * chances[: rarer + 1].sum()))


def paired(first: npt.ArrayLike, second: npt.ArrayLike, *, higher_is_better: bool = True) -> Paired:
    """Compare two detectors by their values ``(n,)`` on the same entities; NaN pairs are left out.

    Raises `ValueError` where the two are not of one length.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(
            f"shapes {first.shape} and {second.shape}: give one value per entity, of both"
        )
    differences = _known(first - second).round(DIGITS)
    better = differences if higher_is_better else -differences
    return Paired(
        len(differences),
        *bootstrap_mean(differences),
        int((better > 0).sum()),
        int((better == 0).sum()),
        int((better < 0).sum()),
        wilcoxon_p(differences),
    )


def holm(p: npt.ArrayLike) -> Floats:
    """Adjust p-values ``(m,)`` for m comparisons (Holm, Scandinavian J. of Statistics, 1979).

    The i-th smallest is multiplied by m - i + 1; none becomes smaller than one before it, nor
    larger than 1. NaN stays NaN and does not count among the m.
    """
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, kind="stable")[: np.isfinite(p).sum()]  # NaN sorts last
    factors = np.arange(len(order), 0, -1)
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1.0)
    return adjusted


def largest_block(table: pd.DataFrame) -> pd.DataFrame:
    """Choose entities (rows) and detectors (columns) such that no value is missing.

    Of the choices "the k detectors with most entities, on the entities that they all have" it
    takes the one that keeps most values; of equal ones, that with more detectors. So one slow
    detector that ran on a few entities is left out rather than all the others' entities.
    """
    by_coverage = table.notna().sum().sort_values(ascending=False, kind="stable").index
    known = table[by_coverage].notna().to_numpy()
    kept = np.logical_and.accumulate(known, axis=1).sum(axis=0) * np.arange(1, known.shape[1] + 1)
    if not kept.size or not kept.max():
        return table.iloc[:0, :0]
    count = len(kept) - int(np.argmax(kept[::-1]))
    chosen = set(by_coverage[:count])
    return table[[name for name in table if name in chosen]].dropna()


def mean_ranks(
    table: pd.DataFrame, *, higher_is_better: bool = True, alpha: float = 0.05
) -> MeanRanks:
    """Rank detectors (columns) on every entity (rows) and average (Demsar, JMLR 2006, section 3.2).

    Equal values share their mean rank. Only complete entities count (`largest_block`). Friedman's
    statistic is corrected for ties; its p comes from chi squared with k - 1 degrees of freedom,
    which is rough below 10 entities or 5 detectors (Demsar, 3.2.2); both are NaN for two detectors,
    and where all are tied. The critical difference is Nemenyi's: q sqrt(k (k + 1) / (6 N)) for k
    detectors on N entities, q from the studentized range with infinite degrees of freedom, divided
    by sqrt 2. All NaN with fewer than two detectors or entities.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    block = largest_block(table)
    left_out = tuple(name for name in table if name not in block)
    values = block.to_numpy(dtype=float).round(DIGITS)
    ranks = rankdata(-values if higher_is_better else values, axis=1) if values.size else values
    means = pd.Series(ranks.mean(axis=0) if values.size else [], index=block.columns, dtype=float)
    statistic = p = critical = np.nan
    if min(ranks.shape) >= 2:
        n, k = ranks.shape
        q = studentized_range.ppf(1 - alpha, k, np.inf) / np.sqrt(2)
        critical = float(q * np.sqrt(k * (k + 1) / (6 * n)))
        if k > 2 and np.ptp(ranks) > 0:  # all tied: nothing tells the detectors apart
            statistic, p = map(float, friedmanchisquare(*ranks.T))
    means = means.sort_values(kind="stable")
    return MeanRanks(means, len(block), left_out, statistic, p, critical, alpha)


def _known(values: npt.ArrayLike) -> Floats:
    values = np.asarray(values, dtype=float)
    return values[~np.isnan(values)]
