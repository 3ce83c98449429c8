"""The findings as sentences, every number taken from the rows."""

import numpy as np
import pandas as pd

from lmmoe.report.plots.style import title
from lmmoe.report.statistics import Interval, Paired, bootstrap_mean, largest_block, paired
from lmmoe.report.tables.honest import AHEAD, significance
from lmmoe.report.tables.means import AVERAGED, by_entity, counts, seed_spread, summary

# Whom the leader is held against: the study's top scorer, the simple method that leads published
# comparisons on SMD, and the study's subject.
YARDSTICKS = ("MTSExample", "PCA", "LightMMoE")
ALPHA = 0.05


def in_words(rows: pd.DataFrame, protocol: str) -> str:
    """The findings as Markdown: at most a dozen lines, whatever the number of detectors.

    The leader is the detector of highest mean average precision among those that ran on
    (nearly) all entities (`report.statistics.largest_block`). A point-adjusted number stands beside
    that of random scores, or not at all.
    """
    means = summary(rows, protocol)
    sizes = rows.groupby("dataset")["entity"].nunique()
    where = ", ".join(f"{count} entities of {name}" for name, count in sizes.items())
    if means[AVERAGED].isna().all(axis=None):
        return f"On {where}: no labelled events, or no run that succeeded, and so no metrics."
    table = by_entity(rows, protocol, "average_precision")
    leader = table[largest_block(table).columns].mean().idxmax()
    tests = significance(rows, protocol=protocol)
    windows = ", ".join(str(int(window)) for window in sorted(rows["vus_window"].unique()))
    lines = [
        f"On {where}, protocol `{protocol}`, VUS over buffers of up to {windows} rows:",
        "",
        *_lead(rows, protocol, means, leader),
        *_distances(table, tests, leader),
        *_tests(tests),
        *_claim(tests, leader),
        *_training(table),
        *_adjustment(means, leader),
        *_cheapest(table, means, leader),
        *_luck(rows, protocol),
        *_fewer(rows, protocol, table),
        *_failures(means),
        "- Entities of one data set, such as machines of one fleet, are not independent data sets: "
        "intervals and p-values are too hopeful.",
    ]
    return "\n".join(lines)


def _lead(rows: pd.DataFrame, protocol: str, means: pd.DataFrame, leader: str) -> list[str]:
    line = means.loc[leader]
    sigma = seed_spread(rows, protocol).loc[leader, "average_precision"]
    spread = "" if np.isnan(sigma) else f", ± {sigma:.3f} over {line['seeds']:.0f} seeds"
    values = by_entity(rows, protocol, "average_precision")[leader]
    others = f" leads, before {len(means) - 1} more" if len(means) > 1 else ""
    text = (
        f"- **{title(leader)}**{others}: average precision "
        f"{line['average_precision']:.3f}{_interval(bootstrap_mean(values))}{spread}; VUS-PR "
        f"{line['vus_pr']:.3f}, best F1 {line['best_f1']:.3f}."
    )
    return [text]


def _distances(table: pd.DataFrame, tests: pd.DataFrame, leader: str) -> list[str]:
    """How far the leader is from each yardstick, on the entities that both have."""
    lines = []
    for name in YARDSTICKS:
        if name not in table or name == leader:
            continue
        found = paired(table[leader], table[name])
        if found.pairs:
            place = table.mean().rank(ascending=False, method="min")[name]
            lines.append(
                f"- Its lead over {title(name)} (place {place:.0f}, {table[name].mean():.3f}): "
                f"{found.difference:+.3f}{_interval(found)}, better on {found.wins} of "
                f"{found.pairs} entities{_p_of(tests, leader, name)}."
            )
    return lines


def _tests(tests: pd.DataFrame) -> list[str]:
    """How many differ from the references once Holm's correction is made."""
    tried = int(tests["p"].notna().sum())
    if not tried:
        return []
    sure = tests[tests["holm_p"] < ALPHA]
    parts = []
    for reference in tests.index.unique("reference"):
        signs = sure.loc[sure.index.isin([reference], level="reference"), "difference"]
        better, worse = int((signs > 0).sum()), int((signs < 0).sum())
        parts.append(f"{better} better and {worse} worse than {title(reference)}")
    said = "; ".join(parts) if len(sure) else "none differs"
    most = int(tests["entities"].max())
    hint = f" ({most} entities are too few for any to)" if most < 6 else ""
    return [
        f"- Wilcoxon's test on average precision, Holm's correction over {tried} comparisons, "
        f"5 %: {said}{hint}."
    ]


def _claim(tests: pd.DataFrame, leader: str) -> list[str]:
    """The study's subject against its own top scorer, where the leader is neither."""
    pair = ("MTSExample", "LightMMoE")
    if leader in pair or pair not in tests.index or not tests.loc[pair, "entities"]:
        return []
    found = tests.loc[pair]
    bounds = f" (95 % interval {found['low']:+.3f} to {found['high']:+.3f})"
    return [
        f"- LightMMoE against {title('MTSExample')}: {found['difference']:+.3f}"
        f"{'' if np.isnan(found['low']) else bounds}{_p_of(tests, *pair)}."
    ]


def _p_of(tests: pd.DataFrame, one: str, other: str) -> str:
    """What Holm's correction left of the p of two detectors; nothing where they were not tested."""
    for pair in ((one, other), (other, one)):
        if pair in tests.index:
            p = tests.loc[pair, "holm_p"]
            return f", p after Holm {'below 0.001' if p < 0.001 else f'{p:.3f}'}"
    return ""


def _training(table: pd.DataFrame) -> list[str]:
    """What training is worth to the study's subject: the same network with random weights."""
    trained, untrained = "LightMMoE", "untrained LightMMoE"
    if not {trained, untrained} <= set(table):
        return []
    found = paired(table[trained], table[untrained])
    return [
        f"- What training adds to {trained}: {found.difference:+.3f}{_interval(found)} to the "
        f"{table[untrained].mean():.3f} of random weights, better on {found.wins} of "
        f"{found.pairs} entities."
    ]


def _adjustment(means: pd.DataFrame, leader: str) -> list[str]:
    """What point adjustment gives to random scores, and to the leader."""
    if "random" not in means.index or np.isnan(means.loc["random", "point_f1_pa"]):
        return []
    plain, adjusted = means["best_f1"], means["point_f1_pa"]
    text = (
        f"- Point adjustment lifts random scores from best F1 {plain['random']:.3f} to "
        f"{adjusted['random']:.3f}"
    )
    if leader != "random":
        text += f", and {title(leader)} from {plain[leader]:.3f} to {adjusted[leader]:.3f}"
    return [f"{text}."]


def _cheapest(table: pd.DataFrame, means: pd.DataFrame, leader: str) -> list[str]:
    """The detector that trains fastest among those that the leader does not surely lead.

    By the interval of their differences, entity by entity; the leader was chosen for its mean, so
    even these intervals flatter it. Detectors that look ahead (`AHEAD`) are left out.
    """
    names = [n for n in largest_block(table) if n == leader or n not in AHEAD]
    low = {name: paired(table[leader], table[name]).low for name in names if name != leader}
    near = means.loc[[leader, *(name for name, bound in low.items() if bound <= 0)]]
    near = near[near["train_seconds"].notna()]
    if near.empty or not any(np.isfinite(list(low.values()))):  # no interval with one entity
        return []
    name = near["train_seconds"].idxmin()
    seconds = near.loc[name, "train_seconds"]
    what = f"{title(name)}, {seconds:.2g} s an entity"
    if name != leader:
        value, dear = near.loc[name, "average_precision"], means.loc[leader, "train_seconds"]
        what += f" (average precision {value:.3f}; the leader takes {dear:.2g} s)"
    return [f"- The cheapest to train that the leader's lead does not surely exclude: {what}."]


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


def _fewer(rows: pd.DataFrame, protocol: str, table: pd.DataFrame) -> list[str]:
    """Who ran on fewer entities than the others, so that its mean is of other data."""
    block = largest_block(table)
    ran = counts(rows, protocol)["entities"]
    short = [name for name in ran.index if ran[name] and name not in block]
    if not short:
        return []
    named = ", ".join(f"{title(name)} ({ran[name]})" for name in short[:5])
    more = f" and {len(short) - 5} more" if len(short) > 5 else ""
    return [
        f"- With numbers on fewer than {ran.max()} entities, and so not ranked here: {named}{more}."
    ]


def _failures(means: pd.DataFrame) -> list[str]:
    bad = means[means["failed"] > 0]
    if bad.empty:
        return []
    runs = means["runs"].sum()
    return [f"- Failed, and in no average: {bad['failed'].sum()} of {runs} runs, {_some(bad)}."]


def _some(bad: pd.DataFrame) -> str:
    """Whose runs failed, at most five of them by name."""
    named = ", ".join(f"{title(name)} {line['failed']:.0f}" for name, line in bad[:5].iterrows())
    return named + (f" and {len(bad) - 5} more detectors" if len(bad) > 5 else "")


def _interval(found: Interval | Paired) -> str:
    sign = "+" if isinstance(found, Paired) else ""
    bounds = f"{found.low:{sign}.3f} to {found.high:{sign}.3f}"
    return "" if np.isnan(found.low) else f" (95 % interval {bounds})"
