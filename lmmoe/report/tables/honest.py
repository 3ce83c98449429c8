"""The main table, and which of its differences mean something."""

from collections.abc import Sequence

import pandas as pd

from lmmoe.report.evaluation import ADJUSTED
from lmmoe.report.plots.style import LOWER_IS_BETTER, title
from lmmoe.report.statistics import bootstrap_mean, holm, paired
from lmmoe.report.tables.means import by_entity, counts, detector_means, entity_means, summary

# Columns of the main table. Rankings first, then label-free alarms, diagnosis and costs; what point
# adjustment flatters most stands last.
HONEST = (
    "average_precision",
    "average_precision_low",
    "average_precision_high",
    "vus_pr",
    "best_f1",
    "quantile_f1",
    "pot_f1",
    "pa_k_area",
    "event_f1_pa_squeeze",
    "delay10_f1_pa",
    "budget_events_found",
    "budget_false_alarms_per_day",
    "hit_rate_150",
    "ndcg_150",
    "parameters",
    "train_seconds",
    "microseconds_per_row",
    "point_f1_pa",
)
COUNTS = ("entities", "seeds", "failed")
# They smooth with later rows, or scale or rank a row among all rows that are scored together.
AHEAD = ("SmartSimpleAD", "AMAD", "MTSMixer", "MTSMixerLighter", "pyod.models.ecod.ECOD")


def honest(rows: pd.DataFrame, protocol: str = "ours") -> pd.DataFrame:
    """Make the main table: one row per detector, best average precision first.

    Means over entities (of costs, medians), seeds averaged before; ``average_precision_low`` and
    ``_high`` bound its mean with 95 % bootstrap confidence. ``entities``, ``seeds`` and ``failed``
    count what is behind a row: where detectors ran on different entities, compare them by
    `significance`. Without random scores beside them, columns that point adjustment flatters are
    left out.
    """
    means = entity_means(rows, protocol)
    table = detector_means(means)
    bounds = {
        name: bootstrap_mean(values)
        for name, values in means["average_precision"].groupby("detector", sort=False)
    }
    table["average_precision_low"] = pd.Series({name: one.low for name, one in bounds.items()})
    table["average_precision_high"] = pd.Series({name: one.high for name, one in bounds.items()})
    each = 1e6 * means["score_seconds"] / means["test_rows"]
    table["microseconds_per_row"] = each.groupby("detector", sort=False).median()
    table = table.reindex(columns=list(HONEST)).join(counts(rows, protocol)[list(COUNTS)])
    floored = "random" in table.index and table.loc["random", "average_precision"] >= 0
    shown = [name for name in table if floored or name not in ADJUSTED]
    return table[shown].sort_values("average_precision", ascending=False, kind="stable")


def significance(
    rows: pd.DataFrame,
    metric: str = "average_precision",
    *,
    protocol: str = "ours",
    references: Sequence[str] = ("MTSExample", "PCA"),
) -> pd.DataFrame:
    """Compare every detector with the references, entity by entity, seeds averaged first.

    One row per (reference, detector): ``difference`` is the mean of detector - reference over the
    ``entities`` that both have, ``low`` and ``high`` its 95 % bootstrap interval; ``wins``,
    ``ties`` and ``losses`` count entities; ``p`` is the exact Wilcoxon test's (never below 0.0625
    with 5 entities or fewer, NaN with none), ``holm_p`` the same corrected for all comparisons of
    this table. ``seeds`` and ``reference_seeds`` count the seeds behind the two. Two references are
    compared once. References without rows are left out.
    """
    table = by_entity(rows, protocol, metric)
    seeds = counts(rows, protocol)["seeds"]
    known = [name for name in references if name in table]
    lines = []
    for position, reference in enumerate(known):
        for detector in table.columns.drop(known[: position + 1]):
            better = metric not in LOWER_IS_BETTER
            found = paired(table[detector], table[reference], higher_is_better=better)
            head = {"reference": reference, "detector": detector}
            behind = {"seeds": seeds[detector], "reference_seeds": seeds[reference]}
            lines.append(head | found._asdict() | behind)
    result = pd.DataFrame(lines, columns=COMPARED).rename(columns={"pairs": "entities"})
    result.insert(result.columns.get_loc("p") + 1, "holm_p", holm(result["p"]))
    return result.set_index(["reference", "detector"])


COMPARED = [
    *("reference", "detector", "pairs", "difference", "low", "high"),
    *("wins", "ties", "losses", "p", "seeds", "reference_seeds"),
]


def handful(
    rows: pd.DataFrame, protocol: str = "ours", *, top: int = 3, seconds: float = 60
) -> list[str]:
    """Names for a picture that cannot show all: the ``top`` ones, LightMMoE and random scores.

    By mean average precision, best first (in the table's order where no event is labelled); only
    what has results, and trains in less than ``seconds``, so that who has the table alone can make
    the picture soon.
    """
    means = summary(rows, protocol)
    quality = means.loc[means["train_seconds"] < seconds, "average_precision"]
    if quality.notna().any():
        quality = quality[quality.notna()]
    return [
        name
        for place, name in enumerate(quality.index)
        if place < top or name in ("LightMMoE", "random")
    ]


def example(
    rows: pd.DataFrame, names: Sequence[str], protocol: str = "ours", *, enough: int = 5
) -> str:
    """Choose an entity for a picture of the detectors ``names``: where most of them ran.

    Of several the first with ``enough`` labelled events, else with the most.
    """
    rows = rows[rows["protocol"] == protocol]
    done = rows[rows["detector"].isin(names) & rows["train_seconds"].notna()]
    ran = done.groupby("entity", sort=False)["detector"].nunique()
    marks = rows["found_events"].astype("string").fillna("").str.len()  # a digit an event
    events = marks.groupby(rows["entity"]).max().clip(upper=enough)
    table = pd.DataFrame({"ran": ran, "events": events.reindex(ran.index)})
    return table.sort_values(["ran", "events"], ascending=False, kind="stable").index[0]


def ahead_in_words(table: pd.DataFrame) -> str:
    """Name the detectors of a table that look at later rows of the test half; empty without any."""
    names = [title(name) for name in AHEAD if name in table.index]
    if not names:
        return ""
    return (
        f"Not available live, since their scores hang on later rows of the test half: "
        f"{', '.join(names)}."
    )


def seeds_in_words(rows: pd.DataFrame, protocol: str = "ours") -> str:
    """Name the detectors that ran with all of their seeds on some entities only; empty without."""
    done = rows[(rows["protocol"] == protocol) & rows["error"].isna()]
    seeds = done.groupby(["detector", "entity"], sort=False)["seed"].nunique()
    told = [
        f"{title(name)} ({each.max()} seeds on {(each == each.max()).sum()} of {len(each)})"
        for name, each in seeds.groupby("detector", sort=False)
        if each.min() < each.max()
    ]
    return f"Further seeds on some entities only: {', '.join(told)}." if told else ""
