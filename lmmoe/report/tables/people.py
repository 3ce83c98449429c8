"""Tables under the names that people read."""

import numpy as np
import pandas as pd

from lmmoe.data import Series
from lmmoe.report.plots.style import COST_TITLES, METRIC_TITLES, title
from lmmoe.report.tables.study import STUDY_METRICS


def described(fleet: list[Series]) -> pd.DataFrame:
    """What the data holds, one row per entity."""
    lines = []
    for series in fleet:
        lengths = np.array([end - start for start, end in series.events])
        lines.append(
            {
                "entity": series.entity,
                "train rows": len(series.train),
                "test rows": len(series.test),
                "channels": len(series.channels),
                # Not std == 0: rounding gives a constant channel a deviation near 1e-17.
                "constant in training": int((np.ptp(series.train, axis=0) == 0).sum()),
                "events": len(lengths),
                "median length": float(np.median(lengths)) if len(lengths) else np.nan,
                "anomalous rows": np.nan if series.labels is None else series.labels.mean(),
            }
        )
    return pd.DataFrame(lines).set_index("entity")


def judged(metrics: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Metrics of several score series, one column per detector, under the names people read.

    ``metrics`` may hold more than metrics; those that nobody has a value of are left out.
    """
    table = pd.DataFrame(metrics)
    known = table.loc[[name for name in METRIC_TITLES if name in table.index]].astype(float)
    return known.dropna(how="all").rename(index=METRIC_TITLES, columns=title)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A table for people: titles instead of names, rounded, costs with their units.

    A summary comes in the order of the titles; any other table keeps its own order. Columns without
    any value are left out. p-values become texts, so that a tiny one does not read as zero.
    """
    titles = METRIC_TITLES | INTERVAL_TITLES | COST_TITLES | TEST_TITLES
    digits = dict.fromkeys((*METRIC_TITLES, *INTERVAL_TITLES, *TEST_TITLES), 3) | COST_DIGITS
    order = titles if "runs" in table else table
    shown = [name for name in order if name in titles and name in table.dropna(axis=1, how="all")]
    made = table[shown].round(digits)
    for name in ("p", "holm_p"):
        if name in made:
            made[name] = table[name].map(_p)
    return made.rename(index=title, columns=titles)


def beside_study(headline: pd.DataFrame) -> pd.DataFrame:
    """`report.tables.study_headline` for people: under each metric ours, theirs, the difference."""
    parts = {"": "ours", "_study": "the study's", "_difference": "difference"}
    columns = {
        f"{metric}{end}": (METRIC_TITLES[metric], word)
        for metric in STUDY_METRICS
        for end, word in parts.items()
    }
    columns |= {name: ("", name) for name in ("entities", "seeds")}
    table = headline[list(columns)].round(3).rename(index=title)
    return table.set_axis(pd.MultiIndex.from_tuples(columns.values()), axis=1)


def _p(value: float) -> str:
    if np.isnan(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


INTERVAL_TITLES = {"average_precision_low": "from", "average_precision_high": "to"}
TEST_TITLES = {
    "difference": "difference",
    "low": "from",
    "high": "to",
    "wins": "wins",
    "ties": "ties",
    "losses": "losses",
    "p": "p",
    "holm_p": "p (Holm)",
    "reference_seeds": "seeds of the reference",
}
COST_DIGITS = {
    "budget_false_alarms_per_day": 2,
    "budget_delay": 1,
    "train_seconds": 2,
    "score_seconds": 2,
    "microseconds_per_row": 1,
    "train_peak_mb": 0,
    "parameters": 0,
}
