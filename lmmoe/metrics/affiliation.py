"""Affiliation precision and recall: how near alarms are to events, and events to alarms.

Huet, Navarro, Rossi, "Local Evaluation of Time Series Anomaly Detection Algorithms", KDD 2022.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.metrics.checks import checked
from lmmoe.metrics.grid import THRESHOLDS, thresholds
from lmmoe.segments import segments

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]
NONE = np.iinfo(np.int64).max // 4  # a place that no row has


class Affiliation(NamedTuple):
    """Each in [0, 1]; NaN where undefined."""

    precision: float
    recall: float
    f1: float


class BestAffiliation(NamedTuple):
    """The best F1 and where it is reached: rows with ``score >= threshold`` are alarms."""

    f1: float
    precision: float
    recall: float
    threshold: float


def affiliation(*, labels: npt.ArrayLike, alarms: npt.ArrayLike) -> Affiliation:
    """Judge alarms ``(t,)`` of 0/1 by their distance to events (Huet et al., sections 3 and 4).

    Row i covers the interval [i, i + 1). Time is cut half-way between events into one zone each.
    Precision: how probable it is that a point drawn anywhere in the zone lies no nearer to the
    event than the alarms do; the mean over alarms, then over the zones that hold one. Recall: the
    same for the distance from each point of the event to the nearest alarm of its zone (0 where
    there is none); the mean over the event, then over all events. All integrals are exact.

    Without any alarm precision and F1 are NaN. The floor is high: flagging every row gives recall
    1 and a precision of (1 + p^2) / 2 in a zone of which the event is the share p, so that an F1
    of 2/3 says nothing. Raises `ValueError` on bad input (`lmmoe.metrics.checks`) and on alarms
    that are not 0/1.
    """
    labels, flags = checked(labels, alarms)
    odd = np.flatnonzero((flags != 0) & (flags != 1))
    if len(odd):
        raise ValueError(f"alarm {flags[odd[0]]} at row {odd[0]} is neither 0 nor 1")
    precision, recall = _curves(labels, np.where(flags == 1, 0, 1), 1)
    return Affiliation(float(precision[0]), float(recall[0]), float(_f1(precision, recall)[0]))


def best_affiliation_f1(*, labels: npt.ArrayLike, scores: npt.ArrayLike) -> BestAffiliation:
    """Find the threshold with the highest affiliation F1 on these labels: an upper bound.

    Tried are 250 of the scores at equal steps of rank (`lmmoe.metrics.grid`), so that with more
    rows a better one may lie between; of equal F1s the highest threshold is returned. Raises
    `ValueError` on bad input (`lmmoe.metrics.checks`).
    """
    labels, scores = checked(labels, scores)
    grid = thresholds(scores)
    step = np.searchsorted(-grid, -scores, side="left")
    precision, recall = _curves(labels, step, THRESHOLDS)
    f1 = _f1(precision, recall)
    best = np.argmax(f1)
    return BestAffiliation(*(float(part[best]) for part in (f1, precision, recall, grid)))


def _f1(precision: Floats, recall: Floats) -> Floats:
    return 2 * precision * recall / (precision + recall)


class _Zones:
    """Events and their zones, ``(n,)`` each, in half rows: borders half-way are whole numbers."""

    def __init__(self, labels: npt.NDArray[np.bool_]) -> None:
        start, end = segments(labels)
        self.start, self.end = 2 * start, 2 * end
        half_way = end[:-1] + start[1:]
        self.left = np.append(0, half_way)
        self.right = np.append(half_way, 2 * len(labels))
        self.width = self.right - self.left


def _curves(labels: npt.NDArray[np.bool_], step: Integers, steps: int) -> tuple[Floats, Floats]:
    """Give precision and recall ``(steps,)`` where step k flags the rows with ``step <= k``."""
    zones = _Zones(labels)
    zone = np.repeat(np.arange(len(zones.left)), zones.width)
    of_half = np.repeat(step, 2)
    used = of_half < steps
    places = np.flatnonzero(used)
    cells = (zone[used], of_half[used])
    return (
        _precision(zones, places, cells, (len(zones.left), steps)),
        _recall(zones, places, cells, labels, step, steps),
    )


def _precision(
    zones: _Zones, places: Integers, cells: tuple[Integers, Integers], shape: tuple[int, int]
) -> Floats:
    """Mean over zones with alarms; ``places`` are half rows, ``cells`` their zone and step."""
    zone, _ = cells
    middle = places + 0.5
    start, end = zones.start[zone], zones.end[zone]
    distance = np.maximum(0, np.maximum(start - middle, middle - end))
    # Within a half row this share is linear in the distance, so its middle gives the integral.
    farther = np.maximum(0, start - zones.left[zone] - distance)
    farther += np.maximum(0, zones.right[zone] - end - distance)
    share = np.where(distance == 0, 1, farther / zones.width[zone])
    flat = np.ravel_multi_index(cells, shape)
    sums = np.bincount(flat, share, shape[0] * shape[1]).reshape(shape).cumsum(axis=1)
    counts = np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape).cumsum(axis=1)
    holding = np.count_nonzero(counts, axis=0)
    total = np.sum(sums / np.maximum(counts, 1), axis=0)
    return np.where(holding > 0, total / np.maximum(holding, 1), np.nan)


def _recall(
    zones: _Zones,
    places: Integers,
    cells: tuple[Integers, Integers],
    labels: npt.NDArray[np.bool_],
    step: Integers,
    steps: int,
) -> Floats:
    """Mean over events, 0 for those whose zone holds no alarm."""
    before, after = _nearest_outside(zones, places, cells, steps)
    rows = np.flatnonzero(labels)
    event = np.repeat(np.arange(len(zones.left)), (zones.end - zones.start) // 2)
    recall = np.empty(steps)
    for k in range(steps):
        flagged = step[rows] <= k
        lost = _lost(zones, rows[flagged], event[flagged], before[:, k], after[:, k])
        recall[k] = np.mean(1 - lost / (zones.width * (zones.end - zones.start)))
    return recall


def _nearest_outside(
    zones: _Zones, places: Integers, cells: tuple[Integers, Integers], steps: int
) -> tuple[Integers, Integers]:
    """End of the last alarm before each event and start of the first one after it, in its zone.

    Two arrays ``(n, steps)`` of half rows; -`NONE` and `NONE` where there is no such alarm.
    """
    before = np.full((len(zones.left), steps), -NONE)
    after = -before
    zone, at = cells
    early, late = places < zones.start[zone], places >= zones.end[zone]
    np.maximum.at(before, (zone[early], at[early]), places[early] + 1)
    np.minimum.at(after, (zone[late], at[late]), places[late])
    return np.maximum.accumulate(before, axis=1), np.minimum.accumulate(after, axis=1)


def _lost(
    zones: _Zones, flagged: Integers, event: Integers, before: Integers, after: Integers
) -> Floats:
    """Recall lost to the gaps between alarms, times zone and event width, by event ``(n,)``.

    ``flagged`` ``(m,)`` are the alarmed rows inside events, ``event`` says which event's.
    """
    ends = np.cumsum(np.bincount(event, minlength=len(before)))
    begins = np.append(0, ends[:-1])
    # A gap lies between the end of one alarm and the start of the next one.
    left = np.insert(2 * flagged + 2, begins, before)
    right = np.insert(2 * flagged, ends, after)
    zone = np.repeat(np.arange(len(before)), ends - begins + 1)
    open_ = right > left
    left, right, zone = left[open_], right[open_], zone[open_]
    first, last = np.maximum(left, zones.start[zone]), np.minimum(right, zones.end[zone])
    # The first part is nearer to the alarm on its left, the rest to that on its right.
    middle = np.clip((left + right) / 2, first, last)
    # Where one of the two is missing its part is empty: any finite place does.
    left, right = np.maximum(left, zones.left[zone]), np.minimum(right, zones.right[zone])
    lost = _nearer(middle - left, zones.right[zone] - left)
    lost -= _nearer(first - left, zones.right[zone] - left)
    lost += _nearer(right - middle, right - zones.left[zone])
    lost -= _nearer(right - last, right - zones.left[zone])
    lost = np.bincount(zone, lost, len(before))
    silent = (before == -NONE) & (after == NONE) & (begins == ends)
    return np.where(silent, zones.width * (zones.end - zones.start), lost)


def _nearer(distance: Floats, room: Floats) -> Floats:
    """Integrate, from 0 to ``distance`` d, how much of a zone is nearer to a point than its alarm.

    A point at distance u from the alarm has u of the zone on the alarm's side and min(u, room - u)
    on the other, where ``room`` is the zone's width from the alarm on.
    """
    beyond = np.maximum(0, distance - room / 2)
    return distance**2 - beyond**2
