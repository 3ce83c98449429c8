"""Volume under the surface: ROC and PR areas that forgive being a little early or late."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.metrics.checks import checked
from lmmoe.metrics.grid import THRESHOLDS, thresholds
from lmmoe.segments import segments


class VUS(NamedTuple):
    """Volumes under the ROC and the precision-recall surface, each in [0, 1]."""

    roc: float
    pr: float


def vus(*, labels: npt.ArrayLike, scores: npt.ArrayLike, window: int) -> VUS:
    """Average the range-AUCs over all buffer widths w = 0..``window`` rows.

    Paparrizos et al., "Volume Under the Surface", VLDB 2022, as package TSB-AD 1.5 computes it.
    For each w, rows at distance d = 1..floor(w/2) from an event carry a soft label sqrt(1 - d/w),
    and an event counts as found in proportion to the regions (events widened by floor(w/2),
    merged) hit. A larger window forgives more; state it wherever the number appears.

    Only rows near an event change with w and only 250 thresholds are tried, so each w costs the
    rows within w/2 of an event, not t. Raises `ValueError` on bad input (`lmmoe.metrics.checks`).
    """
    labels, scores = checked(labels, scores)
    if window < 0 or window % 1:  # infinity leaves NaN, which is true as well
        raise ValueError(f"window={window}: a whole number of rows from 0 on is needed")
    surface = _Surface(labels, scores, int(window) // 2)
    areas = np.array([surface.areas(width) for width in range(int(window) + 1)])
    return VUS(*(float(area) for area in areas.mean(axis=0)))


class _Surface:
    """Counts by threshold step, shared by all widths.

    ``step[i]`` is the first of the 250 thresholds (from the highest down) that flags row i, so
    every count at all thresholds is a bincount over steps and a cumulative sum.
    """

    def __init__(
        self, labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64], reach: int
    ) -> None:
        self.rows = len(scores)
        self.step = np.searchsorted(-thresholds(scores), -scores, side="left")
        self.flagged = self._by_threshold(self.step)
        self.hits = self._by_threshold(self.step[labels])
        self.positives = np.count_nonzero(labels)
        self.first, end = segments(labels)
        self.last = end - 1
        self._pairs(labels, reach)

    def _pairs(self, labels: npt.NDArray[np.bool_], reach: int) -> None:
        """List every (normal row, its distance to an event within reach), nearest first.

        A row between two events stands here twice: its soft labels add up.
        """
        distance = np.arange(1, reach + 1)[:, None]  # (reach, events) below
        rows = np.stack([self.first - distance, self.last + distance])
        distances = np.broadcast_to(distance, rows.shape)
        inside = (rows >= 0) & (rows < self.rows)
        rows, distances = rows[inside], distances[inside]
        outside_events = ~labels[rows]
        rows, distances = rows[outside_events], distances[outside_events]
        order = np.argsort(distances, kind="stable")
        near, self.slot = np.unique(rows[order], return_inverse=True)
        self.near_step = self.step[near]
        self.distance = distances[order]

    def _by_threshold(
        self, steps: npt.NDArray[np.intp], weights: npt.NDArray[np.float64] | None = None
    ) -> npt.NDArray[np.float64]:
        return np.cumsum(np.bincount(steps, weights, minlength=THRESHOLDS), dtype=np.float64)

    def areas(self, width: int) -> tuple[float, float]:
        """ROC and PR area for one buffer width."""
        soft = self._soft(width)
        hits = self.hits + soft
        positives = self.positives + soft / 2
        recall = np.minimum(hits / positives, 1) * self._regions_hit(width // 2)
        false_alarm_rate = (self.flagged - hits) / (self.rows - positives)
        precision = hits / self.flagged
        roc = np.trapezoid(
            np.concatenate([[0.0], recall, [1.0]]), np.concatenate([[0.0], false_alarm_rate, [1.0]])
        )
        return roc, np.sum(np.diff(recall, prepend=0.0) * precision)

    def _soft(self, width: int) -> npt.NDArray[np.float64]:
        """Soft labels outside events, summed over the flagged rows, at each threshold."""
        pairs = np.searchsorted(self.distance, width // 2, side="right")
        weights = np.sqrt(1 - self.distance[:pairs] / max(width, 1))
        soft = np.bincount(self.slot[:pairs], weights, minlength=len(self.near_step))
        return self._by_threshold(self.near_step, np.minimum(soft, 1.0))

    def _regions_hit(self, reach: int) -> npt.NDArray[np.float64]:
        """Share of regions with a flagged row, at each threshold."""
        fresh = np.append(True, self.first[1:] - reach > self.last[:-1] + reach)
        start = np.maximum(self.first[fresh] - reach, 0)
        end = np.minimum(self.last[np.append(fresh[1:], True)] + reach, self.rows - 1) + 1
        bounds = np.ravel(np.column_stack([start, end]))
        steps = np.minimum.reduceat(np.append(self.step, THRESHOLDS), bounds)[::2]
        return self._by_threshold(steps) / len(start)
