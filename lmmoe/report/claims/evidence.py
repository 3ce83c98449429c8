"""The runs that claims are held against: ours, averaged as the study averages, and the study's."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from lmmoe.report.claims import published
from lmmoe.report.claims.design import DEFAULTS

MACHINE = r"machine-[123]-\d+"
# The study's CAD scores and times come from other code than the CAD that it describes.
OURS = {"CAD": "CAD-as-run", "ablation: full": "LightMMoE"}
COSTS = ("train_seconds", "score_seconds")


def ours(subject: str) -> str:
    """Give the name of our detector that did what a claim's subject did."""
    return OURS.get(subject, subject)


def group_average(values: pd.Series | dict[str, float]) -> float:
    """Average as the study does: values by machine, first within each of its three groups."""
    groups: dict[str, list[float]] = {}  # pandas' own grouping is slow, and this is called often
    for name, value in values.items():
        groups.setdefault(name.rpartition("-")[0], []).append(value)
    return (
        float(np.mean([sum(group) / len(group) for group in groups.values()])) if groups else np.nan
    )


class Average(NamedTuple):
    """One number over machines, in percent, and how sure it is."""

    value: float
    machines: frozenset[str]
    seeds: str  # how many, in words
    spread: float  # standard deviation over seeds; NaN where it is not known
    spread_of: str  # whose spread that is, in words


@dataclass(frozen=True, eq=False)
class Evidence:
    """Rows of runs (`lmmoe.report.runs`), all optional, with what is computed from them.

    ``rows`` and ``ablation`` are tables of runs; ``efficiency`` is a table with a column
    "detector" and any of "latency_ms" (one sample, median), "samples_per_second" (in batches),
    "inference_mb" (beyond the libraries; "process_mb" with them); ``compressed`` is
    `lmmoe.report.compress.table`, ``generalisation`` `lmmoe.report.generalisation.table`.
    """

    rows: pd.DataFrame
    ablation: pd.DataFrame | None = None
    efficiency: pd.DataFrame | None = None
    compressed: pd.DataFrame | None = None
    generalisation: pd.DataFrame | None = None

    @cached_property
    def runs(self) -> pd.DataFrame:
        """Runs under the protocol ``study`` on machines of SMD, their settings in one spelling."""
        tables = [t for t in (self.rows, self.ablation) if t is not None and len(t)]
        names = ("dataset", "entity", "detector", "protocol", "seed", "settings")
        empty = pd.DataFrame(columns=list(names), dtype=object)
        rows = pd.concat(tables, ignore_index=True) if tables else empty
        rows = rows.reindex(columns=[*dict.fromkeys([*names, "parameters", *rows.columns])])
        known = (rows["dataset"] == "smd") & rows["entity"].astype(str).str.fullmatch(MACHINE)
        rows = rows[known & (rows["protocol"] == "study")]
        pairs = zip(rows["detector"], rows["settings"], strict=True)
        return rows.assign(settings=[spelled(name, text) for name, text in pairs])

    @cached_property
    def theirs(self) -> pd.DataFrame:
        """What the study's own runs gave (`published.results`)."""
        return published.results()

    @cached_property
    def _lookup(self) -> dict[str, dict[str, dict[str, float]]]:
        """The study's results by column, detector and machine."""
        tables = {column: self.theirs[column].unstack("detector") for column in self.theirs}
        return {column: table.to_dict() for column, table in tables.items()}

    @cached_property
    def fleet(self) -> frozenset[str]:
        """All 28 machines."""
        return frozenset(self.theirs.index.get_level_values("machine"))

    def scope(self, scope: str) -> frozenset[str]:
        """Give the machines that a claim's scope means: one group's, or all."""
        if scope.startswith("machine-"):
            return frozenset(name for name in self.fleet if name.startswith(f"{scope}-"))
        return self.fleet

    def by_seed(
        self, name: str, column: str, machines: Iterable[str], settings: str = "{}"
    ) -> pd.DataFrame:
        """Give one column of our runs: machines down, seeds across; failed runs are in neither."""
        key = (name, column, settings)
        if key not in self._tables:
            self._tables[key] = self._by_seed(*key)
        table = self._tables[key]
        if set(table.index) <= set(machines):
            return table
        return table[table.index.isin(list(machines))].dropna(axis=1, how="all")

    @cached_property
    def _tables(self) -> dict[tuple[str, str, str], pd.DataFrame]:
        return {}  # many claims ask for the same

    def _by_seed(self, name: str, column: str, settings: str) -> pd.DataFrame:
        rows = self.runs
        if column not in rows:
            return pd.DataFrame()
        rows = rows[(rows["detector"] == name) & (rows["settings"] == settings)]
        rows = rows.assign(**{column: pd.to_numeric(rows[column])}).dropna(subset=column)
        return rows.pivot_table(index="entity", columns="seed", values=column)

    def average(
        self, name: str, column: str, machines: Iterable[str], settings: str = "{}"
    ) -> Average | None:
        """Average a score of ours, seeds first; None where no run gives it."""
        table = self.by_seed(name, column, machines, settings)
        if table.empty:
            return None
        spread, whose = self._spread(name, column, table, settings)
        value = 100 * group_average(table.mean(axis=1))
        return Average(value, frozenset(table.index), seeds(table.shape[1]), spread, whose)

    def _spread(
        self, name: str, column: str, table: pd.DataFrame, settings: str
    ) -> tuple[float, str]:
        if not seeded(name):
            return 0.0, "its own: it draws nothing at random"
        if (own := seed_deviation(table)) is not None:
            return own, "its own over seeds"
        if (name, settings) == ("LightMMoE", "{}"):
            return np.nan, "unknown: one seed"
        light = self.by_seed("LightMMoE", column, table.index)
        if (spread := seed_deviation(light)) is None:
            return np.nan, "unknown: one seed"
        return spread, "LightMMoE's over seeds, since one seed was run"

    def study_average(self, name: str, theirs: str, machines: Iterable[str]) -> float:
        """Average the study's own runs, in percent; NaN where it did not run the detector."""
        values = self._lookup[theirs].get(name)
        if values is None:
            return np.nan
        return group_average({m: values[m] for m in machines if m in values})

    def shift(self, theirs: str, machines: frozenset[str], whole: frozenset[str]) -> float:
        """How far an average over some machines may lie from that over all: the study's worst.

        The largest difference in percentage points among all detectors that the study ran.
        """
        names = self.theirs.index.unique("detector")
        pairs = [[self.study_average(n, theirs, m) for m in (machines, whole)] for n in names]
        return float(np.abs(np.diff(pairs, axis=1)).max())

    def spent(self, name: str, column: str) -> pd.Series:
        """Give a cost of ours by machine, the mean over seeds."""
        table = self.by_seed(name, column, self.fleet)
        return table.mean(axis=1) if len(table) else pd.Series(dtype=float)

    def measured(self, name: str, column: str) -> float:
        """Give a measurement of the table ``efficiency``, its median; NaN where there is none."""
        table = self.efficiency
        if table is None or column not in table or "detector" not in table:
            return np.nan
        return float(pd.to_numeric(table.loc[table["detector"] == name, column]).median())

    def parameters(self, name: str) -> float:
        """How many numbers a detector learned in our runs; NaN where none of them tells."""
        rows = self.runs
        rows = rows[(rows["detector"] == name) & (rows["settings"] == "{}")]
        counts = pd.to_numeric(rows["parameters"])
        return float(counts[counts > 0].median())


def seed_deviation(table: pd.DataFrame) -> float | None:
    """Standard deviation over seeds of the average, in percent; None without a second seed.

    Every machine has a fit of its own, so the variance of the average is the sum of the machines'
    variances over seeds, each by its squared weight in `group_average`. That pools all machines;
    the deviation of two or three averages alone would be small or large by luck. A machine with
    one seed counts with the mean variance of the others.
    """
    variances = table.var(axis=1)  # NaN for one seed
    if variances.isna().all():
        return None
    groups = pd.Series(table.index.str.rpartition("-").get_level_values(0), index=table.index)
    weights = 1 / (groups.nunique() * groups.map(groups.value_counts()))
    return 100 * float(np.sqrt((weights**2 * variances.fillna(variances.mean())).sum()))


def spelled(name: str, settings: object) -> str:
    """Write settings in one way, without what is LightMMoE's default anyhow."""
    try:
        given = json.loads(str(settings))
    except ValueError:  # an empty cell of a table
        return "{}"
    default = DEFAULTS if name == "LightMMoE" else {}
    if not isinstance(given, dict):
        return "{}"
    plain = {key: _plain(value) for key, value in given.items()}
    changed = {key: value for key, value in plain.items() if default.get(key) != value}
    return json.dumps(changed, sort_keys=True)


def _plain(value: object) -> object:
    """Write 0 for 0.0 and 8 for a list of one layer of 8: a run may say either."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def seeds(*counts: int) -> str:
    """Say how many seeds were run: "3 seeds", "3 and 1 seeds"."""
    return f"{' and '.join(map(str, counts))} seed{'s' if max(counts) > 1 else ''}"


def seeded(name: str) -> bool:
    """Whether a detector draws at random; one that we do not have counts as drawing."""
    from lmmoe.detectors import entry, names

    return name not in names() or entry(name).cls.seeded
