"""Which rows count, and their averages."""

import json
from pathlib import Path

import pandas as pd

from lmmoe.report.evaluation import COLUMNS
from lmmoe.report.params import Profile
from lmmoe.report.plots.style import LOWER_IS_BETTER
from lmmoe.report.runs import SPENT

NUMBERS = [*COLUMNS, *SPENT]
# Not defined where nothing is flagged or found: a mean over the rest would reward silence.
SILENT = ("quantile_precision", "pot_precision", "budget_delay")
AVERAGED = [name for name in COLUMNS if name not in SILENT]


def entity_means(rows: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Average the seeds: one row per (detector, entity)."""
    chosen = rows[rows["protocol"] == protocol]
    return chosen.groupby(["detector", "entity"], sort=False)[NUMBERS].mean()


def detector_means(means: pd.DataFrame) -> pd.DataFrame:
    """Average the entities of `entity_means`: mean metrics (`AVERAGED`), median costs.

    A median, because other work on the machine makes a few runs several times slower.
    """
    detectors = means.groupby("detector", sort=False)
    return detectors[AVERAGED].mean().join(detectors[list(SPENT)].median())


def summary(rows: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Mean of every metric and median of every cost, one row per detector, best first.

    ``entities`` and ``seeds`` count what is behind the means, ``runs`` all runs and ``failed``
    those among them that are in no mean: a failure is never a zero.
    """
    table = detector_means(entity_means(rows, protocol))
    return table.join(counts(rows, protocol)).sort_values("average_precision", ascending=False)


def counts(rows: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """What is behind each detector's means: ``entities``, ``seeds``, ``runs``, ``failed``.

    Entities and seeds count where a run has metrics or, without any labelled events, succeeded.
    """
    rows = rows[rows["protocol"] == protocol]
    chosen = rows.groupby("detector", sort=False)
    measured = rows["average_precision"].notna()
    good = rows[measured if measured.any() else rows["error"].isna()].groupby("detector")
    table = chosen.size().to_frame("runs")
    table["entities"] = good["entity"].nunique()
    table["seeds"] = good["seed"].nunique()
    table["failed"] = chosen["error"].count()
    order = ["entities", "seeds", "runs", "failed"]
    return table.reindex(columns=order).fillna(0).astype(int)


def seed_spread(rows: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Standard deviation over seeds of each detector's mean over entities (NaN for one seed).

    Only entities that a detector ran on with all of its seeds count.
    """
    chosen = rows[(rows["protocol"] == protocol) & rows["error"].isna()]
    seeds = chosen.groupby("detector")["seed"].transform("nunique")
    ran = chosen.groupby(["detector", "entity"])["seed"].transform("nunique")
    whole = chosen[ran == seeds]
    by_seed = whole.groupby(["detector", "seed"], sort=False)[AVERAGED].mean()
    spread = by_seed.groupby("detector", sort=False).std()
    return spread.reindex(chosen["detector"].unique())


def by_entity(rows: pd.DataFrame, protocol: str, metric: str) -> pd.DataFrame:
    """One metric, seeds averaged: entities down, detectors across, best detector first."""
    table = entity_means(rows, protocol)[metric].unstack("detector")
    table = table.loc[list(dict.fromkeys(rows.loc[rows["protocol"] == protocol, "entity"]))]
    return table[table.mean().sort_values(ascending=metric in LOWER_IS_BETTER).index]


def of_profile(rows: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """Choose the rows of an accumulated table that a profile asks for."""
    settings = {
        name: json.dumps(given, sort_keys=True) for name, given in profile.detectors.items()
    }
    fits = rows["settings"] == rows["detector"].map(settings)
    fits &= rows["dataset"] == Path(profile.dataset).name  # own data are named by their folder
    fits &= rows["vus_window"] == profile.vus_window
    if profile.entities:
        fits &= rows["entity"].isin(profile.entities)
    rows = rows[fits]
    asked = {entity: set(profile.plan(entity)) for entity in rows["entity"].unique()}
    keys = zip(rows["entity"], rows["detector"], rows["protocol"], rows["seed"], strict=True)
    chosen = [tuple(run) in asked[entity] for entity, *run in keys]
    return rows[pd.Series(chosen, index=rows.index, dtype=bool)]  # a bare [] would name no columns
