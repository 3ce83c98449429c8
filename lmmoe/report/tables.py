"""Tables made from rows of runs: seeds are averaged first, then entities."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from lmmoe.data import Series
from lmmoe.report.evaluation import ADJUSTED, COLUMNS, SPENT
from lmmoe.report.names import COST_TITLES, METRIC_TITLES, OPERATORS, OTHER_TITLES, title
from lmmoe.report.statistics import Paired, bootstrap_mean, holm, paired

# Not defined where nothing is flagged or found: a mean over the rest would reward silence.
SILENT = ["quantile_precision", "pot_precision", "budget_delay"]
REFERENCES = ("MTSExample", "LightMMoE", "ThreeViews")  # every detector is compared with these
ENDS = {"average_precision": ("average_precision_low", "average_precision_high")}
ENDS |= {"difference": ("low", "high")}
FORMATS = {"false_alarms_per_day": "{:.2f}".format, "delay": "{:.0f}".format}  # else .3f
FORMATS |= {"share": "{:.1%}".format, "announced": "{:.0%}".format, "chance": "{:.0%}".format}
digits = partial(np.format_float_positional, precision=3, fractional=False, trim="-")
FORMATS |= dict.fromkeys(("train_seconds", "microseconds_per_row", "latency_p50_ms"), digits)
COUNTS = ("entities", "seeds", "runs", "failed", "parameters", "multiply_adds", "learned_bytes")
COUNTS += ("a_year", "a_year_batch", "wins", "ties", "losses")
FORMATS |= dict.fromkeys(COUNTS, "{:,.0f}".format) | {"train_peak_mb": "{:.1f}".format}


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


def honest(rows: pd.DataFrame, protocol: str = "ours") -> pd.DataFrame:
    """Make the main table: one row per detector, best first.

    Mean of every metric and median of every cost: other work on the machine makes a few runs
    several times slower. ``average_precision_low`` and ``_high`` bound its mean with 95 % bootstrap
    confidence. Behind them stand `counts`; failed runs are in no mean: a failure is never a zero.
    Where detectors ran on different entities, compare them by `against`. Without random scores
    beside them, columns that point adjustment flatters are left out.
    """
    means = entity_means(rows, protocol)
    means["microseconds_per_row"] = 1e6 * means["score_seconds"] / means["test_rows"]
    detectors, costs = means.groupby("detector", sort=False), [*SPENT, "microseconds_per_row"]
    table = detectors.mean().drop(columns=SILENT).assign(**detectors[costs].median())
    bounds = {name: bootstrap_mean(one)[1:] for name, one in detectors["average_precision"]}
    table[[*ENDS["average_precision"]]] = pd.DataFrame.from_dict(bounds, orient="index")
    table = table.join(counts(rows, protocol))
    table = table.sort_values("average_precision", ascending=False, kind="stable")
    floored = "random" in table.index and table.loc["random", "average_precision"] >= 0
    return table if floored else table.drop(columns=[*ADJUSTED])


def by_entity(rows: pd.DataFrame, protocol: str, metric: str) -> pd.DataFrame:
    """One metric, seeds averaged: entities down, detectors across, highest mean first."""
    table = entity_means(rows, protocol)[metric].unstack("detector")
    table = table.loc[list(dict.fromkeys(rows.loc[rows["protocol"] == protocol, "entity"]))]
    return table[table.mean().sort_values(ascending=False).index]


def against(values: pd.DataFrame, references: Sequence[str] = REFERENCES) -> pd.DataFrame:
    """Compare detectors (columns of ``values``) with some of them, entity (row) by entity.

    One row per (reference, detector): `statistics.Paired` of detector - reference, and ``holm_p``,
    its p corrected for all comparisons of this table. References are compared once, and left out
    where they are no column.
    """
    known, found = [name for name in references if name in values], {}
    for position, reference in enumerate(known):
        for name in values.columns.drop(known[: position + 1]):
            found[reference, name] = paired(values[name], values[reference])
    index = pd.MultiIndex.from_tuples(found, names=["reference", "detector"])
    table = pd.DataFrame(list(found.values()), index, Paired._fields)
    return table.assign(holm_p=holm(table["p"]))


def found_events(
    rows: pd.DataFrame, protocol: str, fleet: Mapping[str, Sequence[tuple[int, int]]]
) -> pd.DataFrame:
    """Tell for each labelled event (rows) and each detector (columns) whether it is found.

    ``fleet`` gives each entity's events as (first row, row after the last). Found means that an
    alarm of the budget lies in the event (`evaluation.evaluate`), at a detector's lowest seed.
    The index, ``rows``, holds the events' lengths. A detector that failed on an entity, or has no
    threshold, is left out.
    """
    chosen = rows[(rows["protocol"] == protocol) & rows["entity"].isin(fleet)]
    chosen = chosen[~chosen["found_events"].isin(["", np.nan])]
    first = chosen.sort_values("seed", kind="stable").drop_duplicates(["detector", "entity"])
    digits = first.pivot(index="entity", columns="detector", values="found_events")
    known = [entity for entity in fleet if entity in digits.index]
    digits = digits.loc[known].dropna(axis="columns")
    lengths = [end - start for entity in digits.index for start, end in fleet[entity]]
    found = {name: list("".join(texts)) for name, texts in digits.items()}
    return pd.DataFrame(found, pd.Index(lengths, name="rows")) == "1"


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
    """A table of texts for people: titles instead of names, rounded, costs with their units.

    ``columns`` chooses; without it, all that have a title and a value stand there. An interval
    stands beside its mean, and a tiny p does not read as zero. A detector that has results on fewer
    entities than others bears their number, unless that is a column.
    """
    titles = METRIC_TITLES | OPERATORS | COST_TITLES | OTHER_TITLES
    titles |= {f"{name}_study": f"{text}, study" for name, text in METRIC_TITLES.items()}
    made = pd.DataFrame(index=table.index)
    for name in columns or table:
        if name not in titles or name not in table or table[name].isna().all():
            continue
        form, (low, high) = FORMATS.get(name, "{:.3f}".format), ENDS.get(name, ("", ""))
        texts, heading = table[name].map(form), titles[name]
        if low in table:
            ends = " (" + table[low].map(form) + " to " + table[high].map(form) + ")"
            texts, heading = texts + ends.where(table[low].notna(), ""), f"{heading} (95 %)"
        if name in ("p", "holm_p"):
            texts = texts.where(table[name] >= 0.001, "< 0.001")
        made[heading] = texts.where(table[name].notna(), "–")
    names = {name: title(name) for name in made.index}
    if "entities" in table and titles["entities"] not in made:
        few = table["entities"][table["entities"] < table["entities"].max()]
        names |= {name: f"{names[name]} ({number:.0f} entities)" for name, number in few.items()}
    return made.rename(index=names)
