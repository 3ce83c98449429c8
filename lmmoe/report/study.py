"""What the study printed, its own runs of SMD's 28 machines, and ours averaged as it averages."""

import json
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from lmmoe.detectors import entry, names
from lmmoe.report import store
from lmmoe.report.evaluation import COLUMNS, SPENT

MACHINE = r"machine-[123]-\d+"
THEIRS = {"CAD-as-run": "CAD"}  # the study's CAD scores come from other code than it describes
# The study ran no such detector; how its averages move from some machines to all, this one tells.
RELATIVES = {"CAD-FSE23": "CAD"}
# MMoEs of the study: how much their gaps move says how far a relative may be off.
KIN = ["LightMMoE", "HMMoE", "CAD"]


@cache
def printed() -> pd.DataFrame:
    """All claims by id: the columns of ``claims.csv``, and two made of them.

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
    """What the study's own runs gave, by (detector, machine): the columns of its file.

    One seed, best threshold on the test labels of each machine, point-adjusted.
    """
    return store.published("study_results", index_col=["detector", "machine"])


def machines(scope: str = "") -> frozenset[str]:
    """Give the machines of one group ("machine-1"), or all 28."""
    names = results().index.unique("machine")
    prefix = f"{scope}-" if scope.startswith("machine-") else ""
    return frozenset(name for name in names if name.startswith(prefix))


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


def seed_deviation(table: pd.DataFrame) -> float:
    """Standard deviation over seeds of the average, in percent; NaN without a second seed.

    Every machine has a fit of its own, so the variance of the average is the sum of the machines'
    variances over seeds, each by its squared weight in `group_average`. That pools all machines;
    the deviation of two or three averages alone would be small or large by luck. A machine with
    one seed counts with the mean variance of the others.
    """
    variances = table.var(axis=1)  # NaN for one seed
    of = pd.Series(groups(table), index=table.index)
    weights = 1 / (of.nunique() * of.map(of.value_counts()))
    filled = variances.fillna(variances.mean())
    return 100 * float(np.sqrt((weights**2 * filled).sum(skipna=False))) if len(table) else np.nan


def spelled(settings: str) -> str:
    """Write settings (JSON) in one way: keys sorted, 0 for 0.0."""
    given = json.loads(settings)
    whole = {k: int(v) for k, v in given.items() if isinstance(v, float) and v.is_integer()}
    return json.dumps(given | whole, sort_keys=True)


class Number(NamedTuple):
    """A number of ours and how sure it is."""

    value: float = np.nan
    spread: float = 0.0  # standard deviation over seeds; NaN where it is not known
    machines: frozenset[str] = frozenset()


class Runs:
    """Our runs under the protocol ``study`` on machines of SMD, of tables of runs."""

    def __init__(self, *tables: pd.DataFrame) -> None:
        given = [table for table in tables if len(table)] or [pd.DataFrame(dtype=object)]
        names = ("dataset", "entity", "detector", "protocol", "seed", "settings")
        rows = pd.concat(given, ignore_index=True).reindex(columns=[*names, *COLUMNS, *SPENT])
        known = (rows["dataset"] == "smd") & rows["entity"].astype(str).str.fullmatch(MACHINE)
        rows = rows[known & (rows["protocol"] == "study")]
        self.rows = rows.assign(settings=[spelled(text) for text in rows["settings"]])
        self.by_seed = cache(self._by_seed)  # many claims ask for the same

    def _by_seed(self, name: str, column: str, settings: str = "{}") -> pd.DataFrame:
        """Give one column: machines down, seeds across; failed runs are in neither."""
        rows = self.rows[(self.rows["detector"] == name) & (self.rows["settings"] == settings)]
        rows = rows.assign(number=pd.to_numeric(rows[column])).dropna(subset="number")
        return rows.pivot_table(index="entity", columns="seed", values="number")

    def average(
        self, name: str, column: str, chosen: Iterable[str], settings: str = "{}"
    ) -> Number:
        """Average a score over chosen machines, in percent, seeds first; NaN without a run.

        Where one seed was run, the spread is LightMMoE's.
        """
        table = self.by_seed(name, column, settings)
        table = table[table.index.isin(list(chosen))].dropna(axis=1, how="all")
        if table.empty:
            return Number()
        spread = seed_deviation(table)
        if name in names() and not entry(name).cls.seeded:
            spread = 0.0  # it draws nothing at random
        if np.isnan(spread):
            light = self.by_seed("LightMMoE", column)
            spread = seed_deviation(light[light.index.isin(table.index)])
        return Number(100 * group_average(table.mean(axis=1)), spread, frozenset(table.index))

    def parameters(self, name: str) -> float:
        """How many numbers a detector learned; NaN where no run tells."""
        counts = self.by_seed(name, "parameters").to_numpy(dtype=float)
        return float(pd.Series(counts[counts > 0]).median())

    def seconds(self, column: str, *names: str) -> Number:
        """Median over machines of the mean over seeds, of one detector or the ratio of two.

        A median, since other work beside it slows some runs down. The spread is that of the
        detectors' medians over seeds; LightMMoE's where one seed was run.
        """
        tables = [self.by_seed(name, column) for name in names]
        means = pd.concat([table.mean(axis=1) for table in tables], axis=1, join="inner")
        means = means[(means > 0).all(axis=1)].astype(float)
        found, spread = means.iloc[:, 0], 0.0
        if len(names) == 2:
            found, light = found / means.iloc[:, 1], self.by_seed("LightMMoE", column)
            parts = [_relative_spread(table) or _relative_spread(light) for table in tables]
            spread = found.median() * np.hypot(*parts)
        return Number(float(found.median()), float(spread), frozenset(means.index))


def _relative_spread(table: pd.DataFrame) -> float:
    """Standard deviation over seeds of the median over machines, as a share; 0 for one seed."""
    medians = table.dropna().median()
    return float(np.nan_to_num(medians.std() / (medians.mean() or np.nan)))
