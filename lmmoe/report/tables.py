"""Tables made from rows of runs: seeds are averaged first, then entities."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lmmoe.data import Series
from lmmoe.report.evaluation import ADJUSTED, COLUMNS, SPENT
from lmmoe.report.names import COST_TITLES, METRIC_TITLES, OPERATORS, TEST_TITLES, title
from lmmoe.report.statistics import Paired, bootstrap_mean, holm, largest_block, paired

# Not defined where nothing is flagged or found: a mean over the rest would reward silence.
SILENT = ("quantile_precision", "pot_precision", "budget_delay")
AVERAGED = [name for name in COLUMNS if name not in SILENT]
# Columns of the main table. Rankings first, then label-free alarms, diagnosis and costs; what point
# adjustment flatters most stands last.
HONEST = (
    *("average_precision", "average_precision_low", "average_precision_high", "vus_pr", "best_f1"),
    *("quantile_f1", "pot_f1", "pa_k_area", "event_f1_pa_squeeze", "delay10_f1_pa"),
    *("budget_events_found", "budget_false_alarms_per_day", "hit_rate_150", "ndcg_150"),
    *("parameters", "train_seconds", "microseconds_per_row", "point_f1_pa"),
    *("entities", "seeds", "failed"),
)
COMPARED = ["reference", "detector", *Paired._fields, "holm_p", "seeds", "reference_seeds"]
REFERENCES = ("MTSExample", "PCA")  # of `significance`
DIGITS = {"budget_false_alarms_per_day": 2, "train_seconds": 2}  # else 3
DIGITS |= {"microseconds_per_row": 1, "parameters": 0}


def entity_means(rows: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Average the seeds: one row per (detector, entity)."""
    chosen = rows[rows["protocol"] == protocol]
    return chosen.groupby(["detector", "entity"], sort=False)[[*COLUMNS, *SPENT]].mean()


def counts(rows: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """What is behind each detector's means: ``entities``, ``seeds``, ``runs``, ``failed``.

    Entities and seeds count where a run has metrics or, without any labelled events, succeeded.
    """
    rows = rows[rows["protocol"] == protocol]
    measured = rows["average_precision"].notna()
    good = rows[measured if measured.any() else rows["error"].isna()]
    table = good.groupby("detector")[["entity", "seed"]].nunique()
    table = table.set_axis(["entities", "seeds"], axis=1)
    runs = rows.groupby("detector")["error"].agg(runs="size", failed="count")
    return table.join(runs, how="right").fillna(0).astype(int)


def summary(rows: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Mean of every metric and median of every cost, one row per detector, best first.

    A median, because other work on the machine makes a few runs several times slower. Behind them
    stand `counts`; failed runs are in no mean: a failure is never a zero.
    """
    detectors = entity_means(rows, protocol).groupby("detector", sort=False)
    table = detectors[AVERAGED].mean().join(detectors[list(SPENT)].median())
    table = table.join(counts(rows, protocol))
    return table.sort_values("average_precision", ascending=False, kind="stable")


def by_entity(rows: pd.DataFrame, protocol: str, metric: str) -> pd.DataFrame:
    """One metric, seeds averaged: entities down, detectors across, highest mean first."""
    table = entity_means(rows, protocol)[metric].unstack("detector")
    table = table.loc[list(dict.fromkeys(rows.loc[rows["protocol"] == protocol, "entity"]))]
    return table[table.mean().sort_values(ascending=False).index]


def honest(rows: pd.DataFrame, protocol: str = "ours") -> pd.DataFrame:
    """Make the main table: the columns `HONEST` of `summary`.

    ``average_precision_low`` and ``_high`` bound its mean with 95 % bootstrap confidence. Where
    detectors ran on different entities, compare them by `significance`. Without random scores
    beside them, columns that point adjustment flatters are left out.
    """
    table, means = summary(rows, protocol), entity_means(rows, protocol)
    groups = means["average_precision"].groupby("detector")
    bounds = {name: bootstrap_mean(values)[1:] for name, values in groups}
    ends = ["average_precision_low", "average_precision_high"]
    table = table.join(pd.DataFrame.from_dict(bounds, "index", columns=ends))
    each = 1e6 * means["score_seconds"] / means["test_rows"]
    table["microseconds_per_row"] = each.groupby("detector").median()
    floored = "random" in table.index and table.loc["random", "average_precision"] >= 0
    return table[[name for name in HONEST if floored or name not in ADJUSTED]]


def significance(rows: pd.DataFrame, protocol: str = "ours") -> pd.DataFrame:
    """Compare the average precision of every detector with `REFERENCES`, entity by entity.

    Seeds are averaged first. One row per (reference, detector): `statistics.Paired` of detector -
    reference, and ``holm_p``, its p corrected for all comparisons of this table. ``seeds`` and
    ``reference_seeds`` count the seeds behind the two. References are compared once, and left out
    without rows.
    """
    table = by_entity(rows, protocol, "average_precision")
    seeds, lines = counts(rows, protocol)["seeds"], []
    known = [name for name in REFERENCES if name in table]
    for position, reference in enumerate(known):
        for detector in table.columns.drop(known[: position + 1]):
            found = paired(table[detector], table[reference])
            behind = (np.nan, seeds[detector], seeds[reference])
            lines.append((reference, detector, *found, *behind))
    result = pd.DataFrame(lines, columns=COMPARED)
    result["holm_p"] = holm(result["p"])
    return result.set_index(["reference", "detector"])


def found_events(
    rows: pd.DataFrame, protocol: str, fleet: Mapping[str, Sequence[tuple[int, int]]]
) -> pd.DataFrame:
    """Tell for each labelled event (rows) and each detector (columns) whether it is found.

    ``fleet`` gives each entity's events as (first row, row after the last). Found means that an
    alarm of the budget lies in the event (`evaluation.events_found`), at a detector's lowest seed.
    The index, ``rows``, holds the events' lengths. Only entities and detectors without a gap count
    (`statistics.largest_block`): failures and detectors without a threshold are left out.
    """
    chosen = rows[(rows["protocol"] == protocol) & rows["entity"].isin(fleet)]
    chosen = chosen[~chosen["found_events"].isin(["", np.nan])]
    first = chosen.sort_values("seed", kind="stable").drop_duplicates(["detector", "entity"])
    digits = largest_block(first.pivot(index="entity", columns="detector", values="found_events"))
    parts = [pd.DataFrame()]
    for entity in filter(digits.index.__contains__, fleet):
        lengths = pd.Index([end - start for start, end in fleet[entity]], name="rows")
        found = {name: np.array(list(text)) == "1" for name, text in digits.loc[entity].items()}
        parts.append(pd.DataFrame(found, index=lengths))
    return pd.concat(parts[1:] or parts)


def described(fleet: list[Series]) -> pd.DataFrame:
    """What the data holds, one row per entity."""
    lines = {}
    for series in fleet:
        lengths = pd.Series([end - start for start, end in series.events], dtype=float)
        lines[series.entity] = {
            "train rows": len(series.train),
            "test rows": len(series.test),
            "channels": len(series.channels),
            # Not std == 0: rounding gives a constant channel a deviation near 1e-17.
            "constant in training": int((np.ptp(series.train, axis=0) == 0).sum()),
            "events": len(lengths),
            "median length": lengths.median(),
            "anomalous rows": np.nan if series.labels is None else series.labels.mean(),
        }
    return pd.DataFrame(list(lines.values()), index=pd.Index(lines, name="entity"))


def readable(table: pd.DataFrame, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A table for people: titles instead of names, rounded, costs with their units.

    ``columns`` chooses; without it, all that have a title and a value stand there. p-values become
    texts, so that a tiny one does not read as zero.
    """
    titles = METRIC_TITLES | OPERATORS | COST_TITLES | TEST_TITLES
    known = table.dropna(axis=1, how="all")
    made = known[[name for name in (columns or table) if name in titles and name in known]]
    made = made.round(dict.fromkeys(made, 3) | DIGITS)
    for name in ("p", "holm_p"):
        if name in made:
            rounded = table[name].map("{:.3f}".format).where(table[name] >= 0.001, "< 0.001")
            made[name] = rounded.where(table[name].notna(), "")
    return made.rename(index=title, columns=titles)
