"""All metrics of one score series: the columns of every results table."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lmmoe import metrics, segments

VERSION = 1  # raise it when what this module measures changes
PARTS = ("f1", "precision", "recall")
EVENTS = ("log", "squeeze", "sqrt")  # how an event's length counts in Event F1
# Columns that point adjustment flatters: a table that shows one shows random scores too.
ADJUSTED = ("pa_k_area", *(f"point_{part}_pa" for part in PARTS))
ADJUSTED += (*(f"event_f1_pa_{name}" for name in EVENTS), "delay10_f1_pa")
RANKING = ("average_precision", "roc_auc", "best_f1", "vus_roc", "vus_pr", "best_affiliation_f1")
BUDGET = ("f1", "events_found", "false_alarms_per_day", "delay")
# At thresholds from calibration scores: no label has a say.
LABEL_FREE = tuple(f"{rule}_{part}" for rule in ("quantile", "pot") for part in PARTS)
LABEL_FREE += tuple(f"budget_{part}" for part in BUDGET)
DIAGNOSIS = ("hit_rate_100", "hit_rate_150", "ndcg_100", "ndcg_150")
COLUMNS = (*RANKING, *ADJUSTED, *LABEL_FREE, *DIAGNOSIS)
# What a run cost; beside its metrics in every table of runs.
SPENT = ("train_seconds", "train_peak_mb", "score_seconds", "test_rows", "parameters")
SHARE = 0.99  # of the calibration rows that the quantile threshold lets pass
PER_DAY = 1.0  # alarms that the budget allows on the calibration rows
DELAY = 10  # rows of an event that may raise its score, in delay10_f1_pa


def evaluate(
    labels: npt.ArrayLike | None,
    scores: npt.ArrayLike,
    *,
    vus_window: int,
    calibration: npt.ArrayLike | None = None,
    rows_per_day: float | None = None,
    blame: npt.ArrayLike | None = None,
    causes: Sequence[Sequence[int]] | None = None,
) -> dict[str, float | str]:
    """Give every metric of `COLUMNS` for one series of scores ``(t,)``.

    ``calibration`` are scores of training rows that the model was not fitted on; ``blame``
    ``(events, c)`` and ``causes`` are what `lmmoe.metrics.diagnosis` takes. What is not defined is
    NaN: all but the diagnosis without labels, or where these hold no event or nothing else;
    `LABEL_FREE` without calibration, those of the budget without ``rows_per_day``; `DIAGNOSIS`
    without blame or causes. Bad input raises `ValueError`, as the metrics say.

    With labels and calibration there is also the text ``found_events``, a digit for each event in
    time order: 1 if an alarm of the budget lies in it, or of the quantile without ``rows_per_day``.
    """
    values = dict.fromkeys(COLUMNS, float("nan"))
    if blame is not None and causes is not None:
        for percent in (100, 150):
            found = metrics.diagnosis(blame=blame, causes=causes, percent=percent)
            values |= {f"hit_rate_{percent}": found.hit_rate, f"ndcg_{percent}": found.ndcg}
    if labels is None or np.unique(labels).tolist() in ([0], [1]):
        return values
    data = {"labels": labels, "scores": scores}
    volume = metrics.vus(**data, window=vus_window)
    f1s = {kind: metrics.best_f1(**data, adjust=kind) for kind in (None, "point", *EVENTS)}
    values |= {f"event_f1_pa_{name}": f1s[name].f1 for name in EVENTS}
    values |= {f"point_{part}_pa": getattr(f1s["point"], part) for part in PARTS}
    values |= {
        "average_precision": metrics.average_precision(**data),
        "roc_auc": metrics.roc_auc(**data),
        "best_f1": f1s[None].f1,
        "vus_roc": volume.roc,
        "vus_pr": volume.pr,
        "best_affiliation_f1": metrics.best_affiliation_f1(**data).f1,
        "pa_k_area": metrics.pa_k(**data).area,
        "delay10_f1_pa": metrics.best_f1(**data, adjust="point", delay=DELAY).f1,
    }
    if calibration is None:
        return values
    cuts = {"quantile": metrics.quantile(calibration, SHARE), "pot": metrics.pot(calibration)}
    if rows_per_day is not None:
        cuts["budget"] = metrics.alarm_budget(calibration, rows_per_day, per_day=PER_DAY)
    for rule, cut in cuts.items():
        found = metrics.alarms(**data, threshold=cut, rows_per_day=rows_per_day)
        parts = BUDGET if rule == "budget" else PARTS
        values |= {f"{rule}_{part}": getattr(found, part) for part in parts}
    flagged = np.asarray(scores) > cuts.get("budget", cuts["quantile"])
    hits = (flagged[start:end].any() for start, end in segments.runs(labels))
    return values | {"found_events": "".join(str(int(hit)) for hit in hits)}
