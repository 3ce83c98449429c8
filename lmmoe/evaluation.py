"""All metrics of one score series: the columns of every results table."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lmmoe.metrics import average_precision, best_f1, roc_auc, vus

# Point-adjusted names end in _pa or carry _pa_: a table that shows one shows random scores too.
METRICS: dict[str, Callable[..., float]] = {
    "average_precision": average_precision,
    "roc_auc": roc_auc,
    "best_f1": lambda **data: best_f1(**data).f1,
    "point_f1_pa": lambda **data: best_f1(**data, adjust="point").f1,
    "event_f1_pa_log": lambda **data: best_f1(**data, adjust="log").f1,
    "event_f1_pa_squeeze": lambda **data: best_f1(**data, adjust="squeeze").f1,
    "event_f1_pa_sqrt": lambda **data: best_f1(**data, adjust="sqrt").f1,
}
COLUMNS = (*METRICS, "vus_roc", "vus_pr")


def evaluate(
    labels: npt.ArrayLike | None, scores: npt.ArrayLike, *, vus_window: int
) -> dict[str, float]:
    """Give every metric of `COLUMNS` for one series.

    All are NaN without labels, or where these hold no event or nothing else: no metric is defined
    there, and a table must not show a number for it.
    """
    if labels is None or np.unique(labels).tolist() in ([0], [1]):
        return dict.fromkeys(COLUMNS, float("nan"))
    values = {name: metric(labels=labels, scores=scores) for name, metric in METRICS.items()}
    volume = vus(labels=labels, scores=scores, window=vus_window)
    return values | {"vus_roc": volume.roc, "vus_pr": volume.pr}
