"""Volume under the surface: ROC and PR areas that forgive being a little early or late."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.metrics.f1 import Bits, Floats, checked
from lmmoe.segments import segments

THRESHOLDS = 250  # as package TSB-AD 1.5, whose values the published leaderboards show


class VUS(NamedTuple):
    """Volumes under the ROC and the precision-recall surface, each in [0, 1]."""

    roc: float
    pr: float


def thresholds(scores: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Choose 250 of the scores ``(t,)`` at equal steps of rank, from the highest to the lowest.

    Also give the first of them that flags each row, ``(t,)``.
    """
    ranks = np.linspace(0, len(scores) - 1, THRESHOLDS).astype(int)
    grid = -np.sort(-scores)[ranks]
    return grid, np.searchsorted(-grid, -scores, side="left")


def vus(*, labels: npt.ArrayLike, scores: npt.ArrayLike, window: int) -> VUS:
    """Average the range-AUCs over all buffer widths w = 0..``window`` rows.

    Paparrizos et al., "Volume Under the Surface", VLDB 2022, as package TSB-AD 1.5 computes it.
    For each w, rows at distance d = 1..floor(w/2) from an event carry a soft label sqrt(1 - d/w),
    and an event counts as found in proportion to the regions (events widened by floor(w/2),
    merged) hit. A larger window forgives more; state it wherever the number appears.

    250 thresholds are tried. Raises `ValueError` on bad input (`lmmoe.metrics.f1.checked`).
    """
    labels, scores = checked(labels, scores)
    if window < 0 or window % 1:  # infinity leaves NaN, which is true as well
        raise ValueError(f"window={window}: a whole number of rows from 0 on is needed")
    return VUS(*map(float, np.mean(_areas(labels, scores, int(window)), axis=0)))


def _areas(labels: Bits, scores: Floats, window: int) -> list[tuple[float, float]]:
    """ROC and PR area for each buffer width; counts are by the threshold that flags a row first."""
    rows, events, step = len(scores), np.count_nonzero(labels), thresholds(scores)[1]
    flagged, true = _by_threshold(step), _by_threshold(step[labels])
    first, end = segments(labels)
    # Every normal row within reach of an event, and the distance. A row between two events stands
    # here twice: its soft labels add up.
    distance = np.arange(1, window // 2 + 1)[:, None]  # (reach, events) below
    near = np.stack([first - distance, end - 1 + distance])
    normal = (near >= 0) & (near < rows) & ~labels[np.clip(near, 0, rows - 1)]
    distance = np.broadcast_to(distance, near.shape)[normal]
    near, slot = np.unique(near[normal], return_inverse=True)
    areas = []
    for width in range(window + 1):
        reach = width // 2
        # Soft labels outside events, summed over the flagged rows, at each threshold.
        within = distance <= reach
        soft = np.sqrt(1 - distance[within] / max(width, 1))
        soft = np.bincount(slot[within], soft, minlength=len(near))
        soft = _by_threshold(step[near], np.minimum(soft, 1.0))
        # Regions, and the share of them that holds a flagged row, at each threshold.
        apart = first[1:] - reach > end[:-1] - 1 + reach
        starts = np.maximum(first[np.append(True, apart)] - reach, 0)
        ends = np.minimum(end[np.append(apart, True)] + reach, rows)
        bounds = np.ravel(np.column_stack([starts, ends]))
        steps = np.minimum.reduceat(np.append(step, THRESHOLDS), bounds)[::2]
        hits, positives = true + soft, events + soft / 2
        recall = np.minimum(hits / positives, 1) * _by_threshold(steps) / len(starts)
        false_alarm_rate = (flagged - hits) / (rows - positives)
        curve = [np.concatenate([[0.0], each, [1.0]]) for each in (recall, false_alarm_rate)]
        pr = np.sum(np.diff(recall, prepend=0.0) * hits / flagged)
        areas.append((np.trapezoid(*curve), pr))
    return areas


def _by_threshold(steps: npt.NDArray[np.intp], weights: Floats | None = None) -> Floats:
    return np.cumsum(np.bincount(steps, weights, minlength=THRESHOLDS), dtype=np.float64)
