"""What somebody on call sees: alarms at one threshold, the false ones a day, the delay."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.metrics.f1 import checked
from lmmoe.segments import segments

APART = 10  # rows: flagged rows with fewer unflagged ones between them are one alarm


class Alarms(NamedTuple):
    """What a threshold gives; NaN where undefined."""

    precision: float  # of flagged rows, as are recall and f1; NaN without any
    recall: float
    f1: float
    events_found: float  # share of events that hold a flagged row
    false_alarms_per_day: float
    delay: float  # mean rows from the start of such an event to the first flagged row in it


def alarms(
    *,
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    threshold: float,
    rows_per_day: float | None = None,
) -> Alarms:
    """Judge one threshold: rows with ``score > threshold`` are flagged.

    Flagged rows with fewer than 10 unflagged ones between them are one alarm, from its first to its
    last row. It is false if no row of that stretch belongs to an event. Days are all rows, divided
    by ``rows_per_day``. Raises `ValueError` on bad input (`lmmoe.metrics.f1.checked`).
    """
    labels, scores = checked(labels, scores)
    if math.isnan(threshold):
        raise ValueError("threshold=nan: a number is needed")
    if rows_per_day is not None and not 0 < rows_per_day < math.inf:
        raise ValueError(f"rows_per_day={rows_per_day}: None or a number above 0 is needed")
    start, end = segments(labels)
    flagged = np.flatnonzero(scores > threshold)
    hits, positives = int(labels[flagged].sum()), int(labels.sum())
    # The first flagged row from each event's start on, which may lie behind the event.
    first = np.append(flagged, end[-1])[np.searchsorted(flagged, start)]
    found = first < end
    # First and last rows of alarms; an alarm is false if the first event that is not over when it
    # begins starts after its last row.
    begins = flagged[np.diff(flagged, prepend=-APART - 1) > APART]
    ends = flagged[np.diff(flagged, append=len(labels) + APART) > APART]
    upcoming = np.searchsorted(end, begins, side="right")
    false = int(np.count_nonzero(np.append(start, len(labels))[upcoming] > ends))
    days = math.nan if rows_per_day is None else len(labels) / rows_per_day
    return Alarms(
        precision=hits / len(flagged) if len(flagged) else math.nan,
        recall=hits / positives,
        f1=2 * hits / (len(flagged) + positives),
        events_found=float(found.mean()),
        false_alarms_per_day=false / days,
        delay=float((first - start)[found].mean()) if found.any() else math.nan,
    )
