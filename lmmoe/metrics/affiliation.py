"""Affiliation precision and recall: how near alarms are to events, and events to alarms.

Huet, Navarro, Rossi, "Local Evaluation of Time Series Anomaly Detection Algorithms", KDD 2022.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.metrics.f1 import BestF1, Bits, Floats, checked
from lmmoe.metrics.vus import THRESHOLDS, thresholds
from lmmoe.segments import segments

Integers = npt.NDArray[np.intp]
QUARTERS = np.arange(1, 8, 2)[:, None] / 8  # their middles, in a row


class Affiliation(NamedTuple):
    """Each in [0, 1]; NaN where undefined."""

    precision: float
    recall: float
    f1: float


def affiliation(*, labels: npt.ArrayLike, alarms: npt.ArrayLike) -> Affiliation:
    """Judge alarms ``(t,)`` of 0/1 by their distance to events (Huet et al., sections 3 and 4).

    Row i covers the interval [i, i + 1). Time is cut half-way between events into one zone each.
    Precision: how probable it is that a point drawn anywhere in the zone lies no nearer to the
    event than the alarms do; the mean over alarms, then over the zones that hold one. Recall: the
    same for the distance from each point of the event to the nearest alarm of its zone (0 where
    there is none); the mean over the event, then over all events. All integrals are exact.

    Without any alarm precision and F1 are NaN. The floor is high: flagging every row gives recall
    1 and a precision of (1 + p^2) / 2 in a zone of which the event is the share p. Raises
    `ValueError` on bad input (`lmmoe.metrics.f1.checked`) and on alarms that are not 0/1.
    """
    labels, flags = checked(labels, alarms, may_be_equal=True)
    for t in np.flatnonzero((flags != 0) & (flags != 1)):
        raise ValueError(f"alarm {flags[t]} at row {t} is neither 0 nor 1")
    return Affiliation(*(float(curve[0]) for curve in _curves(labels, np.where(flags, 0, 1), 1)))


def best_affiliation_f1(*, labels: npt.ArrayLike, scores: npt.ArrayLike) -> BestF1:
    """Find the threshold with the highest affiliation F1 on these labels: an upper bound.

    250 of the scores are tried (`lmmoe.metrics.vus.thresholds`): of more, a better one may lie
    between. Of equal F1s the highest threshold is returned. Raises `ValueError` as `affiliation`.
    """
    labels, scores = checked(labels, scores)
    grid, step = thresholds(scores)
    precision, recall, f1 = _curves(labels, step, THRESHOLDS)
    best = np.argmax(f1)
    return BestF1(*(float(curve[best]) for curve in (f1, precision, recall, grid)))


def _curves(labels: Bits, step: Integers, steps: int) -> tuple[Floats, Floats, Floats]:
    """Give precision, recall and F1 ``(steps,)`` where step k flags the rows with ``step <= k``."""
    rows, (first, until) = len(labels), segments(labels)
    borders = np.concatenate([[0], (until[:-1] + first[1:]) / 2, [rows]])
    zones = np.stack([borders[:-1], first, until, borders[1:]])
    # The middle of each half row: borders are multiples of a half, and in between all is linear.
    point, at = np.arange(0.25, rows, 0.5), np.repeat(step, 2)
    point, at = point[at < steps], at[at < steps]
    zone = np.searchsorted(borders[1:-1], point)
    left, start, end, right = zones[:, zone]
    distance = np.maximum(0, np.maximum(start - point, point - end))
    farther = np.maximum(0, start - left - distance) + np.maximum(0, right - end - distance)
    share = np.where(distance == 0, 1, farther / (right - left))
    sums, counts = np.zeros((2, len(first), steps))
    np.add.at(sums, (zone, at), share)
    np.add.at(counts, (zone, at), 1)
    sums, counts = sums.cumsum(axis=1), counts.cumsum(axis=1)
    holding = np.count_nonzero(counts, axis=0)
    total = np.sum(sums / np.maximum(counts, 1), axis=0)
    precision = np.where(holding > 0, total / np.maximum(holding, 1), np.nan)
    # The distance from a point of an event to an alarm bends at quarters of a row, too.
    inside, event = np.flatnonzero(labels), np.repeat(np.arange(len(first)), until - first)
    left, start, end, right = zones[:, event]
    point, weight = inside + QUARTERS, 1 / (end - start) / (right - left) / len(first)
    recall = np.empty(steps)
    for k in range(steps):
        flagged = np.flatnonzero(step <= k)
        upcoming = np.searchsorted(flagged, inside)
        before, after = np.append(flagged, -np.inf)[upcoming - 1], np.append(flagged, np.inf)
        before, after = np.where(before + 1 > left, before + 1, -np.inf), after[upcoming]
        after = np.where(after < right, after, np.inf)
        distance = np.maximum(0, np.minimum(point - before, after - point))
        nearer = np.minimum(point + distance, right) - np.maximum(point - distance, left)
        recall[k] = 1 - nearer.mean(axis=0) @ weight
    return precision, recall, 2 * precision * recall / (precision + recall)
