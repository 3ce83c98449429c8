"""Metrics of the order alone: no threshold, no adjustment."""

import numpy as np
import numpy.typing as npt

from lmmoe.metrics.checks import checked


def roc_auc(*, labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the ROC curve: the chance that an anomalous row outscores a normal one.

    Ties count one half. Raises `ValueError` on bad input (`lmmoe.metrics.checks`).
    """
    hits, false_alarms = _counts(*checked(labels, scores))
    area = np.trapezoid(np.append(0.0, hits), np.append(0.0, false_alarms))
    return float(area / (hits[-1] * false_alarms[-1]))


def average_precision(*, labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the precision-recall curve as a sum of steps: sum of recall gained x precision.

    Random scores reach the prevalence. Raises `ValueError` on bad input (`lmmoe.metrics.checks`).
    """
    hits, false_alarms = _counts(*checked(labels, scores))
    precision = hits / (hits + false_alarms)
    return float(np.sum(np.diff(hits, prepend=0.0) * precision) / hits[-1])


def _counts(
    labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Hits and false alarms at each distinct threshold, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    scores, labels = scores[order], labels[order]
    ends = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
    hits = np.cumsum(labels, dtype=np.float64)[ends]
    return hits, ends + 1.0 - hits
