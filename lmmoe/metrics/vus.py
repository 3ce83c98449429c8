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
    surface = _Surface(labels, scores, int(window) // 2)
    areas = np.array([surface.areas(width) for width in range(int(window) + 1)])
    return VUS(*map(float, areas.mean(axis=0)))


class _Surface:
    """Counts by the first of the 250 thresholds that flags a row, shared by all widths."""

    def __init__(self, labels: Bits, scores: Floats, reach: int) -> None:
        self.rows, self.positives = len(scores), np.count_nonzero(labels)
        _, self.step = thresholds(scores)
        self.flagged = _by_threshold(self.step)
        self.hits = _by_threshold(self.step[labels])
        self.first, end = segments(labels)
        self.last = end - 1
        # Every (normal row, its distance to an event within reach), nearest first. A row between
        # two events stands here twice: its soft labels add up.
        distance = np.arange(1, reach + 1)[:, None]  # (reach, events) below
        rows = np.stack([self.first - distance, self.last + distance])
        distances = np.broadcast_to(distance, rows.shape)
        normal = (rows >= 0) & (rows < self.rows)
        normal &= ~labels[np.clip(rows, 0, self.rows - 1)]
        rows, distances = rows[normal], distances[normal]
        order = np.argsort(distances, kind="stable")
        near, self.slot = np.unique(rows[order], return_inverse=True)
        self.near_step, self.distance = self.step[near], distances[order]

    def areas(self, width: int) -> tuple[float, float]:
        """ROC and PR area for one buffer width."""
        reach = width // 2
        # Soft labels outside events, summed over the flagged rows, at each threshold.
        pairs = np.searchsorted(self.distance, reach, side="right")
        weights = np.sqrt(1 - self.distance[:pairs] / max(width, 1))
        soft = np.bincount(self.slot[:pairs], weights, minlength=len(self.near_step))
        soft = _by_threshold(self.near_step, np.minimum(soft, 1.0))
        # Regions, and the share of them that holds a flagged row, at each threshold.
        fresh = np.append(True, self.first[1:] - reach > self.last[:-1] + reach)
        start = np.maximum(self.first[fresh] - reach, 0)
        end = np.minimum(self.last[np.append(fresh[1:], True)] + reach, self.rows - 1) + 1
        bounds = np.ravel(np.column_stack([start, end]))
        steps = np.minimum.reduceat(np.append(self.step, THRESHOLDS), bounds)[::2]
        found = _by_threshold(steps) / len(start)

        hits, positives = self.hits + soft, self.positives + soft / 2
        recall = np.minimum(hits / positives, 1) * found
        false_alarm_rate = (self.flagged - hits) / (self.rows - positives)
        curve = [np.concatenate([[0.0], each, [1.0]]) for each in (recall, false_alarm_rate)]
        precision = hits / self.flagged
        return np.trapezoid(*curve), np.sum(np.diff(recall, prepend=0.0) * precision)


def _by_threshold(steps: npt.NDArray[np.intp], weights: Floats | None = None) -> Floats:
    return np.cumsum(np.bincount(steps, weights, minlength=THRESHOLDS), dtype=np.float64)
