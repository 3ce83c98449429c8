"""Best F1, also under PA%K, ROC AUC, average precision; `checked`, the input of all metrics."""

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.segments import segments

Floats = npt.NDArray[np.float64]
Bits = npt.NDArray[np.bool_]
CONSTANT = "they tell no row from another, and a metric gives what flagging every row gives"


def numbers(values: npt.ArrayLike, name: str) -> Floats:
    """Return finite numbers ``(t,)``, at least one, or raise `ValueError` saying what is wrong."""
    values = np.asarray(values)
    if values.ndim != 1 or not values.size or values.dtype.kind not in "biuf":
        problem = f"{name}s of shape {values.shape} and type {values.dtype}"
        raise ValueError(f"{problem}: a vector of numbers is needed")
    for t in np.flatnonzero(~np.isfinite(values)):
        raise ValueError(f"{name} {float(values[t])} at row {t} is not a finite number")
    return values.astype(np.float64, copy=False)


def checked(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, may_be_equal: bool = False
) -> tuple[Bits, Floats]:
    """Return labels and scores as ``(t,)`` arrays, or raise `ValueError` saying what is wrong.

    Scores that are all equal are told by a warning.
    """
    labels, scores = numbers(labels, "label"), numbers(scores, "score")
    if len(labels) != len(scores):
        raise ValueError(f"{len(labels)} labels for {len(scores)} scores")
    if not may_be_equal and scores.min() == scores.max():
        warnings.warn(f"all {len(scores)} scores are {scores[0]}: {CONSTANT}", stacklevel=3)
    for t in np.flatnonzero((labels != 0) & (labels != 1)):
        raise ValueError(f"label {labels[t]} at row {t} is neither 0 nor 1 (were they swapped?)")
    if labels.min() == labels.max():
        raise ValueError("every row has the same label: the metric needs normal rows and anomalies")
    return labels.astype(bool), scores


def counted(
    anomalies: Floats, normal: Floats, weights: Floats | None = None
) -> tuple[Floats, Floats, Floats]:
    """Give the distinct scores of anomalies, rising; the hits from each on, and all rows flagged.

    Lower thresholds, normal rows' scores, add false alarms only: none need be looked at.
    """
    values, place = np.unique(anomalies, return_inverse=True)  # ties enter together
    hits = np.cumsum(np.bincount(place, weights)[::-1])[::-1]
    return values, hits, hits + len(normal) - np.searchsorted(np.sort(normal), values)


def roc_auc(*, labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the ROC curve: the chance that an anomalous row outscores a normal one.

    Ties count one half. Raises `ValueError` on bad input (`checked`).
    """
    labels, scores = checked(labels, scores)
    normal, anomalies = np.sort(scores[~labels]), scores[labels]
    outscored = [np.searchsorted(normal, anomalies, side) for side in ("left", "right")]
    return float(np.mean(outscored) / len(normal))


def average_precision(*, labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the precision-recall curve as a sum of steps: sum of recall gained x precision.

    Random scores reach the prevalence. Raises `ValueError` on bad input (`checked`).
    """
    labels, scores = checked(labels, scores)
    _, hits, flagged = counted(scores[labels], scores[~labels])
    return float(-np.diff(hits, append=0) @ (hits / flagged) / hits[0])


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
    items, weights = scores[labels], None
    if adjust is not None:
        start, end = segments(labels)
        until = end if delay is None else np.minimum(end, start + min(int(delay), len(scores)))
        # reduceat needs the bounds in turn: event, the gap after it, event, ...
        bounds = np.ravel(np.column_stack([start, until]))
        items = np.maximum.reduceat(np.append(scores, -np.inf), bounds)[::2]
        weights = ADJUSTMENTS[adjust](end - start)
    values, hits, flagged = counted(items, scores[~labels], weights)
    f1 = 2 * hits / (flagged + hits[0])
    best = np.flatnonzero(f1 == f1.max())[-1]
    return BestF1(*(float(each[best]) for each in (f1, hits / flagged, hits / hits[0], values)))


class PAK(NamedTuple):
    """Best F1 at each K = 0, 1, ..., 100 percent ``(101,)``, and the area under them, in [0, 1]."""

    f1: Floats
    area: float


def pa_k(*, labels: npt.ArrayLike, scores: npt.ArrayLike) -> PAK:
    """Give the best F1 under PA%K for every whole K, and the area under F1 over K.

    Kim et al., "Towards a Rigorous Evaluation of Time-Series Anomaly Detection", AAAI 2022: an
    event counts as flagged as a whole where strictly more than K % of its rows are. K = 0 is point
    adjustment, K = 100 the plain best F1; each K has the best threshold on these labels. The area
    is the trapezoid rule's over K / 100. O(t log t) for all K together. Raises `ValueError` on bad
    input (`checked`).
    """
    labels, scores = checked(labels, scores)
    # From here on scores are places among the distinct scores of events, 0 the highest: every
    # threshold worth trying is one of those.
    negated, place = np.unique(-scores[labels], return_inverse=True)
    false_alarms = np.searchsorted(np.sort(-scores[~labels]), negated, side="right")
    start, end = segments(labels)
    length = end - start
    event = np.repeat(np.arange(len(start)), length)
    ordered = place[np.lexsort((place, event))]  # each event's places, the best score's first
    offset = np.cumsum(length) - length
    f1 = np.empty(101)
    for percent in range(101):
        # Filled from the score of its (floor(K n / 100) + 1)-th best row on, if there is one.
        filled = ordered[offset + np.minimum(percent * length // 100, length - 1)]
        acting = np.minimum(place, filled[event])
        hits = np.cumsum(np.bincount(acting, minlength=len(negated)))
        f1[percent] = np.max(2 * hits / (hits + false_alarms + len(place)))
    return PAK(f1, float(np.trapezoid(f1, dx=0.01)))
