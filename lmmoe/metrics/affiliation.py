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
NONE = np.iinfo(np.int64).max // 4  # a place that no row has, nor its negative


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
    first, until = segments(labels)
    # Each event's zone, start and end in half rows, where borders half-way are whole numbers.
    borders = np.concatenate([[0], until[:-1] + first[1:], [2 * len(labels)]])
    bounds = np.stack([borders[:-1], 2 * first, 2 * until, borders[1:]])
    # The half rows that some step flags, and the zone and the step of each.
    of_half = np.repeat(step, 2)
    places = np.flatnonzero(of_half < steps)
    zone = np.repeat(np.arange(len(first)), np.diff(borders))[places]
    at, (left, start, end, right) = of_half[places], bounds[:, zone]
    distance = np.maximum(0, np.maximum(start - places - 0.5, places + 0.5 - end))
    # Within a half row this share is linear in the distance, so its middle gives the integral.
    farther = np.maximum(0, start - left - distance) + np.maximum(0, right - end - distance)
    share = np.where(distance == 0, 1, farther / (right - left))
    sums, counts = np.zeros((2, len(first), steps))
    np.add.at(sums, (zone, at), share)
    np.add.at(counts, (zone, at), 1)
    sums, counts = sums.cumsum(axis=1), counts.cumsum(axis=1)
    holding = np.count_nonzero(counts, axis=0)
    total = np.sum(sums / np.maximum(counts, 1), axis=0)
    precision = np.where(holding > 0, total / np.maximum(holding, 1), np.nan)
    # End of the last alarm before each event, start of the first one after it, or NONE.
    before, after = np.full((2, len(first), steps), [[[-NONE]], [[NONE]]])
    early, late = places < start, places >= end
    np.maximum.at(before, (zone[early], at[early]), places[early] + 1)
    np.minimum.at(after, (zone[late], at[late]), places[late])
    before, after = np.maximum.accumulate(before, axis=1), np.minimum.accumulate(after, axis=1)
    rows, event = np.flatnonzero(labels), np.repeat(np.arange(len(first)), until - first)
    recall = np.empty(steps)
    for k in range(steps):
        flagged = step[rows] <= k
        recall[k] = _recall(bounds, rows[flagged], event[flagged], before[:, k], after[:, k])
    return precision, recall, 2 * precision * recall / (precision + recall)


def _recall(
    bounds: Integers, flagged: Integers, event: Integers, before: Integers, after: Integers
) -> float:
    """Mean over events, of which these rows are flagged, less what gaps between alarms lose."""
    ends = np.cumsum(np.bincount(event, minlength=len(before)))
    begins = np.append(0, ends[:-1])
    # A gap lies between the end of one alarm and the start of the next one.
    left = np.insert(2 * flagged + 2, begins, before)
    right = np.insert(2 * flagged, ends, after)
    zone = np.repeat(np.arange(len(before)), ends - begins + 1)
    open_ = right > left
    left, right, zone = left[open_], right[open_], zone[open_]
    zone_left, start, end, zone_right = bounds[:, zone]
    first, last = np.maximum(left, start), np.minimum(right, end)
    # The first part is nearer to the alarm on its left, the rest to that on its right.
    middle = np.clip((left + right) / 2, first, last)
    # Where one of the two is missing its part is empty: any finite place does.
    left, right = np.maximum(left, zone_left), np.minimum(right, zone_right)
    lost = _nearer(middle - left, zone_right - left) - _nearer(first - left, zone_right - left)
    lost += _nearer(right - middle, right - zone_left) - _nearer(right - last, right - zone_left)
    size = (bounds[3] - bounds[0]) * (bounds[2] - bounds[1])
    lost = np.bincount(zone, lost, len(before))
    silent = (before == -NONE) & (after == NONE) & (begins == ends)  # no alarm in the zone
    return np.mean(np.where(silent, 0, 1 - lost / size))


def _nearer(distance: Floats, room: Floats) -> Floats:
    """Integrate, from 0 to ``distance`` d, how much of a zone is nearer to a point than its alarm.

    A point at distance u from the alarm has u of the zone on the alarm's side and min(u, room - u)
    on the other, where ``room`` is the zone's width from the alarm on.
    """
    return distance**2 - np.maximum(0, distance - room / 2) ** 2
