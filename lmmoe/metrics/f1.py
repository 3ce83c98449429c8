"""Best F1 over all thresholds, plain and with point adjustment."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.metrics.checks import checked
from lmmoe.segments import segments

Adjustment = Literal["point", "raw", "log", "squeeze", "sqrt"]


class BestF1(NamedTuple):
    """The best F1 and where it is reached: rows with ``score >= threshold`` are alarms."""

    f1: float
    precision: float
    recall: float
    threshold: float


def best_f1(
    *,
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    adjust: Adjustment | None = None,
    delay: int | None = None,
) -> BestF1:
    """Find the threshold with the highest F1 on these labels: an upper bound, not a forecast.

    Without ``adjust`` every row counts for itself. With it the scores are point-adjusted (Xu et
    al., WWW 2018): a whole event gets its highest score, and counts with the weight that
    `ADJUSTMENTS` gives to its n rows: "point" or "raw" n, "squeeze" 1, "log" floor(log3(n + 3)),
    "sqrt" floor(sqrt n); a normal row counts 1. ``delay=k`` lets only the first k rows of an event
    raise its score (k-delay; Ren et al., KDD 2019). A random score reaches about 0.78 under
    "point" on SMD: never show an adjusted number without one.

    Thresholds are the distinct scores, tied ones enter together; of equal F1s the highest threshold
    is returned. One sort, O(t log t). Raises `ValueError` on bad input (`lmmoe.metrics.checks`).
    """
    return best_f1s(labels=labels, scores=scores, adjust=[adjust], delay=delay)[adjust]


def best_f1s(
    *,
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    adjust: Sequence[Adjustment | None],
    delay: int | None = None,
) -> dict[Adjustment | None, BestF1]:
    """Give `best_f1` under each of several adjustments, by adjustment, from one sort."""
    labels, scores = checked(labels, scores)
    for kind in adjust:
        _refuse_odd(kind, delay)
    normal = np.sort(scores[~labels])
    start, end = segments(labels)
    peaks = _peaks(scores, start, end, delay)
    found = {}
    for kind in adjust:
        if kind is None:
            rows = scores[labels]
            found[kind] = _best(rows, np.ones(len(rows)), normal)
        else:
            found[kind] = _best(peaks, ADJUSTMENTS[kind](end - start), normal)
    return found


def _refuse_odd(adjust: Adjustment | None, delay: int | None) -> None:
    if adjust is None and delay is not None:
        raise ValueError("delay is a kind of point adjustment: give adjust too")
    if adjust is not None and adjust not in ADJUSTMENTS:
        raise ValueError(f"adjust={adjust!r}: use None or one of {', '.join(ADJUSTMENTS)}")
    if delay is not None and (delay < 1 or delay % 1):
        raise ValueError(f"delay={delay}: a whole number of rows from 1 on is needed")


def _log3(lengths: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Give floor(log3(n + 3)), counted in powers of 3 because the logarithm of 243 is inexact."""
    return np.searchsorted(3 ** np.arange(1, 40, dtype=np.int64), lengths + 3, side="right")


ADJUSTMENTS = {
    "point": lambda lengths: lengths,
    "raw": lambda lengths: lengths,
    "log": _log3,
    "squeeze": np.ones_like,
    "sqrt": lambda lengths: np.floor(np.sqrt(lengths)),
}


def _peaks(
    scores: npt.NDArray[np.float64],
    start: npt.NDArray[np.intp],
    end: npt.NDArray[np.intp],
    delay: int | None,
) -> npt.NDArray[np.float64]:
    """Highest score of each event, or of its first ``delay`` rows, ``(events,)``."""
    if delay is not None:
        end = np.minimum(end, start + min(int(delay), len(scores)))
    # reduceat needs the bounds in turn: event, the gap after it, event, ...
    bounds = np.ravel(np.column_stack([start, end]))
    return np.maximum.reduceat(np.append(scores, -np.inf), bounds)[::2]


def _best(
    values: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    normal: npt.NDArray[np.float64],
) -> BestF1:
    """Try the scores ``values`` ``(n,)`` of weighted anomalous items as thresholds.

    ``normal`` holds the scores of the normal rows in ascending order. None of them need be tried:
    going below an item's score, to a normal row's, adds false alarms only.
    """
    order = np.argsort(-values)
    values, hits = values[order], np.cumsum(weights[order], dtype=np.float64)
    # Ties enter together.
    ends = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)
    total, values, hits = hits[-1], values[ends], hits[ends]
    # Sorted queries, in ascending order, are what searchsorted is fastest at.
    below = np.searchsorted(normal, values[::-1], side="left")[::-1]
    flagged = hits + (len(normal) - below)
    f1 = 2 * hits / (flagged + total)
    best = np.argmax(f1)
    return BestF1(
        float(f1[best]),
        float(hits[best] / flagged[best]),
        float(hits[best] / total),
        float(values[best]),
    )
