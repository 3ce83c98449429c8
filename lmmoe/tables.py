"""Tables made from rows of runs (`lmmoe.runs`): seeds are averaged first, then entities."""

import json
from importlib.resources import files

import numpy as np
import pandas as pd

from lmmoe.data import Series
from lmmoe.evaluation import COLUMNS
from lmmoe.params import Profile
from lmmoe.plots.style import METRIC_TITLES, title
from lmmoe.runs import SPENT

# What the study's own runs are judged by, and how its file calls it.
STUDY_METRICS = {
    "point_f1_pa": "point_f1",
    "event_f1_pa_log": "event_log_f1",
    "event_f1_pa_squeeze": "event_squeeze_f1",
}
NUMBERS = [*COLUMNS, *SPENT]


def entity_means(rows: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Average the seeds: one row per (detector, entity)."""
    chosen = rows[rows["protocol"] == protocol]
    return chosen.groupby(["detector", "entity"], sort=False)[NUMBERS].mean()


def summary(rows: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Mean over entities of every metric and cost, one row per detector, best first.

    ``runs`` counts all runs and ``failed`` those among them that are in no mean: a failure is
    never a zero.
    """
    table = entity_means(rows, protocol).groupby("detector", sort=False).mean()
    chosen = rows[rows["protocol"] == protocol].groupby("detector", sort=False)
    table["runs"] = chosen.size()
    table["failed"] = chosen["error"].apply(lambda errors: int(errors.notna().sum()))
    return table.sort_values("average_precision", ascending=False)


def seed_spread(rows: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Standard deviation over seeds of each detector's mean over entities (NaN for one seed)."""
    chosen = rows[rows["protocol"] == protocol]
    by_seed = chosen.groupby(["detector", "seed"], sort=False)[list(COLUMNS)].mean()
    return by_seed.groupby("detector", sort=False).std()


def by_entity(rows: pd.DataFrame, protocol: str, metric: str) -> pd.DataFrame:
    """One metric, seeds averaged: entities down, detectors across, best detector first."""
    table = entity_means(rows, protocol)[metric].unstack("detector")
    table = table.loc[list(dict.fromkeys(rows.loc[rows["protocol"] == protocol, "entity"]))]
    return table[table.mean().sort_values(ascending=False).index]


def study_results() -> pd.DataFrame:
    """What the study's own runs gave, by (detector, entity): the columns of `STUDY_METRICS`."""
    with (files("lmmoe") / "published" / "study_results.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file)
    table = table.rename(columns={theirs: ours for ours, theirs in STUDY_METRICS.items()})
    return table.rename(columns={"machine": "entity"}).set_index(["detector", "entity"])[
        list(STUDY_METRICS)
    ]


def by_machine(rows: pd.DataFrame) -> pd.DataFrame:
    """Ours under the protocol ``study`` beside the study's own, one row per (detector, machine).

    Only detectors that the study ran, and random scores, which have no partner; columns of
    `STUDY_METRICS`, theirs with ``_study``. Empty where the study knows none of the entities.
    """
    ours = entity_means(rows, "study")[list(STUDY_METRICS)]
    both = ours.join(study_results().add_suffix("_study")).reset_index()
    known = both["point_f1_pa_study"].notna()
    return both[known | (known.any() & (both["detector"] == "random"))]


def study_headline(rows: pd.DataFrame) -> pd.DataFrame:
    """The study's headline, the mean of the three groups' means, ours and theirs, same machines.

    A machine on which all our runs failed counts on neither side. Random scores, which the study
    did not run, have no partner.
    """
    ours = entity_means(rows, "study")[list(STUDY_METRICS)]
    theirs = study_results().reindex(ours.index).where(ours.notna())
    both = ours.join(theirs.add_suffix("_study")).reset_index()
    group = both["entity"].str.extract(r"^(machine-\d+)-", expand=False).fillna("all")
    means = both.assign(group=group).drop(columns="entity").groupby(["detector", "group"]).mean()
    table = means.groupby("detector").mean()
    for metric in STUDY_METRICS:
        table[f"{metric}_difference"] = table[metric] - table[f"{metric}_study"]
    order = [f"{m}{end}" for m in STUDY_METRICS for end in ("", "_study", "_difference")]
    return table[order].sort_values("point_f1_pa", ascending=False)


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
    """Metrics of several score series, one column per detector, under the names people read."""
    table = pd.DataFrame(metrics).loc[list(METRIC_TITLES)]
    return table.rename(index=METRIC_TITLES, columns=title)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A summary for people: titles instead of names, rounded, costs with their units."""
    costs = {
        "train_seconds": "train (s)",
        "score_seconds": "score (s)",
        "train_peak_mb": "memory (MB)",
        "parameters": "parameters",
    }
    digits = dict.fromkeys(METRIC_TITLES, 3) | {"train_seconds": 2, "score_seconds": 2}
    digits |= {"train_peak_mb": 0, "parameters": 0}
    shown = [name for name in (*METRIC_TITLES, *costs, "runs", "failed") if name in table]
    return table[shown].round(digits).rename(index=title, columns=METRIC_TITLES | costs)


def in_words(rows: pd.DataFrame, protocol: str) -> str:
    """The findings as Markdown, every number taken from the rows.

    A point-adjusted number stands beside that of random scores, or not at all.
    """
    honest = summary(rows, protocol)
    counts = rows.groupby("dataset")["entity"].nunique()
    where = ", ".join(f"{count} entities of {name}" for name, count in counts.items())
    if honest[list(COLUMNS)].isna().all(axis=None):
        return f"On {where}: no labelled events, or no run that succeeded, and so no metrics."
    chance = honest["point_f1_pa"].get("random", np.nan)
    spread = seed_spread(rows, protocol)["average_precision"]
    windows = ", ".join(str(int(window)) for window in sorted(rows["vus_window"].unique()))
    lines = [f"On {where}, protocol `{protocol}`, VUS over buffers of up to {windows} rows:", ""]
    for name, line in honest.iterrows():
        sigma = spread.get(name, np.nan)
        plus = "" if np.isnan(sigma) else f" (± {sigma:.3f} over seeds)"
        beside = "" if name == "random" else f" (random scores {chance:.3f})"
        adjusted = f"; with point adjustment {line['point_f1_pa']:.3f}{beside}"
        lines.append(
            f"- **{title(name)}**: average precision {line['average_precision']:.3f}{plus}, "
            f"VUS-PR {line['vus_pr']:.3f}, best F1 {line['best_f1']:.3f}"
            f"{'' if np.isnan(chance) else adjusted}."
        )
    return "\n".join([*lines, *_luck(rows, protocol), *_failures(honest)])


def _luck(rows: pd.DataFrame, protocol: str) -> list[str]:
    """Where the seed decides most: the widest range of average precision on one entity."""
    chosen = rows[rows["protocol"] == protocol]
    scores = chosen.groupby(["detector", "entity"])["average_precision"].agg(["min", "max"])
    widest = (scores["max"] - scores["min"]).idxmax()
    low, high = scores.loc[widest]
    if not high > low:
        return []
    detector, entity = widest
    return [
        f"- The seed matters most to {title(detector)} on {entity}: average precision from "
        f"{low:.3f} to {high:.3f}."
    ]


def _failures(summary: pd.DataFrame) -> list[str]:
    failed = int(summary["failed"].sum())
    return [f"- {failed} runs failed and are in no average."] if failed else []


def of_profile(rows: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """Choose the rows of an accumulated table that a profile asks for."""
    settings = {
        name: json.dumps(given, sort_keys=True) for name, given in profile.detectors.items()
    }
    fits = rows["settings"] == rows["detector"].map(settings)
    fits &= rows["protocol"].isin(profile.protocols) & rows["seed"].isin(profile.seeds)
    fits &= rows["vus_window"] == profile.vus_window
    if profile.entities:
        fits &= rows["entity"].isin(profile.entities)
    return rows[fits]
