"""Best F1 over all thresholds, plain and with point adjustment."""

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.metrics.checks import checked, segments

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
    labels, scores = checked(labels, scores)
    if adjust is None:
        if delay is not None:
            raise ValueError("delay is a kind of point adjustment: give adjust too")
        return _best(scores, np.ones(len(scores)), labels)
    if adjust not in ADJUSTMENTS:
        raise ValueError(f"adjust={adjust!r}: use None or one of {', '.join(ADJUSTMENTS)}")
    if delay is not None and (delay < 1 or delay % 1):
        raise ValueError(f"delay={delay}: a whole number of rows from 1 on is needed")
    first, last = segments(labels)
    weights = ADJUSTMENTS[adjust](last - first + 1)
    values = np.concatenate([scores[~labels], _peaks(scores, first, last, delay)])
    normal = np.count_nonzero(~labels)
    weights = np.concatenate([np.ones(normal), weights])
    return _best(values, weights, np.arange(len(values)) >= normal)


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
    first: npt.NDArray[np.intp],
    last: npt.NDArray[np.intp],
    delay: int | None,
) -> npt.NDArray[np.float64]:
    """Highest score of each event, or of its first ``delay`` rows, ``(events,)``."""
    if delay is not None:
        last = np.minimum(last, first + min(int(delay), len(scores)) - 1)
    # reduceat needs the bounds in turn: event, the gap after it, event, ...
    bounds = np.ravel(np.column_stack([first, last + 1]))
    return np.maximum.reduceat(np.append(scores, -np.inf), bounds)[::2]


def _best(
    values: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    positive: npt.NDArray[np.bool_],
) -> BestF1:
    """Sweep the threshold over weighted items ``(n,)``."""
    order = np.argsort(-values, kind="stable")
    values, weights, positive = values[order], weights[order], positive[order]
    hits = np.cumsum(np.where(positive, weights, 0.0))
    flagged = np.cumsum(weights)
    # Ties enter together.
    ends = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)
    f1 = 2 * hits[ends] / (flagged[ends] + hits[-1])
    best = ends[np.argmax(f1)]
    return BestF1(
        float(f1.max()),
        float(hits[best] / flagged[best]),
        float(hits[best] / hits[-1]),
        float(values[best]),
    )
