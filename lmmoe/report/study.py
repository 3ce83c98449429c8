"""What the study printed, its own runs of SMD's 28 machines, and ours averaged as it averages."""

import csv
import json
import math
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import pandas as pd

MACHINE = r"machine-[123]-\d+"
PUBLISHED = files("lmmoe.report") / "published"
THEIRS = {"CAD-as-run": "CAD"}  # the study's CAD scores come from other code than it describes
# The study ran no such detector; how its averages move from some machines to all, this one tells.
RELATIVES = {"CAD-FSE23": "CAD"}
# MMoEs of the study: how much their gaps move says how far a relative may be off.
KIN = ("LightMMoE", "HMMoE", "CAD")


class Claim(NamedTuple):
    """A line of ``claims.csv``.

    ``query`` gives our number; ``test`` another query whose number is tested instead, or "none"
    where ours cannot be compared; ``study`` what the study's own material gives, where its runs do
    not tell. ``low`` to ``high`` is what counts as the printed number: half a unit of its last
    digit, or a printed bound. ``better`` says which side of it is better for the claim's subject.
    ``reason`` says in words what is compared, with numbers in braces (`lmmoe.report.claims`).
    """

    id: str
    document: str
    subject: str
    scope: str
    metric: str
    value: str
    unit: str
    kind: str
    note: str
    query: str
    test: str
    study: str
    low: float
    high: float
    better: str
    reason: str

    @property
    def number(self) -> float:
        """The printed number, the middle of a printed range; NaN for a statement in words."""
        if self.unit == "text":
            return math.nan
        ends = re.fullmatch(r"(\d+)-(\d+)", self.value)
        return sum(map(float, ends.groups())) / 2 if ends else float(self.value)

    @property
    def forecast(self) -> bool:
        """Whether it says what will be: it can be wrong, but contradicts nothing."""
        return self.kind in ("expected", "predicted", "criterion")


@cache
def printed() -> tuple[Claim, ...]:
    """All claims, in the order of the file; an empty ``low`` or ``high`` is no bound."""
    with (PUBLISHED / "claims.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    bounds = [
        {"low": float(line["low"] or -math.inf), "high": float(line["high"] or math.inf)}
        for line in lines
    ]
    return tuple(Claim(**line | ends) for line, ends in zip(lines, bounds, strict=True))


@cache
def results() -> pd.DataFrame:
    """What the study's own runs gave, in percent, by (detector, machine): the columns of its file.

    One seed, best threshold on the test labels of each machine, point-adjusted.
    """
    with (PUBLISHED / "study_results.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file).set_index(["detector", "machine"]) * 100


@cache
def _lookup() -> dict[str, dict[str, dict[str, float]]]:
    """The study's results by column, detector and machine: many claims ask for them."""
    table = results()
    return {column: table[column].unstack("detector").to_dict() for column in table}


def machines(scope: str = "") -> frozenset[str]:
    """Give the machines of one group ("machine-1"), or all 28."""
    names = results().index.unique("machine")
    prefix = f"{scope}-" if scope.startswith("machine-") else ""
    return frozenset(name for name in names if name.startswith(prefix))


def average(name: str, column: str, chosen: Iterable[str]) -> float:
    """Average the study's own runs of a detector, in percent; NaN where it did not run it."""
    values = _lookup()[column].get(name, {})
    return group_average({m: values[m] for m in chosen if m in values})


def relative(name: str, settings: str) -> str | None:
    """Name the study's detector that tells how an average moves with the machines, if one does."""
    if settings != "{}":
        return "LightMMoE"
    name = THEIRS.get(name, RELATIVES.get(name, name))
    return name if name in results().index.unique("detector") else None


def moves(
    names: Iterable[str], column: str, some: frozenset[str], whole: frozenset[str]
) -> list[float]:
    """By how much the study's own averages differ between some machines and all."""
    return [average(n, column, some) - average(n, column, whole) for n in names]


def group_average(values: pd.Series | dict[str, float]) -> float:
    """Average as the study does: values by machine, first within each of its three groups."""
    groups: dict[str, list[float]] = {}  # pandas' own grouping is slow, and this is called often
    for name, value in values.items():
        groups.setdefault(name.rpartition("-")[0], []).append(value)
    means = [sum(group) / len(group) for group in groups.values()]
    return float(np.mean(means)) if means else np.nan


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


def spelled(settings: object) -> str:
    """Write settings (JSON) in one way: keys sorted, 0 for 0.0, "{}" for an empty cell."""
    try:
        given = json.loads(str(settings))
    except ValueError:
        return "{}"
    if not isinstance(given, dict):
        return "{}"
    whole = {k: int(v) for k, v in given.items() if isinstance(v, float) and v.is_integer()}
    return json.dumps(given | whole, sort_keys=True)


class Number(NamedTuple):
    """A number of ours and how sure it is."""

    value: float = np.nan
    spread: float = 0.0  # standard deviation over seeds; NaN where it is not known
    machines: frozenset[str] = frozenset()
    seeds: int = 1
    own: bool = True  # whether the spread is its own; else LightMMoE's, since one seed was run


class Runs:
    """Our runs under the protocol ``study`` on machines of SMD (`lmmoe.report.runs`)."""

    def __init__(self, *tables: pd.DataFrame | None) -> None:
        given = [table for table in tables if table is not None and len(table)]
        names = ("dataset", "entity", "detector", "protocol", "seed", "settings", "parameters")
        rows = pd.concat(given, ignore_index=True) if given else pd.DataFrame(dtype=object)
        rows = rows.reindex(columns=list(dict.fromkeys([*names, *rows.columns])))
        known = (rows["dataset"] == "smd") & rows["entity"].astype(str).str.fullmatch(MACHINE)
        rows = rows[known & (rows["protocol"] == "study")]
        self.rows = rows.assign(settings=[spelled(text) for text in rows["settings"]])
        self._tables: dict[tuple[str, str, str], pd.DataFrame] = {}  # many claims ask for the same

    def by_seed(self, name: str, column: str, settings: str = "{}") -> pd.DataFrame:
        """Give one column: machines down, seeds across; failed runs are in neither."""
        key = (name, column, settings)
        if key not in self._tables:
            rows = self.rows
            rows = rows[(rows["detector"] == name) & (rows["settings"] == settings)]
            numbers = pd.to_numeric(rows[column]) if column in rows else np.nan
            rows = rows.assign(number=numbers).dropna(subset="number")
            self._tables[key] = rows.pivot_table(index="entity", columns="seed", values="number")
        return self._tables[key]

    def average(
        self, name: str, column: str, chosen: Iterable[str], settings: str = "{}"
    ) -> Number | None:
        """Average a score over chosen machines, in percent, seeds first; None without a run."""
        table = _part(self.by_seed(name, column, settings), chosen)
        if table.empty:
            return None
        own = self._spread(name, table)
        spread = own
        if own is None:
            light = _part(self.by_seed("LightMMoE", column), table.index)
            spread = None if light.empty else seed_deviation(light)
        value = 100 * group_average(table.mean(axis=1))
        spread = np.nan if spread is None else spread
        return Number(value, spread, frozenset(table.index), table.shape[1], own is not None)

    def _spread(self, name: str, table: pd.DataFrame) -> float | None:
        """The spread of a detector's own seeds: 0 where it draws nothing at random."""
        from lmmoe.detectors import entry, names

        if name in names() and not entry(name).cls.seeded:
            return 0.0
        return seed_deviation(table)

    def parameters(self, name: str) -> float:
        """How many numbers a detector learned; NaN where no run tells."""
        rows = self.rows[(self.rows["detector"] == name) & (self.rows["settings"] == "{}")]
        counts = pd.to_numeric(rows["parameters"])
        return float(counts[counts > 0].median())

    def seconds(self, column: str, *names: str) -> Number:
        """Median over machines of the mean over seeds, of one detector or the ratio of two.

        A median, since other work beside it slows some runs down. The spread is that of the
        detectors' medians over seeds; LightMMoE's where one seed was run.
        """
        tables = [self.by_seed(name, column) for name in names]
        means = pd.concat([table.mean(axis=1) for table in tables], axis=1, join="inner")
        means = means[(means > 0).all(axis=1)].astype(float)
        if means.empty:
            return Number()
        machines = frozenset(means.index)
        if len(names) == 1:
            return Number(float(means.iloc[:, 0].median()), machines=machines)
        middle = float((means.iloc[:, 0] / means.iloc[:, 1]).median())
        light = self.by_seed("LightMMoE", column)
        parts = [_relative_spread(table) or _relative_spread(light) or 0.0 for table in tables]
        return Number(middle, middle * float(np.hypot(*parts)), machines)


def _relative_spread(table: pd.DataFrame) -> float | None:
    """Standard deviation over seeds of the median over machines, as a share; None for one seed."""
    medians = table.dropna().median()
    known = len(table.dropna()) and len(medians) > 1 and medians.mean() > 0
    return float(medians.std() / medians.mean()) if known else None


def _part(table: pd.DataFrame, chosen: Iterable[str]) -> pd.DataFrame:
    return table[table.index.isin(list(chosen))].dropna(axis=1, how="all")
