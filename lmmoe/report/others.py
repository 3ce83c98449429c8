"""Our runs on SMD beside printed ones: the study's own runs, and what other publications print."""

import pandas as pd

from lmmoe.report import store, study
from lmmoe.report.names import METRIC_TITLES, title
from lmmoe.report.statistics import bootstrap_mean
from lmmoe.report.tables import counts, entity_means

# What the study's own runs are judged by, and how its file calls it.
STUDY_METRICS = {
    "point_f1_pa": "point_f1",
    "event_f1_pa_log": "event_log_f1",
    "event_f1_pa_squeeze": "event_squeeze_f1",
}
# Cited by the study with results of its own runs, and not run here: one epoch takes minutes.
NOT_RUN = ("OmniAnomaly",)
REBUILT = "Sarfraz et al., ICML 2024"  # whose protocol `as_published.quovadis` repeats


def study_results() -> pd.DataFrame:
    """What the study's own runs gave, by (detector, entity): the columns of `STUDY_METRICS`."""
    table = study.results()[list(STUDY_METRICS.values())].set_axis(list(STUDY_METRICS), axis=1)
    return table.rename_axis(["detector", "entity"])


def by_machine(rows: pd.DataFrame) -> pd.DataFrame:
    """Ours under the protocol ``study`` beside the study's own, one row per (detector, machine).

    Only detectors that the study ran, and random scores, which have no partner; columns
    of `STUDY_METRICS`, theirs with ``_study``. Empty where the study knows none of the entities.
    """
    ours = entity_means(rows, "study")[list(STUDY_METRICS)]
    both = ours.join(_theirs(ours.index).add_suffix("_study")).reset_index()
    known = both["point_f1_pa_study"].notna()
    return both[known | (known.any() & (both["detector"] == "random"))]


def study_headline(rows: pd.DataFrame) -> pd.DataFrame:
    """The study's headline, the mean of the three groups' means, ours and theirs, same machines.

    A machine on which all our runs failed counts on neither side. Random scores, which the study
    did not run, have no partner; detectors of `NOT_RUN` have only the study's. ``entities`` and
    ``seeds`` count what is behind ours.
    """
    ours = entity_means(rows, "study")[list(STUDY_METRICS)]
    theirs = _theirs(ours.index).where(ours.notna())
    machines = ours.index.unique("entity")
    absent = _theirs(pd.MultiIndex.from_product([NOT_RUN, machines], names=ours.index.names))
    theirs = pd.concat([theirs, absent.dropna(how="all")])
    both = ours.reindex(theirs.index).join(theirs.add_suffix("_study")).reset_index()
    group = both["entity"].str.extract(r"^(machine-\d+)-", expand=False).fillna("all")
    means = both.assign(group=group).drop(columns="entity").groupby(["detector", "group"]).mean()
    table = means.groupby("detector").mean()
    for metric in STUDY_METRICS:
        table[f"{metric}_difference"] = table[metric] - table[f"{metric}_study"]
    order = [f"{m}{end}" for m in STUDY_METRICS for end in ("", "_study", "_difference")]
    behind = counts(rows, "study")[["entities", "seeds"]].reindex(table.index).fillna(0)
    table = table[order].join(behind.astype(int))
    return table.sort_values("point_f1_pa", ascending=False)


def _theirs(index: pd.MultiIndex) -> pd.DataFrame:
    """The study's results under our (detector, entity); NaN where it has none."""
    names = index.to_frame(index=False)
    names["detector"] = names["detector"].replace(study.THEIRS)
    return study_results().reindex(pd.MultiIndex.from_frame(names)).set_axis(index)


def readable_headline(headline: pd.DataFrame) -> pd.DataFrame:
    """`study_headline` for people: under each metric ours, theirs, the difference."""
    parts = {"": "ours", "_study": "the study's", "_difference": "difference"}
    columns = {
        f"{metric}{end}": (METRIC_TITLES[metric], word)
        for metric in STUDY_METRICS
        for end, word in parts.items()
    }
    columns |= {name: ("", name) for name in ("entities", "seeds")}
    table = headline[list(columns)].round(3).rename(index=title)
    return table.set_axis(pd.MultiIndex.from_tuples(columns.values()), axis=1)


def others(rows: pd.DataFrame, rebuilt: pd.DataFrame) -> pd.DataFrame:
    """Hold ours against numbers on SMD from other publications (``published/others.csv``).

    Columns ``source``, ``detector`` and ``metric`` under our names, ``value``, ``machines`` of 28,
    ``ours``, its 95 % bootstrap interval over entities (``low``, ``high``; NaN for one), their
    number (``entities``), ``rebuilt``, ours scored and judged under their protocol
    (`as_published.quovadis`), and ``way``: what is known to differ from ours. Detectors
    without results in ``rows`` are left out.
    """
    means, lines = entity_means(rows, "ours"), []
    known = means.index.unique("detector")
    for line in store.published("others").itertuples(index=False):
        values = means.loc[[line.detector] if line.detector in known else [], line.metric].dropna()
        if values.empty:
            continue
        mean, low, high = bootstrap_mean(values)
        ours = {"ours": mean, "low": low, "high": high, "entities": len(values)}
        if line.source == REBUILT and line.detector in rebuilt.index:
            ours["rebuilt"] = rebuilt.loc[line.detector, line.metric]
        lines.append(line._asdict() | ours)
    order = ["source", "detector", "metric", "value", "machines"]
    order += ["ours", "low", "high", "entities", "rebuilt", "way"]
    return pd.DataFrame(lines).reindex(columns=order)


def readable_others(table: pd.DataFrame) -> pd.DataFrame:
    """`others` under the names that people read."""
    names = {"value": "printed", "low": "from", "high": "to", "entities": "machines here"}
    names |= {"rebuilt": "ours under their protocol", "way": "what differs"}
    made = table.round(3).rename(columns=names)
    made["detector"] = made["detector"].map(title)
    made["metric"] = made["metric"].map(METRIC_TITLES)
    return made.set_index("source")
