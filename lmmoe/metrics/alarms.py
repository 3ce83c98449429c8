"""What somebody on call sees: alarms at one threshold, the false ones a day, the delay."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.metrics.checks import checked
from lmmoe.segments import segments

APART = 10  # rows: flagged rows with fewer unflagged ones between them are one alarm


class Alarms(NamedTuple):
    """What a threshold gives; NaN where undefined.

    ``precision``, ``recall`` and ``f1`` count flagged rows; without any, precision is NaN.
    ``events_found`` is the share of events that hold a flagged row; ``delay`` the mean number of
    rows from the start of such an event to the first flagged row in it.
    """

    precision: float
    recall: float
    f1: float
    events_found: float
    false_alarms_per_day: float
    delay: float


def alarms(
    *,
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    threshold: float,
    rows_per_day: float | None = None,
) -> Alarms:
    """Judge one threshold: rows with ``score > threshold`` are flagged.

    Flagged rows with fewer than 10 unflagged ones between them are one alarm, which reaches from
    its first to its last row. It is false if no row of that stretch belongs to an event. Days are
    all rows, events included, divided by ``rows_per_day``; without it the figure per day is NaN.
    Raises `ValueError` on bad input (`lmmoe.metrics.checks`).
    """
    labels, scores = checked(labels, scores)
    if math.isnan(threshold):
        raise ValueError("threshold=nan: a number is needed")
    if rows_per_day is not None and not (rows_per_day > 0 and math.isfinite(rows_per_day)):
        raise ValueError(f"rows_per_day={rows_per_day}: None or a number above 0 is needed")
    flagged = np.flatnonzero(scores > threshold)
    hits, positives = int(labels[flagged].sum()), int(labels.sum())
    start, end = segments(labels)
    seen, delay = _found(flagged, start, end)
    days = math.nan if rows_per_day is None else len(labels) / rows_per_day
    return Alarms(
        hits / len(flagged) if len(flagged) else math.nan,
        hits / positives,
        2 * hits / (len(flagged) + positives),
        seen,
        _false(flagged, start, end) / days,
        delay,
    )


def _found(
    flagged: npt.NDArray[np.intp], start: npt.NDArray[np.intp], end: npt.NDArray[np.intp]
) -> tuple[float, float]:
    """Share of events that hold a flagged row, and their mean delay."""
    first = np.append(flagged, end[-1])[np.searchsorted(flagged, start)]
    found = first < end
    delays = (first - start)[found]
    return float(found.mean()), float(delays.mean()) if len(delays) else math.nan


def _false(
    flagged: npt.NDArray[np.intp], start: npt.NDArray[np.intp], end: npt.NDArray[np.intp]
) -> int:
    """How many alarms touch no event."""
    if not len(flagged):
        return 0
    gaps = np.flatnonzero(np.diff(flagged) > APART)
    first, last = flagged[np.append(0, gaps + 1)], flagged[np.append(gaps, len(flagged) - 1)]
    next_event = np.searchsorted(end, first, side="right")  # the first that is not over yet
    return int(np.count_nonzero(np.append(start, last[-1] + 1)[next_event] > last))
