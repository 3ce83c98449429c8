"""All pitfalls on the entities of a profile: what each gives to whom, with one bootstrap."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from lmmoe import progress
from lmmoe.data.series import Bits, Floats
from lmmoe.detectors import entry
from lmmoe.report import pitfalls, store
from lmmoe.report.evaluation import ADJUSTED, RANKING, evaluate
from lmmoe.report.experiment import FAILURES, Run
from lmmoe.report.names import METRIC_TITLES, title
from lmmoe.report.pitfalls import LEVELS, RATES, Scored, adjusted, hits_and_false
from lmmoe.report.profile import Profile
from lmmoe.report.statistics import DIGITS

DETECTORS = ("LightMMoE", "MTSExample", "PCA", "random")
SEEDS = 5  # at least, of whatever is random (Garg et al., TNNLS 2021)
TITLES = METRIC_TITLES | {
    "best_affiliation_f1": "affiliation F1",  # always at its best threshold here
    "f1": "F1",
    "composite_f1": "composite F1",
}
GAINS = [
    *("number", "mistake", "group", "detector", "metric", "reported", "before", "after", "gain"),
    *("machines", "low", "high", "order_changes"),
]
SETTINGS = ["mistake", "detector", "setting", "value", "machines"]
Statistic = Callable[[Floats], Floats]  # of how often each entity was drawn, (r, n): (r,)
Outcome = tuple[Statistic, Statistic, int]  # before, after, and how many entities are judged
Rows = dict[tuple[str, int, str], tuple[Bits, Floats]]  # by detector, seed and entity


def catalogue() -> pd.DataFrame:
    """The twenty by title, in the order of their numbers; number 0 is three of them together.

    Columns ``number``, ``group``, what is ``wrong``, its ``source``, the ``question`` to ask of a
    paper, ``metric`` (the number before) and ``reported`` (after), both columns of the results
    table where it has them; ``axis`` names what the settings count, where they are numbers;
    ``before`` and ``after`` are the settings compared; ``first_seed_only`` where it needs refits.
    """
    how = {"keep_default_na": False, "index_col": "title", "dtype": {"before": str}}
    return store.published("pitfalls", **how)


# --- Before and after ---


class Panel(NamedTuple):
    """One detector's numbers of one pitfall: (setting, seed) down, entities across.

    ``rows`` lists labels and scores, ``(t,)`` each, by seed and by entity.
    """

    table: pd.DataFrame
    rows: list[list[tuple[Bits, Floats]]]

    @property
    def means(self) -> pd.DataFrame:
        """Every setting's numbers, seeds averaged."""
        return self.table.groupby("setting", sort=False).mean()

    @property
    def groups(self) -> pd.Series:
        """The group of each entity: ``machine-1`` for SMD's ``machine-1-6``, else one for all."""
        names = self.table.columns.to_series()
        return names.str.extract(r"^(machine-\d+)-\d+$", expand=False).fillna("all")


def mean_of(values: npt.ArrayLike, among: npt.ArrayLike = 1) -> Statistic:
    """Mean of values ``(n,)`` over the entities drawn, or those ``among`` them; NaN of none."""
    return lambda counts: (counts * among) @ np.asarray(values) / (counts * among).sum(axis=1)


def compared(before: npt.ArrayLike, after: npt.ArrayLike) -> Outcome:
    """Compare two means of numbers ``(n,)``."""
    return mean_of(before), mean_of(after), len(before)


def best_of_each_group(panel: Panel) -> Outcome:
    """Our level and rate against those with the best mean F1 in each group of entities."""
    means, groups = panel.means, panel.groups
    best = means.T.groupby(groups).mean().idxmax(axis=1)
    after = [means.loc[best[group], entity] for entity, group in groups.items()]
    return compared(means.loc[f"{LEVELS[0]:g} / {RATES[0]:g}"], after)


def best_of_each_series(panel: Panel) -> Outcome:
    """One setting for all, chosen on the first of each of three groups, against each one's best.

    The others are judged; one entity alone chooses for itself.
    """
    first = panel.groups.drop_duplicates().index[:3]
    fixed = panel.means[first].mean(axis=1).idxmax()
    rest = panel.means.drop(columns=first)
    rest = panel.means if rest.empty else rest
    return compared(rest.loc[fixed], rest.max())


def highest_average(panel: Panel) -> Outcome:
    """The mean of entities' Point F1 (PA) against the highest of five averages; seeds averaged.

    The others: the mean of groups' means; F1 of mean precision and recall (F1*); F1 of hits,
    flagged and anomalous rows added up; one threshold for the rows of all entities.
    """
    groups, flagged = panel.groups, []  # by seed: hits and false rows at each cut, (n, cuts)
    for rows in panel.rows:
        filled = [(labels, adjusted(labels, scores)) for labels, scores in rows]
        # Only the peaks of events need be tried: between two of them only false alarms are added.
        cuts = np.unique(np.concatenate([scores[labels == 1] for labels, scores in filled]))
        counted = [hits_and_false(*one, cuts, "left") for one in filled]
        flagged.append(np.swapaxes(counted, 0, 1).astype(float))

    def averages(counts: Floats) -> Floats:
        made = []
        for seed, (hits, false) in zip(panel.table.index.unique("seed"), flagged, strict=True):
            parts = panel.table.xs(seed, level="seed")
            mean = {name: mean_of(values)(counts) for name, values in parts.iterrows()}
            masks = [(groups == group).to_numpy() for group in groups.unique()]
            by_group = [mean_of(parts.loc["f1"], mask)(counts) for mask in masks]
            precision, recall = mean["precision"], mean["recall"]
            harmonic = 2 * precision * recall / (precision + recall)
            pooled = 2 * mean["hits"] / (mean["flagged"] + mean["anomalous"])
            real = (counts @ parts.loc["anomalous"].to_numpy())[:, None]
            line = 2 * (counts @ hits) / (counts @ (hits + false) + real)
            grouped = np.nanmean(by_group, axis=0)
            made.append([mean["f1"], grouped, harmonic, pooled, line.max(axis=1)])
        return np.mean(made, axis=0)  # (5, r)

    ends = (lambda counts: averages(counts)[0], lambda counts: averages(counts).max(axis=0))
    return *ends, panel.table.shape[1]


# Machines of SMD that InterFusion reported (KDD 2021; the files of its repository).
REPORTED = "1-1 1-6 1-7 2-1 2-2 2-7 2-8 3-3 3-4 3-6 3-8 3-11"


def some_entities(panel: Panel) -> Outcome:
    """All entities against InterFusion's where these are at hand, else the calmer half."""
    values, drift = (panel.means.loc[name] for name in ("average precision", "drift"))
    shown = values.index.isin([f"machine-{number}" for number in REPORTED.split()])
    if not shown.any():
        shown = (drift <= drift.median()).to_numpy()
    return mean_of(values), mean_of(values, shown), len(values)


def best_of_seeds(panel: Panel) -> Outcome:
    """The mean of all seeds against the seed that is best over all entities."""
    means = [mean_of(values) for values in panel.table.to_numpy()]
    return (
        mean_of(panel.table.mean()),
        lambda counts: np.max([mean(counts) for mean in means], axis=0),
        panel.table.shape[1],
    )


# Where before and after are no settings of the pitfall (`catalogue` names these).
COMPARED: dict[str, Callable[[Panel], Outcome]] = {
    "threshold rule tuned per group": best_of_each_group,
    "kindest average": highest_average,
    "some of the machines": some_entities,
    "best seed": best_of_seeds,
    "settings picked on the judged series": best_of_each_series,
}


def outcome(panel: Panel, pitfall: pd.Series) -> Outcome:
    """Give the numbers before and after a pitfall, a row of the `catalogue`."""
    if pitfall.name in COMPARED:
        return COMPARED[pitfall.name](panel)
    return compared(panel.means.loc[pitfall["before"]], panel.means.loc[pitfall["after"]])


# --- Measuring ---


class Measured(NamedTuple):
    """What `measure` gives; without labelled events its tables have no rows.

    ``gains`` has a row per pitfall and detector: ``before`` and ``after`` are means over entities
    (seeds averaged first) of ``metric`` and of what is ``reported`` in its place; ``low`` and
    ``high`` bound the ``gain`` with 95 % bootstrap confidence over entities (NaN with one).
    ``machines`` counts the entities on which all detectors have all the pitfall's numbers: others
    are left out for all. ``order_changes`` is the share of resamples in which at least two
    detectors change places. ``settings`` has the means over the same entities of pitfalls with an
    ``axis``; ``floors`` all metrics of the detectors and of scores that are all equal or the row's
    index; ``failures`` what went wrong.
    """

    gains: pd.DataFrame
    settings: pd.DataFrame
    floors: pd.DataFrame
    failures: list[str]


def measure(profile: Profile, entities: list[str] | None = None) -> Measured:
    """Make every pitfall with every detector of `DETECTORS` on the entities that have both labels.

    Scores come from the cache, or are computed (`experiment.result`). What fails is named under
    ``failures``, and leaves its entity out; a detector that always fails is left out itself.
    """
    chosen = entities or profile.present
    plan = [(name, seed) for name in DETECTORS for seed in seeds(profile, name)]
    rows, floors, numbers, failures = {}, [], [], []
    with progress.bar(len(chosen) * len(plan), "pitfalls", unit="run") as bar:
        for series in map(profile.load, chosen):
            if not pitfalls.judgeable(series):
                bar.update(len(plan))
                continue
            index = np.arange(len(series.labels), dtype=float)
            for name, trivial in (("constant", 0 * index), ("row index", index)):
                floors.append(_metrics(name, series.labels, trivial, profile))
            for name, seed in plan:
                bar.set_postfix_str(f"{series.entity} {name} seed {seed}", refresh=False)
                bar.update()
                run = Run(series, name, "ours", seed, profile.detectors.get(name, {}))
                try:
                    one = Scored(run)
                    floors.append(_metrics(name, one.labels, one.scores, profile))
                except FAILURES as error:
                    failures.append(f"{name} on {series.entity}: {type(error).__name__}: {error}")
                    continue
                rows[name, seed, series.entity] = one.labels, one.scores
                numbers += _numbers(one, failures, first=seed == seeds(profile, name)[0])
    columns = ["mistake", "detector", "seed", "entity", "setting", "value"]
    made = tables(pd.DataFrame(numbers, columns=columns), rows)
    means = pd.DataFrame(floors, columns=["detector", *METRICS]).groupby("detector").mean()
    means = means.reindex(["constant", "row index", *DETECTORS]).dropna(how="all").T
    return Measured(*made, means.rename(index=TITLES, columns=title), list(dict.fromkeys(failures)))


METRICS = [name for name in TITLES if name in (*RANKING, *ADJUSTED, "composite_f1")]


def _metrics(name: str, labels: Bits, scores: Floats, profile: Profile) -> dict[str, object]:
    found = evaluate(labels, scores, vus_window=profile.vus_window)
    return found | {"detector": name, "composite_f1": pitfalls.composite_f1(labels, scores)}


def _numbers(one: Scored, failures: list[str], *, first: bool) -> list[tuple[object, ...]]:
    """Every pitfall's numbers of one run, but for those that fail."""
    lines = []
    for name, first_only in catalogue()["first_seed_only"].items():
        if first or not first_only:
            try:
                found = getattr(pitfalls, name.replace(" ", "_"))(one)
            except FAILURES as error:
                where = f"{name}, {one.run.detector} on {one.series.entity}"
                failures.append(f"{where}: {type(error).__name__}: {error}")
                continue
            where = (name, one.run.detector, one.run.seed, one.series.entity)
            lines += [(*where, setting, value) for setting, value in found.items()]
    return lines


def seeds(profile: Profile, name: str) -> list[int]:
    """The seeds of a detector: `SEEDS` where they make a difference, the profile's first."""
    if not entry(name).cls.seeded:
        return profile.seeds[:1]
    return list(dict.fromkeys([*profile.seeds, *range(SEEDS)]))[:SEEDS]


# --- Tables ---


def tables(numbers: pd.DataFrame, rows: Rows) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make ``gains`` and ``settings`` of `Measured`."""
    gains, settings = [], []
    for name, pitfall in catalogue().iterrows():
        found = panels(numbers[numbers["mistake"] == name], rows)
        if pitfall["axis"]:
            for detector, panel in found.items():
                for setting, values in panel.means.iterrows():
                    settings.append((name, detector, setting, values.mean(), len(values)))
        if found and pitfall["number"]:
            lines = _gains({detector: outcome(panel, pitfall) for detector, panel in found.items()})
            same = pitfall[["number", "group", "metric", "reported"]].to_dict()
            gains.append(lines.assign(mistake=name, **same))
    # An empty table among them would turn all numbers into objects, which cannot be rounded.
    made = pd.concat(gains, ignore_index=True)[GAINS] if gains else pd.DataFrame(columns=GAINS)
    return made, pd.DataFrame(settings, columns=SETTINGS)


def panels(numbers: pd.DataFrame, rows: Rows) -> dict[str, Panel]:
    """Arrange one pitfall's numbers by detector, on the entities on which all have all numbers.

    A detector that has them on no entity is left out.
    """
    index = ["setting", "seed", "entity"]
    tables = {
        name: part.set_index(index)["value"].unstack("entity", sort=False)
        for name, part in numbers.groupby("detector", sort=False)
    }
    complete = {name: set(table.columns[table.notna().all()]) for name, table in tables.items()}
    names = [name for name in DETECTORS if complete.get(name)]
    common = [e for e in numbers["entity"].unique() if all(e in complete[name] for name in names)]
    made = {}
    for name in names if common else ():
        drawn = tables[name].index.unique("seed")
        scored = [[rows[name, seed, entity] for entity in common] for seed in drawn]
        made[name] = Panel(tables[name][common], scored)
    return made


def _gains(found: dict[str, Outcome]) -> pd.DataFrame:
    """The rows of one pitfall, by detector."""
    entities = next(iter(found.values()))[2]
    counts = np.concatenate([np.ones((1, entities)), resamples(entities)])
    with np.errstate(invalid="ignore"):  # of no entity drawn there is no mean
        before, after = (np.array([one[end](counts) for one in found.values()]) for end in (0, 1))
    lines = pd.DataFrame({"detector": list(found), "before": before[:, 0], "after": after[:, 0]})
    lines = lines.assign(gain=lines["after"] - lines["before"], machines=entities)
    ends = np.nanquantile((after - before)[:, 1:], [0.025, 0.975], axis=1)
    lines["low"], lines["high"] = ends if entities > 1 else np.nan * ends
    lines["order_changes"] = turned(before[:, 1:], after[:, 1:]).mean()
    return lines


def resamples(entities: int) -> Floats:
    """Draw entities with replacement: how often each was drawn, ``(10000, entities)``."""
    chosen = np.random.default_rng(0).integers(entities, size=(10_000, entities))
    counts = np.zeros(chosen.shape)
    np.add.at(counts, (np.arange(len(chosen))[:, None], chosen), 1)
    return counts


def turned(before: Floats, after: Floats) -> npt.NDArray[np.bool_]:
    """Tell of each resample whether two detectors (rows) change places, ``(r,)``; ties do not."""
    one, other = np.triu_indices(len(before), k=1)
    apart = np.round(before[one] - before[other], DIGITS)
    return (apart * np.round(after[one] - after[other], DIGITS) < 0).any(axis=0)


def readable(gains: pd.DataFrame) -> pd.DataFrame:
    """The gains to read: a pitfall a row, a detector a column, "before → after" in the cells."""
    names = gains[["metric", "reported"]].replace(TITLES)
    both = names["metric"] + " → " + names["reported"]
    ends = gains[["before", "after"]].map("{:.3f}".format)
    cells = gains.assign(
        pitfall=gains["mistake"],
        metric=both.where(names["metric"] != names["reported"], names["metric"]),
        reorders=gains["order_changes"].map("{:.0%}".format),
        cell=ends["before"] + " → " + ends["after"],
        detector=gains["detector"].replace("MTSExample", "L2 norm"),  # columns are narrow
    )
    index = ["number", "pitfall", "metric", "reorders"]
    wide = cells.set_index([*index, "detector"])["cell"].unstack(sort=False)
    return wide.rename_axis(columns=None).reset_index(["metric", "reorders"])
