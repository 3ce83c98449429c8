"""Printed numbers beside ours: the study's claims and its own runs on SMD, other publications."""

import json
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from lmmoe.detectors import entry, names
from lmmoe.report import store
from lmmoe.report.evaluation import COLUMNS, SPENT
from lmmoe.report.statistics import bootstrap_mean
from lmmoe.report.tables import against, by_entity, counts, entity_means

METRICS = ["point_f1_pa", "event_f1_pa_log", "event_f1_pa_squeeze"]  # what the study judges by
THEIRS = {"CAD-as-run": "CAD"}  # the study's CAD scores come from other code than it describes
# The study ran no such detector; how its averages move from some machines to all, this one tells.
RELATIVES = {"CAD-FSE23": "CAD"}
# MMoEs of the study: how much their gaps move says how far a relative may be off.
KIN = ["LightMMoE", "HMMoE", "CAD"]
OTHERWISE = "Time-RCD (published: rows after training alone, another buffer)"
NOT_RUN = ["OmniAnomaly"]  # the study prints results for it; here it runs under "ours" alone


@cache
def printed() -> pd.DataFrame:
    """All claims by id: the columns of ``published/claims.csv``, and two made of them.

    ``query`` gives our number; ``test`` another query whose number is tested instead, or "none"
    where ours cannot be compared; ``study`` what the study's own material gives, where its runs do
    not tell. ``low`` to ``high`` is what counts as the printed number: half a unit of its last
    digit, or a printed bound. ``better`` says which side of it is better for the claim's subject.
    ``reason`` says in words what is compared, with numbers in braces (`lmmoe.report.claims`).

    ``number`` is the printed ``value``, the middle of a printed range, NaN for a statement in
    words; ``forecast`` marks what was said to come: it can be wrong, but contradicts nothing.
    """
    table = store.published("claims", dtype=str, keep_default_na=False).set_index("id", drop=False)
    for name, bound in (("low", -np.inf), ("high", np.inf)):
        table[name] = pd.to_numeric(table[name]).fillna(bound)
    ends = table["value"].where(table["unit"] != "text").str.extract(r"^(-?[\d.]+)(?:-(\d+))?$")
    table["number"] = ends.astype(float).mean(axis=1)
    table["forecast"] = table["kind"].isin(["expected", "predicted", "criterion"])
    return table


@cache
def results() -> pd.DataFrame:
    """What the study's own runs gave, by (detector, entity): one seed, point-adjusted scores."""
    return store.published("study_results", index_col=["detector", "entity"])


def machines(scope: str = "") -> frozenset[str]:
    """Give the machines of one group ("machine-1"), or all 28."""
    prefix = f"{scope}-" if scope.startswith("machine-") else ""
    return frozenset(name for name in results().index.unique("entity") if name.startswith(prefix))


@cache
def averages(column: str, chosen: frozenset[str]) -> pd.Series:
    """Average the study's own runs over some machines, in percent, by detector."""
    table = results()[column].unstack("detector") * 100
    return group_average(table[table.index.isin(chosen)])


def relative(name: str, settings: str) -> str | None:
    """Name the study's detector that tells how an average moves with the machines, if one does."""
    if settings != "{}":
        return "LightMMoE"
    name = THEIRS.get(name, RELATIVES.get(name, name))
    return name if name in results().index.unique("detector") else None


def groups(table: pd.DataFrame | pd.Series) -> list[str]:
    """The group of each machine of a table's index."""
    return [name.rpartition("-")[0] for name in table.index]


def group_average(table: pd.DataFrame | pd.Series) -> pd.Series | float:
    """Average over machines as the study does: first within each of its three groups."""
    return table.groupby(groups(table)).mean().mean()


class Number(NamedTuple):
    """A number of ours and how sure it is."""

    value: float = np.nan
    spread: float = 0.0  # standard deviation over seeds; NaN where it is not known
    machines: frozenset[str] = frozenset()


class Runs:
    """Our runs under the protocol ``study`` on machines of SMD, of tables of runs."""

    def __init__(self, *tables: pd.DataFrame) -> None:
        given = [table for table in tables if len(table)] or [pd.DataFrame(dtype=object)]
        columns = ["dataset", "entity", "detector", "protocol", "seed", "settings"]
        rows = pd.concat(given, ignore_index=True).reindex(columns=[*columns, *COLUMNS, *SPENT])
        known = (rows["dataset"] == "smd") & rows["entity"].isin(machines())
        rows = rows[known & (rows["protocol"] == "study")]
        self.rows = rows.assign(settings=[spelled(text) for text in rows["settings"]])
        self.by_seed = cache(self._by_seed)  # many claims ask for the same

    def _by_seed(self, name: str, column: str, settings: str = "{}") -> pd.DataFrame:
        """Give one column: machines down, seeds across; failed runs are in neither."""
        rows = self.rows[(self.rows["detector"] == name) & (self.rows["settings"] == settings)]
        rows = rows.astype({column: float})
        return rows.pivot_table(index="entity", columns="seed", values=column)

    def average(self, name: str, column: str, chosen: frozenset, settings: str = "{}") -> Number:
        """Average a score over chosen machines, in percent, seeds first; NaN without a run.

        Where one seed was run, the spread is LightMMoE's.
        """
        table = self.by_seed(name, column, settings)
        table = table[table.index.isin(chosen)].dropna(axis=1, how="all")
        if table.empty:
            return Number()
        spread = seed_deviation(table)
        if name in names() and not entry(name).cls.seeded:
            spread = 0.0  # it draws nothing at random
        if np.isnan(spread):
            light = self.by_seed("LightMMoE", column)
            spread = seed_deviation(light[light.index.isin(table.index)])
        return Number(100 * group_average(table.mean(axis=1)), spread, frozenset(table.index))

    def cost(self, column: str, *detectors: str) -> Number:
        """Median over machines of the mean over seeds, of one detector or the ratio of two.

        A median, since other work beside it slows some runs down. The spread is that of the
        detectors' medians over seeds; LightMMoE's where one seed was run.
        """
        tables = [self.by_seed(name, column) for name in detectors]
        means = pd.concat([table.mean(axis=1) for table in tables], axis=1, join="inner")
        value = means.iloc[:, 0].div(means.iloc[:, 1] if len(tables) > 1 else 1).median()
        light = _relative_spread(self.by_seed("LightMMoE", column))
        spread = np.linalg.norm([_relative_spread(table) or light for table in tables])
        return Number(float(value), float(value * spread), frozenset(means.index))


def spelled(settings: str) -> str:
    """Write settings (JSON) in one way: keys sorted, 4.0 for 4."""
    return json.dumps(json.loads(settings, parse_int=float), sort_keys=True)


def seed_deviation(table: pd.DataFrame) -> float:
    """Standard deviation over seeds of the average, in percent; NaN without a second seed.

    Every machine has a fit of its own: the variance of the average is the sum of the machines',
    each by its squared weight in `group_average`. One with one seed has the others' mean variance.
    """
    variances = table.var(axis=1)  # NaN for one seed
    of = variances.fillna(variances.mean()).groupby(groups(table))
    squares = of.mean() / of.size()  # of the groups' deviations; none without a machine
    return 100 * float(np.sqrt(squares.mean(skipna=False) / max(1, len(squares))))


def _relative_spread(table: pd.DataFrame) -> float:
    """Standard deviation over seeds of the median over machines, as a share; 0 for one seed."""
    medians = table.dropna().median()
    return float(np.nan_to_num(medians.std() / (medians.mean() or np.nan)))


def study_headline(rows: pd.DataFrame) -> pd.DataFrame:
    """The study's headline, the mean of the three groups' means, ours and theirs, same machines.

    A machine on which all our runs failed counts on neither side. Random scores have no partner,
    detectors of `NOT_RUN` only the study's. ``entities`` and ``seeds`` are behind ours.
    """
    ours, theirs = entity_means(rows, "study")[METRICS], results()[METRICS]
    copies = [theirs.loc[[own]].rename({own: name}) for name, own in THEIRS.items()]
    theirs = pd.concat([theirs, *copies])  # under our detectors' names, too
    absent = pd.MultiIndex.from_product([NOT_RUN, ours.index.unique("entity")])
    same = theirs.reindex(ours.index).where(ours.notna())
    same = pd.concat([same, theirs[theirs.index.isin(absent)]])
    both = ours.join(same.add_suffix("_study"), how="outer")
    table = group_average(both.unstack("detector")).unstack(0)
    for metric in METRICS:
        table[f"{metric}_difference"] = table[metric] - table[f"{metric}_study"]
    table = table[[metric + end for metric in METRICS for end in ("", "_study", "_difference")]]
    behind = counts(rows, "study")[["entities", "seeds"]].reindex(table.index, fill_value=0)
    return table.join(behind).sort_values("point_f1_pa", ascending=False)


def others(rows: pd.DataFrame) -> pd.DataFrame:
    """Hold ours against numbers on SMD from other publications (``published/others.csv``).

    Columns of the file, ``ours`` with its 95 % bootstrap interval over the ``entities`` (``low``,
    ``high``), and last ``way``: what is known to differ. Without results of ours no row.
    """
    means = entity_means(rows, "ours").unstack("detector")
    table = store.published("others")
    pairs = zip(table["metric"], table["detector"], strict=True)
    values = [means[one].dropna() if one in means else [] for one in pairs]
    table[["ours", "low", "high"]] = [bootstrap_mean(one) for one in values]
    table["entities"] = [len(one) for one in values]
    table["way"] = table.pop("way")
    return table[table["entities"] > 0].reset_index(drop=True)


def benchmark(rows: pd.DataFrame) -> pd.DataFrame:
    """Set ours on TSB-AD's split beside what its leaderboard says: mean VUS-PR, the best first.

    ``published/tsb_ad.csv`` has the values of the leaderboard's repository (TheDatumOrg/TSB-AD at
    8763009, and its successor's tables of July 2026) for each series. Columns ``vus_pr`` and those
    of `tables.against` ThreeViews, series by series. `OTHERWISE` stands last.
    """
    theirs = store.published("tsb_ad", index_col="entity").add_suffix(" (published)")
    theirs = theirs.rename(columns={"Time-RCD (published)": OTHERWISE})
    values = by_entity(rows, "ours", "vus_pr").join(theirs)
    table = values.mean().sort_values(ascending=False).to_frame("vus_pr")
    table = table.join(against(values, ["ThreeViews"]).droplevel("reference"))
    return table.loc[[*table.index.drop(OTHERWISE), OTHERWISE]]
