"""Two simple detectors, scored and judged as a published comparison on SMD does it.

Source: Sarfraz et al., "Position: Quo Vadis, Unsupervised Time Series Anomaly Detection?" (ICML
2024), and the program published with it. Its numbers for PCA and for the sensor range are the
farthest from ours; what it makes of a detector's errors and how it takes an area explain them.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from lmmoe import progress
from lmmoe.data import Series
from lmmoe.data.series import Bits, Floats
from lmmoe.detectors import detector
from lmmoe.metrics import best_f1
from lmmoe.report.pitfalls.leaks import AHEAD, FLOOR, ROWS, moving_mean
from lmmoe.report.pitfalls.scored import judgeable

METRICS = ("best_f1", "average_precision")


def rebuilt(fleet: Iterable[Series]) -> pd.DataFrame:
    """Means over entities of what their way gives: detectors down, `METRICS` across.

    Detectors: "PCA" and "range deviation". Entities without an event, or without a normal row, are
    left out.
    """
    chosen = [series for series in fleet if judgeable(series)]
    made = {"PCA": [], "range deviation": []}
    with progress.bar(len(chosen), "judged their way", unit="entity") as bar:
        for series in chosen:
            errors = detector("PCA").fit(series.train).channel_scores(series.test)
            made["PCA"].append(best_way(series.labels, errors))
            outside = detector("range deviation").fit(series.train).decision_function(series.test)
            made["range deviation"].append(judged(series.labels, (outside > 0).astype(float)))
            bar.update()
    means = {name: np.mean(found, axis=0) for name, found in made.items() if found}
    return pd.DataFrame.from_dict(means, orient="index", columns=METRICS)


def best_way(labels: Bits, errors: Floats) -> tuple[float, float]:
    """Judge errors ``(t, c)`` in three ways; give the one of highest best F1 on these labels.

    Each channel's errors as they are, or normalised on these very rows by mean and deviation, or
    by median and interquartile range (0.01 added); then their mean over rows i - 5 to i + 3, 0 for
    the first five; then the highest of all channels.
    """
    back = ROWS - 1 - AHEAD
    smooth = np.stack([moving_mean(channel, back, AHEAD) for channel in errors.T], axis=1)
    low, middle, high = np.quantile(errors, [0.25, 0.5, 0.75], axis=0)
    deviation = errors.std(axis=0)
    normalisations = (
        (0.0, 1.0),
        (errors.mean(axis=0), np.where(deviation > 0, deviation, 1.0)),
        (middle, high - low + FLOOR),
    )
    found = []
    for shift, scale in normalisations:
        scores = ((smooth - shift) / scale).max(axis=1)  # a mean of normalised errors is the same
        scores[:back] = 0
        found.append(judged(labels, scores))
    return max(found)


def judged(labels: Bits, scores: Floats) -> tuple[float, float]:
    """Give the best F1, and the area under the precision-recall curve by trapezoids.

    Trapezoids count what no threshold reaches (Davis and Goadrich, ICML 2006): that of a score of
    two values begins at a precision of 1 with a recall of 0.
    """
    from sklearn.metrics import auc, precision_recall_curve

    precision, recall, _ = precision_recall_curve(labels, scores)
    return best_f1(labels=labels, scores=scores).f1, float(auc(recall, precision))
