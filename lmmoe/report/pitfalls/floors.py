"""Mistakes with metrics and data: numbers that are high without any detection."""

from functools import partial
from zlib import crc32

import numpy as np
import pandas as pd

from lmmoe.data import Series
from lmmoe.data.series import Bits, Floats
from lmmoe.metrics import average_precision, best_affiliation_f1, best_f1, roc_auc
from lmmoe.report.evaluation import ADJUSTED, RANKING, evaluate
from lmmoe.report.pitfalls.fleet import Outcome, Panel, Statistic, mean_over, pair
from lmmoe.report.pitfalls.mistake import GROUPS, Mistake
from lmmoe.report.pitfalls.scored import Scored
from lmmoe.segments import runs, segments

GROUP = GROUPS[4]
JITTER = 5  # rows by which the edges of events may be wrong
DRAWS = 5
CREEPS = (0, 0.02, 0.1, 0.5, 1)
TRIVIAL = ("constant", "row index")


def robust(one: Scored) -> dict[str, float]:
    """ROC AUC as published, without the longest event, and with jittered labels.

    Not average precision: leaving an event's rows out changes the share of anomalies, which is what
    random scores reach there; in ROC AUC they reach 1/2 whatever the share.
    """
    events = one.series.events
    judge = partial(roc_auc, scores=one.scores)
    values = {"all events": judge(labels=one.labels), "longest left out": float("nan")}
    if len(events) > 1:
        start, end = max(events, key=_length)
        rest = np.ones(len(one.scores), dtype=bool)
        rest[start:end] = False
        left = {"labels": one.labels[rest], "scores": one.scores[rest]}
        values["longest left out"] = roc_auc(**left)
    rng = np.random.default_rng(crc32(one.series.entity.encode()))  # the same for all detectors
    drawn = [judge(labels=jittered(one.labels, rng)) for _ in range(DRAWS)]
    return values | {f"edges moved by up to {JITTER}": float(np.mean(drawn))}


def _length(event: tuple[int, int]) -> int:
    return event[1] - event[0]


def jittered(labels: Bits, rng: np.random.Generator) -> Bits:
    """Move every event's edges by up to `JITTER` rows each; an event keeps a row at least."""
    result = np.zeros_like(labels)
    for start, end in runs(labels):
        first, last = rng.integers(-JITTER, JITTER + 1, size=2) + (start, end)
        first = min(max(int(first), 0), len(labels) - 1)
        result[first : max(int(last), first + 1)] = 1
    return result


def _rests_on(panel: Panel) -> Outcome:
    """Without the longest event against all events; beside them, without one of the entities."""
    found = pair("longest left out", "all events")(panel)
    values = panel.mean("all events")
    one_less: dict[str, Statistic] = {
        "without the entity that helps most": partial(_one_less, np.fmin, values),
        "without the entity that harms most": partial(_one_less, np.fmax, values),
    }
    return found._replace(settings=found.settings | one_less)


def _one_less(pick: np.ufunc, values: Floats, counts: Floats) -> Floats:
    """The lowest or highest mean of values ``(n,)`` over all but one of the entities drawn."""
    others = 1 - np.eye(len(values))
    means = np.stack([mean_over(values, counts * rest) for rest in others])  # (n, r)
    return pick.reduce(np.where(counts.T > 0, means, np.nan))


def high_floor(one: Scored) -> dict[str, float]:
    """Best F1 of the rows, kinder F1s with a high floor, and average precision beside them.

    All F1s at their best threshold, so that nothing but the metric differs.
    """
    data = {"labels": one.labels, "scores": one.scores}
    return {
        "average precision": one.average_precision,
        "best F1": best_f1(**data).f1,
        "composite F1": composite_f1(one.labels, one.scores),
        "affiliation F1": best_affiliation_f1(**data).f1,
    }


def composite_f1(labels: Bits, scores: Floats) -> float:
    """Best F1 of the rows' precision and the events' recall (Garg et al., TNNLS 2021: Fc1).

    An event counts as found where one of its rows is flagged, rows with ``score >= threshold``.
    """
    flags = np.asarray(labels, dtype=bool)
    cuts = np.unique(scores[flags])  # between two of them precision only falls
    hits = flags.sum() - np.searchsorted(np.sort(scores[flags]), cuts, side="left")
    false = (~flags).sum() - np.searchsorted(np.sort(scores[~flags]), cuts, side="left")
    start, end = segments(flags)
    tops = np.sort([scores[a:b].max() for a, b in zip(start, end, strict=True)])
    recall = 1 - np.searchsorted(tops, cuts, side="left") / len(tops)
    precision = hits / (hits + false)
    return float(np.max(2 * precision * recall / (precision + recall)))


def creeping(one: Scored) -> dict[str, float]:
    """Average precision by how far ranks (0 to 1) creep upwards from the first row to the last."""
    rows = len(one.scores)
    ranks = np.searchsorted(np.sort(one.scores), one.scores, side="right") / rows
    place = np.arange(1, rows + 1) / rows
    made = {f"{creep:g}": ranks + creep * place for creep in CREEPS} | {"place alone": place}
    return {
        name: average_precision(labels=one.labels, scores=scores) for name, scores in made.items()
    }


def trivial(series: Series, vus_window: int) -> dict[str, dict[str, float]]:
    """Every metric of scores that are all equal, and of the row's index, by these names."""
    rows = len(series.test)
    made = dict(zip(TRIVIAL, (np.zeros(rows), np.arange(rows, dtype=float)), strict=True))
    found = {}
    for name, scores in made.items():
        values = evaluate(series.labels, scores, vus_window=vus_window)
        found[name] = {metric: values[metric] for metric in (*RANKING, *ADJUSTED)}
        found[name]["composite_f1"] = composite_f1(series.labels, scores)
    return found


def measured(one: Scored, vus_window: int) -> dict[str, float]:
    """The same metrics of a detector's scores."""
    values = evaluate(one.labels, one.scores, vus_window=vus_window)
    named = {metric: values[metric] for metric in (*RANKING, *ADJUSTED)}
    return named | {"composite_f1": composite_f1(one.labels, one.scores)}


def floors(lines: list[tuple[str, dict[str, float]]]) -> pd.DataFrame:
    """Mean over entities and seeds of each metric (rows), by detector (columns), as they come."""
    table = pd.DataFrame([{"detector": name, **values} for name, values in lines])
    return table.groupby("detector", sort=False).mean().T if len(table) else pd.DataFrame()


MISTAKES = (
    Mistake(
        14,
        "a few long events",
        GROUP,
        "A long event or two hold most of the anomalous rows, so that the number is theirs; here "
        "the longest of each entity is left out before. Judged by ROC AUC, since fewer anomalous "
        "rows lower average precision by themselves, that of random scores, too.",
        "Garg et al., TNNLS 2021; Wu and Keogh, TKDE 2021 (labels that are wrong)",
        "Does the result stand without the longest event, and with labels moved by a few rows?",
        "roc_auc",
        "roc_auc",
        robust,
        _rests_on,
    ),
    Mistake(
        17,
        "metric with a high floor",
        GROUP,
        "The metric is high for scores that say nothing, so that everybody looks good and nobody "
        "far from another.",
        "affiliation F1: Huet et al., KDD 2022; its floor: TAB, PVLDB 2025",
        "What do random, constant and L2-norm scores reach in this metric?",
        "best_f1",
        "best_affiliation_f1",
        high_floor,
        pair("best F1", "affiliation F1"),
    ),
    Mistake(
        18,
        "events late in the series",
        GROUP,
        "Where anomalies lie near the end, scores that creep upwards with time gain without seeing "
        "anything; here each row's rank grows by a tenth from the first row to the last.",
        "Wu and Keogh, TKDE 2021 (run-to-failure bias)",
        "What does the row's index reach as a score?",
        "average_precision",
        "average_precision",
        creeping,
        pair("0", "0.1"),
        axis="what a rank (0 to 1) grows by over the series",
    ),
)
