"""The answer of a report: which detector to take, what stands beside it, and what it costs."""

import numpy as np
import pandas as pd

from lmmoe.data import Series
from lmmoe.data.series import Floats
from lmmoe.detectors import entry
from lmmoe.report.names import NON_CAUSAL, detector_of
from lmmoe.report.statistics import paired

AP = "average_precision"
BLIND = ("random", "row index")  # they look at no value
CONTROLS = (*BLIND, "untrained LightMMoE")  # nobody deploys them
# Beside the recommended one and the next: the study's subject and its relatives, a yardstick that
# learns nothing, and chance.
BESIDE = ("LightMMoE", "CAD-as-run", "HMMoE", "MTSExample", "random")


def ranked(honest: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """Rank what can be recommended, the best first; the one rule of all recommendations.

    ``honest`` is `tables.honest` with the operators' columns (`deployment.summary`), ``values``
    average precision by entity (rows) and detector. Only detectors with live alarms count (all
    causal ones, where none were counted), and no controls. First come the one of the highest mean
    and those whose difference from it, entity by entity, has a 95 % bootstrap interval with 0: who
    announces most events under the default alarm rule, else the higher mean. Then come the others,
    by average precision. Empty without labels, and where the interval of one of `BLIND` has 0.
    """
    able = honest[~honest.index.map(detector_of).isin([*CONTROLS, *NON_CAUSAL])].dropna(subset=AP)
    able = able[able["announced"].notna() | able["announced"].isna().all()]
    able = able.sort_values(AP, ascending=False, kind="stable")
    if able.empty:
        return able
    best, known = values[able.index[0]], values.columns.intersection([*able.index, *BLIND])
    as_good = [name for name in known if paired(values[name], best).high >= 0]
    if not {*BLIND}.isdisjoint(as_good):
        return able.iloc[:0]
    equal = able[able.index.isin(as_good)].sort_values("announced", ascending=False, kind="stable")
    return pd.concat([equal, able.drop(equal.index)])


def chosen(honest: pd.DataFrame, ranked: pd.DataFrame) -> pd.DataFrame:
    """Choose the rows of the summary: the recommended, the next of another class, and `BESIDE`.

    Without a recommendation the first two are those of the highest average precision.
    """
    first, *after = [*ranked.index, *honest.index]
    classes = {name: entry(detector_of(name)).cls for name in honest.index}
    others = [name for name in after if classes[name] is not classes[first]]
    names = dict.fromkeys([first, *others[:1], *BESIDE])
    return honest.reindex([name for name in names if name in honest.index])


def unusual(series: Series, scores: Floats, channels: Floats, count: int = 5) -> pd.DataFrame:
    """List the most unusual hours of rows nobody labelled, and their channels: ``count`` rows.

    ``scores`` ``(t,)`` and ``channels`` ``(t, c)`` are of the test half. An hour is 60 rows where
    the data do not say how many rows make a day.
    """
    rows = max(1, round((series.rows_per_day or 1440) / 24))
    hours = np.arange(len(scores)) // rows
    heights = pd.Series(scores).groupby(hours).mean().nlargest(count)
    shares = pd.DataFrame(channels, columns=list(series.channels)).groupby(hours).sum()
    lines = [
        {
            "the hour from": f"{series.entity}, row {hour * rows:,}",
            "mean score": height,
            "times the median": height / np.median(scores),
            "channels": ", ".join(shares.loc[hour].nlargest(3).index),
        }
        for hour, height in heights.items()
    ]
    return pd.DataFrame(lines).set_index("the hour from")
