"""Best F1 over all thresholds, ROC AUC, average precision; `checked`, the input of all metrics."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.segments import segments

Floats = npt.NDArray[np.float64]
Bits = npt.NDArray[np.bool_]


def numbers(values: npt.ArrayLike, name: str) -> Floats:
    """Return finite numbers ``(t,)``, at least one, or raise `ValueError` saying what is wrong."""
    values = np.asarray(values)
    if values.ndim != 1 or not values.size or values.dtype.kind not in "biuf":
        problem = f"{name}s of shape {values.shape} and type {values.dtype}"
        raise ValueError(f"{problem}: a vector of numbers is needed")
    for t in np.flatnonzero(~np.isfinite(values)):
        raise ValueError(f"{name} {float(values[t])} at row {t} is not a finite number")
    return values.astype(np.float64, copy=False)


def checked(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Bits, Floats]:
    """Return labels and scores as ``(t,)`` arrays, or raise `ValueError` saying what is wrong."""
    labels, scores = numbers(labels, "label"), numbers(scores, "score")
    if len(labels) != len(scores):
        raise ValueError(f"{len(labels)} labels for {len(scores)} scores")
    for t in np.flatnonzero((labels != 0) & (labels != 1)):
        raise ValueError(f"label {labels[t]} at row {t} is neither 0 nor 1 (were they swapped?)")
    if labels.min() == labels.max():
        raise ValueError("every row has the same label: the metric needs normal rows and anomalies")
    return labels.astype(bool), scores


def roc_auc(*, labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the ROC curve: the chance that an anomalous row outscores a normal one.

    Ties count one half. Raises `ValueError` on bad input (`checked`).
    """
    from sklearn.metrics import roc_auc_score  # takes a second to import

    return float(roc_auc_score(*checked(labels, scores)))


def average_precision(*, labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the precision-recall curve as a sum of steps: sum of recall gained x precision.

    Random scores reach the prevalence. Raises `ValueError` on bad input (`checked`).
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(*checked(labels, scores)))


POWERS = 3 ** np.arange(1, 40, dtype=np.int64)  # counted, for the logarithm of 243 is inexact
ADJUSTMENTS = {
    "point": lambda lengths: lengths,
    "raw": lambda lengths: lengths,
    "log": lambda lengths: np.searchsorted(POWERS, lengths + 3, side="right"),
    "squeeze": np.ones_like,
    "sqrt": lambda lengths: np.floor(np.sqrt(lengths)),
}


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
    adjust: str | None = None,
    delay: int | None = None,
) -> BestF1:
    """Find the threshold with the highest F1 on these labels: an upper bound, not a forecast.

    Without ``adjust`` every row counts for itself. With it the scores are point-adjusted (Xu et
    al., WWW 2018): a whole event gets its highest score, and counts with the weight that
    `ADJUSTMENTS` gives to its n rows: "point" or "raw" n, "squeeze" 1, "log" floor(log3(n + 3)),
    "sqrt" floor(sqrt n); a normal row counts 1. ``delay=k`` lets only the first k rows of an event
    raise its score (k-delay; Ren et al., KDD 2019). Random scores reach about 0.78 under "point" on
    SMD: never show an adjusted number without them.

    Thresholds are the distinct scores; of equal F1s the highest threshold is returned. O(t log t).
    Raises `ValueError` on bad input (`checked`).
    """
    labels, scores = checked(labels, scores)
    if adjust is None and delay is not None:
        raise ValueError("delay is a kind of point adjustment: give adjust too")
    if adjust is not None and adjust not in ADJUSTMENTS:
        raise ValueError(f"adjust={adjust!r}: use None or one of {', '.join(ADJUSTMENTS)}")
    if delay is not None and (delay < 1 or delay % 1):
        raise ValueError(f"delay={delay}: a whole number of rows from 1 on is needed")
    normal, items = np.sort(scores[~labels]), scores[labels]
    weights = np.ones(len(items))
    if adjust is not None:
        start, end = segments(labels)
        until = end if delay is None else np.minimum(end, start + min(int(delay), len(scores)))
        # reduceat needs the bounds in turn: event, the gap after it, event, ...
        bounds = np.ravel(np.column_stack([start, until]))
        items = np.maximum.reduceat(np.append(scores, -np.inf), bounds)[::2]
        weights = ADJUSTMENTS[adjust](end - start)
    # Going below an item's score, to a normal row's, adds false alarms only: none need be tried.
    order = np.argsort(-items)
    values, hits = items[order], np.cumsum(weights[order], dtype=np.float64)
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))  # ties enter together
    total, values, hits = hits[-1], values[ends], hits[ends]
    # Sorted queries, in ascending order, are what searchsorted is fastest at.
    below = np.searchsorted(normal, values[::-1], side="left")[::-1]
    flagged = hits + (len(normal) - below)
    f1 = 2 * hits / (flagged + total)
    best = np.argmax(f1)
    return BestF1(*(float(each[best]) for each in (f1, hits / flagged, hits / total, values)))
